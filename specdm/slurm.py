"""What SLURM knows of the job that runs here, asked of its own commands; on other machines nothing."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Mapping

Run = Callable[[list[str]], str]


def run(command: list[str]) -> str:
    """What a command prints; nothing where it is missing, fails or does not answer within half a minute."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def job_here(environ: Mapping[str, str]) -> str:
    """The number of the job that this process belongs to, "" outside of one."""
    return environ.get("SLURM_JOB_ID", "")


def seconds_left(job: str, run: Run = run) -> float | None:
    """Time until the job's limit; None where there is none, or it is not known."""
    return duration_s(run(["squeue", "--noheader", "--jobs", job, "--format", "%L"]))


def duration_s(text: str) -> float | None:
    """Seconds of SLURM's [days-][[hours:]minutes:]seconds; None for UNLIMITED and the like."""
    if text == "INVALID":  # the limit is past; a cluster's OverTimeLimit lets the job go on for a while
        return 0.0
    found = re.fullmatch(r"(?:(\d+)-)?(?:(?:(\d+):)?(\d+):)?(\d+)", text)
    if not found:
        return None
    days, hours, minutes, seconds = (float(part or 0) for part in found.groups())
    return 60 * (60 * (24 * days + hours) + minutes) + seconds


def ran_out_of_memory(job: str, run: Run = run) -> bool:
    """Whether SLURM ended a job for its use of memory; False where it no longer knows the job."""
    states = run(["sacct", "--jobs", job, "--allocations", "--noheader", "--parsable2", "--format", "State"])
    return "OUT_OF_MEMORY" in (states or run(["scontrol", "show", "job", job]))


def requeue(job: str) -> bool:
    """Put the running job back into the queue, under the same number and with its time limit whole again.

    This ends the job within a minute. False where the cluster does not let users do so.
    """
    try:
        return subprocess.run(["scontrol", "requeue", job], timeout=60, check=False).returncode == 0
    except (OSError, subprocess.SubprocessError):
        return False
