"""Write simulated raw data in exactly the folder layouts of SegMunich and OSCD: for tests, demos and learning.

Nothing in it is real; with the same seed it is the same to the bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from specdm import rasters
from specdm.bands import BAND_SETS, SENTINEL2, indices
from specdm.errors import UserError
from specdm.labels import OSCD, SEGMUNICH
from specdm.sources import construction, landscape, spectra
from specdm.sources.windows import windows

WINDOW = 128
EDGE = 0.21  # share of the mosaic beyond the swath, so that cleaning has something to drop
# Standard deviation of brightness within parcels, by class id of SegMunich.
_ROUGHNESS = np.array([0, 0.03, 0.06, 0.03, 0.08, 0.03, 0.07, 0.07, 0.07, 0.09, 0.05, 0.05, 0.05], np.float32)
_TURNS = tuple(f"{flip}rot{90 * k}" for flip in ("", "flip-") for k in range(4))


def mosaic(size: int, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A mosaic as SegMunich's was: the paper's ten bands (10,size,size) uint16 surface dn, and class ids (size,size).

    Pixels without data are 0 in all bands and background in the labels. 20 and 60 m bands are means over their own
    pixels, interpolated back to 10 m.
    """
    rng = np.random.default_rng((seed, 0))
    scene = landscape.make(size, size, rng, edge=EDGE)
    labels = scene.labels()
    picks = indices(spectra.BANDS, BAND_SETS["paper"])
    table = spectra.spectra_table(np.random.default_rng((seed, 1)), np.random.default_rng((seed, 2)))
    seen = _light(spectra.render(scene.cover, table[:, picks], landscape.SUB), labels, rng)
    dn = np.empty((len(picks), size, size), np.uint16)
    for band, name in enumerate(BAND_SETS["paper"]):
        plane = _at_10m(spectra.native(seen[..., band], SENTINEL2[name].gsd_m), (size, size))
        dn[band] = spectra.to_dn(plane, rng)
    dn[:, labels == 0] = 0
    return dn, labels


def _light(reflectance: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Texture within parcels and slopes lit from the south-east."""
    hills = landscape.noise((labels.shape[0] * landscape.SUB, labels.shape[1] * landscape.SUB), (120, 50), rng)
    hills = hills[:: landscape.SUB, :: landscape.SUB] * 6
    slope = np.gradient(hills, axis=0) + np.gradient(hills, axis=1)
    lit = np.exp(np.clip(-0.25 * slope, -0.25, 0.25)).astype(np.float32)
    return spectra.texture(reflectance, _ROUGHNESS[labels], rng) * lit[..., None]


def _at_10m(plane: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    from scipy import ndimage

    if plane.shape == size:
        return plane
    factor = round(size[0] / plane.shape[0])
    return ndimage.zoom(plane, factor, order=1, mode="nearest", grid_mode=True)[: size[0], : size[1]]


def write_segmunich(
    root: Path,
    *,
    seed: int,
    mosaic_px: int = 1024,
    stride_px: int = 64,
    copies: int = 2,
    test_fraction: float = 0.2,
) -> int:
    """Write windows of a mosaic in the layout of SegMunich: {train,test}/{img,label}/<id>.tif and dataset/*.txt.

    Args:
        root: folder to write into.
        seed: of the landscape and of the lists.
        mosaic_px: side of the mosaic.
        stride_px: distance of the 128 px windows.
        copies: each window is stored this many times, differently flipped or rotated (at most 8), as in the real set.
        test_fraction: share of the files in test.txt, drawn at random, so that it shares ground with train.txt.

    Returns:
        The number of files written. An id reads munich_r<row>_c<col>_<turn>.

    Raises:
        UserError: when the mosaic holds no window or there are more copies than turns.
    """
    root = Path(root)
    if mosaic_px < WINDOW or not 1 <= copies <= len(_TURNS):
        raise UserError(
            f"A mosaic of {mosaic_px} px with {copies} copies cannot be cut: use at least {WINDOW} px "
            f"and 1 to {len(_TURNS)} copies."
        )
    dn, labels = mosaic(mosaic_px, seed=seed)
    codes = np.array([c.raw_codes[0] for c in SEGMUNICH.classes], np.uint8)[labels]
    rng = np.random.default_rng((seed, 3))
    ids: dict[str, list[str]] = {"train": [], "test": []}
    for part in ids:
        for kind in ("img", "label"):
            (root / part / kind).mkdir(parents=True, exist_ok=True)
    for row, col in windows(mosaic_px, mosaic_px, WINDOW, stride_px):
        here = np.s_[..., row : row + WINDOW, col : col + WINDOW]
        for turn in rng.permutation(len(_TURNS))[:copies]:
            part = "test" if rng.uniform() < test_fraction else "train"
            name = f"munich_r{row:04}_c{col:04}_{_TURNS[turn]}"
            ids[part].append(name)
            # Pixel interleaving is what readers of TIFF call channel-last.
            rasters.write(root / part / "img" / f"{name}.tif", _turned(dn[here], turn), interleave="pixel")
            rasters.write(root / part / "label" / f"{name}.tif", _turned(codes[here], turn)[None])
    (root / "dataset").mkdir(exist_ok=True)
    for part, names in ids.items():
        (root / "dataset" / f"{part}.txt").write_text("\n".join(names) + "\n")
    return sum(map(len, ids.values()))


def _turned(array: np.ndarray, turn: int) -> np.ndarray:
    """One of the eight flips and rotations of (...,H,W), numbered as in _TURNS."""
    flipped = array[..., ::-1] if turn >= 4 else array
    return np.ascontiguousarray(np.rot90(flipped, turn % 4, axes=(-2, -1)))


CITIES = (
    ("amsel", "train", 320, 352),
    ("buche", "train", 352, 300),
    ("dachs", "train", 300, 330),
    ("eiche", "train", 340, 310),
    ("falke", "test", 330, 360),
    ("ginster", "test", 310, 320),
)
_DATES = ("20160315", "20170829")
_DEGREES = (1.164e-4, 1.163e-4)  # (x, y) of a 10 m pixel near 48.8 degrees north, as in the real files


def write_oscd(root: Path, *, seed: int, cities: Sequence[tuple[str, str, int, int]] = CITIES) -> None:
    """Write simulated cities in the layout of OSCD: native bands, lists, dates and change maps, official names.

    Args:
        root: folder to write into.
        seed: of the cities.
        cities: (name, "train" or "test", height, width) each; sizes in 10 m pixels.
    """
    images, train, test = (
        Path(root) / f"Onera Satellite Change Detection dataset - {part}"
        for part in ("Images", "Train Labels", "Test Labels")
    )
    for number, (name, split, height, width) in enumerate(cities):
        rng = np.random.default_rng((seed, 4, number))
        before = landscape.make(height, width, rng, towns=0.2)
        after, changed = construction.later(before, rng, share=rng.uniform(0.01, 0.05))
        corner = (2.2 + 0.5 * number, 48.8)  # (x, y): far from one another
        for date, scene in enumerate((before, after)):
            seen = _seen(scene, before.labels(), (seed, number), date)
            _write_date(images / name / f"imgs_{date + 1}", seen, _DATES[date], corner, rng)
        (images / name / "dates.txt").write_text("".join(f"date_{i + 1}: {d}\n" for i, d in enumerate(_DATES)))
        _write_change({"train": train, "test": test}[split] / name / "cm", name, changed)
    for part in ("train", "test"):
        (images / f"{part}.txt").write_text(",".join(name for name, split, *_ in cities if split == part) + "\n")


def _seen(scene: landscape.Scene, labels: np.ndarray, seed: tuple[int, int], date: int) -> np.ndarray:
    """Reflectance at the top of the atmosphere (H,W,13) on one of the two dates."""
    table = spectra.spectra_table(np.random.default_rng((*seed, 5)), np.random.default_rng((*seed, 6, date)))
    surface = spectra.render(scene.cover, table, landscape.SUB)
    # The same generator for both dates: hills and texture stay, the sun and the haze change.
    lit = _light(surface, labels, np.random.default_rng((*seed, 7)))
    weather = np.random.default_rng((*seed, 8, date))
    return spectra.top_of_atmosphere(lit * np.float32(weather.uniform(0.88, 1.08)), haze=weather.uniform(0.85, 1.25))


def _write_date(
    folder: Path, seen: np.ndarray, date: str, corner: tuple[float, float], rng: np.random.Generator
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for band, name in enumerate(spectra.BANDS):
        gsd = SENTINEL2[name].gsd_m
        dx, dy = (degrees * gsd / 10 for degrees in _DEGREES)
        dn = spectra.to_dn(spectra.native(seen[..., band], gsd), rng)
        place = (dx, 0.0, corner[0], 0.0, -dy, corner[1])
        rasters.write(folder / f"T31UDQ_{date}T105021_{name}.tif", dn[None], "EPSG:4326", place)


def _write_change(folder: Path, city: str, changed: np.ndarray) -> None:
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    codes = np.array([c.raw_codes[0] for c in OSCD.classes], np.uint8)
    rasters.write(folder / f"{city}-cm.tif", codes[changed.astype(int)][None])
    Image.fromarray(changed.astype(np.uint8) * 255).save(folder / "cm.png")
