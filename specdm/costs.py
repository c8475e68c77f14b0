"""What a run cost, stage by stage: time of every attempt of every job, time of GPUs, memory."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from specdm import attempts
from specdm.attempts import RECORD, Attempt
from specdm.errors import UserError

SECONDS_AN_HOUR = 3600
LOST = ("failed", "out of memory")
ALL = "all"
# The rules that are measured, as patches and models pass through them.
CHAIN = (
    *("prepare", "train_teacher", "train_judge"),
    *("train_autoencoder", "encode", "train_diffusion", "draw_samples", "sample", "filter_samples"),
    *("choose_given", "draw_given"),
    *("evaluate", "check_alignment", "check_information", "check_copies", "check_labels"),
    *("sample_with_steps", "evaluate_with_steps", "check_alignment_with_steps"),
    *("search_downstream", "train_downstream"),
)


@dataclass(frozen=True)
class Cost:
    """What the jobs of a stage cost, or those of all stages.

    The same job may have attempts with other settings: all of them count, since all of them were paid for. A job that
    was never recorded (a light one) is known by Snakemake's measurement alone: one attempt, as it last ran, on no GPU.

    Attributes:
        stage: name of the rule; "all" of all of them.
        jobs: that were ever started.
        attempts: of them.
        paused: attempts that stopped before their time limit and saved what they had.
        out_of_memory: attempts that were killed for their use of memory.
        failed: attempts that ended with another error.
        cut_off: attempts that left no word of their end: killed with their launcher, or still running.
        job_hours: hours that all attempts took, whatever became of them; those without_hours are not in it.
        gpu_hours: the same times the GPUs of the attempt, asked for or on a cluster given, used or not.
        longest_hours: hours that all attempts of the longest job took together.
        lost_hours: hours of attempts that failed or ran out of memory. An upper bound where a job goes on from a state
            that it saved. What was cut off is not in it.
        without_hours: attempts of unknown length, in none of the hours: all that were cut off, and those of which SLURM
            said only later that they had run out of memory.
        peak_mib: largest memory of a job, in MiB; None where it is unknown. The larger of what Snakemake saw now and
            then of all processes together, as the job last ran, and of what the kernel noted of the largest process
            of any attempt.
        asked_mib: largest memory that an attempt asked for, in MiB as SLURM reads the number; None where none did.
        cores_used: processor seconds a second of the jobs as they last ran; None where it was not measured.
    """

    stage: str
    jobs: int
    attempts: int
    paused: int
    out_of_memory: int
    failed: int
    cut_off: int
    job_hours: float
    gpu_hours: float
    longest_hours: float
    lost_hours: float
    without_hours: int
    peak_mib: int | None
    asked_mib: int | None
    cores_used: float | None


@dataclass(frozen=True)
class _Job:
    """A job's attempts, and Snakemake's measurements of it by name, without those it could not make."""

    attempts: Sequence[Attempt]
    measured: Sequence[Mapping[str, float]]

    @property
    def n_attempts(self) -> int:
        return len(self.attempts or self.measured)

    @property
    def seconds(self) -> float:
        if self.attempts:
            return sum(attempt.seconds or 0.0 for attempt in self.attempts)
        return sum(line["s"] for line in self.measured)


def costs(run: Path) -> list[Cost]:
    """A row a stage in the order of the chain, and a last one of all; no rows where nothing was recorded.

    Args:
        run: folder of the run; reads the records of attempts below its folder logs, and below its folder benchmarks
            Snakemake's measurements: <stage>/<job>.attempts.jsonl and <stage>/<job>.jsonl.

    Raises:
        UserError: for a measurement that cannot be read.
    """
    logs, benchmarks = run / "logs", run / "benchmarks"
    recorded = {_name(path, logs, RECORD): path for path in logs.rglob(f"*{RECORD}")}
    measured = {_name(path, benchmarks, ".jsonl"): path for path in benchmarks.rglob("*.jsonl")}
    by_stage: dict[str, list[_Job]] = {}
    for name in sorted(recorded.keys() | measured.keys()):
        past = attempts.read(recorded[name]) if name in recorded else []
        job = _Job(past, _measurements(measured[name]) if name in measured else [])
        if job.n_attempts:
            by_stage.setdefault(name.split("/")[0], []).append(job)
    rows = [_cost(stage, by_stage[stage]) for stage in sorted(by_stage, key=_place)]
    return [*rows, _cost(ALL, [job for own in by_stage.values() for job in own])] if rows else []


def _name(path: Path, folder: Path, ending: str) -> str:
    """<stage>/<job>, by which a record and a measurement find each other."""
    return path.relative_to(folder).as_posix().removesuffix(ending)


def _place(stage: str) -> tuple[int, str]:
    return CHAIN.index(stage) if stage in CHAIN else len(CHAIN), stage


def _measurements(path: Path) -> list[dict[str, float]]:
    """Lines of a benchmark file; Snakemake writes "NA" for what was too short to be measured."""
    try:
        lines = [json.loads(line) for line in path.read_text().splitlines() if line]
        found = [{key: value for key, value in line.items() if isinstance(value, int | float)} for line in lines]
        if any("s" not in line for line in found):
            raise ValueError("without a time")
    except (ValueError, AttributeError) as error:
        raise UserError(
            f"{path} is no measurement of Snakemake: remove it, then its job is left out or counted by its record."
        ) from error
    return found


def _cost(stage: str, jobs: Sequence[_Job]) -> Cost:
    tried = [attempt for job in jobs for attempt in job.attempts]
    lines = [line for job in jobs for line in job.measured]
    outcomes = Counter(attempt.outcome for attempt in tried)
    peaks = [line["max_rss"] for line in lines if "max_rss" in line] + [a.peak_mb for a in tried if a.peak_mb]
    busy = [line for line in lines if "cpu_time" in line and line["s"] > 0]
    return Cost(
        stage,
        jobs=len(jobs),
        attempts=sum(job.n_attempts for job in jobs),
        paused=outcomes["paused"],
        out_of_memory=outcomes["out of memory"],
        failed=outcomes["failed"],
        cut_off=outcomes["cut off"],
        job_hours=sum(job.seconds for job in jobs) / SECONDS_AN_HOUR,
        gpu_hours=sum(a.gpus * (a.seconds or 0.0) for a in tried) / SECONDS_AN_HOUR,
        longest_hours=max(job.seconds for job in jobs) / SECONDS_AN_HOUR,
        lost_hours=sum(a.seconds or 0.0 for a in tried if a.outcome in LOST) / SECONDS_AN_HOUR,
        without_hours=sum(a.seconds is None for a in tried),
        peak_mib=round(max(peaks)) if peaks else None,
        asked_mib=max((a.memory_mb for a in tried), default=0) or None,
        cores_used=sum(line["cpu_time"] for line in busy) / sum(line["s"] for line in busy) if busy else None,
    )
