"""Strong augmentation of training patches: zoom, pasted objects, CutMix, gain and offset, band dropout."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import generate_binary_structure, label

from specdm.settings.augmentation import StrongAugmentation

CHANGED = 1  # the class of changed pixels in masks of change detection
EIGHT = generate_binary_structure(2, 2)
AREA = (0.1, 0.5)  # of a patch, taken by CutMix
ASPECT = 2.0  # largest of a rectangle, relative to the patch's: with half the area, one side is the patch's whole


class Patch(NamedTuple):
    """One patch: images (T,C,H,W) float32 standardised, 0 without data; mask (H,W) int64, 255 = no label.

    valid (T,H,W) bool tells the pixels with data.
    """

    images: NDArray[np.float32]
    mask: NDArray[np.int64]
    valid: NDArray[np.bool_]


class _Axis(NamedTuple):
    """Where each pixel of a zoomed axis comes from, all (n,): x[below] + weight * (x[below + 1] - x[below])."""

    nearest: NDArray[np.intp]
    below: NDArray[np.intp]
    weight: NDArray[np.float32]


# Reflectance x = s z + m of a band with mean m and standard deviation s, gain g and offset o (in s):
# x' = g x + o s   <=>   z' = g z + (g - 1) m / s + o
def strong(
    patch: Patch, other: Patch, rng: np.random.Generator, mean_over_std: NDArray, settings: StrongAugmentation
) -> Patch:
    """A patch zoomed, with pixels of another one, other gains and offsets, and fewer bands; always new arrays.

    A pixel of the other patch, equally zoomed by a draw of its own, keeps its place and comes whole: all dates, label
    and validity, whatever lay there, pixels without label or data as well. Pixels without data stay 0 and invalid.

    Args:
        patch: the patch to augment.
        other: a patch of the same shape, the source of pasted objects (two dates only) and of CutMix.
        rng: the source of all randomness.
        mean_over_std: mean / standard deviation of reflectance of each band, (C,), see Normaliser.
        settings: how strong.
    """
    # ASSUME: the paper names no augmentation; these are usual ones, with radiometry drawn for each band and date
    pasting = len(patch.images) == 2 and rng.random() < settings.paste
    mixing = rng.random() < settings.cutmix
    images, mask, valid = _zoomed(patch, rng, settings.zoom)
    if pasting or mixing:
        source = _zoomed(other, rng, settings.zoom)
        # Objects and rectangle come from the same place of the same patch: pasting one after the other is their union.
        taken = _some_objects(source.mask == CHANGED, rng) if pasting else np.zeros(mask.shape, bool)
        if mixing:
            taken[_rectangle(mask.shape, rng)] = True
        for own, foreign in zip((images, mask, valid), source, strict=True):
            np.copyto(own, foreign, where=taken)

    dates, bands = images.shape[:2]
    gain = rng.uniform(1 - settings.gain, 1 + settings.gain, (dates, bands))
    shift = (gain - 1) * mean_over_std + rng.uniform(-settings.offset, settings.offset, (dates, bands))
    kept = _kept_bands(bands, rng, settings.band_dropout)
    images *= (gain * kept).astype(np.float32)[..., None, None]
    images += (shift * kept).astype(np.float32)[..., None, None]
    images *= valid[:, None]  # zoom and shift have filled the pixels without data
    return Patch(images, mask, valid)


def _zoomed(patch: Patch, rng: np.random.Generator, largest: float) -> Patch:
    """A crop of a patch enlarged to the patch's size: images bilinear, mask and validity from the nearest pixel.

    Pixels without data have no part in their neighbours: the weights of those with data are scaled to sum to one.
    """
    factor = largest ** rng.random()
    rows, columns = (_axis(n, factor, rng.random()) for n in patch.mask.shape)
    mask, valid = (x.take(rows.nearest, -2).take(columns.nearest, -1) for x in (patch.mask, patch.valid))
    images = np.empty_like(patch.images)
    for date, band in np.ndindex(images.shape[:2]):  # one at a time stays in the processor's cache
        images[date, band] = _bilinear(patch.images[date, band], rows, columns)
    for date, held in enumerate(patch.valid):
        if not held.all():
            share = _bilinear(held.astype(np.float32), rows, columns)  # of the weights; the nearest alone has 1/4
            images[date] /= np.maximum(share, 0.2)
    return Patch(images, mask, valid)


def _axis(n: int, factor: float, place: float) -> _Axis:
    """An axis of n pixels zoomed by a factor; place 0..1 of the crop: 0 at the start, 1 at the end."""
    centres = place * (n - n / factor) + (np.arange(n) + 0.5) / factor  # pixel i reaches from i to i + 1
    below = np.floor(centres - 0.5)
    weight = (centres - 0.5 - below).astype(np.float32)
    return _Axis(centres.astype(np.intp), below.astype(np.intp), weight)


def _bilinear(x: NDArray[np.float32], rows: _Axis, columns: _Axis) -> NDArray[np.float32]:
    """x (H,W) at the crossings of two zoomed axes, a new array of the same shape."""
    for axis, (_, below, weight) in enumerate((rows, columns)):
        low, high = (x.take(i, axis, mode="clip") for i in (below, below + 1))  # clip: the rim repeats beyond the patch
        x = low + np.expand_dims(weight, 1 - axis) * (high - low)
    return x


def _some_objects(mask: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.bool_]:
    """The mask (H,W) of some of its connected regions (eight neighbours): each with probability 1/2, one at least."""
    regions, n = label(mask, EIGHT)
    chosen = np.append(False, rng.random(n) < 0.5)  # region 0 is the background
    if n and not chosen.any():
        chosen[rng.integers(1, n + 1)] = True
    return chosen[regions]


def _rectangle(shape: tuple[int, ...], rng: np.random.Generator) -> tuple[slice, ...]:
    """A random rectangle inside a patch of a shape (H,W)."""
    area, aspect = rng.uniform(*AREA), ASPECT ** rng.uniform(-1, 1)
    sides = [round(n * np.sqrt(share)) for n, share in zip(shape, (area * aspect, area / aspect), strict=True)]
    starts = [rng.integers(n - side + 1) for n, side in zip(shape, sides, strict=True)]
    return tuple(slice(start, start + side) for start, side in zip(starts, sides, strict=True))


def _kept_bands(bands: int, rng: np.random.Generator, dropout: float) -> NDArray[np.bool_]:
    """The bands that are not replaced by their mean (0 when standardised), (C,): one at least."""
    kept = rng.random(bands) >= dropout
    if not kept.any():
        kept[rng.integers(bands)] = True
    return kept
