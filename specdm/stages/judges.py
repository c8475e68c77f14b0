"""Judges of pairs: networks trained on parts of the real data, and what scorers see of a patch set through them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from specdm.errors import UserError
from specdm.labels import IGNORE
from specdm.metrics.alignment import Seen
from specdm.metrics.class_models import ClassGaussians, pixel_spectra
from specdm.nn.teacher import Teacher
from specdm.patches import Normaliser, PatchSet
from specdm.progress import Progress
from specdm.stages.batches import Mixture
from specdm.stages.train_teacher import load_teacher

BATCH = 32


@dataclass(frozen=True)
class Judges:
    """Networks, each trained without some groups of the real training split, and the normaliser of their inputs.

    `ids` says which trainings they come from.
    """

    ids: tuple[str, ...]
    networks: tuple[Teacher, ...]
    held_out: tuple[frozenset[str], ...]
    normaliser: Normaliser
    device: torch.device

    def fold_of(self, groups: np.ndarray) -> np.ndarray:
        """Which judge does not know each group (N,), -1 where all of them do."""
        fold = np.full(len(groups), -1)
        for k, names in enumerate(self.held_out):
            fold[np.isin(groups, list(names))] = k
        return fold

    @torch.no_grad()
    def read(self, images: np.ndarray) -> np.ndarray:
        """Standardised images (N,T,C,H,W) -> class ids (N,R,H,W) that each of them reads."""
        x = torch.from_numpy(images).to(self.device)
        return torch.stack([n.predict_mask(x).argmax(1).to(torch.uint8) for n in self.networks], 1).cpu().numpy()


def load_judges(folders: Sequence[Path], patches: PatchSet, device: torch.device) -> Judges:
    """Load cross-fitted judges of a patch set.

    Raises:
        UserError: for judges of other patches, of one and the same part, or of no part at all.
    """
    loaded = [load_teacher(folder, device) for folder in folders]
    for folder, (_, _, config) in zip(folders, loaded, strict=True):
        if config["data_hash"] != patches.hash:
            raise UserError(f"{folder} was trained on other patches than {patches.folder}: train it anew.")
    parts = [config["fold"] for _, _, config in loaded]
    if None in parts or sorted(k for k, _ in parts) != list(range(parts[0][1])):
        raise UserError(f"{folders[0].parent}: give one judge for each of the parts it was trained with --fold.")
    return Judges(
        tuple(config["id"] for _, _, config in loaded),
        tuple(network for network, _, _ in loaded),
        tuple(frozenset(config["held_out"]) for _, _, config in loaded),
        loaded[0][1],
        device,
    )


def looks(
    patches: PatchSet, positions: np.ndarray, judges: Judges, spectra: Sequence[ClassGaussians], what: str
) -> Iterator[tuple[np.ndarray, Seen, np.ndarray]]:
    """Batches: rows of `positions`, what scorers see, masks; without readings where `spectra` is empty."""
    progress = Progress(f"{what} of {patches.meta.name}", len(positions))
    mixture = Mixture([(patches, positions)])
    for start in range(0, len(positions), BATCH):
        rows = np.arange(start, min(start + BATCH, len(positions)))
        batch = mixture.batch(rows, judges.normaliser)
        images, readings = batch.images.numpy(), {}
        if spectra:
            values, shape = pixel_spectra(images), (len(rows), *batch.masks.shape[1:])
            likely = [reader.likeliest(values).reshape(shape) for reader in spectra]
            readings = {"network": judges.read(images), "spectra": np.stack(likely, 1)}
        seen = Seen(judges.normaliser.invert(images), images, batch.valid.numpy(), readings)
        yield rows, seen, batch.masks.numpy().astype(np.uint8)
        progress.update(int(rows[-1]) + 1)


def with_readers(seen: Seen, readers: list[list[int]]) -> Seen:
    """The same with the readings of some readers for each patch, equally many."""
    chosen = np.array(readers)
    rows = np.arange(len(chosen))[:, None]
    return Seen(seen.refl, seen.images, seen.valid, {name: r[rows, chosen] for name, r in seen.readings.items()})


def part_of(seen: Seen, here: np.ndarray) -> Seen:
    readings = {name: r[here] for name, r in seen.readings.items()}
    return Seen(seen.refl[here], seen.images[here], seen.valid[here], readings)


def labelled_spectra(seen: Seen, masks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Spectra (n,D) and ids (n,) of pixels with a label and data of all dates."""
    ids = np.where(seen.valid.all(1), masks, IGNORE).ravel()
    return pixel_spectra(seen.images)[ids != IGNORE], ids[ids != IGNORE]
