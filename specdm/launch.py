"""`python -m specdm.launch ... -- train-diffusion ...`: runs one command for a job of the workflow.

What every job on a cluster needs stands here once, so that the commands know nothing of it: one process a GPU, threads
shared out; a lock, so that no second job works in the same state; a stop in time before SLURM ends the job, and the job
put back into the queue; a record of what became of every attempt.
"""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from specdm import attempts, files, lock, slurm
from specdm.attempts import Attempt, Outcome
from specdm.errors import PAUSED
from specdm.memory import out_of_memory_kills, peak_mb

REQUEUE_S = 120.0  # SLURM ends a job that is put back into the queue within this time
KILL_S = 2.0  # when SLURM kills a whole job, this process is gone within this time


@dataclass(frozen=True)
class Job:
    """A job of the workflow.

    Attributes:
        command: a verb of the command line, with its options.
        log: of the job; the record of its attempts lies beside it.
        gpus: that it has, asked for or on a cluster given.
        n_processes: that work on it together.
        threads: that they share.
        memory_mb: that the job asked for.
        inputs, outputs: its files.
        has_time_limit: whether the machine ends it after a time.
    """

    command: list[str]
    log: Path
    gpus: int
    n_processes: int
    threads: int
    memory_mb: int
    inputs: tuple[Path, ...]
    outputs: tuple[Path, ...]
    has_time_limit: bool

    @property
    def state(self) -> Path | None:
        """The folder of the resumable state, if it has one."""
        return Path(self.command[self.command.index("--state") + 1]) if "--state" in self.command else None


class Worker:
    """The process that does the work, with all that it starts."""

    def __init__(self):
        self._process: subprocess.Popen | None = None

    def run(self, command: list[str], environ: dict[str, str]) -> int:
        """Run a command to its end and return its exit status; SIGTERM and Ctrl-C ask it to save and stop."""
        self._process = subprocess.Popen(command, env=environ, process_group=0)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: os.killpg(self._process.pid, signal.SIGTERM))
        return self._process.wait()

    def stop_at_once(self) -> None:
        """Another job has taken over the state: nothing may be written there any more."""
        if self._process:
            os.killpg(self._process.pid, signal.SIGKILL)
        os._exit(1)


def launch(
    log: Annotated[Path, typer.Option(help="the job's log; the record of its attempts is written beside it")],
    command: Annotated[list[str], typer.Argument(help="a verb of specdm and its options, after --")],
    gpus: Annotated[int, typer.Option(help="GPUs asked for; 0 = compute on the CPU", min=0)] = 0,
    threads: Annotated[int, typer.Option(help="processor threads of the job", min=1)] = 1,
    memory_mb: Annotated[int, typer.Option(help="memory asked for, for the record")] = 0,
    inputs: Annotated[str, typer.Option(help="files that the job reads, separated by spaces")] = "",
    outputs: Annotated[str, typer.Option(help="files that the job makes, separated by spaces")] = "",
    process_a_gpu: Annotated[bool, typer.Option("--process-a-gpu", help="start one process on every GPU")] = False,
    on_cluster: Annotated[
        bool, typer.Option("--on-cluster", envvar="SPECDM_ON_CLUSTER", help="the job has a time limit of its own")
    ] = False,
) -> None:
    """Run a command for a job of the workflow."""
    environ = dict(os.environ)
    devices = n_gpus(gpus, environ, on_cluster)
    if not devices:
        environ["CUDA_VISIBLE_DEVICES"] = ""
    n = max(1, devices) if process_a_gpu else 1
    paths = [tuple(Path(part) for part in text.split()) for text in (inputs, outputs)]
    job = Job(command, log, devices, n, threads, memory_mb, *paths, has_time_limit=on_cluster)
    worker = Worker()
    if job.state is None:
        sys.exit(_attempt(job, worker, environ))
    own = lock.of(job.state)
    with lock.held(own, on_loss=worker.stop_at_once) as waited:
        if waited and made_meanwhile(job):
            print("launch: another job has made the outputs meanwhile", flush=True)
            return
        status = _attempt(job, worker, environ | {lock.HELD: str(own)})
    if status == PAUSED and on_cluster and (number := slurm.job_here(environ)) and slurm.requeue(number):
        print(f"launch: job {number} goes back into the queue", flush=True)
        time.sleep(REQUEUE_S)
    sys.exit(status)


def n_gpus(asked: int, environ: Mapping[str, str], on_cluster: bool) -> int:
    """How many GPUs to use: those that the cluster gave, else as many as were asked for."""
    given = environ.get("CUDA_VISIBLE_DEVICES", "")
    if not on_cluster or not given:
        return asked
    return 0 if given == "NoDevFiles" else len(given.split(","))


def invocation(job: Job, minutes: float | None) -> list[str]:
    """The command line that does the job's work, told to pause after some minutes where there is a limit."""
    alone = [sys.executable, "-m", "specdm"]
    together = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(job.n_processes), "-m", "specdm"]
    pause = [] if minutes is None else ["--max-minutes", f"{max(minutes, 0.01):.2f}"]  # 0 would be without end
    return [*(alone if job.n_processes == 1 else [sys.executable, *together]), *job.command, *pause]


def minutes_to_work(seconds_left: float) -> float:
    """How long to work when so much is left of the job: time to save stays, a twentieth, from one to ten minutes.

    Of less than two minutes it is half.
    """
    reserve = min(max(0.05 * seconds_left, 60.0), 600.0, 0.5 * seconds_left)
    return (seconds_left - reserve) / 60


def outcome_of(status: int, paused: bool, killed_for_memory: bool | None) -> Outcome:
    """What an exit status means; without the kernel's counter (None), SIGKILL is taken for its use of memory.

    That is right, since whoever kills a whole job kills this process too.
    """
    if status == 0:
        return "done"
    if paused:
        return "paused"
    out_of_memory = status == -signal.SIGKILL if killed_for_memory is None else killed_for_memory
    return "out of memory" if out_of_memory else "failed"


def made_meanwhile(job: Job) -> bool:
    """Whether the job that had to be waited for did the same work: same command, and outputs newer than all inputs."""
    ended = [attempt for attempt in attempts.read(attempts.beside(job.log)) if attempt.outcome == "done"]
    if not ended or ended[-1].command != files.digest(job.command):
        return False
    try:
        return min(p.stat().st_mtime for p in job.outputs) >= max(p.stat().st_mtime for p in job.inputs)
    except (FileNotFoundError, ValueError):
        return False


def _attempt(job: Job, worker: Worker, environ: dict[str, str]) -> int:
    """Run the command once and record what became of it; returns its exit status."""
    record, number = attempts.beside(job.log), slurm.job_here(environ)
    _settle(record)
    started, kills = time.time(), out_of_memory_kills()
    digest, host = files.digest(job.command), platform.node()
    attempts.begin(record, Attempt(digest, started, host, number, job.n_processes, job.memory_mb, gpus=job.gpus))
    left = slurm.seconds_left(number) if job.has_time_limit and job.state and number else None
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    environ["OMP_NUM_THREADS"] = str(max(1, min(job.threads, cores) // job.n_processes))
    with tempfile.TemporaryDirectory() as folder:
        environ["SPECDM_PAUSED"] = f"{folder}/paused"  # torchrun passes no exit status on
        status = worker.run(invocation(job, None if left is None else minutes_to_work(left)), environ)
        paused = Path(environ["SPECDM_PAUSED"]).exists()
    if status not in (0, PAUSED):
        time.sleep(KILL_S)
    now = out_of_memory_kills()
    outcome = outcome_of(status, paused, None if kills is None or now is None else now > kills)
    seconds, peak = round(time.time() - started, 1), round(peak_mb(of_children=True), 1)
    attempts.end(record, started, outcome, status, seconds, peak)
    if outcome == "out of memory":
        print(f"launch: out of memory at {job.memory_mb} MB: the next attempt asks for twice as much", flush=True)
    return PAUSED if paused else status if status >= 0 else 128 - status


def _settle(record: Path) -> None:
    """Ask SLURM how the last attempt ended, where the job was killed together with the launcher."""
    before = attempts.read(record)
    if before and attempts.killed_unnoticed(before[-1], slurm.ran_out_of_memory):
        attempts.end(record, before[-1].started, "out of memory", None, None, None)


if __name__ == "__main__":
    typer.run(launch)
