"""Snakemake on the repository's workflow, as its users run it."""

import multiprocessing
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import yaml

from specdm import rasters

REPOSITORY = Path(__file__).parents[1]
# Snakemake takes longer to import than to plan: plans are made by forks of one process that has imported it.
PLANNER = multiprocessing.get_context("forkserver")
PLANNER.set_forkserver_preload(["snakemake.cli", "snakemake_executor_plugin_slurm"])
SMALL = [f"{REPOSITORY}/config/demo.yaml", f"{REPOSITORY}/config/test.yaml"]


def snakemake(
    folder: Path, *arguments: str, configfiles: list[str] | None = None, repository: Path = REPOSITORY
) -> str:
    """Run Snakemake on a repository's Snakefile in a working folder and return what it printed."""
    command = ["--snakefile", f"{repository}/Snakefile", "--directory", str(folder), "--cores", "2"]
    command += ["--resources", "gpu=0"]
    if configfiles:
        command += ["--configfile", *configfiles]
    # What the planner has imported is this repository's, which a copy that is to be planned need not be.
    plans = {"-n", "--list-rules"} & {*arguments} and repository == REPOSITORY
    run = plan if plans else run_snakemake
    done = run(*command, *arguments)
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    return output


def plan(*arguments: str) -> subprocess.CompletedProcess:
    """Run Snakemake where it starts no job: `run_snakemake` without the time of its imports."""
    with tempfile.TemporaryDirectory() as folder:
        said = [Path(folder, name) for name in ("stdout", "stderr")]
        process = PLANNER.Process(target=_plan, args=(arguments, said, dict(os.environ)))
        process.start()
        process.join()
        return subprocess.CompletedProcess(arguments, process.exitcode, *(path.read_text() for path in said))


def _plan(arguments: tuple[str, ...], said: list[Path], environ: dict[str, str]) -> None:
    from snakemake import cli

    os.environ.update(environ)
    for stream, path in enumerate(said, 1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), stream)
    sys.argv = ["snakemake", *arguments]
    cli.main(list(arguments))


def run_snakemake(*arguments: str, cwd: Path | None = None, **environ: str) -> subprocess.CompletedProcess:
    """Run Snakemake as a user with an activated environment does."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = [sys.executable, "-m", "snakemake", *arguments]
    env = os.environ | {"PATH": path} | environ
    return subprocess.run(command, capture_output=True, text=True, env=env, check=False, cwd=cwd)


def jobs_of(output: str) -> dict[str, int]:
    """Rule -> number of jobs, from the table that a dry run prints."""
    table = output.rsplit("Job stats:", 1)[-1].split("total", 1)[0]
    return {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", table, re.MULTILINE)}


def commands_of(output: str) -> dict[str, list[str]]:
    """Verb -> what follows it in each command that a dry run with -p prints, under the launcher or not."""
    found: dict[str, list[str]] = {}
    for verb, rest in re.findall(r"(?:-m specdm|-m specdm\.launch .* --) +([a-z-]+) (.*)", output):
        found.setdefault(verb, []).append(rest)
    return found


def write_scene(folder: Path) -> None:
    """A scene of five bands with two classes, of which most is not labelled, and its configuration own.yaml."""
    rng = np.random.default_rng(0)
    codes = np.kron(rng.integers(1, 3, (12, 12)), np.ones((16, 16), int))
    image = codes * 400 + rng.integers(0, 100, (5, *codes.shape))
    codes[rng.random(codes.shape) < 0.6] = 0
    place = ("EPSG:32633", (10.0, 0.0, 400_000.0, 0.0, -10.0, 5_100_000.0))
    rasters.write(folder / "image.tif", image.astype(np.uint16), *place)
    rasters.write(folder / "labels.tif", codes[None].astype(np.uint8), *place)
    prepare = {
        "scenes": [{"images": "image.tif", "labels": "labels.tif"}],
        "wavelengths_nm": [450, 550, 650, 850, 1600],
        "level": "BOA",
        "scale": 1e-4,
        "classes": [{"name": "meadow", "codes": [1]}, {"name": "wood", "codes": [2]}],
        "ignore_codes": [0],
        "patch_px": 32,
    }
    own = {"source": "scene", "raw": str(folder), "n_real": 8, "networks": ["segformer-b0"], "prepare": prepare}
    own["regimes"] = {"real": {"real": 1, "synthetic": 0}, "augmented-x1": {"real": 1, "synthetic": 1}}
    own["teacher"] = {"width": 4, "batch": 4, "steps": 2}
    (folder / "own.yaml").write_text(yaml.safe_dump({"datasets": {"segmunich": None, "own": own}}))


def small_run(folder: Path) -> Path:
    """Run the whole workflow at its smallest, with change detection and a scene of the user's own, in a folder."""
    write_scene(folder)
    threads = yaml.safe_load((REPOSITORY / "workflow/profiles/demo/profile.yaml").read_text())["set-threads"]
    single = [f"{rule}={n}" for rule, n in threads.items()]  # jobs of one thread side by side, as the demo's
    snakemake(folder, "--quiet", "--set-threads", *single, "--", configfiles=[*SMALL, f"{folder}/own.yaml"])
    return folder
