"""Patch sets of noise, for timing what does not depend on what the patches show."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from specdm import bands
from specdm.labels import OSCD, SEGMUNICH
from specdm.patches import PatchMeta, PatchRecord, PatchWriter


def patch_set(folder: Path, dates: int, px: int, splits: Sequence[str]) -> Path:
    """A patch set with the paper's bands and the classes of the task (change for two dates), a patch for each split."""
    rng, names = np.random.default_rng(0), bands.resolve("paper")
    labels = SEGMUNICH if dates == 1 else OSCD
    meta = PatchMeta("noise", "none", "BOA", names, 1e-4, 0.0, 0, labels)
    with PatchWriter(folder, meta, (dates, len(names), px, px), "uint16") as writer:
        images = rng.integers(1, 10000, (len(splits), dates, len(names), px, px), np.uint16)
        masks = rng.integers(0, len(labels), (len(splits), px, px), np.uint8)
        writer.append(images, masks, [PatchRecord(f"{i}", split, split, "noise") for i, split in enumerate(splits)])
    return folder
