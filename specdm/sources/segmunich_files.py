"""The raw files of SegMunich: which there are, and the pixels of one."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from specdm import rasters
from specdm.errors import UserError
from specdm.labels import SEGMUNICH

_LISTS = ("train", "test", "val")  # the second split is called test in one copy of the data and val in another


@dataclass(frozen=True)
class RawFile:
    """One image and its label; `listed` is "train" or "test" (the lists named val count as test)."""

    id: str
    listed: str
    image: Path
    label: Path


def find_files(root: Path) -> list[RawFile]:
    """The files named by dataset/{train,test|val}.txt or dataset/metadata.csv, below `root` or its only such folder.

    Raises:
        UserError: when lists are missing or name files that are not there.
    """
    if not root.is_dir():
        raise UserError(f"{root} does not exist: fetch SegMunich with `specdm download segmunich`, or name its folder.")
    root = next((folder for folder in (root, *sorted(root.iterdir())) if (folder / "dataset").is_dir()), root)
    named = _read_metadata(root / "dataset" / "metadata.csv") or _read_lists(root / "dataset")
    found = []
    for folder, name in named:
        part = root / folder
        file = RawFile(
            f"{folder}/{name}",
            "train" if folder == "train" else "test",
            part / "img" / f"{name}.tif",
            part / "label" / f"{name}.tif",
        )
        found.append(file)
    absent = [p for f in found for p in (f.image, f.label) if not p.is_file()]
    if absent:
        raise UserError(
            f"{len(absent)} listed files are absent, the first is {absent[0]}: unpack the archive again "
            f"or mend the lists in {root / 'dataset'}."
        )
    return found


def _read_metadata(path: Path) -> list[tuple[str, str]]:
    if not path.is_file():
        return []
    with path.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    if not rows or not {"id", "source"} <= rows[0].keys() or any(r["source"] not in _LISTS for r in rows):
        raise UserError(f"{path} must have the columns id and source (train, test or val): fetch it again.")
    return [(row["source"], row["id"].strip()) for row in rows]


def _read_lists(folder: Path) -> list[tuple[str, str]]:
    named = []
    for part in _LISTS:
        path = folder / f"{part}.txt"
        if path.is_file():
            named += [(part, line.strip()) for line in path.read_text().splitlines() if line.strip()]
    if not named:
        raise UserError(f"{folder} holds no train.txt, test.txt, val.txt or metadata.csv with ids: unpack it again.")
    return named


def read_image(path: Path, channels: int) -> np.ndarray:
    """Pixels (C,H,W) of a file stored channel first, channel last or as pages; the axis of length `channels` decides.

    Raises:
        UserError: when no axis or two axes could be the bands, or the file is damaged, of a strange type or holds NaN.
    """
    pixels = rasters.read(path).pixels
    if pixels.dtype not in (np.uint16, np.int16, np.float32):
        raise UserError(f"{path} holds {pixels.dtype} pixels: SegMunich images are uint16, int16 or float32.")
    if not np.isfinite(pixels).all():
        raise UserError(f"{path} holds NaN or infinite values: fill them with 0 (no data), then prepare again.")
    first, last = pixels.shape[0] == channels, pixels.shape[2] == channels
    if first and last:
        raise UserError(
            f"{path} has shape {pixels.shape}, in which the bands could be first or last: store them first."
        )
    if not first and not last:
        raise UserError(
            f"{path} has shape {pixels.shape} but {channels} bands are declared: declare the bands that the file holds."
        )
    return pixels if first else np.moveaxis(pixels, 2, 0)


def read_label(path: Path, shape: tuple[int, int]) -> np.ndarray:
    """Class ids (H,W) uint8 of a label file that must have `shape` (H,W).

    Raises:
        UserError: for unknown codes, another size or a damaged file.
    """
    pixels = rasters.read(path).pixels
    if pixels.shape != (1, *shape):
        raise UserError(f"{path} has shape {pixels.shape} but its image is {shape}: fetch the pair again.")
    return SEGMUNICH.remap(pixels[0], path)
