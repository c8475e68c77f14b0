"""Power spectra of images: is the detail of synthetic images as strong as that of real ones, at every scale?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import fft

from specdm.errors import UserError

FINE_CPP = 0.25  # cycles per pixel: structures below 4 px
NYQUIST_CPP = 0.5


@dataclass(frozen=True)
class Spectrum:
    """Radially averaged power of a set.

    Attributes:
        frequency_cpp: (R,) cycles per pixel, ascending, above 0 up to 0.5.
        power: (C,R) refl^2 per (cycle/px)^2.
        variance: (C,) its integral over all frequencies, the variance within windows, refl^2.
        fine_share: (C,) share of the variance above 0.25 cycles per pixel in any direction.
        images: how many images (patches x dates) it is the mean of.
        left_out: how many were not used for an invalid pixel.
    """

    frequency_cpp: NDArray[np.float64]
    power: NDArray[np.float64]
    variance: NDArray[np.float64]
    fine_share: NDArray[np.float64]
    images: int
    left_out: int


# P(f) = |FFT(w (x - m))|^2 / sum w^2,  m = sum(w x) / sum w,  w a Hann window
class PowerSpectrum:
    """Streaming mean power of windowed images (H,W) of C bands; float64 sums over the half plane of frequencies.

    The mean that is removed is that under the window, so that nothing of it leaks into low frequencies. White noise
    of variance s^2 has the power s^2 at all of them.
    """

    def __init__(self, bands: int, height_px: int, width_px: int) -> None:
        if min(height_px, width_px) < 4:
            raise UserError(f"power spectrum: patches of {height_px} x {width_px} px are too small; use 4 px or more.")
        self.size_px = (height_px, width_px)
        self.sums: NDArray[np.float64] = np.zeros((bands, height_px, width_px // 2 + 1))
        self.images = self.left_out = 0
        # The periodic form: its own spectrum has three lines only.
        rows, columns = (np.sin(np.pi * np.arange(n) / n) ** 2 for n in self.size_px)
        self._window = rows[:, None] * columns

    def update(self, refl: ArrayLike, valid: NDArray[np.bool_] | None = None) -> None:
        """Add reflectance (N,T,C,H,W); images with a pixel that is not valid (N,T,H,W) are left out and counted.

        UserError for another shape, or a value of a whole image that is no number.
        """
        refl = np.asarray(refl)
        if refl.shape[2:] != (len(self.sums), *self.size_px):
            raise UserError(
                f"power spectrum: images {refl.shape[2:]} instead of {(len(self.sums), *self.size_px)}; "
                "compare sets of the same bands and patch size."
            )
        images = refl.reshape(-1, *refl.shape[2:])
        whole = np.ones(len(images), bool) if valid is None else valid.reshape(len(images), -1).all(1)
        self.left_out += int((~whole).sum())
        for image in images[whole]:
            if not np.isfinite(image).all():
                raise UserError("power spectrum: a valid pixel is no finite number; mark such pixels as nodata.")
            self.sums += self._power(image)
            self.images += 1

    def merge(self, other: PowerSpectrum) -> None:
        """Add what another one has seen. UserError for other bands or sizes."""
        if self.sums.shape != other.sums.shape or self.size_px != other.size_px:
            raise UserError("power spectrum: other bands or patch sizes; compare sets alike.")
        self.sums += other.sums
        self.images += other.images
        self.left_out += other.left_out

    def spectrum(self) -> Spectrum:
        """The mean over images, averaged over rings one step of the shorter side's frequencies wide.

        Frequencies beyond 0.5, which only diagonals have, are in no ring, but in `variance` and `fine_share`.
        UserError where every image was left out.
        """
        if not self.images:
            raise UserError(f"power spectrum: all {self.left_out} images have invalid pixels; use whole patches.")
        height, width = self.size_px
        rows, columns = fft.fftfreq(height)[:, None], fft.rfftfreq(width)
        radius = np.hypot(rows, columns)
        # Of a real image's spectrum only half is kept: its columns stand for two, but the first and an even one's last.
        twice = np.full(radius.shape, 2.0)
        twice[:, 0] = 1
        if width % 2 == 0:
            twice[:, -1] = 1
        power = self.sums / self.images
        step = 1 / min(height, width)
        ring = np.rint(radius / step).astype(int)
        last = int(NYQUIST_CPP / step)
        inside = ring <= last
        weight = np.bincount(ring[inside], twice[inside], last + 1)
        frequency = np.bincount(ring[inside], (twice * radius)[inside], last + 1) / weight
        means = np.stack([np.bincount(ring[inside], (twice * band)[inside], last + 1) / weight for band in power])
        whole = twice / (height * width)
        variance = (power * whole).sum((1, 2))
        fine = (power * whole * (radius > FINE_CPP)).sum((1, 2))
        share = np.divide(fine, variance, out=np.zeros_like(fine), where=variance > 0)
        return Spectrum(frequency[1:], means[:, 1:], variance, share, self.images, self.left_out)

    def _power(self, image: NDArray) -> NDArray[np.float64]:
        image = image.astype(np.float64)
        flat = image.min((1, 2)) == image.max((1, 2))  # what rounding leaves of these is no power
        mean = (image * self._window).sum((1, 2)) / self._window.sum()
        waves = fft.rfft2((image - mean[:, None, None]) * self._window)
        power = (np.square(waves.real) + np.square(waves.imag)) / np.square(self._window).sum()
        power[flat] = 0
        return power


# LSD = mean over f of |10 log10(Pa(f) / Pb(f))|
def log_spectral_distance_db(a: Spectrum, b: Spectrum, names: Sequence[str] | None = None) -> NDArray[np.float64]:
    """Mean absolute ratio of two power spectra in dB, (C,), every ring alike.

    UserError for other frequencies, or naming a band that has no power at some frequency (constant images).
    """
    if a.power.shape != b.power.shape or not np.array_equal(a.frequency_cpp, b.frequency_cpp):
        raise UserError("power spectrum: other bands or frequencies; compare patches of the same size.")
    _require_power((a.power > 0).all(1) & (b.power > 0).all(1), names)
    return np.abs(10 * np.log10(a.power / b.power)).mean(1)


def fine_detail(synthetic: Spectrum, real: Spectrum, names: Sequence[str] | None = None) -> NDArray[np.float64]:
    """Share of the variance above 0.25 cycles per pixel, synthetic / real, (C,): blurred images have less than 1.

    Bands resampled from coarser pixels have next to none of it: of many bands, take the median. UserError naming a
    band that has no power (constant images) or no fine detail in the real set.
    """
    _require_power((synthetic.variance > 0) & (real.fine_share > 0), names)
    return synthetic.fine_share / real.fine_share


def _require_power(present: NDArray[np.bool_], names: Sequence[str] | None) -> None:
    missing = np.flatnonzero(~present)
    if len(missing):
        band = names[missing[0]] if names is not None else missing[0]
        raise UserError(f"power spectrum: images of band {band} are constant; leave this band out.")
