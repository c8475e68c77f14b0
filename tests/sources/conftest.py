"""Raw folders for the tests of the sources: simulated ones, and hand-made ones of a few files."""

import warnings
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


UTM, PLACE = "EPSG:32633", (10.0, 0.0, 500000.0, 0.0, -10.0, 5000000.0)


@pytest.fixture(scope="session")
def numbered():
    """Makes an image (C,H,W) whose values tell band, row and column, and codes (H,W) 1, 2 and 3 in rectangles."""

    def make(height: int, width: int, dtype: str = "uint16") -> tuple[np.ndarray, np.ndarray]:
        row, col = np.mgrid[:height, :width]
        image = np.stack([1 + 20000 * k + 150 * row + col for k in range(3)]).astype(dtype)
        return image, ((row // 5 + 2 * (col // 7)) % 3 + 1).astype(np.uint8)

    return make


@pytest.fixture
def lay(tmp_path):
    """Writes a raster into the raw folder: lay(name, pixels (C,H,W) or (H,W), transform, crs, **profile) -> name."""
    import rasterio

    def write(name: str, pixels: np.ndarray, transform=PLACE, crs=UTM, driver="GTiff", **profile) -> str:
        path = tmp_path / "raw" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = pixels[None] if pixels.ndim == 2 else pixels
        count, height, width = pixels.shape
        where = {"crs": crs, "transform": rasterio.Affine(*transform)} if crs else {}
        size = {"count": count, "height": height, "width": width, "dtype": pixels.dtype}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
            with rasterio.open(path, "w", driver=driver, **size, **where, **profile) as target:
                target.write(pixels)
        return name

    return write


@pytest.fixture
def few_draws(monkeypatch):
    """Makes the search for even splits short."""
    from specdm.sources import blocks

    for name, number in (("DRAWS", 16), ("STEPS", 40), ("LAYOUTS", 3)):
        monkeypatch.setattr(blocks, name, number)


@pytest.fixture
def prepare_scenes(tmp_path):
    """Prepares scenes of the raw folder: prepare(scenes, seed=0, **settings) -> the folder of the set, the report."""
    from specdm.config import parse_section
    from specdm.settings import SceneSettings
    from specdm.sources import scene

    usual = {"bands": ["a", "b", "c"], "level": "unitless", "scale": 1.0, "patch_px": 16}
    usual["classes"] = [{"name": name, "codes": [code]} for name, code in (("ash", 1), ("birch", 2), ("cedar", 3))]
    made = []

    def prepare(*scenes: dict, seed: int = 0, **settings):
        made.append(tmp_path / f"set{len(made)}")
        section = parse_section(SceneSettings, usual | {"scenes": scenes} | settings)
        return made[-1], scene.prepare(tmp_path / "raw", made[-1], section, name="made", seed=seed)

    return prepare


@pytest.fixture
def cut(prepare_scenes, few_draws):
    """Like `prepare_scenes` with a short search, and opens the set: cut(*scenes, **settings) -> PatchSet."""
    from specdm.patches import open_patches

    return lambda *scenes, **settings: open_patches(prepare_scenes(*scenes, **settings)[0])


@pytest.fixture
def refused(prepare_scenes, few_draws, tmp_path):
    """Expects one sentence with some words, and no output: refused(*words, scenes=[...], **settings)."""
    from specdm.errors import UserError

    def check(*words: str, scenes: list[dict], **settings) -> None:
        before = set(tmp_path.rglob("*"))
        with pytest.raises(UserError) as caught:
            prepare_scenes(*scenes, **settings)
        message = str(caught.value)
        assert message.endswith(".") and "\n" not in message, message
        assert all(word in message for word in words), message
        assert set(tmp_path.rglob("*")) == before

    return check


@pytest.fixture(scope="session")
def same():
    """Compares every patch with the scene it was cut from: same(patches, images ([T,]C,H,W), ids (H,W), source)."""

    def compare(patches, images: np.ndarray, ids: np.ndarray, source: str | None = None) -> None:
        images = images[None] if images.ndim == 3 else images
        index = patches.index if source is None else patches.index[patches.index["source"] == source]
        assert len(index)
        size = patches.masks.shape[1]
        for i, row, col in zip(index.index, index["row"], index["col"], strict=True):
            here = np.s_[..., row : row + size, col : col + size]
            np.testing.assert_array_equal(patches.images[i], images[here])
            np.testing.assert_array_equal(patches.masks[i], ids[here])

    return compare
