"""A picture of samples beside the training patches that they resemble most, turned and shifted to fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from specdm import figures, files
from specdm.patches import PatchMeta

TILE = 128  # px: smaller patches are enlarged to this or a little more
GAP = 4
OUTLINE = (255, 0, 255)  # land cover looks like this in no composite


@dataclass(frozen=True)
class Case:
    """A sample and the training patch that resembles it.

    Attributes:
        sample, training: reflectance (T,C,H,W); the training patch turned as the sample is, its dates in that order.
        sample_mask, training_mask: ids (H,W), turned alike.
        shift_px: rows and columns by which the training patch is moved to fit, down and right.
        caption: what is said of them, in a line or two.
    """

    sample: np.ndarray
    sample_mask: np.ndarray
    training: np.ndarray
    training_mask: np.ndarray
    shift_px: tuple[int, int]
    caption: str


def copy_panel(
    cases: Sequence[Case], margin_px: int, window_px: int, limits: np.ndarray, meta: PatchMeta, path: Path
) -> None:
    """Draw cases one below the other: the sample's dates and mask, then the training patch's; no cases, a line of text.

    The compared window is outlined in both; what the moved training patch does not cover is black.

    Args:
        cases: what is shown.
        margin_px, window_px: first row and column, and side, of the compared window in the sample.
        limits: (3,2) stretch of the first composite of `figures.composites`, the same for all.
        meta: of the training patches.
        path: the PNG to write.
    """
    shown = figures.composites(meta)[0]
    strips = [
        _text(f"{shown.title}: {shown.text}; left the sample, right the training patch turned and shifted to fit")
    ]
    for case in cases:
        enlarge = max(1, -(-TILE // case.sample_mask.shape[0]))
        box = tuple(enlarge * edge for edge in (margin_px, margin_px + window_px))
        everywhere = np.ones(case.sample_mask.shape, bool)
        covered = _moved(everywhere, case.shift_px)
        sides = []
        for refl, mask, there in (
            (case.sample, case.sample_mask, everywhere),
            (_moved(case.training, case.shift_px), _moved(case.training_mask, case.shift_px), covered),
        ):
            tiles = [figures.to_rgb(date, shown.channels, limits, there) for date in refl]
            tiles.append(np.where(there[..., None], figures.palette(meta.labels)[mask], 0).astype(np.uint8))
            sides.append(_beside([_outlined(tile, enlarge, *box) for tile in tiles], GAP))
        strips += [_text(case.caption), _beside(sides, 4 * GAP)]
    if not cases:
        strips.append(_text("no case to show: nothing could be compared"))
    width = max(strip.shape[1] for strip in strips)
    sheet = np.concatenate(
        [np.pad(s, ((GAP, 0), (GAP, GAP + width - s.shape[1]), (0, 0)), constant_values=255) for s in strips]
    )
    with files.new_file(path) as temporary:
        Image.fromarray(sheet).save(temporary, format="PNG")


def _moved(x: np.ndarray, shift_px: tuple[int, int]) -> np.ndarray:
    """x (...,H,W) moved down and right, zero where nothing comes from."""
    out = np.zeros_like(x)
    (to_row, from_row), (to_col, from_col) = (
        (slice(max(s, 0), n + min(s, 0)), slice(max(-s, 0), n - max(s, 0)))
        for s, n in zip(shift_px, x.shape[-2:], strict=True)
    )
    out[..., to_row, to_col] = x[..., from_row, from_col]
    return out


def _outlined(tile: np.ndarray, enlarge: int, start: int, stop: int) -> np.ndarray:
    """An enlarged tile with a line around rows and columns start..stop - 1."""
    large = np.repeat(np.repeat(tile, enlarge, 0), enlarge, 1)
    for edge in (start, stop - 1):
        large[edge, start:stop] = large[start:stop, edge] = OUTLINE
    return large


def _beside(parts: Sequence[np.ndarray], gap: int) -> np.ndarray:
    white = np.full((parts[0].shape[0], gap, 3), 255, np.uint8)
    return np.concatenate([x for part in parts for x in (white, part)][1:], axis=1)


def _text(text: str) -> np.ndarray:
    """A strip of black text as wide as it is."""
    paper = Image.new("RGB", (1, 1))
    _, _, right, bottom = ImageDraw.Draw(paper).multiline_textbbox((0, 0), text, spacing=3)
    picture = Image.new("RGB", (int(right) + 1, int(bottom) + 2), "white")
    ImageDraw.Draw(picture).multiline_text((0, 0), text, fill="black", spacing=3)
    return np.asarray(picture)
