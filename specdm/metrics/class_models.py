"""Which class a spectrum most likely belongs to, by a Gaussian of every class: a reader of masks without a network."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from specdm.errors import UserError

SHRINKAGE = 0.1  # share of the covariance over all classes in that of each: rare classes have few independent pixels
RIDGE = 1e-3  # added variance, of standardised bands: keeps bands apart that hold the same
MOST_BANDS = 32  # more than so many values a pixel are reduced to COMPONENTS principal components
COMPONENTS = 16


class ClassMoments:
    """Streaming counts (K,), sums (K,D) and sums of products (K,D,D) of the spectra of every class, float64."""

    def __init__(self, classes: int, dimensions: int) -> None:
        self.counts: NDArray[np.float64] = np.zeros(classes)
        self.sums: NDArray[np.float64] = np.zeros((classes, dimensions))
        self.products: NDArray[np.float64] = np.zeros((classes, dimensions, dimensions))

    def add(self, spectra: ArrayLike, ids: ArrayLike) -> None:
        """Add standardised spectra (n,D) of pixels with class ids (n,), of which those outside 0..K-1 are left out."""
        spectra, ids = np.asarray(spectra), np.asarray(ids)
        for k in np.unique(ids):
            if k < len(self.counts):
                of_class = spectra[ids == k].astype(np.float64)
                self.counts[k] += len(of_class)
                self.sums[k] += of_class.sum(0)
                self.products[k] += of_class.T @ of_class

    def __sub__(self, part: ClassMoments) -> ClassMoments:
        """The moments of what remains when a part is taken away: of the other folds."""
        rest = ClassMoments(*self.sums.shape)
        rest.counts, rest.sums, rest.products = (
            self.counts - part.counts,
            self.sums - part.sums,
            self.products - part.products,
        )
        return rest

    def __add__(self, other: ClassMoments) -> ClassMoments:
        both = ClassMoments(*self.sums.shape)
        both.counts, both.sums, both.products = (
            self.counts + other.counts,
            self.sums + other.sums,
            self.products + other.products,
        )
        return both

    # S_k' = (1 - a) S_k + a S_within + b I
    def gaussians(self) -> ClassGaussians:
        """A Gaussian of every class with at least two pixels, its covariance drawn towards that within all classes.

        Raises:
            UserError: when no class has two pixels.
        """
        known = self.counts >= 2
        if not known.any():
            raise UserError("class models: no class has two labelled pixels; label more of the patches.")
        means = self.sums / np.maximum(self.counts, 1)[:, None]
        scatter = self.products - self.counts[:, None, None] * means[:, :, None] * means[:, None, :]
        basis = self._basis()
        within = basis.T @ (scatter.sum(0) / self.counts.sum()) @ basis
        whiteners, log_dets = [], []
        for part, n, usable in zip(scatter, self.counts, known, strict=True):
            own = basis.T @ (part / n) @ basis if usable else within
            covariance = (1 - SHRINKAGE) * own + SHRINKAGE * within + RIDGE * np.eye(len(within))
            values, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
            values = np.maximum(values, RIDGE / 2)
            whiteners.append(vectors / np.sqrt(values))
            log_dets.append(np.log(values).sum())
        return ClassGaussians(basis, means @ basis, np.stack(whiteners), np.array(log_dets), known)

    def _basis(self) -> NDArray[np.float64]:
        """(D,d): nothing, or the directions of the largest variance of all pixels."""
        dimensions = self.sums.shape[1]
        if dimensions <= MOST_BANDS:
            return np.eye(dimensions)
        n, mean = self.counts.sum(), self.sums.sum(0) / self.counts.sum()
        _, vectors = np.linalg.eigh(self.products.sum(0) / n - np.outer(mean, mean))
        return vectors[:, ::-1][:, :COMPONENTS]


@dataclass(frozen=True)
class ClassGaussians:
    """Gaussians of K classes in d dimensions.

    Attributes:
        basis: (D,d), from spectra to the space of the Gaussians.
        means: (K,d).
        whiteners: (K,d,d), from that space to unit variance.
        log_dets: (K,) of the covariances.
        known: (K,) bool; the other classes are never the likeliest.
    """

    basis: NDArray[np.float64]
    means: NDArray[np.float64]
    whiteners: NDArray[np.float64]
    log_dets: NDArray[np.float64]
    known: NDArray[np.bool_]

    # log p(x | k) = -(|W_k^T (x - m_k)|^2 + log det S_k) / 2 + const
    def likeliest(self, spectra: ArrayLike) -> NDArray[np.uint8]:
        """Class ids (n,) of standardised spectra (n,D), all classes equally likely beforehand."""
        x = np.asarray(spectra, np.float32) @ self.basis.astype(np.float32)
        best, chosen = np.full(len(x), np.inf, np.float32), np.zeros(len(x), np.uint8)
        for k in np.flatnonzero(self.known):
            whitened = (x - self.means[k].astype(np.float32)) @ self.whiteners[k].astype(np.float32)
            score = np.square(whitened).sum(1) + np.float32(self.log_dets[k])
            closer = score < best
            best[closer], chosen[closer] = score[closer], k
        return chosen


def pixel_spectra(images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Images (N,T,C,H,W) -> the values of every pixel, all dates after each other, (N*H*W, T*C)."""
    n, dates, bands, height, width = images.shape
    return np.moveaxis(images.reshape(n, dates * bands, height, width), 1, -1).reshape(-1, dates * bands)
