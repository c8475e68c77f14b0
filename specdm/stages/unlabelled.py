"""Images without labels that a generator learns from beside the labelled pairs."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from specdm import files
from specdm.errors import UserError
from specdm.labels import IGNORE
from specdm.patches import PatchSet, open_patches
from specdm.stages.batches import require_alike


class WithoutLabels(PatchSet):
    """A patch set whose masks are ignored everywhere, with the label set of the set that it is used beside."""

    def __init__(self, base: PatchSet, beside: PatchSet):
        super().__init__(base.folder, dataclasses.replace(base.meta, labels=beside.meta.labels))

    @cached_property
    def masks(self) -> np.ndarray:
        shape = np.load(self.folder / "masks.npy", mmap_mode="r").shape
        return np.broadcast_to(np.uint8(IGNORE), shape)

    @cached_property
    def index(self):
        index = super().index
        return index.assign(class_counts=[np.zeros(len(self.meta.labels), np.int64)] * len(index))

    @property
    def hash(self) -> str:
        return files.digest({"images of": self.meta.checksums["images"]})


def unlabelled_parts(
    patches: PatchSet, labelled: np.ndarray, folders: Sequence[Path]
) -> list[tuple[PatchSet, np.ndarray]]:
    """Sets without their labels and the positions of their training patches.

    Args:
        patches: the labelled set.
        labelled: positions of its patches whose labels are seen.
        folders: patch sets; `patches` itself stands for its training patches that are not among `labelled`.

    Raises:
        UserError: for sets of other bands, level, scale or patch size, or without a patch to use.
    """
    parts = []
    for folder in folders:
        base = open_patches(folder)
        require_alike(patches, base, classes=False)
        positions = base.ids("train")
        if folder.resolve() == patches.folder.resolve():
            positions = np.setdiff1d(positions, labelled)
        if not len(positions):
            raise UserError(f"{folder} holds no training patch beside those with labels: leave it out of unlabelled.")
        parts.append((WithoutLabels(base, patches), positions))
    return parts
