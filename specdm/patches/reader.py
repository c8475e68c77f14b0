"""The reader of patch sets: arrays are memory-mapped."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from specdm import files
from specdm.errors import UserError
from specdm.labels import IGNORE
from specdm.patches.meta import FILES, INDEX_COLUMNS, RECORD_COLUMNS, SCHEMA_VERSION, PatchMeta, PatchRecord
from specdm.patches.values import to_reflectance, valid_pixels


class PatchSet:
    """A patch set on disk: arrays are memory-mapped on first use, in each process for itself.

    Attributes:
        folder: where it lies.
        meta: its PatchMeta.
    """

    def __init__(self, folder: Path, meta: PatchMeta):
        self.folder, self.meta = folder, meta

    def __getstate__(self) -> dict:
        return {"folder": self.folder, "meta": self.meta}  # maps are opened anew in each worker

    def __len__(self) -> int:
        return len(self.masks)

    def __getitem__(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        """Patch i: its image (T,C,H,W) as stored and its mask (H,W), both copies in memory."""
        return np.array(self.images[i]), np.array(self.masks[i])

    @cached_property
    def images(self) -> np.ndarray:
        """(N,T,C,H,W) memory map, as stored."""
        return np.load(self.folder / "images.npy", mmap_mode="r")

    @cached_property
    def masks(self) -> np.ndarray:
        """(N,H,W) uint8 memory map."""
        return np.load(self.folder / "masks.npy", mmap_mode="r")

    @cached_property
    def index(self):
        """The index as a pandas DataFrame, one row a patch."""
        import pandas as pd

        return pd.read_parquet(self.folder / "index.parquet", columns=list(INDEX_COLUMNS))

    def records(self, positions: Sequence[int] | np.ndarray) -> list[PatchRecord]:
        """Rows of the index as a writer takes them."""
        rows = self.index[list(RECORD_COLUMNS)].iloc[np.asarray(positions)].to_dict("records")
        return [PatchRecord(**row | {"transform": tuple(float(x) for x in row["transform"])}) for row in rows]

    def ids(self, split: str) -> np.ndarray:
        """Positions of the patches of a split, in order."""
        return np.flatnonzero((self.index["split"] == split).to_numpy())

    def reflectance(self, positions: Sequence[int] | np.ndarray) -> np.ndarray:
        """Reflectance of some patches, (n,T,C,H,W) float32."""
        return to_reflectance(self.images[np.asarray(positions)], self.meta)

    def valid(self, positions: Sequence[int] | np.ndarray) -> np.ndarray:
        """Where some patches hold data, (n,T,H,W) bool."""
        return valid_pixels(self.images[np.asarray(positions)], self.meta.nodata)

    @property
    def hash(self) -> str:
        """A short hash of everything that a result can depend on."""
        described = self.meta.to_dict()
        return files.digest(
            {key: described[key] for key in ("checksums", "bands", "scale", "offset", "nodata", "labels")}
        )

    def to_xarray(self):
        """The set as an xarray.Dataset, see `patches.xarray_view`; xarray must be installed."""
        from specdm.patches.xarray_view import to_xarray

        return to_xarray(self)


def open_patches(folder: Path | str) -> PatchSet:
    """Open a patch set.

    Raises:
        UserError: when the folder is missing, incomplete or of another schema version.
    """
    folder = Path(folder)
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        raise UserError(f"{folder} is not a patch set, {missing[0]} is missing: make it with `specdm prepare`.")
    data = json.loads((folder / "meta.json").read_text())
    if data.get("schema_version") != SCHEMA_VERSION:
        raise UserError(
            f"{folder} has schema version {data.get('schema_version')}, not {SCHEMA_VERSION}: prepare it anew."
        )
    patches = PatchSet(folder, PatchMeta.from_dict(data))
    if len(patches.images) != len(patches.masks):
        raise UserError(f"{folder}: {len(patches.images)} images but {len(patches.masks)} masks: prepare it anew.")
    return patches


def require_labels(patches: PatchSet) -> None:
    """Refuse (UserError) a set without a single labelled pixel: there is nothing to learn about classes from it."""
    if not any(counts.any() for counts in patches.index["class_counts"]):
        raise UserError(f"{patches.folder} has no labels: train on a labelled set.")


def check_masks(patches: PatchSet) -> None:
    """Refuse masks with ids outside the label set, reading them in pieces.

    Raises:
        UserError: naming the first unknown id.
    """
    allowed = np.zeros(256, bool)
    allowed[[c.id for c in patches.meta.labels.classes] + [IGNORE]] = True
    for start in range(0, len(patches), 256):
        seen = np.unique(patches.masks[start : start + 256])
        if not allowed[seen].all():
            raise UserError(f"{patches.folder}: mask id {seen[~allowed[seen]][0]} is in no class: prepare it anew.")
