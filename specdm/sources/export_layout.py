"""Files of exported patch sets: their names, the rows of their index, their checksums; for writers and readers."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from urllib.parse import quote

import numpy as np

from specdm import files
from specdm.patches import PatchRecord

IMAGES, MASKS = "images", "masks"  # folders of the layout geotiff
INDEX, META = "index.parquet", "meta.json"
PARTS = ("image.npy", "mask.npy", "json")  # of a sample of the layout webdataset
RECORD = tuple(f.name for f in fields(PatchRecord))


def file_name(patch_id: str) -> str:
    """A patch id as a file name without a suffix: letters, digits, `_`, `-` and `~` stay, the rest becomes %XX.

    No two ids share one. Dots are coded as well: the key of a WebDataset sample ends at the first one.
    """
    return quote(patch_id, safe="").replace(".", "%2E")


def image_files(folder: Path, patch_id: str, dates: int) -> list[Path]:
    """The GeoTIFFs of a patch in the layout geotiff, one a date: <id>.tif, or <id>_1.tif and <id>_2.tif."""
    ends = [""] if dates == 1 else [f"_{t}" for t in range(1, dates + 1)]
    return [folder / IMAGES / f"{file_name(patch_id)}{end}.tif" for end in ends]


def mask_file(folder: Path, patch_id: str) -> Path:
    """The GeoTIFF of a patch's mask in the layout geotiff."""
    return folder / MASKS / f"{file_name(patch_id)}.tif"


def record_of(row: Mapping) -> PatchRecord:
    """The record of a row of an index; other columns are left out."""
    values = {name: row[name] for name in RECORD}
    place = values["transform"]
    values["transform"] = tuple(float(v) for v in place) if place is not None else ()
    return PatchRecord(**values | {key: int(values[key]) for key in ("row", "col")})


class Checksums:
    """The checksums of a patch set, as its writer computes them, from its patches piece by piece."""

    def __init__(self) -> None:
        self._arrays = {"images": hashlib.sha256(), "masks": hashlib.sha256()}
        self._rows: list[list[str]] = []

    def update(self, images: np.ndarray, masks: np.ndarray, records: Sequence[PatchRecord]) -> None:
        """Add patches, in the order of the set: images (n,T,C,H,W), masks (n,H,W), their records."""
        for name, array in (("images", images), ("masks", masks)):
            self._arrays[name].update(memoryview(np.ascontiguousarray(array)).cast("B"))
        self._rows += [[r.id, r.split, r.group] for r in records]

    def found(self) -> dict[str, str]:
        """The checksums of all patches added."""
        arrays = {name: running.hexdigest() for name, running in self._arrays.items()}
        return arrays | {"index": files.digest(self._rows)}

    def differing(self, written: Mapping[str, str]) -> list[str]:
        """Which parts (images, masks, index) differ from the checksums that were written; unwritten ones do not."""
        return [name for name, found in self.found().items() if written.get(name, found) != found]


def shard_name(split: str, number: int) -> str:
    """The file of a shard in the layout webdataset."""
    return f"{split}-{number:06d}.tar"
