"""Snakemake with the profile slurm, as its users start it, and what it left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import yaml

from specdm import attempts
from specdm.attempts import Attempt
from tests.workflow_runs import run_snakemake

RESULTS = "results/test"
PATCHES = f"{RESULTS}/patches/oscd/meta.json"
AUTOENCODER = f"{RESULTS}/models/oscd/specdm/autoencoder/weights.safetensors"
DENOISER = f"{RESULTS}/models/oscd/specdm/denoiser/weights.safetensors"
TABLE = f"{RESULTS}/tables/downstream.csv"
WAIT_S = 400
STEPS = 200  # of the autoencoder: longer than a minute's limit leaves, seconds of work
CONFIG = {
    "datasets": {
        "segmunich": None,
        "oscd": {
            "networks": ["fc-siam-diff"],
            "method_overrides": {"autoencoder": {"batch": 2, "steps": STEPS}, "sampling": {"batch": 4}},
            "regimes": {"augmented-x5-filtered": None, "from-real-masks": None},
        },
    },
    "pairs_a_shard": 4,
    "downstream": {"search": {"learning_rates": [1]}},
}


@dataclass
class Run:
    """Snakemake with the profile slurm in a working folder, as its users start it from a clone.

    Attributes:
        clone: of the repository.
        folder: where results and Snakemake's own records lie.
    """

    clone: Path
    folder: Path

    def command(self, *arguments: str) -> list[str]:
        # The checks of accounting, and patience, are for larger clusters.
        quick = ["--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "2"]
        quick += ["--latency-wait", "5"]
        threads = yaml.safe_load((self.clone / "workflow/profiles/demo/profile.yaml").read_text())["set-threads"]
        quick += ["--set-threads", *(f"{rule}=1" for rule in threads)]
        files = [*(f"{self.clone}/config/{name}.yaml" for name in ("demo", "test")), f"{self.folder}/small.yaml"]
        own = ["--directory", str(self.folder), "--configfile", *files]
        return [*own, *quick, "--profile", "slurm", *arguments]

    def make(self, *arguments: str) -> str:
        """Run it to its end; returns what it printed."""
        done = self.attempt(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def attempt(self, *arguments: str) -> subprocess.CompletedProcess:
        return run_snakemake(*self.command(*arguments), cwd=self.clone)

    def start(self, *arguments: str) -> subprocess.Popen:
        """Start it beside the test, in a process group of its own."""
        log = (self.folder / "main.log").open("a")
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        command = [sys.executable, "-m", "snakemake", *self.command(*arguments)]
        env = os.environ | {"PATH": path}
        return subprocess.Popen(command, cwd=self.clone, env=env, stdout=log, stderr=log, start_new_session=True)

    def attempts(self, rule: str) -> list[Attempt]:
        """What became of the one job of a rule; nothing while it has not begun."""
        records = list((self.folder / RESULTS / "logs" / rule).glob("*.attempts.jsonl"))
        return attempts.read(*records) if records else []

    def log(self, rule: str) -> str:
        """The log of the one job of a rule, empty while there is none."""
        logs = (self.folder / RESULTS / "logs" / rule).glob("*.log")
        return "".join(log.read_text() for log in logs)

    def printed(self) -> str:
        """What the runs printed that were started beside the tests."""
        return (self.folder / "main.log").read_text()

    def __truediv__(self, path: str) -> Path:
        return self.folder / path


def wait_for(condition: Callable[[], object], what: str, seconds: float = WAIT_S) -> object:
    """Wait until something is true, and return it."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        if value := condition():
            return value
        time.sleep(0.2)
    raise AssertionError(f"{what}: not within {seconds:.0f} s")


def interrupt(process: subprocess.Popen, number: signal.Signals) -> None:
    """Send a signal to Snakemake's process alone and wait for its end."""
    os.kill(process.pid, number)
    process.wait(WAIT_S)
