"""What the jobs of the paper's experiments have to do, in units whose rates paper_scale.py measures. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from pathlib import Path

from job_graph import Job

from specdm import config
from specdm.config import Config

WHOLE = config.load([Path(__file__).parents[1] / "config" / "config.yaml"])
STRONG = "strong"
N_VIEWS = {"none": 1, "flips": 4, "d4": 8}


@dataclass(frozen=True)
class Splits:
    """Patches of a data set."""

    train: int
    val: int
    test: int

    @property
    def all(self) -> int:
        return self.train + self.val + self.test


# OSCD as `specdm prepare` writes it (docs/real-data.md). Of SegMunich's published 39 402 and 9 846 windows the paper
# keeps 27 090 of both together: the same share of each list is taken for kept, a tenth of the first for validation.
PATCHES = {"segmunich": Splits(19_507, 2_167, 5_416), "oscd": Splits(300, 27, 116)}


@dataclass(frozen=True)
class Work:
    """So many units of one kind; `loading` is the strong augmentation that its data get, if any."""

    what: str
    dataset: str
    name: str
    units: int
    loading: str = ""


def seen_patches(dataset: str, method: str, whole: Config = WHOLE) -> int:
    """Training patches that a generator sees."""
    subset = whole.method(dataset, method).generator_data == "subset"
    return whole.datasets[dataset].n_real if subset else PATCHES[dataset].train


def n_views(dataset: str, method: str, whole: Config = WHOLE) -> int:
    """Views of a patch that are encoded."""
    diffusion = whole.method(dataset, method).diffusion
    both_orders = diffusion.swap_dates and whole.datasets[dataset].task == "change"
    return N_VIEWS[diffusion.augment] * (2 if both_orders else 1)


def n_drawn(dataset: str, method: str, whole: Config = WHOLE) -> int:
    """Pairs of a synthetic set."""
    return whole.datasets[dataset].n_samples(method, whole.evaluation.n_samples)


def work_of(job: Job, whole: Config = WHOLE) -> list[Work]:
    """What a job does on a GPU; nothing for jobs that are not measured.

    Early stopping of a denoiser is not foreseen: what is counted is the most that it can take. Left out are looks at
    validation by generators and judges (some hundred patches), compiling, and the start of a process.
    """
    dataset = job.wildcards.get("dataset", "")
    match job.rule:
        case "train_autoencoder" | "encode" | "train_diffusion" | "draw_samples":
            return [_generator(job, dataset, job.wildcards["method"], whole)]
        case "train_teacher" | "train_judge":
            teacher = whole.datasets[dataset].teacher
            return [Work("teacher training", dataset, "teacher", teacher.steps * teacher.batch)]
        case "train_downstream":
            return _training(dataset, job, whole, tested=PATCHES[dataset].test)
        case "search_downstream":
            candidates = whole.downstream_of(job.wildcards["network"]).search.candidates
            return [work for _ in candidates for work in _training(dataset, job, whole, tested=0)]
    return []


def _generator(job: Job, dataset: str, method: str, whole: Config) -> Work:
    settings = whole.method(dataset, method)
    match job.rule:
        case "train_autoencoder":
            units = settings.autoencoder.steps * settings.autoencoder.batch
            return Work("autoencoder training", dataset, method, units)
        case "encode":
            units = (seen_patches(dataset, method, whole) + PATCHES[dataset].val) * n_views(dataset, method, whole)
            return Work("encoding", dataset, method, units)
        case "train_diffusion":
            return Work("denoiser training", dataset, method, settings.diffusion.steps * settings.diffusion.batch)
    return Work("sampling", dataset, method, ceil(n_drawn(dataset, method, whole) / int(job.wildcards["shards"])))


def _training(dataset: str, job: Job, whole: Config, tested: int) -> list[Work]:
    network, regime = job.wildcards["network"], whole.datasets[dataset].all_regimes[job.wildcards["regime"]]
    settings = whole.downstream_of(network)
    looks = settings.steps // settings.val_every
    loading = STRONG if regime.augmentation == STRONG else ""
    return [
        Work("downstream training", dataset, network, settings.steps * settings.batch, loading),
        Work("downstream inference", dataset, network, looks * PATCHES[dataset].val + tested),
    ]
