"""Spectral fidelity: angles between spectra, sums of the spectra of classes, and errors of a reconstruction."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from specdm.errors import UserError

MIN_SPECTRUM = 1e-3  # reflectance; below this norm (10 DN of Sentinel-2) a spectrum has no direction worth measuring


# theta = 2 atan2(|u - v|, |u + v|),  u = a/|a|, v = b/|b|
def spectral_angle(a: ArrayLike, b: ArrayLike) -> NDArray[np.float64]:
    """Angle in radians, 0..pi, between spectra along the last axis, which is removed; float64, NaN for a zero spectrum.

    Equals arccos(<a, b> / |a||b|) without its loss of digits near 0 and pi.
    """
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    length_a, length_b = np.linalg.norm(a, axis=-1, keepdims=True), np.linalg.norm(b, axis=-1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        u, v = a / length_a, b / length_b
    return 2 * np.arctan2(np.linalg.norm(u - v, axis=-1), np.linalg.norm(u + v, axis=-1))


def patch_sums(
    refl: ArrayLike, masks: ArrayLike, classes: int, ignore: int = 255, valid: NDArray[np.bool_] | None = None
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Sums (N,K,C) of the reflectance (N,T,C,H,W) of every patch and class of masks (N,H,W), and pixel counts (N,K).

    Pixels that are `ignore` or not valid (N,T,H,W) drop. UserError for a label outside the classes, or a value that is
    no number.
    """
    # ASSUME: with two dates both count towards the class of their pixel (the paper gives mSAD for one date only).
    refl, masks = np.asarray(refl), np.asarray(masks)
    n, dates, bands, height, width = refl.shape
    labels = np.broadcast_to(masks[:, None], (n, dates, height, width))
    keep = labels != ignore if valid is None else (labels != ignore) & valid
    ids = labels[keep].astype(np.int64)
    if ids.size and (ids.min() < 0 or ids.max() >= classes):
        raise UserError(f"class spectra: a mask holds an id outside 0..{classes - 1}; use its own label set.")
    cells = ids + classes * np.nonzero(keep)[0]
    counts = np.bincount(cells, minlength=n * classes)
    weighted = [np.bincount(cells, weights=refl[:, :, c][keep], minlength=n * classes) for c in range(bands)]
    sums = np.stack(weighted, axis=-1)
    if not np.isfinite(sums).all():
        raise UserError("class spectra: a labelled, valid pixel is no finite number; mark such pixels as nodata.")
    return sums.reshape(n, classes, bands), counts.reshape(n, classes)


class ReconstructionErrors:
    """Streaming errors of an autoencoder's round trip, as in the paper's Table 4: RMSE, SAD and cross entropy."""

    def __init__(self) -> None:
        self._square = self._angle = self._nats = 0.0
        self._values = self._spectra = self._pixels = 0

    def update(
        self,
        refl: ArrayLike,
        reconstructed: ArrayLike,
        mask_logits: ArrayLike,
        masks: ArrayLike,
        ignore: int = 255,
        valid: NDArray[np.bool_] | None = None,
    ) -> None:
        """Add reflectance and its reconstruction (N,T,C,H,W), mask_logits (N,K,H,W), masks (N,H,W); valid (N,T,H,W)."""
        real = np.moveaxis(np.asarray(refl, dtype=np.float64), 2, -1)  # N T H W C
        fake = np.moveaxis(np.asarray(reconstructed, dtype=np.float64), 2, -1)
        keep = np.ones(real.shape[:-1], dtype=bool) if valid is None else np.asarray(valid, dtype=bool)
        self._square += float(np.square(real[keep] - fake[keep]).sum())
        self._values += int(keep.sum()) * real.shape[-1]
        shortest = np.minimum(np.linalg.norm(real, axis=-1), np.linalg.norm(fake, axis=-1))
        directed = keep & (shortest >= MIN_SPECTRUM)
        self._angle += float(spectral_angle(real[directed], fake[directed]).sum())
        self._spectra += int(directed.sum())
        logits, masks = np.asarray(mask_logits, dtype=np.float64), np.asarray(masks).astype(np.int64)
        labelled = masks != ignore
        top = logits.max(1)
        log_sum = top + np.log(np.exp(logits - top[:, None]).sum(1))  # N H W
        chosen = np.take_along_axis(logits, np.where(labelled, masks, 0)[:, None], axis=1)[:, 0]
        self._nats += float((log_sum - chosen)[labelled].sum())
        self._pixels += int(labelled.sum())

    def scores(self) -> dict[str, float]:
        """rmse (reflectance, over all values), sad_rad (mean over spectra with a direction), cross_entropy (nats).

        Also spectra and pixels, the numbers behind the last two; NaN where nothing was seen.
        """
        return {
            "rmse": (self._square / self._values) ** 0.5 if self._values else float("nan"),
            "sad_rad": self._angle / self._spectra if self._spectra else float("nan"),
            "cross_entropy": self._nats / self._pixels if self._pixels else float("nan"),
            "spectra": self._spectra,
            "pixels": self._pixels,
        }
