"""What clusters do to jobs and people to Snakemake; each scenario ends after the documented command."""

from __future__ import annotations

import re
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import yaml

from tests.cluster.runs import AUTOENCODER, CONFIG, DENOISER, RESULTS, STEPS, TABLE, WAIT_S, Run, interrupt, wait_for
from tests.cluster.single_node import SingleNode

Undisturbed = Callable[[], Run]  # waits for it
TOO_LITTLE_MB = 500  # of memory for a training
A_MINUTE = ("--set-resources", "train_autoencoder:runtime=1")


def edit(path: Path, old: str, new: str) -> None:
    """Replace a text that must be there."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def undisturbed(run: Run, slurm: SingleNode, undisturbed: Undisturbed) -> None:
    """Nothing happens."""
    run.make("--", TABLE)


def out_of_memory_and_time(run: Run, slurm: SingleNode, undisturbed: Undisturbed) -> None:
    """A training that asks for less memory than it takes, and for its GPU as --gres, and is longer than its limit.

    Users may not put their jobs back into the queue here. Only the first two attempts have the short limit.
    """
    smaller, site = run / "smaller-clone", run / "site.yaml"
    shutil.copytree(run.clone, smaller, symlinks=True)
    if slurm.confined:  # else SLURM lets jobs have what they take
        edit(smaller / "rules/autoencoder.smk", "mem_mb=memory(24000)", f"mem_mb=memory({TOO_LITTLE_MB})")
    run.clone = smaller
    wanted = {"train_autoencoder": {"gpu": 0, "gres": "gpu:1", "runtime": "1 if attempt < 3 else 30"}}
    site.write_text(
        yaml.safe_dump(
            {"slurm-requeue": False, "slurm-no-requeue": True, "retries": 5, "set-resources": wanted},
        )
    )
    run.make("--profile", str(site), "--", AUTOENCODER)


def out_of_time_requeued(run: Run, slurm: SingleNode, undisturbed: Undisturbed) -> None:
    """The same where they may, without a single retry; once it has paused its limit is raised."""
    process = run.start(*A_MINUTE, "--retries", "0", "--", AUTOENCODER)

    def ended() -> bool:
        own = {attempt.job for attempt in run.attempts("train_autoencoder")}
        for number in own & slurm.held_back():
            slurm.allow(number, minutes=30)
            slurm.start_now(number)  # it would wait for two minutes
        return process.poll() is not None

    wait_for(ended, "the end of a training that is out of time")
    assert process.returncode == 0, run.printed()


def interrupted_and_cancelled(run: Run, slurm: SingleNode, undisturbed: Undisturbed) -> None:
    """Ctrl-C of Snakemake while a job trains; the same command again, and scancel of the job that it starts."""
    process = run.start("--", AUTOENCODER)
    number = training(run, slurm)
    interrupt(process, signal.SIGINT)
    assert process.returncode != 0, run.printed()
    wait_for(lambda: number not in slurm.running(), "the end of a job after Ctrl-C", 60)
    again = run.start("--", AUTOENCODER)
    slurm.cancel(training(run, slurm))
    assert again.wait(WAIT_S) == 0, run.printed()


def killed(run: Run, slurm: SingleNode, undisturbed: Undisturbed) -> None:
    """kill -9 of Snakemake, and the documented commands while the job still runs."""
    process = run.start("--", AUTOENCODER)
    training(run, slurm)
    interrupt(process, signal.SIGKILL)
    run.make("--unlock")
    run.make("--", AUTOENCODER)


def two_gpus(run: Run, slurm: SingleNode, undisturbed: Undisturbed) -> None:
    """The denoiser on two GPUs."""
    shutil.rmtree(run.folder)
    shutil.copytree(undisturbed().folder, run.folder, symlinks=True)
    shutil.rmtree((run / DENOISER).parent)
    run.make("--set-resources", "train_diffusion:gpu=2", "--", DENOISER)


def failing(run: Run, slurm: SingleNode, undisturbed: Undisturbed) -> None:
    """A setting that no training can follow."""
    oscd = CONFIG["datasets"]["oscd"] | {"n_real": 5000}
    (run / "small.yaml").write_text(yaml.safe_dump(CONFIG | {"datasets": CONFIG["datasets"] | {"oscd": oscd}}))
    target = f"{RESULTS}/downstream/oscd/fc-siam-diff/real/seed0/metrics.json"
    done = run.attempt("--retries", "0", "--", target)
    (run / "failure.txt").write_text(done.stdout + done.stderr)
    assert done.returncode != 0


def training(run: Run, slurm: SingleNode) -> str:
    """The number of the job that trains the autoencoder, once it does."""

    def number() -> str:
        if not re.search(rf"\d+/{STEPS} steps", run.log("train_autoencoder")):
            return ""
        return next((a.job for a in run.attempts("train_autoencoder") if a.job in slurm.running()), "")

    return wait_for(number, "a training")


ALL = {
    scenario.__name__: scenario
    for scenario in (
        *(undisturbed, out_of_memory_and_time, out_of_time_requeued, interrupted_and_cancelled),  # the longest first
        *(killed, failing, two_gpus),
    )
}
