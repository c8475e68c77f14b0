"""Raw folders for the tests of the sources: simulated ones, and hand-made ones of a few files."""

from pathlib import Path

import numpy as np
import pytest

from specdm import rasters
from specdm.bands import BAND_SETS, SENTINEL2
from specdm.sources import simulate

IMAGES = "Onera Satellite Change Detection dataset - Images"
LABELS = "Onera Satellite Change Detection dataset - {} Labels"
PIXEL = 1e-4  # degrees


@pytest.fixture(scope="session")
def simulated_oscd(tmp_path_factory) -> Path:
    """Three simulated cities, two of them for training."""
    root = tmp_path_factory.mktemp("oscd")
    simulate.write_oscd(
        root, seed=3, cities=(("alder", "train", 130, 150), ("birch", "train", 100, 131), ("cedar", "test", 140, 96))
    )
    return root


@pytest.fixture(scope="session")
def simulated_segmunich(tmp_path_factory) -> Path:
    """A simulated mosaic of 512 px, each window stored twice."""
    root = tmp_path_factory.mktemp("segmunich")
    simulate.write_segmunich(root, seed=5, mosaic_px=512, copies=2)
    return root


@pytest.fixture
def small_oscd(tmp_path):
    """Writes an OSCD folder of hand-made cities: make({name: (split, height, width, west)}) -> root.

    Band number k of date d is constant 100 * (k + 1) + d; west is the left edge in degrees; row 0 of the map changed.
    """

    def make(cities: dict[str, tuple[str, int, int, float]]) -> Path:
        root = tmp_path / "raw"
        for name, (split, height, width, west) in cities.items():
            for date in (1, 2):
                folder = root / IMAGES / name / f"imgs_{date}"
                folder.mkdir(parents=True)
                for k, band in enumerate(SENTINEL2.values()):
                    factor = int(band.gsd_m // 10)
                    shape = (1, -(-height // factor), -(-width // factor))
                    place = (PIXEL * factor, 0.0, west, 0.0, -PIXEL * factor, 48.0)
                    pixels = np.full(shape, 100 * (k + 1) + date, np.uint16)
                    rasters.write(folder / f"T31_2017_{band.name}.tif", pixels, "EPSG:4326", place)
            (root / IMAGES / name / "dates.txt").write_text("date_1: 20160315\ndate_2: 20170829\n")
            change = np.ones((1, height, width), np.uint8)
            change[:, 0] = 2
            folder = root / LABELS.format(split.title()) / name / "cm"
            folder.mkdir(parents=True)
            rasters.write(folder / f"{name}-cm.tif", change)
        for part in ("train", "test"):
            names = [name for name, (split, *_) in cities.items() if split == part]
            (root / IMAGES / f"{part}.txt").write_text(",".join(names) + "\n")
        return root

    return make


@pytest.fixture
def small_segmunich(tmp_path):
    """Writes a SegMunich folder: make({"train": {id: (image (C,H,W), codes (H,W))}, "test": ...}) -> root."""

    def make(parts: dict[str, dict[str, tuple[np.ndarray, np.ndarray]]]) -> Path:
        root = tmp_path / "raw"
        (root / "dataset").mkdir(parents=True)
        for part, pairs in parts.items():
            for kind in ("img", "label"):
                (root / part / kind).mkdir(parents=True)
            for name, (image, codes) in pairs.items():
                rasters.write(root / part / "img" / f"{name}.tif", image)
                rasters.write(root / part / "label" / f"{name}.tif", codes[None])
            (root / "dataset" / f"{part}.txt").write_text("\n".join(pairs) + "\n\n")
        return root

    return make


@pytest.fixture
def pair():
    """Makes a random image (10,32,32) uint16 and forest everywhere: make(seed) -> (image, codes)."""

    def make(seed: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(seed)
        shape = (len(BAND_SETS["paper"]), 32, 32)
        return rng.integers(1, 5000, shape, np.uint16), np.full(shape[1:], 31, np.uint8)

    return make
