"""Snakemake on the repository's workflow, as its users run it."""

import os
import re
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
SMALL = [f"{REPOSITORY}/config/demo.yaml", f"{REPOSITORY}/config/test.yaml"]


def snakemake(folder: Path, *arguments: str, configfiles: list[str] | None = None) -> str:
    """Run Snakemake on the repository's Snakefile in a working folder and return what it printed."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", f"{REPOSITORY}/Snakefile", "--directory", str(folder)]
    command += ["--cores", "2", "--resources", "gpu=0"]
    if configfiles:
        command += ["--configfile", *configfiles]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [*command, *arguments], capture_output=True, text=True, env=os.environ | {"PATH": path}, check=False
    )
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    return output


def jobs_of(output: str) -> dict[str, int]:
    """Rule -> number of jobs, from the table that a dry run prints."""
    table = output.rsplit("Job stats:", 1)[-1].split("total", 1)[0]
    return {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", table, re.MULTILINE)}
