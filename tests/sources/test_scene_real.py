"""Real scenes of five kinds, read as their own descriptions say."""

import numpy as np
import pytest
import rasterio
from rasterio.windows import from_bounds
from scipy import io, ndimage

from specdm.patches import SPLITS, open_patches
from specdm.rasters import Grid
from specdm.settings import LabelFile, SceneClass
from specdm.sources.scene_classes import label_set
from specdm.sources.scene_labels import SceneLabels


def named(**codes: int) -> list[dict]:
    return [{"name": name, "codes": [code]} for name, code in codes.items()]


@pytest.fixture
def prepare(prepare_scenes, few_draws):
    """Prepares scenes whose paths start in a folder of the real data: prepare(folder, *scenes, **settings)."""

    def here(folder, file):
        if isinstance(file, dict):
            return file | {"path": str(folder / file["path"])}
        return str(folder / file)

    def run(folder, *scenes: dict, **settings):
        full = [scene | {key: here(folder, scene[key]) for key in ("images", "labels")} for scene in scenes]
        path, report = prepare_scenes(*full, patch_px=32, **settings)
        assert report.shared == {"val": 0, "test": 0} and all(report.sizes.values())
        return open_patches(path), report

    return run


def on_the_map(patches, path) -> None:
    """Every patch is what the file holds at its place on the map."""
    with rasterio.open(path) as original:
        for i, (a, _, c, _, e, f) in enumerate(patches.index["transform"]):
            window = from_bounds(c, f + 32 * e, c + 32 * a, f, original.transform).round()
            np.testing.assert_array_equal(patches.images[i, 0], original.read(window=window))


def masks_of(patches, ids: np.ndarray) -> None:
    for mask, row, col in zip(patches.masks, patches.index["row"], patches.index["col"], strict=True):
        np.testing.assert_array_equal(mask, ids[row : row + 32, col : col + 32])


def test_aberystwyth(real_data, prepare):
    """Ten bands with a machine's classification, in the British grid."""
    folder = real_data / "aberystwyth"
    scene = {"images": "sen2_20210527_aber_subset.tif", "labels": "aber_subset_labels.tif", "dates": "2021-05-27"}
    classes = named(forest=1, grass=2, urban=3, water=4)
    settings = {"bands": "spectralgpt", "level": "BOA", "scale": 1e-3, "nodata": None, "classes": classes}
    patches, report = prepare(folder, scene, **settings)
    assert patches.meta.warnings == () and patches.meta.sensor == "Sentinel-2 MSI"
    assert set(patches.index["crs"]) == {"EPSG:27700"} and len(patches) > 150
    on_the_map(patches, folder / scene["images"])
    with rasterio.open(folder / scene["labels"]) as labels:
        masks_of(patches, labels.read(1) - 1)
    wrong = ["B8A", *(f"B0{k}" for k in range(3, 9)), "B02", "B11", "B12"]
    swapped, _ = prepare(folder, scene, **settings | {"bands": wrong})
    assert any("check the declared order" in text for text in swapped.meta.warnings)
    assert report.scenes[0].unlabelled == 0


def test_sen1floods11(real_data, prepare):
    """Thirteen bands in degrees; 99 pixels that nobody labelled."""
    folder = real_data / "sen1floods11"
    scene = {"images": "{name}_S2Hand.tif", "labels": "{name}_LabelHand.tif"}
    settings = {"bands": "all", "level": "TOA", "scale": 1e-4, "nodata": 0, "ignore_codes": [-1]}
    patches, _ = prepare(folder, scene, classes=named(land=0, water=1), **settings)
    assert set(patches.index["source"]) == {"Spain_7370579"} and patches.images.dtype == np.int16
    on_the_map(patches, folder / "Spain_7370579_S2Hand.tif")
    with rasterio.open(folder / "Spain_7370579_LabelHand.tif") as labels:
        codes = labels.read(1)
    assert (codes == -1).sum() == 99
    masks_of(patches, np.where(codes == -1, 255, codes))
    assert (patches.masks == 255).any()


def test_samson(real_data, prepare):
    """A matrix of spectra in a .mat file, labelled by abundances."""
    folder = real_data / "samson"
    scene = {
        "images": {"path": "Samson.mat", "variable": "Y", "shape": [156, 95, 95], "axes": ["band", "col", "row"]},
        "labels": {
            "path": "Samson.mat",
            "variable": "S_GT",
            "axes": ["row", "col", "class"],
            "order": ["soil", "tree", "water"],
        },
    }
    settings = {"bands": None, "wavelengths_nm": {"first": 401, "last": 889}}
    patches, _ = prepare(folder, scene, classes=[{"name": n} for n in ("soil", "tree", "water")], **settings)
    file = io.loadmat(folder / "Samson.mat")
    cube = file["Y"].reshape(156, 95, 95).transpose(2, 1, 0)  # its SOURCE.md: row, column, band
    for i, (row, col) in enumerate(zip(patches.index["row"], patches.index["col"], strict=True)):
        here = cube[row : row + 32, col : col + 32].astype(np.float32)
        np.testing.assert_array_equal(patches.images[i, 0], np.moveaxis(here, 2, 0))
    masks_of(patches, file["S_GT"].argmax(axis=2))
    assert len(patches) >= 60 and patches.meta.bands[::155] == ("401nm", "889nm")
    assert np.bincount(file["S_GT"].argmax(axis=2).ravel()).tolist() == [3015, 3666, 2344]


LAND_USE = named(cultivated=1, forest=2, grassland=3, shrubland=4, artificial=8)
BOUNDS = [465181.0522318204, 5079244.8912012065, 466180.53145382757, 5080254.63349641]


def test_slovenian_land_use_polygons_agree_with_the_official_raster(real_data):
    folder = real_data / "slovenia"
    west, south, east, north = BOUNDS
    grid = Grid(101, 100, "EPSG:32633", ((east - west) / 100, 0, west, 0, (south - north) / 101, north))
    classes = label_set("land use", [SceneClass(**entry) for entry in (*named(none=0), *LAND_USE)])
    file = LabelFile(path=str(folder / "LULC.gpkg"), attribute="LULC_ID")
    with SceneLabels(file, classes, grid) as labels:
        ids = labels.read(0, 0, 101, 100)
    official = np.load(folder / "LULC.npy")[..., 0]
    agreement = (np.array([0, 1, 2, 3, 4, 8])[ids] == official).mean()
    assert agreement > 0.999, agreement


def test_slovenia(real_data, prepare):
    """Five dates of one place in one array, labelled by one file of polygons."""
    folder = real_data / "slovenia"
    scenes = [
        {
            "name": f"date{k}",
            "images": {
                "path": "REFERENCE_SCENES.npy",
                "axes": ["time", "row", "col", "band"],
                "time": k,
                "crs": "EPSG:32633",
                "bounds": BOUNDS,
            },
            "labels": {"path": "LULC.gpkg", "attribute": "LULC_ID"},
        }
        for k in range(5)
    ]
    settings = {"bands": "all", "level": "TOA", "unlisted_codes": "ignore"}
    patches, _ = prepare(folder, *scenes, classes=LAND_USE, **settings)
    values = np.load(folder / "REFERENCE_SCENES.npy", mmap_mode="r")
    shown = np.zeros((3, 101, 100), bool)
    for i, row in enumerate(patches.index.itertuples()):
        here = np.s_[row.row : row.row + 32, row.col : row.col + 32]
        np.testing.assert_array_equal(patches.images[i, 0], np.moveaxis(values[int(row.source[-1])][here], 2, 0))
        shown[SPLITS.index(row.split)][here] = True
    assert shown.sum(axis=0).max() == 1 and patches.index["source"].nunique() == 5
    assert ndimage.distance_transform_cdt(~(shown[1] | shown[2]), "chessboard")[shown[0]].min() > 8


def test_enmap(real_data, prepare, refused, lay, tmp_path):
    """Bands of water vapour without any data are named; without them the others are read."""
    path = next((real_data / "enmap").glob("*X03110438-SPECTRAL_IMAGE.TIF"))
    with rasterio.open(path) as file:
        cube, where = file.read(), {"transform": tuple(file.transform)[:6], "crs": file.crs}
    dead = np.flatnonzero((cube == -32768).all(axis=(1, 2)))
    assert len(dead) == 22
    labels = lay("l.tif", np.where(np.arange(128) // 16 % 2, 1, 2)[:, None].repeat(128, 1).astype(np.uint8), **where)
    names = [f"b{k:03}" for k in range(224)]
    runs = np.split(dead, np.flatnonzero(np.diff(dead) > 1) + 1)
    drop = [names[r[0]] if len(r) == 1 else f"{names[r[0]]}..{names[r[-1]]}" for r in runs]
    settings = {"bands": names, "scale": 1e-4, "classes": named(odd=1, even=2)}
    scene = {"images": str(path), "labels": str(tmp_path / "raw" / labels)}
    refused(", ".join(drop) + ";", "drop_bands", scenes=[scene], patch_px=32, **settings)
    patches, _ = prepare(path.parent, scene, drop_bands=drop, **settings)
    kept = np.delete(cube, dead, axis=0)
    assert patches.images.shape[2] == 202 and patches.meta.nodata == -32768
    for i, (row, col) in enumerate(zip(patches.index["row"], patches.index["col"], strict=True)):
        here = kept[:, row : row + 32, col : col + 32]
        gone = (here == -32768).any(axis=0)
        np.testing.assert_array_equal(patches.images[i, 0], np.where(gone, -32768, here))
        assert (patches.masks[i] == 255).sum() == gone.sum()
