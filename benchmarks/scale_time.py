"""Hours of the paper's experiments: from measured rates, on another card by an assumption, on several by a schedule."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from heapq import heapify, heappop, heappush
from pathlib import Path
from typing import TYPE_CHECKING

from job_graph import Job
from scale_work import STRONG, WHOLE, Work

if TYPE_CHECKING:
    from counted_flop import Counted

SECONDS_AN_HOUR = 3600
CHAIN = ("download", "prepare", "train_autoencoder", "encode", "train_diffusion", "draw_samples", "sample")  # go first


@dataclass(frozen=True)
class Card:
    """What a maker says of a card: dense TFLOP/s with sums in float32, and GB/s of its memory."""

    bfloat16: float
    tf32: float
    bandwidth: float


H200 = Card(989, 495, 4800)
RTX_3090 = Card(71, 35.6, 936)
FLOAT32 = ("encoding", "teacher training")  # all else is bfloat16
# Shares of its peak that the other card is taken to reach, at best and at worst, where arithmetic sets the pace.
BEST, WORST = 0.5, 0.2


@dataclass(frozen=True)
class Rate:
    """Units a second; `loading` is the share of the time in which data was made, None where nobody looked."""

    per_second: float
    loading: float | None
    peak_gib: float | None
    batch: int
    estimated: bool = False


class Rates:
    """The rates of a machine, those it lacks estimated by counted FLOP from the method `specdm`."""

    def __init__(self, path: Path):
        with path.open(newline="") as stream:
            rows = [row for row in csv.DictReader(stream) if row["per_second"]]
        self.machine = rows[0]["machine"]
        self.measured = {
            (row["what"], row["dataset"], row["name"]): Rate(
                float(row["per_second"]),
                float(row["loading"]) if row["loading"] else None,
                float(row["peak_gib"]) if row["peak_gib"] else None,
                int(row["batch"]),
            )
            for row in rows
        }

    def of(self, work: Work) -> Rate:
        """The rate of the kind of work, whatever its data."""
        if (key := (work.what, work.dataset, work.name)) in self.measured:
            return self.measured[key]
        known = self.measured[work.what, work.dataset, "specdm"]
        ratio = gflop(work.what, work.dataset, "specdm") / gflop(*key)
        return Rate(known.per_second * ratio, None, None, 0, estimated=True)

    def loading(self, dataset: str, augmentation: str) -> float:
        """Patches a second that one thread makes ready for a downstream network."""
        return self.measured["loading", dataset, augmentation].per_second


@cache
def gflop(what: str, dataset: str, name: str) -> float:
    """GFLOP of a unit."""
    return _counted(dataset, name).gflop[what]


@cache
def parameters(dataset: str, name: str) -> Mapping[str, int]:
    return _counted(dataset, name).parameters


@cache
def _counted(dataset: str, name: str) -> Counted:
    from counted_flop import counted  # torch: not for those who only look at jobs

    own = WHOLE.method(dataset, name) if name in WHOLE.methods else None
    usual = WHOLE.method(dataset, "specdm")
    if own and (own.autoencoder.streams, own.autoencoder.image, own.autoencoder.mask, own.diffusion.unet) == (
        *(usual.autoencoder.streams, usual.autoencoder.image, usual.autoencoder.mask),
        usual.diffusion.unet,
    ):
        name = "specdm"  # the same networks
    return counted(WHOLE, dataset, name)


@dataclass(frozen=True)
class Hours:
    """GPU hours of some work: on the measured machine; there, if strong augmentation cost no time; on an RTX 3090."""

    here: float = 0.0
    unaugmented: float = 0.0
    low: float = 0.0
    high: float = 0.0

    def __add__(self, other: Hours) -> Hours:
        return Hours(
            self.here + other.here, self.unaugmented + other.unaugmented, self.low + other.low, self.high + other.high
        )


def hours_of(work: Work, rates: Rates) -> Hours:
    """Hours of a piece of work.

    On an RTX 3090 it takes at least what it takes here, and what BEST of the card's peak allows; at most what the
    memory's bandwidth, or WORST of the peak, allows. One thread loads as fast in both machines.
    """
    each = 1 / rates.of(work).per_second
    loading = 1 / rates.loading(work.dataset, STRONG) if work.loading else 0.0
    peak = RTX_3090.tf32 if work.what in FLOAT32 else RTX_3090.bfloat16
    at_peak = gflop(work.what, work.dataset, work.name) / peak / 1000
    low = max(each, at_peak / BEST)
    high = max(each * H200.bandwidth / RTX_3090.bandwidth, at_peak / WORST)
    seconds = [max(each, loading), each, max(low, loading), max(high, loading)]
    return Hours(*(work.units * s / SECONDS_AN_HOUR for s in seconds))


def wall_hours(jobs: Sequence[Job], hours: Sequence[float], gpus: int) -> float:
    """Hours until the last job is done on so many GPUs, one a job.

    Whenever a GPU is free it takes a ready job, of the long chain first, else in the plan's order. Jobs of no hours
    need no GPU.
    """
    users = [[] for _ in jobs]
    for i, job in enumerate(jobs):
        for before in job.needs:
            users[before].append(i)
    waits_for = [len(job.needs) for job in jobs]

    def turn(i: int) -> tuple[bool, bool, int]:
        return hours[i] > 0, jobs[i].rule not in CHAIN, i

    ready = [turn(i) for i, n in enumerate(waits_for) if not n]
    heapify(ready)
    running: list[tuple[float, int]] = []
    now = 0.0
    while ready or running:
        if ready and len(running) < gpus:
            *_, i = heappop(ready)
            heappush(running, (now + hours[i], i))
            continue
        now, done = heappop(running)
        for i in users[done]:
            waits_for[i] -= 1
            if not waits_for[i]:
                heappush(ready, turn(i))
    return now
