"""From stored digital numbers to reflectance and back, and where there is no data."""

from __future__ import annotations

import numpy as np

from specdm.patches.meta import PatchMeta


def to_reflectance(dn: np.ndarray, meta: PatchMeta) -> np.ndarray:
    """Digital numbers -> reflectance, float32, same shape. The only place that knows scale and offset's sense."""
    return dn.astype(np.float32) * np.float32(meta.scale) + np.float32(meta.offset)


def to_dn(refl: np.ndarray, meta: PatchMeta, dtype: np.dtype) -> np.ndarray:
    """Reflectance -> digital numbers of `dtype`; integers are rounded and clipped to their range."""
    dn = (refl - np.float32(meta.offset)) / np.float32(meta.scale)
    if np.issubdtype(dtype, np.integer):
        limits = np.iinfo(dtype)
        # The top of uint16 stays clear of 65535, and 0 is never produced where it means nodata.
        lowest = max(limits.min, 1) if meta.nodata == 0 else limits.min
        dn = np.clip(np.rint(dn), lowest, limits.max - 1)
    if meta.nodata:
        dn = np.where(dn == meta.nodata, meta.nodata + (1 if meta.nodata < 0 else -1), dn)
    return dn.astype(dtype)


def valid_pixels(dn: np.ndarray, nodata: float | None) -> np.ndarray:
    """Where an image holds data: (...,C,H,W) dn -> (...,H,W) bool, False where every band equals `nodata`."""
    valid = np.ones(dn.shape[:-3] + dn.shape[-2:], bool)
    if nodata is None:
        return valid
    empty = dn[..., 0, :, :] == nodata
    for band in range(1, dn.shape[-3]):
        if not empty.any():  # nearly always: then the other bands need no look
            return valid
        empty &= dn[..., band, :, :] == nodata
    return ~empty


def class_counts(masks: np.ndarray, classes: int) -> np.ndarray:
    """Labelled pixels of each class in masks (n,H,W) uint8: (n, classes) int64; ignored pixels count nowhere."""
    counts = [np.bincount(mask.ravel(), minlength=256)[:classes] for mask in masks]
    return np.array(counts, np.int64).reshape(-1, classes)  # also of no masks
