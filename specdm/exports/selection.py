"""The patches that are exported, read piece by piece, and written file by file in several threads."""

from __future__ import annotations

import dataclasses
import os
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from specdm import rasters
from specdm.errors import UserError
from specdm.labels import IGNORE
from specdm.patches import SPLITS, PatchMeta, PatchRecord, PatchSet, open_patches
from specdm.progress import Progress
from specdm.sources.export_layout import RECORD, Checksums, record_of

CHUNK = 64  # patches in memory at once
THREADS = 8  # at most


@dataclass(frozen=True)
class Piece:
    """Some patches: images (n,T,C,H,W) and masks (n,H,W) in memory, and their records."""

    images: np.ndarray
    masks: np.ndarray
    records: list[PatchRecord]


class Selection:
    """All patches of a set, or those of one split, in the order of the set.

    Iterating gives them piece by piece, shows progress, and compares whole sets with their checksums.

    Args:
        patches: the set.
        split: "all", "train", "val" or "test".
        work: what is done, for the progress.

    Raises:
        UserError: when there is no such patch; while iterating, when a mask has an id of no class, or the arrays are
            not those that were written.
    """

    def __init__(self, patches: PatchSet, split: str = "all", work: str = "exporting"):
        self.patches, self.split, self.work = patches, split, work
        self.positions = np.arange(len(patches)) if split == "all" else patches.ids(split)
        if not len(self.positions):
            raise UserError(f"{patches.folder} has no patch in the split {split!r}: choose another --split.")
        self._checksums: dict | None = None

    def __len__(self) -> int:
        return len(self.positions)

    def __iter__(self) -> Iterator[Piece]:
        running, progress, dtype = Checksums(), Progress(self.work, len(self)), self.patches.images.dtype
        rows = self.patches.index[list(RECORD)]
        known = np.zeros(256, bool)
        known[[c.id for c in self.patches.meta.labels.classes] + [IGNORE]] = True
        try:
            for start in range(0, len(self), CHUNK):
                chosen = self.positions[start : start + CHUNK]
                # Maps are opened anew for every piece: the pages of an open map count as memory of the process.
                opened = PatchSet(self.patches.folder, self.patches.meta)
                images, masks = np.asarray(opened.images[chosen], dtype), opened.masks[chosen]
                piece = Piece(images, masks, [record_of(row) for row in rows.iloc[chosen].to_dict("records")])
                _check_ids(piece.masks, known, self.patches.folder)
                running.update(piece.images, piece.masks, piece.records)
                yield piece
                progress.update(start + len(chosen))
        finally:
            progress.close()
        if self.split == "all" and (changed := running.differing(self.patches.meta.checksums)):
            raise UserError(
                f"{self.patches.folder}: the {changed[0]} differ from the checksum in meta.json, they were changed or "
                "damaged: prepare the set anew."
            )
        self._checksums = running.found()

    @property
    def dates(self) -> int:
        """Images a patch."""
        return self.patches.images.shape[1]

    def splits(self) -> dict[str, int]:
        """Patches of each split."""
        counts = Counter(self.patches.index["split"].to_numpy()[self.positions])
        return {split: counts[split] for split in SPLITS}

    def meta(self) -> PatchMeta:
        """What the exported patches are, with their own checksums; after all of them were read."""
        assert self._checksums is not None, "the patches were not read to their end"
        return dataclasses.replace(self.patches.meta, checksums=self._checksums)

    def write_index(self, path: Path) -> None:
        """Write the rows of the index of the exported patches, outlines on the ground included."""
        from pyarrow import parquet

        table = parquet.read_table(self.patches.folder / "index.parquet")
        parquet.write_table(table.take(self.positions), path)


def _check_ids(masks: np.ndarray, known: np.ndarray, where: Path) -> None:
    strange = np.flatnonzero((np.bincount(masks.ravel(), minlength=256) > 0) & ~known)
    if len(strange):
        raise UserError(f"{where}: mask id {strange[0]} is in no class: prepare it anew.")


def select(folder: Path, split: str, to: str) -> Selection:
    """The patches of a folder, to be exported to a format.

    Raises:
        UserError: as `open_patches` and `Selection` do, and for arrays that are cut short.
    """
    try:
        patches = open_patches(folder)
    except ValueError as error:
        raise UserError(f"{folder}: a file is cut short or damaged: prepare the set anew.") from error
    return Selection(patches, split, f"exporting {patches.meta.name} to {to}")


def write_each(
    selection: Selection, write: Callable[[np.ndarray, np.ndarray, PatchRecord], None], threaded: bool = False
) -> None:
    """Call `write` with image (T,C,H,W), mask (H,W) and record of every patch.

    `threaded` pays where files are compressed: GDAL does that without Python's lock. Opening a file needs the lock, and
    where that is most of the work, threads are slower than one.
    """
    threads = min(THREADS, os.cpu_count() or 1) if threaded else 1
    with rasters.many_files(), ThreadPoolExecutor(threads) as pool:
        run = pool.map if threads > 1 else map
        for piece in selection:
            list(run(write, piece.images, piece.masks, piece.records))  # the list raises what a thread raised
