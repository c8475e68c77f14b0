"""Encode patches once: posterior mean and standard deviation of every view, and the latents' own scale."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from specdm import files, provenance
from specdm.errors import UserError
from specdm.model import TrainedAutoencoder
from specdm.nn.autoencoder import one_hot
from specdm.nn.conditions import class_fractions
from specdm.nn.views import VIEWS
from specdm.patches import open_patches
from specdm.progress import Progress
from specdm.stages.batches import Mixture, seen_patches
from specdm.stages.unlabelled import unlabelled_parts

STAGE_VERSION = 4
FILES = ("mean.npy", "std.npy", "fractions.npy", "ids.json", "meta.json")


@torch.no_grad()
def encode(
    patches_folder: Path,
    autoencoder: Path,
    out: Path,
    augment: str,
    swap_dates: bool = False,
    unlabelled: Sequence[Path] = (),
    batch: int = 32,
) -> str:
    """Write the latents of the training patches that the autoencoder saw, and of the validation split.

    `out` receives mean.npy and std.npy, both (N,V,Z,h,w) float16: labelled training patches, validation patches, and
    then those without labels, whose mask channels mean nothing; fractions.npy, (N,K) float32 class fractions of the
    labelled pixels, NaN where there are none; and meta.json with n_train, n_val, n_unlabelled, `swapped` (V) and the
    per-channel mean and standard deviation of the labelled training latents, which make each channel of each stream
    unit variance for the denoiser. Views are flips and rotations; `swap_dates` adds each with its two dates in the
    other order; `unlabelled` are the patch sets that the autoencoder saw without labels.

    Returns:
        What was made, in words.

    Raises:
        UserError: when the patches, with labels or without, are not those the autoencoder was trained on.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    patches, trained = open_patches(patches_folder), TrainedAutoencoder.load(autoencoder, device)
    if trained.config["data_hash"] != patches.hash:
        raise UserError(f"{autoencoder} was trained on other patches than {patches_folder}: train it anew.")
    train, val = seen_patches(patches, trained.config["subset"]), patches.ids("val")
    labelled, parts = np.concatenate([train, val]), unlabelled_parts(patches, train, unlabelled)
    if trained.config.get("unlabelled", []) != [part.hash for part, _ in parts]:
        raise UserError(f"{autoencoder} was trained beside other unlabelled patches: name the same, or train it anew.")
    mixture = Mixture([(patches, labelled), *parts])
    swap = swap_dates and patches.images.shape[1] == 2
    views = [(k, swapped) for swapped in ((False, True) if swap else (False,)) for k in VIEWS[augment]]
    network = trained.network
    classes, (h, w) = len(patches.meta.labels), patches.masks.shape[1:]
    z, f = network.latent_channels, network.downsampling
    shape = (len(mixture), len(views), z, h // f, w // f)
    count, total, squares = 0, np.zeros(z), np.zeros(z)
    progress = Progress(f"encoding {patches.meta.name}", len(mixture))
    with files.new_folder(out, last="meta.json") as folder:
        mean, std = (_new_array(folder / name, shape) for name in FILES[:2])
        for start in range(0, len(mixture), batch):
            rows = np.arange(start, min(start + batch, len(mixture)))
            for v, (k, swapped) in enumerate(views):
                data = mixture.batch(rows, trained.normaliser, np.full(len(rows), k)).to(device)
                images = data.images.flip(1) if swapped else data.images
                posterior = network.encode(images, one_hot(data.masks, classes))
                mean[rows, v] = posterior.mean.cpu().numpy()
                std[rows, v] = posterior.std.cpu().numpy()
            seen = rows[rows < len(train)]
            if len(seen):
                m, s = mean[seen].astype(np.float64), std[seen].astype(np.float64)
                count += m.size // z
                total += m.sum((0, 1, 3, 4))
                squares += (m**2 + s**2).sum((0, 1, 3, 4))  # E[z^2] of a draw is mean^2 + std^2
            progress.update(int(rows[-1]) + 1)
        mean.flush()
        std.flush()
        counts = np.zeros((len(mixture), classes), np.int64)
        counts[: len(labelled)] = np.stack(patches.index["class_counts"].to_numpy()[labelled])
        np.save(folder / "fractions.npy", class_fractions(torch.from_numpy(counts)).numpy())
        (folder / "ids.json").write_text(json.dumps(mixture.ids()) + "\n")
        centre = total / count
        meta = {
            "id": files.digest([trained.config["id"], augment, swap, STAGE_VERSION]),
            "autoencoder": trained.config["id"],
            "data_hash": patches.hash,
            "name": patches.meta.name,
            "n_train": len(train),
            "n_val": len(val),
            "n_unlabelled": len(mixture) - len(labelled),
            "shape": list(shape[2:]),
            "mean": centre.tolist(),
            "std": np.sqrt(np.maximum(squares / count - centre**2, 1e-12)).tolist(),
            "streams": trained.config["streams"],
            "swapped": [swapped for _, swapped in views],
            "meta": trained.config["data"]["meta"],
            "provenance": provenance.stamp("encode", STAGE_VERSION, None, {"augment": augment, "swap_dates": swap}),
        }
        (folder / "meta.json").write_text(files.to_json(meta))
    return f"{len(mixture)} patches in {len(views)} views, {z} x {h // f} x {w // f} latents in {out}"


def _new_array(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """A float16 array on disk, its space taken at once: a disk that fills up under a memory map kills the process."""
    array = np.lib.format.open_memmap(path, "w+", dtype=np.float16, shape=shape)
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as stream:
            os.posix_fallocate(stream.fileno(), 0, path.stat().st_size)
    return array


@dataclass(frozen=True)
class Latents:
    """Encoded patches: mean and std (N,V,Z,h,w) as memory maps, and their meta.json."""

    folder: Path
    meta: dict

    @cached_property
    def mean(self) -> np.ndarray:
        return np.load(self.folder / "mean.npy", mmap_mode="r")

    @cached_property
    def fractions(self) -> torch.Tensor:
        return torch.from_numpy(np.load(self.folder / "fractions.npy"))

    @cached_property
    def ids(self) -> list[str]:
        return json.loads((self.folder / "ids.json").read_text())

    @cached_property
    def swapped(self) -> torch.Tensor:
        return torch.tensor(self.meta["swapped"])

    @cached_property
    def std(self) -> np.ndarray:
        return np.load(self.folder / "std.npy", mmap_mode="r")

    def draw(self, rows: np.ndarray, views: np.ndarray, noise: torch.Tensor) -> torch.Tensor:
        """Normalised draws from the posteriors of some patches in some views, (n,Z,h,w) float32."""
        mean, std = (torch.from_numpy(a[rows, views].astype(np.float32)) for a in (self.mean, self.std))
        centre, scale = (torch.tensor(self.meta[key]).view(-1, 1, 1) for key in ("mean", "std"))
        return (mean + std * noise - centre) / scale


def open_latents(folder: Path) -> Latents:
    """Open encoded patches.

    Raises:
        UserError: when the folder is missing or incomplete.
    """
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        raise UserError(f"{folder} holds no latents, {missing[0]} is missing: make them with `specdm encode`.")
    return Latents(folder, json.loads((folder / "meta.json").read_text()))
