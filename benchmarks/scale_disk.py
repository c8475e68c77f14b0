"""Bytes and files of the paper's experiments, by folder of the results, from shapes and types."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from job_graph import Job
from scale_time import parameters
from scale_work import PATCHES, WHOLE, n_drawn, n_views, seen_patches

from specdm import bands
from specdm.costs import CHAIN as MEASURED

FLOAT = 4  # bytes
STATE_COPIES = 4 * 2  # weights, their average, two moments; the last two states are kept
LAUNCHED_FILES = 3  # log, record of attempts, measurement
SHARDS = "shards/"  # gone when they are joined
FOLDER = {  # of a rule's outputs
    "prepare": "patches/",
    "encode": "latents/",
    "draw_samples": SHARDS,
    "sample": "samples/",
    "filter_samples": "filters/",
    "train_autoencoder": "models/",
    "train_diffusion": "models/",
    "train_teacher": "teachers/, judges/",
    "train_judge": "teachers/, judges/",
    "search_downstream": "search/",
    "train_downstream": "downstream/",
    "fetch_encoder": "encoders/",
}
OTHER = "figures/, metrics/, tables/ and other"
RECORDS = "logs/, benchmarks/"


@dataclass
class Disk:
    """Bytes (those that count) and files by folder."""

    size: Counter[str] = field(default_factory=Counter)
    files: Counter[str] = field(default_factory=Counter)


def patch_bytes(dataset: str) -> int:
    """An image of all dates in 16 bits, and its mask."""
    whole = WHOLE.datasets[dataset]
    dates, area = 2 if whole.task == "change" else 1, whole.prepare.patch_px**2
    return area * (2 * dates * len(bands.resolve(whole.prepare.bands)) + 1)


def latent_bytes(dataset: str, method: str) -> int:
    """Mean and standard deviation of all views of a patch in 16 bits."""
    autoencoder, dates = WHOLE.method(dataset, method).autoencoder, 2 if WHOLE.datasets[dataset].task == "change" else 1
    channels = dates * autoencoder.image.latent_channels + autoencoder.mask.latent_channels
    side = WHOLE.datasets[dataset].prepare.patch_px // autoencoder.image.downsampling
    return 2 * 2 * n_views(dataset, method) * channels * side**2


def bytes_of(job: Job) -> int:
    """What a job leaves, but for small files."""
    dataset, method = job.wildcards.get("dataset", ""), job.wildcards.get("method", "")
    match job.rule:
        case "prepare":
            return PATCHES[dataset].all * patch_bytes(dataset)
        case "encode":
            return (seen_patches(dataset, method) + PATCHES[dataset].val) * latent_bytes(dataset, method)
        case "sample":
            return n_drawn(dataset, method) * patch_bytes(dataset)
        case "draw_samples":
            return n_drawn(dataset, method) * patch_bytes(dataset) // int(job.wildcards["shards"])
        case "filter_samples":
            return n_drawn(dataset, method) * WHOLE.datasets[dataset].prepare.patch_px ** 2
        case "train_autoencoder":
            return FLOAT * parameters(dataset, method)["autoencoder"]
        case "train_diffusion":
            return FLOAT * parameters(dataset, method)["denoiser"]
        case "train_teacher" | "train_judge":
            return FLOAT * parameters(dataset, "teacher")["teacher"]
        case "train_downstream":
            return FLOAT * parameters(dataset, job.wildcards["network"])[job.wildcards["network"]]
    return 0


def disk(jobs: Sequence[Job], outputs: Counter[str]) -> Disk:
    """Bytes and files of jobs whose rules have so many output files.

    Files besides the outputs: of a job under the launcher its log, the record of its attempts and Snakemake's
    measurement; of any other its log; and a picture of every look that a generator's training takes at validation.
    """
    found = Disk()
    for rule, n in outputs.items():
        found.files[FOLDER.get(rule, OTHER)] += n
    for job in jobs:
        found.size[FOLDER.get(job.rule, OTHER)] += bytes_of(job)
        found.files[RECORDS] += LAUNCHED_FILES if job.rule in MEASURED else job.rule != "all"
        if job.rule in ("train_autoencoder", "train_diffusion"):
            settings = WHOLE.method(job.wildcards["dataset"], job.wildcards["method"])
            part = settings.autoencoder if job.rule == "train_autoencoder" else settings.diffusion
            found.files[OTHER] += part.validations
    return found


def largest_state(jobs: Sequence[Job]) -> int:
    """Bytes of the resumable states of the largest training."""
    trainings = ("train_autoencoder", "train_diffusion", "train_downstream")
    return STATE_COPIES * max(bytes_of(job) for job in jobs if job.rule in trainings)
