"""A picture of information: the dates of some patches, their masks, and where image and mask speak for each other."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from specdm import figures, files
from specdm.patches import PatchMeta, PatchSet

COLOURS = "RdBu"  # red: image and mask speak against each other; told apart by the colour-blind
WITHIN = 98  # percentile of the sizes of all values that the colour scale ends at
PLACE = "#CC00CC"
TILE_IN = 1.9  # side of a patch in the picture, in inches


@dataclass(frozen=True)
class Place:
    """A square of a patch: its first row and column, which may lie outside, and its side, in pixels."""

    row: int
    col: int
    side: int


@dataclass(frozen=True)
class Case:
    """A labelled patch and its map: refl (T,C,H,W), valid (T,H,W), mask (H,W) ids, bits per cell (h,w)."""

    refl: np.ndarray
    valid: np.ndarray
    mask: np.ndarray
    bits: np.ndarray
    caption: str
    place: Place | None = None

    @classmethod
    def of(cls, patches: PatchSet, position: int, bits: np.ndarray, caption: str, place: Place | None = None) -> Case:
        """The case of a patch of a set."""
        refl, valid = (of([position])[0] for of in (patches.reflectance, patches.valid))
        return cls(refl, valid, patches.masks[position], np.array(bits), caption, place)


def panel(cases: Sequence[Case], meta: PatchMeta, of: str, path: Path, title: str) -> None:
    """Draw cases one below the other as PNG: the composite of every date, the mask, the map with one colour scale.

    One stretch is measured over all of them. The scale is symmetric about 0. `of` says what it is
    information of. The place of a case is outlined.
    """
    shown, colours = figures.composites(meta)[0], figures.palette(meta.labels)
    refl, valid = np.stack([case.refl for case in cases]), np.stack([case.valid for case in cases])
    limits = figures.stretch_limits(refl, shown.channels, valid)
    dates = refl.shape[1]
    largest = float(np.percentile(np.abs(np.stack([case.bits for case in cases])), WITHIN)) or 1.0
    figure = Figure(figsize=(TILE_IN * (dates + 2) + 1.2, (TILE_IN + 0.3) * len(cases) + 1.1), layout="constrained")
    figure.suptitle(textwrap.fill(title, 30 * (dates + 2)))
    axes = figure.subplots(len(cases), dates + 2, squeeze=False)
    height, width = cases[0].mask.shape
    whole = (-0.5, width - 0.5, height - 0.5, -0.5)
    for row, case in zip(axes, cases, strict=True):
        tiles = [figures.to_rgb(date, shown.channels, limits, ok) for date, ok in zip(case.refl, case.valid)]
        for axis, tile in zip(row, [*tiles, colours[case.mask]], strict=False):
            axis.imshow(tile, interpolation="nearest", extent=whole)
        drawn = row[-1].imshow(
            case.bits, cmap=COLOURS, vmin=-largest, vmax=largest, interpolation="nearest", extent=whole
        )
        for axis in row:
            axis.set_xticks([])
            axis.set_yticks([])
            if case.place is not None:
                corner = case.place.col - 0.5, case.place.row - 0.5
                axis.add_patch(
                    Rectangle(corner, case.place.side, case.place.side, fill=False, edgecolor=PLACE, linewidth=1.2)
                )
                axis.set_xlim(whole[:2])
                axis.set_ylim(whole[2:])
        row[0].set_title(case.caption, fontsize="small", loc="left")
    names = [shown.title + (f", date {t + 1}" if dates > 1 else "") for t in range(dates)]
    for axis, name in zip(axes[-1], [*names, "mask", f"information of the {of}"], strict=True):
        axis.set_xlabel(name)
    bar = figure.colorbar(drawn, ax=axes[:, -1], shrink=min(1.0, 2 / len(cases)), extend="both")
    bar.set_label("bits per cell")
    swatches = [Patch(facecolor=np.array(c.colour) / 255, edgecolor="0.5", label=c.name) for c in meta.labels.classes]
    figure.legend(handles=swatches, loc="outside lower center", ncols=min(len(swatches), 2 * (dates + 2)))
    with files.new_file(path) as temporary:
        figure.savefig(temporary, format="png", dpi=130)
