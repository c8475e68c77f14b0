"""What became of each attempt to run a job of the workflow: two lines of JSON an attempt, beside the job's log.

Snakemake removes a job's log and outputs before it runs it again; this record stays. It says how long a job took in
all, and whether it ran out of memory, which its next attempt has to know.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Literal

RECORD = ".attempts.jsonl"  # what follows a job's name
Outcome = Literal["done", "paused", "failed", "out of memory", "cut off"]


@dataclass(frozen=True)
class Attempt:
    """One attempt.

    Attributes:
        command: digest of the command that was run.
        started: seconds since 1970.
        host: where.
        job: SLURM's number of the job, "" elsewhere.
        processes: that were started, one a GPU.
        memory_mb: memory the job asked for, 0 where it asked for none.
        outcome: how it ended; "cut off" is what a job leaves that was killed together with its launcher, or still runs.
        status: exit status, None where the launcher was killed too.
        seconds: that it took, likewise.
        peak_mb: largest memory of one of its processes, likewise.
        gpus: that it had, asked for or on a cluster given.
    """

    command: str
    started: float
    host: str
    job: str
    processes: int
    memory_mb: int
    outcome: Outcome = "cut off"
    status: int | None = None
    seconds: float | None = None
    peak_mb: float | None = None
    gpus: int = 0


ENDING = ("outcome", "status", "seconds", "peak_mb")


def beside(log: Path) -> Path:
    """The record of the job that writes this log."""
    return log.with_suffix(RECORD)


def begin(record: Path, attempt: Attempt) -> None:
    """Note that an attempt starts."""
    _append(record, {key: value for key, value in asdict(attempt).items() if key not in ENDING})


def end(
    record: Path, started: float, outcome: Outcome, status: int | None, seconds: float | None, peak_mb: float | None
) -> None:
    """Note how the attempt that `started` then has ended; None for what is not known."""
    ending = {"outcome": outcome, "status": status, "seconds": seconds, "peak_mb": peak_mb}
    _append(record, {"started": started, **ending})


def read(record: Path) -> list[Attempt]:
    """All attempts in the order they started; none where there is no record. A torn last line is left out."""
    try:
        lines = record.read_text().splitlines()
    except FileNotFoundError:
        return []
    known = {field.name for field in fields(Attempt)}
    found: dict[float, dict] = {}
    for line in lines:
        try:
            entry = json.loads(line)
        except json.JSONDecodeError:  # the node died while it was written
            continue
        found.setdefault(entry["started"], {}).update({k: v for k, v in entry.items() if k in known})
    return [Attempt(**entry) for entry in found.values() if "command" in entry]


def times_out_of_memory(attempts: list[Attempt], ran_out_of_memory: Callable[[str], bool]) -> int:
    """How often a job ran out of memory since it last succeeded.

    `ran_out_of_memory` is asked for the last SLURM job if that left no word of its end.
    """
    n = 0
    for attempt in attempts:
        n = 0 if attempt.outcome == "done" else n + (attempt.outcome == "out of memory")
    return n + bool(attempts and killed_unnoticed(attempts[-1], ran_out_of_memory))


def killed_unnoticed(attempt: Attempt, ran_out_of_memory: Callable[[str], bool]) -> bool:
    """Whether an attempt ran out of memory and its launcher was killed with it."""
    return attempt.outcome == "cut off" and attempt.job != "" and ran_out_of_memory(attempt.job)


def _append(record: Path, entry: dict) -> None:
    """One write, so that lines of two jobs never mix, and safe on the disk, since the node may die next."""
    record.parent.mkdir(parents=True, exist_ok=True)
    with record.open("a") as stream:
        stream.write(json.dumps(entry) + "\n")
        stream.flush()
        os.fsync(stream.fileno())
