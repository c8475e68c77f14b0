"""Pictures of patches: colour composites with fixed stretches, masks in their palette, real beside synthetic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from specdm import bands, files
from specdm.labels import IGNORE, LabelSet
from specdm.patches import PatchMeta, PatchSet

GAP, SCALE = 4, 3
GREY = (128, 128, 128)  # of pixels without a label
OUTLINE = (255, 220, 0)  # of labelled areas over an image
_RANGES = {"blue": (430, 550), "green": (500, 620), "red": (600, 730), "infrared": (770, 910)}  # nm
_TITLES = {"rgb": "true colour", "false": "false colour"}


@dataclass(frozen=True)
class Composite:
    """Three bands shown as red, green and blue.

    Attributes:
        title: "true colour" or "false colour"; "bands" or "band" where the set holds no such bands or does not tell.
        channels: their positions in the stack.
        text: their names, and their wavelengths in nm where these are known.
    """

    title: str
    channels: list[int]
    text: str


def composites(meta: PatchMeta) -> list[Composite]:
    """How a set is shown: in true and in false colour, or once where both would be the same bands."""
    named = [bands.SENTINEL2[name].wavelength_nm if name in bands.SENTINEL2 else None for name in meta.bands]
    nm = meta.wavelengths_nm or named
    found: list[Composite] = []
    for kind, title in _TITLES.items():
        channels = bands.composite(meta.bands, kind, wavelengths_nm=wavelengths(meta))
        if all(channels != other.channels for other in found):
            wanted = zip(channels, bands.COMPOSITES[kind], strict=True)
            shows = all(_shows(meta.bands[c], nm[c], colour) for c, colour in wanted)
            one = len(set(channels)) == 1
            names = [named_band(meta.bands[c], nm[c]) for c in channels[: 1 if one else 3]]
            found.append(Composite(title if shows else "band" if one else "bands", channels, ", ".join(names)))
    return found


def _shows(name: str, nm: float | None, colour: str) -> bool:
    low, high = _RANGES[colour]
    return bands.colour(name) == colour or (nm is not None and low <= nm <= high)


def named_band(name: str, nm: float | None) -> str:
    """A band's name with its wavelength in nm; the latter alone where the name is nothing else ("665.5nm")."""
    if nm is None:
        return name
    return f"{nm:.0f} nm" if name == f"{nm:g}nm" else f"{name} {nm:.0f} nm"


def wavelengths(meta: PatchMeta) -> tuple[float, ...]:
    """Centre wavelengths of a set's bands in nm; empty when unknown."""
    return meta.wavelengths_nm or bands.wavelengths(meta.bands)


def palette(labels: LabelSet) -> np.ndarray:
    """Colours of the 256 possible ids of a mask as it is drawn, (256,3) uint8; pixels without a label are grey."""
    table = labels.palette()
    table[IGNORE] = GREY
    return table


def stretch_limits(refl: np.ndarray, channels: list[int], valid: np.ndarray | None = None) -> np.ndarray:
    """Limits (3,2) of a linear stretch, the 2nd and 98th percentile of three bands of reflectance (N,T,C,H,W).

    Only pixels that are `valid` (N,T,H,W) count if it is given; without any, the limits are 0 and 1. Where nearly all
    pixels have one value, the smallest and largest stand for the percentiles.
    """
    if valid is not None and not valid.any():
        return np.array([[0.0, 1.0]] * len(channels))
    limits = []
    for c in channels:
        values = refl[:, :, c] if valid is None else refl[:, :, c][valid]
        low, high = np.percentile(values, (2, 98))
        limits.append((low, high) if high > low else (values.min(), values.max()))
    return np.array(limits)


def to_rgb(refl: np.ndarray, channels: list[int], limits: np.ndarray, valid: np.ndarray | None = None) -> np.ndarray:
    """Reflectance (C,H,W) -> uint8 (H,W,3) of three bands with given limits (never per image: that hides errors).

    Pixels that are not `valid` (H,W) are black; a band without contrast, whose limits are equal, is mid grey.
    """
    low, high = limits[:, 0], limits[:, 1]
    scaled = (np.moveaxis(refl[channels], 0, -1) - low) / np.where(high > low, high - low, 1)
    scaled = np.where(high > low, np.clip(scaled, 0, 1), 0.5)
    if valid is not None:
        scaled[~valid] = 0
    return (255 * scaled**0.8).astype(np.uint8)


@dataclass(frozen=True)
class Block:
    """Some patches under one title: refl (n,T,C,H,W), masks (n,H,W) ids, valid (n,T,H,W) bool or None for all."""

    title: str
    refl: np.ndarray
    masks: np.ndarray
    valid: np.ndarray | None = None


def pairs(patches: PatchSet, samples: PatchSet, real: np.ndarray, drawn: np.ndarray, path: Path) -> None:
    """Draw real pairs (left block) beside synthetic ones (right block), see `blocks`."""
    shown = [
        Block(title, data.reflectance(positions), data.masks[positions], data.valid(positions))
        for title, data, positions in (
            ("real", patches, real),
            (f"synthetic: {samples.meta.name}", samples, drawn),
        )
    ]
    blocks(shown, patches.meta, path)


def blocks(shown: Sequence[Block], meta: PatchMeta, path: Path) -> None:
    """Draw blocks of patches side by side, a legend of the classes below: per row true colour, false colour and mask.

    With two dates both composites show both dates, and the first one outlines the mask's areas over the second date.
    The stretch is measured on the first block and used for all. Pixels without data are black, pixels without a label
    grey.
    """
    from PIL import Image, ImageDraw

    kinds, colours = composites(meta), palette(meta.labels)
    limits = [stretch_limits(shown[0].refl, c.channels, shown[0].valid) for c in kinds]
    columns = []
    for block in shown:
        valid = block.valid if block.valid is not None else np.ones_like(block.refl[:, :, 0], bool)
        rows = []
        for image, seen, mask in zip(block.refl, valid, block.masks, strict=True):
            tiles = [
                to_rgb(date, c.channels, stretch, ok)
                for c, stretch in zip(kinds, limits, strict=True)
                for date, ok in zip(image, seen, strict=True)
            ]
            if len(image) == 2:
                tiles[1][outline(mask)] = OUTLINE
            rows.append(_join([*tiles, colours[mask]], axis=1))
        columns.append(_join(rows, axis=0))
    sheet = np.pad(
        _join(columns, axis=1, gap=4 * GAP), ((28 // SCALE + GAP, GAP), (GAP, GAP), (0, 0)), constant_values=255
    )
    scale = max(1, min(SCALE, 2400 // sheet.shape[1]))
    sheet = np.repeat(np.repeat(sheet, scale, 0), scale, 1)
    legend = _legend(meta.labels, sheet.shape[1], GAP * scale)
    picture = Image.fromarray(np.concatenate([sheet, legend]))
    draw, left = ImageDraw.Draw(picture), GAP
    titles = [c.title for c in kinds]
    if shown[0].refl.shape[1] == 2:
        titles[0] += ", mask outlined on date 2"
    heading = " | ".join([*titles, "mask"])
    for block, column in zip(shown, columns, strict=True):
        draw.text((left * scale, 2), f"{block.title}\n{heading}", fill=(0, 0, 0))
        left += column.shape[1] + 4 * GAP
    with files.new_file(path) as temporary:
        picture.save(temporary, format="PNG")


def outline(mask: np.ndarray) -> np.ndarray:
    """Pixels (H,W) just outside areas: those that touch, on a side, a pixel of a higher id. No label, no outline."""
    ids = np.pad(np.where(mask == IGNORE, -1, mask.astype(int)), 1, constant_values=-1)
    around = np.max([ids[:-2, 1:-1], ids[2:, 1:-1], ids[1:-1, :-2], ids[1:-1, 2:]], axis=0)
    own = ids[1:-1, 1:-1]
    return (own >= 0) & (around > own)


def _legend(labels: LabelSet, width: int, left: int) -> np.ndarray:
    """Swatches and names of the classes in as many lines as they need, (h, width, 3)."""
    from PIL import Image, ImageDraw

    places, x, y = [], left, 0
    for c in labels.classes:
        needed = 22 + 7 * len(c.name) + 14
        if x > left and x + needed > width:
            x, y = left, y + 16
        places.append((x, y))
        x += needed
    picture = Image.new("RGB", (width, y + 20), "white")
    draw = ImageDraw.Draw(picture)
    for c, (x, y) in zip(labels.classes, places, strict=True):
        draw.rectangle((x, y + 1, x + 16, y + 12), fill=c.colour, outline=(120, 120, 120))
        draw.text((x + 22, y), c.name, fill="black")
    return np.asarray(picture)


def _join(tiles: list[np.ndarray], axis: int, gap: int = GAP) -> np.ndarray:
    """Tiles (H,W,3) side by side (axis 1) or below each other (axis 0) with white gaps."""
    shape = list(tiles[0].shape)
    shape[axis] = gap
    white = np.full(shape, 255, np.uint8)
    parts = [part for tile in tiles for part in (white, tile)][1:]
    return np.concatenate(parts, axis=axis)
