"""Pictures of patches: colour composites with fixed stretches, masks in their palette, real beside synthetic."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from specdm import bands, files
from specdm.patches import PatchMeta, PatchSet

GAP, SCALE = 4, 3


def stretch_limits(refl: np.ndarray, channels: list[int]) -> np.ndarray:
    """Limits (3,2) of a linear stretch, the 2nd and 98th percentile of three bands of reflectance (N,T,C,H,W)."""
    return np.array([np.percentile(refl[:, :, c], (2, 98)) for c in channels])


def to_rgb(refl: np.ndarray, channels: list[int], limits: np.ndarray) -> np.ndarray:
    """Reflectance (C,H,W) -> uint8 (H,W,3) of three bands with given limits (never per image: that hides errors)."""
    low, high = limits[:, 0], limits[:, 1]
    scaled = (np.moveaxis(refl[channels], 0, -1) - low) / np.maximum(high - low, 1e-6)
    return (255 * np.clip(scaled, 0, 1) ** 0.8).astype(np.uint8)


def pairs(patches: PatchSet, samples: PatchSet, real: np.ndarray, drawn: np.ndarray, path: Path) -> None:
    """Draw real pairs (left block) beside synthetic ones (right block): per row true colour, false colour and mask.

    With two dates both composites show both dates. The stretch is measured on the real patches and used for both.
    """
    from PIL import Image, ImageDraw

    refl = patches.reflectance(real)
    palette = patches.meta.labels.palette()
    blocks = []
    for data, positions in ((patches, real), (samples, drawn)):
        rows = []
        for image, mask in zip(data.reflectance(positions), data.masks[positions], strict=True):
            tiles = []
            for kind in ("rgb", "false"):
                channels = bands.composite(data.meta.bands, kind)
                limits = stretch_limits(refl, channels)
                tiles += [to_rgb(date, channels, limits) for date in image]
            rows.append(_join([*tiles, palette[mask]], axis=1))
        blocks.append(_join(rows, axis=0))
    sheet = np.pad(
        _join(blocks, axis=1, gap=4 * GAP), ((20 // SCALE + GAP, GAP), (GAP, GAP), (0, 0)), constant_values=255
    )
    scale = max(1, min(SCALE, 2400 // sheet.shape[1]))
    picture = Image.fromarray(np.repeat(np.repeat(sheet, scale, 0), scale, 1))
    draw = ImageDraw.Draw(picture)
    for text, left in (("real", GAP), (f"synthetic: {samples.meta.name}", GAP + blocks[0].shape[1] + 4 * GAP)):
        draw.text((left * scale, 2), f"{text}  (true colour | near infrared | mask)", fill=(0, 0, 0))
    with files.new_file(path) as temporary:
        picture.save(temporary, format="PNG")


def class_spectra(real: np.ndarray, synthetic: np.ndarray, meta: PatchMeta, path: Path) -> None:
    """Draw class-mean spectra, real (solid) beside synthetic (dashed), each class in its colour.

    Args:
        real, synthetic: mean reflectance (K,C); NaN for classes without pixels, which are left out.
        meta: names, colours and bands.
        path: the PNG to write.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    places = np.arange(len(meta.bands))
    for c, mean, drawn in zip(meta.labels.classes, real, synthetic, strict=True):
        if np.isfinite(mean).all() and np.isfinite(drawn).all():
            colour = tuple(0.85 * value / 255 for value in c.colour)  # white classes stay visible on white paper
            axes.plot(places, mean, color=colour, label=c.name)
            axes.plot(places, drawn, color=colour, linestyle="--")
    axes.set_xticks(places, meta.bands)
    axes.set(xlabel="band", ylabel="mean reflectance", title=f"{meta.name}: real (solid) and synthetic (dashed)")
    if axes.lines:
        axes.legend(fontsize="small", ncols=2)
    with files.new_file(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)


def _join(tiles: list[np.ndarray], axis: int, gap: int = GAP) -> np.ndarray:
    """Tiles (H,W,3) side by side (axis 1) or below each other (axis 0) with white gaps."""
    shape = list(tiles[0].shape)
    shape[axis] = gap
    white = np.full(shape, 255, np.uint8)
    parts = [part for tile in tiles for part in (white, tile)][1:]
    return np.concatenate(parts, axis=axis)
