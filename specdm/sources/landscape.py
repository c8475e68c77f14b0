"""A made-up landscape: fields as parcels, woods, a winding river, lakes, towns with streets and houses.

Everything is drawn SUB times finer than the pixels, so that borders give mixed pixels. A `Scene` is a canvas of cover
codes (see spectra.py) and one of class ids; each function of this module paints one thing onto it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from specdm.sources.spectra import CODE, VARIANTS

SUB = 3
# Shares of the land by class id, from the published class shares of SegMunich without background.
FOREST, WATER, SHRUB, OPEN, WETLAND, MINE, PARK, URBAN, BUILDINGS = 4, 5, 6, 7, 8, 9, 10, 11, 12
ARABLE, ORCHARD, PASTURE = 1, 2, 3


@dataclass
class Scene:
    """The canvas: cover (H*SUB,W*SUB) uint16 rows of the spectra table, label of the same shape uint8 class ids."""

    cover: np.ndarray
    label: np.ndarray
    rng: np.random.Generator

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.cover.shape[0] // SUB, self.cover.shape[1] // SUB

    def labels(self) -> np.ndarray:
        """Class ids (H,W): that of the centre of each pixel."""
        return self.label[SUB // 2 :: SUB, SUB // 2 :: SUB].copy()

    def paint(self, where, mask: np.ndarray, cover: str, label: int | None, variant: np.ndarray | int = 0) -> None:
        """Set cover and label (None leaves it) where `mask` holds within the slices `where`."""
        value = np.uint16(CODE[cover] * VARIANTS) + np.asarray(variant, np.uint16)
        self.cover[where][mask] = np.broadcast_to(value, mask.shape)[mask]
        if label is not None:
            self.label[where][mask] = label


WHOLE = np.s_[:, :]


def hashed(*parts: np.ndarray | int) -> np.ndarray:
    """A pseudo-random uint32 for each combination of integers."""
    h = np.uint32(2166136261)
    for part in parts:
        h = (h ^ np.asarray(part).astype(np.int64).astype(np.uint32)) * np.uint32(16777619)
        h ^= h >> np.uint32(15)
    h *= np.uint32(2246822519)
    return h ^ (h >> np.uint32(13))


def unit(h: np.ndarray) -> np.ndarray:
    """Hash -> [0,1) float32."""
    return (h >> np.uint32(8)).astype(np.float32) / np.float32(2**24)


def coordinates(top: int, left: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixel coordinates (y (H,1), x (1,W)) of the sub-pixels of a box given in sub-pixels."""
    y = (np.arange(top, top + height, dtype=np.float32) + 0.5) / SUB
    x = (np.arange(left, left + width, dtype=np.float32) + 0.5) / SUB
    return y[:, None], x[None, :]


def noise(shape: tuple[int, int], wavelengths: tuple[float, ...], rng: np.random.Generator) -> np.ndarray:
    """Smooth noise over (H*SUB,W*SUB), zero mean, unit variance; each wavelength (pixels) weighs as its length."""
    total = np.zeros(shape, np.float32)
    for wavelength in wavelengths:
        nodes = [int(n / SUB / wavelength) + 3 for n in shape]
        values = rng.standard_normal(nodes).astype(np.float32)
        rows, cols = (_weights(n, wavelength * SUB, k) for n, k in zip(shape, nodes, strict=True))
        total += wavelength * (rows @ values @ cols.T)
    return (total - total.mean()) / total.std()


def _weights(n: int, spacing: float, nodes: int) -> np.ndarray:
    at = np.arange(n) / spacing
    left = at.astype(int)
    t = at - left
    t = t * t * (3 - 2 * t)
    weights = np.zeros((n, nodes), np.float32)
    weights[np.arange(n), left], weights[np.arange(n), left + 1] = 1 - t, t
    return weights


def fields(scene: Scene) -> None:
    """Parcels 8 to 25 px across, of one direction within a district; arable land, pastures and some orchards."""
    from scipy.spatial import cKDTree

    h, w = scene.size
    rng = scene.rng
    count = max(4, h * w // 70**2)
    seeds = rng.uniform((0, 0), (h, w), (count, 2))
    bend = np.stack([noise(scene.cover.shape, (40, 12), rng)[::SUB, ::SUB] for _ in range(2)], -1) * 6
    points = np.stack(np.mgrid[:h, :w], -1) + bend
    district = cKDTree(seeds).query(points.reshape(-1, 2))[1].reshape(h, w)
    district = district.repeat(SUB, 0).repeat(SUB, 1)
    angle = rng.uniform(0, np.pi, count).astype(np.float32)[district]
    y, x = coordinates(0, 0, *scene.cover.shape)
    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    along = v / rng.uniform(14, 26, count).astype(np.float32)[district]
    strip = np.floor(along)
    across = u / rng.uniform(8, 15, count).astype(np.float32)[district] + 7 * unit(hashed(district, strip))
    parcel = hashed(district, strip, np.floor(across))
    kind, wet = unit(hashed(parcel, 1)), rng.uniform(0.08, 0.62, count).astype(np.float32)[district]
    orchards = (rng.uniform(size=count) < 0.08)[district]
    variant = parcel % VARIANTS
    scene.paint(WHOLE, np.ones(parcel.shape, bool), "arable", ARABLE, variant)
    scene.paint(WHOLE, kind < wet, "pasture", PASTURE, variant)
    scene.paint(WHOLE, orchards & (kind > 0.5), "orchard", ORCHARD, variant)
    hedge = (along - strip < 0.06) & (unit(hashed(district, strip, 2)) < 0.5)
    scene.paint(WHOLE, hedge, "garden", None, variant)


def woods(scene: Scene, share: float) -> None:
    """Forest over `share` of the scene with stands of different trees, rims of shrub, bare tops."""
    rng = scene.rng
    height = noise(scene.cover.shape, (160, 70, 30, 12, 5), rng)
    edge, rim, top = np.quantile(height[::SUB, ::SUB], (1 - share, 1 - share - 0.075, 0.987))
    y, x = coordinates(0, 0, *scene.cover.shape)
    bent = noise(scene.cover.shape, (25, 10), rng) * 5
    stand = hashed(np.floor((y + bent) / 22), np.floor((x - bent) / 22)) % VARIANTS
    scene.paint(WHOLE, (height > rim) & (noise(scene.cover.shape, (60, 20), rng) > 0.1), "shrub", SHRUB, stand)
    scene.paint(WHOLE, height > edge, "forest", FOREST, stand)
    scene.paint(WHOLE, height > top, "rock", OPEN, stand)


def river(scene: Scene, downwards: bool) -> None:
    """A river 3 to 6 px wide across the scene, with wetlands along it."""
    cover, label = (scene.cover.T, scene.label.T) if downwards else (scene.cover, scene.label)
    view, rng = Scene(cover, label, scene.rng), scene.rng
    n, m = cover.shape  # the course is a row for each column
    turns = noise((1, m), (220,), rng)[0] * 0.08 * n / SUB + noise((1, m), (55,), rng)[0] * 9
    course = turns + noise((1, m), (20,), rng)[0] * 2.5 + rng.uniform(0.25, 0.75) * n / SUB
    width = np.clip(4.5 + noise((1, m), (80,), rng)[0], 3, 6)
    y, _ = coordinates(0, 0, n, m)
    distance = np.abs(y - course) / np.sqrt(1 + (np.gradient(course) * SUB) ** 2)
    marsh = noise((n, m), (30, 10), rng) * 4 + distance < 5
    view.paint(WHOLE, marsh, "wetland", WETLAND, hashed(np.floor(y / 9), np.floor(np.arange(m) / 27)) % VARIANTS)
    view.paint(WHOLE, distance < width / 2, "river", WATER)


def blobs(scene: Scene, share: float, radius: tuple[float, float], cover: str, label: int) -> None:
    """Round patches with ragged edges (lakes, mines) until they cover `share` of the scene."""
    target, area = share * scene.cover.size, 0
    while area < target:
        box, distance = _around(scene, radius)
        inside = distance < 1
        scene.paint(box, inside, cover, label, scene.rng.integers(VARIANTS))
        area += inside.sum()


def _around(scene: Scene, radius: tuple[float, float]) -> tuple[tuple[slice, slice], np.ndarray]:
    """A random centre: its box (sub-pixels) and the ragged distance from it, 1 at the rim."""
    rng, (h, w) = scene.rng, scene.cover.shape
    r = rng.uniform(*radius)
    cy, cx = rng.uniform(0, h / SUB), rng.uniform(0, w / SUB)
    top, left = (max(0, int((c - 1.6 * r) * SUB)) for c in (cy, cx))
    bottom, right = (min(n, int((c + 1.6 * r) * SUB) + 1) for c, n in ((cy, h), (cx, w)))
    y, x = coordinates(top, left, bottom - top, right - left)
    stretch = rng.uniform(0.75, 1.3)
    ragged = noise((bottom - top, right - left), (r, r / 2.5, r / 6), rng)
    distance = np.hypot((y - cy) * stretch, (x - cx) / stretch) / r
    return np.s_[top:bottom, left:right], distance + 0.13 * ragged


def town(scene: Scene, radius: tuple[float, float]) -> int:
    """Blocks of houses and gardens between streets, parks, halls at the rim; returns the area in sub-pixels."""
    box, distance = _around(scene, radius)
    rng = scene.rng
    y, x = coordinates(box[0].start, box[1].start, *distance.shape)
    angle = rng.uniform(0, np.pi / 2)
    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    side = rng.uniform(6, 8), rng.uniform(8, 12)
    iu, iv = np.floor(u / side[0]), np.floor(v / side[1])
    salt = int(rng.integers(2**31))
    block, plot = hashed(iu, iv, salt), hashed(np.floor(u / 1.6), np.floor(v / 2.1), salt)
    inside = distance < 1
    scene.paint(box, inside, "garden", URBAN, plot % VARIANTS)
    scene.paint(box, inside & (unit(plot) < 0.85 - 0.45 * distance), "house", URBAN, hashed(plot, 1) % VARIANTS)
    parks = inside & (unit(block) < 0.16)
    scene.paint(box, parks, "lawn", PARK, block % VARIANTS)
    halls = (distance > 0.7) & (distance < 1.15) & (unit(hashed(np.floor(iu / 2), np.floor(iv / 2), salt)) < 0.16)
    yards = (u - iu * side[0] > 1.2) & (v - iv * side[1] > 1.5)
    scene.paint(box, halls, "street", BUILDINGS, block % VARIANTS)
    scene.paint(box, halls & yards, "hall", BUILDINGS, hashed(block, 2) % VARIANTS)
    streets = (u - iu * side[0] < 0.8) | (v - iv * side[1] < 0.8)
    scene.paint(box, inside & streets & ~parks, "street", None)
    return int(inside.sum())


def roads(scene: Scene, count: int) -> None:
    """Gently bent country roads, 1 px wide; labels keep what they cross, as in a land-cover map."""
    for k in range(count):
        cover, label = (scene.cover.T, scene.label.T) if k % 2 else (scene.cover, scene.label)
        n, m = cover.shape
        line = noise((1, m), (260,), scene.rng)[0] * 12 + scene.rng.uniform(0, n / SUB)
        tilt = scene.rng.uniform(-0.6, 0.6)
        y, x = coordinates(0, 0, n, m)
        near = np.abs(y - line - tilt * (x - m / SUB / 2)) < 0.6
        Scene(cover, label, scene.rng).paint(WHOLE, near, "street", None)


def blank(scene: Scene, share: float) -> None:
    """The slanted edge of the swath: beyond it background without data."""
    h, w = scene.size
    y, x = coordinates(0, 0, *scene.cover.shape)
    scene.paint(WHOLE, x < w * (share + 0.16 * (y / h - 0.5)), "blank", 0)


def make(height: int, width: int, rng: np.random.Generator, *, towns: float = 0.1, edge: float = 0.0) -> Scene:
    """A whole landscape.

    Args:
        height, width: size in pixels.
        rng: source of all its randomness.
        towns: share covered by towns.
        edge: share without data at the left edge.
    """
    shape = (height * SUB, width * SUB)
    scene = Scene(np.zeros(shape, np.uint16), np.zeros(shape, np.uint8), rng)
    fields(scene)
    woods(scene, share=0.53 - towns)
    blobs(scene, 0.007, (8, 22), "gravel", MINE)
    roads(scene, count=round(2 + (height + width) / 300))
    river(scene, downwards=bool(rng.integers(2)))
    blobs(scene, 0.012, (6, 20), "lake", WATER)
    area = 0
    while area < towns * scene.cover.size:
        area += town(scene, (12, 46))
    if edge:
        blank(scene, edge)
    return scene
