"""The first reading of SegMunich: which patches stay, what they show, and which of them share ground."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from specdm.errors import UserError
from specdm.labels import SEGMUNICH
from specdm.patches import valid_pixels
from specdm.progress import Progress
from specdm.sources import ground
from specdm.sources.segmunich_files import RawFile, read_image, read_label
from specdm.sources.windows import windows

NODATA = 0  # in all bands
WINDOW, STRIDE = 128, 64  # of the published files, in pixels of the mosaic


@dataclass(frozen=True)
class Scan:
    """What is kept of the n patches that passed cleaning.

    Attributes:
        file: number of the file of each, (n,).
        corner: (row, col) of each within its file, (n,2).
        classes: pixels by class of each, (n,K).
        keys: the ground keys of each file (see `ground`).
        blank: patches that did not pass.
        spectra: mean digital numbers by class over all files, (K,C); NaN for classes that do not occur.
    """

    file: np.ndarray
    corner: np.ndarray
    classes: np.ndarray
    keys: list[list]
    blank: int
    spectra: np.ndarray


def scan_files(
    files: Sequence[RawFile], channels: int, patch_px: int, max_background: float, pattern: str | None
) -> Scan:
    """Read every file once; drop patches of `patch_px` with more than `max_background` background or no data.

    Raises:
        UserError: for files that are damaged, ill-shaped or without a position by `pattern`.
    """
    file, corner, classes, keys, blank = [], [], [], [], 0
    pixels, sums = np.zeros((len(SEGMUNICH), 1)), np.zeros((len(SEGMUNICH), channels))
    progress = Progress("reading SegMunich", len(files), "files")
    for number, raw in enumerate(files):
        image = read_image(raw.image, channels)
        label = read_label(raw.label, image.shape[1:])
        tiles = windows(*label.shape, patch_px, patch_px)
        if not tiles:
            raise UserError(f"{raw.image} is {label.shape} pixels, smaller than patch_px {patch_px}: lower patch_px.")
        for k in np.unique(label[label < len(SEGMUNICH)]):
            here = label == k
            pixels[k] += here.sum()
            sums[k] += image[:, here].sum(axis=1, dtype=np.float64)
        empty = (label == 0) | ~valid_pixels(image, NODATA)
        for row, col in tiles:
            here = np.s_[row : row + patch_px, col : col + patch_px]
            if empty[here].mean() > max_background:
                blank += 1
                continue
            file.append(number)
            corner.append((row, col))
            classes.append(np.bincount(label[here].ravel(), minlength=256)[: len(SEGMUNICH)])
        keys.append(_keys(raw, image, pattern))
        progress.update(number + 1)
    with np.errstate(invalid="ignore"):
        return Scan(np.array(file, int), np.array(corner, int), np.array(classes), keys, blank, sums / pixels)


def _keys(raw: RawFile, image: np.ndarray, pattern: str | None) -> list:
    if pattern is None:
        return ground.quadrant_keys(image)
    found = _position(raw, pattern)
    if "position" in found:
        return [found["position"]]
    # 32 px: half the stride of the real windows; other strides are rounded outwards, on the safe side.
    return ground.cell_keys(int(found["row"]), int(found["col"]), max(image.shape[1:]), cell=32)


def _position(raw: RawFile, pattern: str) -> dict[str, str]:
    found = re.search(pattern, raw.image.stem)
    named = found.groupdict() if found else {}
    if not ("position" in named or {"row", "col"} <= named.keys()):
        raise UserError(
            f"{raw.image} has no position by the pattern {pattern!r}: name the groups row and col, or position, in it."
        )
    return named


def group_patches(files: Sequence[RawFile], scan: Scan, pattern: str | None, block_px: int) -> tuple[np.ndarray, str]:
    """Spatial group of each patch (texts) and how it was found."""
    if pattern is None:
        places = max(1, (block_px // STRIDE) ** 2)
        number, largest = ground.blocks([scan.keys[f] for f in scan.file], places)
        note = f"identical quadrants chain {largest:.0%} of the places, cut into blocks of at most {places} places"
        return np.array([f"block{n:04}" for n in number], object), note
    found = [_position(files[f], pattern) for f in scan.file]
    if "position" in found[0]:
        note = "one for each position of the file names; neighbours that overlap are NOT recognised"
        return np.array([f"position{p['position']}" for p in found], object), note
    named = [f"block_{int(p['row']) // block_px:03}_{int(p['col']) // block_px:03}" for p in found]
    return np.array(named, object), f"blocks of {block_px} px by the positions in the file names"
