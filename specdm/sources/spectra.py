"""Surface reflectance of land covers in the 13 Sentinel-2 bands, and how a landscape of them looks to the sensor.

The spectra are typical Sentinel-2 L2A values of central Europe, rounded; they are made up and stand for no real place.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from specdm.bands import SENTINEL2

BANDS = tuple(SENTINEL2)
VARIANTS = 256  # individual parcels, stands or roofs of a cover


@dataclass(frozen=True)
class Cover:
    """A land cover: spectra (reflectance x 10^4) it mixes, and the standard deviation of brightness between parcels.

    `seasonal` covers draw one of their spectra anew for each season; others keep it.
    """

    spectra: tuple[tuple[float, ...], ...]
    spread: float
    seasonal: bool = False


_WHEAT = (300, 380, 700, 450, 1150, 3200, 4000, 4200, 4300, 4300, 20, 1900, 900)
_MAIZE = (320, 420, 800, 560, 1250, 2900, 3500, 3700, 3850, 3800, 20, 2100, 1100)
_RAPE = (350, 520, 1250, 1100, 1750, 3100, 3700, 3900, 4050, 4000, 20, 2300, 1200)
_STUBBLE = (550, 800, 1200, 1600, 1950, 2250, 2450, 2600, 2750, 2750, 15, 3300, 2500)
_SOIL = (600, 780, 1050, 1350, 1600, 1750, 1850, 1950, 2050, 2100, 15, 2700, 2350)
_DECIDUOUS = (250, 300, 500, 330, 850, 2500, 3100, 3250, 3400, 3400, 15, 1700, 800)
_CONIFER = (200, 230, 360, 230, 550, 1500, 1800, 1900, 2000, 2000, 10, 950, 420)
_GARDEN = (320, 420, 700, 560, 1050, 2100, 2500, 2600, 2700, 2700, 15, 1700, 950)
_RED_ROOF = (700, 850, 1050, 1550, 1750, 1900, 2000, 2100, 2200, 2200, 15, 2400, 2100)
_GREY_ROOF = (1000, 1200, 1300, 1400, 1500, 1550, 1600, 1700, 1700, 1700, 20, 1750, 1600)
_WHITE_HALL = (2200, 2600, 2700, 2800, 2850, 2850, 2900, 3000, 2950, 2900, 30, 2700, 2400)
_DARK_HALL = (900, 1000, 1050, 1100, 1150, 1200, 1250, 1300, 1300, 1300, 15, 1500, 1450)

COVERS = {
    "blank": Cover(((0,) * 13,), 0.0),
    "arable": Cover((_WHEAT, _MAIZE, _STUBBLE, _SOIL, _WHEAT, _MAIZE, _RAPE), 0.10, seasonal=True),
    "orchard": Cover(((380, 500, 820, 720, 1300, 2400, 2800, 2950, 3100, 3100, 15, 2300, 1350),), 0.08),
    # Close to maize on purpose: some classes differ by little but texture and place.
    "pasture": Cover(((330, 430, 830, 580, 1300, 3000, 3600, 3750, 3900, 3900, 20, 2350, 1200),), 0.09),
    "forest": Cover((_DECIDUOUS, _CONIFER, _CONIFER), 0.08),
    "river": Cover(((450, 480, 560, 380, 330, 260, 250, 230, 220, 200, 8, 120, 80),), 0.05),
    "lake": Cover(((380, 400, 400, 220, 180, 130, 120, 110, 100, 100, 8, 60, 40),), 0.08),
    "shrub": Cover(((300, 390, 680, 560, 1100, 2100, 2450, 2600, 2750, 2750, 15, 2100, 1150),), 0.08),
    "rock": Cover(((820, 1000, 1200, 1390, 1500, 1540, 1580, 1650, 1690, 1690, 20, 1950, 1650),), 0.08),
    "wetland": Cover(((320, 400, 650, 560, 950, 1700, 1950, 2050, 2150, 2100, 15, 1500, 800),), 0.10),
    "gravel": Cover(((960, 1200, 1530, 1790, 1900, 1970, 2040, 2120, 2150, 2150, 20, 2410, 2190),), 0.10),
    "lawn": Cover(((340, 460, 850, 600, 1250, 2700, 3200, 3400, 3500, 3500, 18, 2000, 1050),), 0.06),
    "house": Cover((_RED_ROOF, _RED_ROOF, _GREY_ROOF), 0.12),
    "garden": Cover((_GARDEN,), 0.12),
    "hall": Cover((_WHITE_HALL, _DARK_HALL, _GREY_ROOF), 0.12),
    "street": Cover(((800, 900, 950, 1000, 1050, 1100, 1150, 1200, 1250, 1250, 15, 1350, 1250),), 0.06),
    "site": Cover((tuple(1.25 * v for v in _SOIL),), 0.12),
}
CODE = {name: code for code, name in enumerate(COVERS)}

# Top of atmosphere, clear sky: reflectance added by haze, and share of the surface's that passes (B10 sees no ground).
_HAZE = np.array([0.105, 0.078, 0.045, 0.026, 0.020, 0.015, 0.012, 0.009, 0.008, 0.004, 0.0010, 0.002, 0.001])
_PASSES = np.array([0.80, 0.84, 0.87, 0.90, 0.90, 0.91, 0.93, 0.93, 0.95, 0.35, 0.0, 0.93, 0.90])


def spectra_table(rng: np.random.Generator, season: np.random.Generator) -> np.ndarray:
    """Reflectance of every variant of every cover, (covers * VARIANTS, 13) float32.

    Args:
        rng: draws what stays: the kind of a stand, the brightness of a parcel.
        season: draws what changes between dates: which crop stands on a field.
    """
    slope = np.linspace(-1, 1, len(BANDS))
    rows = []
    for cover in COVERS.values():
        kinds = np.asarray(cover.spectra) * 1e-4
        kind = (season if cover.seasonal else rng).integers(len(kinds), size=VARIANTS)
        brightness = rng.normal(0, cover.spread, (VARIANTS, 1))
        colour = rng.normal(0, cover.spread / 2, (VARIANTS, 1)) * slope
        rows.append(kinds[kind] * np.exp(brightness + colour))
    return np.concatenate(rows).astype(np.float32)


def render(cover: np.ndarray, table: np.ndarray, factor: int) -> np.ndarray:
    """Mix the covers within each pixel.

    Args:
        cover: (H*factor, W*factor) uint16 rows of the table, finer than the pixels.
        table: from `spectra_table`.
        factor: sub-pixels along each side of a pixel.

    Returns:
        (H,W,13) reflectance float32.
    """
    total = np.zeros((cover.shape[0] // factor, cover.shape[1] // factor, table.shape[1]), np.float32)
    for dy in range(factor):
        for dx in range(factor):
            total += np.take(table, cover[dy::factor, dx::factor], axis=0)
    return total / factor**2


def texture(reflectance: np.ndarray, strength: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Vary brightness within parcels: (H,W,C) times noise of standard deviation `strength` (H,W), correlated 1 px."""
    noise = ndimage.gaussian_filter(rng.standard_normal(strength.shape, np.float32), 0.7)
    noise /= noise.std()
    return reflectance * np.exp(noise * strength)[..., None]


def top_of_atmosphere(reflectance: np.ndarray, haze: float) -> np.ndarray:
    """Surface reflectance (H,W,13) as seen through the atmosphere; `haze` scales the clear-sky path reflectance."""
    return reflectance * _PASSES.astype(np.float32) + (haze * _HAZE).astype(np.float32)


def native(plane: np.ndarray, gsd_m: float) -> np.ndarray:
    """One band (H,W) at 10 m -> means over its native 20 or 60 m pixels (edges repeated to fill the last ones)."""
    factor = int(gsd_m // 10)
    h, w = (-(-n // factor) for n in plane.shape)
    plane = np.pad(plane, ((0, h * factor - plane.shape[0]), (0, w * factor - plane.shape[1])), mode="edge")
    return plane.reshape(h, factor, w, factor).mean(axis=(1, 3))


def to_dn(reflectance: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Reflectance -> uint16 digital numbers x 10^4 with sensor noise of 8 DN; at least 1, for 0 means no data."""
    noisy = reflectance * 1e4 + rng.normal(0, 8, reflectance.shape)
    return np.clip(np.rint(noisy), 1, 28000).astype(np.uint16)
