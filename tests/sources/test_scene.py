"""The user's own scenes: every file format gives the same patches, each at its place on the map."""

import h5py
import numpy as np
import pandas as pd
import pytest
import rasterio
import rasterio.warp
from rasterio.windows import from_bounds
from scipy import io

from specdm import rasters
from specdm.bands import BAND_SETS, SENTINEL2
from specdm.labels import SEGMUNICH
from specdm.sources import simulate

HEIGHT, WIDTH = 80, 112
UTM, PLACE = "EPSG:32633", (10.0, 0.0, 500000.0, 0.0, -10.0, 5000000.0)
LOCATED = {"crs": UTM, "bounds": [500000, 5000000 - 10 * HEIGHT, 500000 + 10 * WIDTH, 5000000]}


def array_file(folder, kind: str, name: str, array: np.ndarray) -> str:
    """Write an array as v5 or v7.3 .mat (MATLAB shows it as it is here) or .npy; returns its name."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.{'npy' if kind == 'npy' else 'mat'}"
    if kind == "npy":
        np.save(path, array)
    elif kind == "v5":
        io.savemat(path, {"cube": array, "note": "made up"})
    else:
        with h5py.File(path, "w", userblock_size=512) as file:
            file.create_dataset("cube", data=array.T).attrs["MATLAB_class"] = np.bytes_(array.dtype.name)
    return path.name


def rasters_as(lay, image, codes, **profile) -> dict:
    return {"images": lay("i.tif", image, **profile), "labels": lay("l.tif", codes, **profile)}


def envi_as(lay, image, codes, interleave: str, name: str) -> dict:
    lay("i.bin", image, driver="ENVI", interleave=interleave)
    lay("l.dat", codes, driver="ENVI")
    return {"images": name, "labels": "l.dat"}


def arrays_as(folder, kind: str, image, codes) -> dict:
    axes = {"v5": "rcb", "v73": "crb", "npy": "brc"}[kind]
    words = {"r": "row", "c": "col", "b": "band"}
    cube = array_file(folder, kind, "i", np.ascontiguousarray(image.transpose(["brc".index(a) for a in axes])))
    return {
        "images": {"path": cube, "axes": [words[a] for a in axes], **LOCATED},
        "labels": {"path": array_file(folder, kind, "l", codes)},
    }


def flat_as(folder, image, codes) -> dict:
    """Spectra as the columns of a matrix, pixels column by column, as hyperspectral benchmarks come."""
    flat = image.transpose(0, 2, 1).reshape(len(image), -1)
    layout = {"variable": "cube", "shape": [len(image), WIDTH, HEIGHT], "axes": ["band", "col", "row"]}
    cube = array_file(folder, "v5", "i", flat)
    return {"images": {"path": cube, **layout, **LOCATED}, "labels": array_file(folder, "v5", "l", codes)}


def dated_as(folder, image, codes) -> dict:
    """One of several dates, and labels with an axis to drop."""
    dates = np.stack([np.zeros_like(image), image], axis=-1)
    layout = {"axes": ["band", "row", "col", "time"], "time": 1}
    labels = {"path": array_file(folder, "npy", "l", codes[..., None]), "axes": ["row", "col", "-"]}
    return {"images": {"path": array_file(folder, "npy", "i", dates), **layout, **LOCATED}, "labels": labels}


def folder_as(lay, image, codes) -> dict:
    for name, plane in zip("abc", image, strict=True):
        lay(f"i/scene_{name}.tif", plane)
    return {"images": {"path": "i", "band_files": "*_{band}.tif"}, "labels": lay("l.tif", codes)}


TILES = {"tiled": True, "blockxsize": 32, "blockysize": 16}
FORMATS = {
    "striped": lambda lay, raw, *data: rasters_as(lay, *data, interleave="band", blockysize=3),
    "pixel by pixel": lambda lay, raw, *data: rasters_as(lay, *data, interleave="pixel"),
    "tiled": lambda lay, raw, *data: rasters_as(lay, *data, interleave="band", compress="lzw", **TILES),
    "tiled pixels": lambda lay, raw, *data: rasters_as(lay, *data, interleave="pixel", compress="zstd", **TILES),
    "big tiff": lambda lay, raw, *data: rasters_as(lay, *data, bigtiff="yes", compress="deflate", predictor=2),
    "envi bsq": lambda lay, raw, *data: envi_as(lay, *data, "bsq", "i.hdr"),
    "envi bil": lambda lay, raw, *data: envi_as(lay, *data, "bil", "i.bin"),
    "envi bip": lambda lay, raw, *data: envi_as(lay, *data, "bip", "i.hdr"),
    "mat v5": lambda lay, raw, *data: arrays_as(raw, "v5", *data),
    "mat v7.3": lambda lay, raw, *data: arrays_as(raw, "v73", *data),
    "npy": lambda lay, raw, *data: arrays_as(raw, "npy", *data),
    "matrix of spectra": lambda lay, raw, *data: flat_as(raw, *data),
    "one of several dates": lambda lay, raw, *data: dated_as(raw, *data),
    "folder of bands": lambda lay, raw, *data: folder_as(lay, *data),
}


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_gives_the_same_patches(kind, lay, cut, numbered, same, tmp_path):
    image, codes = numbered(HEIGHT, WIDTH)
    lay("plain.tif", image)
    lay("codes.tif", codes)
    expected = cut({"name": "one", "images": "plain.tif", "labels": "codes.tif"})
    found = cut({"name": "one"} | FORMATS[kind](lay, tmp_path / "raw", image, codes))
    same(found, image, codes - 1)
    np.testing.assert_array_equal(found.images, expected.images)
    np.testing.assert_array_equal(found.masks, expected.masks)
    pd.testing.assert_frame_equal(found.index, expected.index)
    assert found.meta.checksums == expected.meta.checksums
    assert (found.meta.scale, found.meta.nodata, found.meta.bands) == (1.0, None, ("a", "b", "c"))


# a, b, c, d, e, f of x = a col + b row + c, y = d col + e row + f
GRIDS = {
    "square": (UTM, PLACE),
    "not square": (UTM, (10.0, 0.0, 500003.0, 0.0, -6.5, 5000007.0)),
    "south up": (UTM, (10.0, 0.0, 500000.0, 0.0, 10.0, 4999000.0)),
    "degrees": ("EPSG:4326", (1e-4, 0.0, 14.2, 0.0, -7e-5, 47.9)),
    "turned": (UTM, (8.0, 6.0, 500000.0, 6.0, -8.0, 5000000.0)),
}


def apply(t, x, y):
    return t.a * x + t.b * y + t.c, t.d * x + t.e * y + t.f


@pytest.mark.parametrize("grid", GRIDS)
def test_patches_lie_on_the_map_where_their_pixels_came_from(grid, lay, cut, numbered, same, tmp_path):
    crs, transform = GRIDS[grid]
    image, codes = numbered(HEIGHT, WIDTH)
    scene = {"images": lay("i.tif", image, transform, crs), "labels": lay("l.tif", codes, transform, crs)}
    patches = cut(scene)
    same(patches, image, codes - 1)
    rows, cols = np.mgrid[:16, :16] + 0.5
    with rasterio.open(tmp_path / "raw" / "i.tif") as original:
        for pixels, place in zip(patches.images[:, 0], patches.index["transform"], strict=True):
            rasters.write(tmp_path / "patch.tif", pixels, crs, tuple(place))
            with rasterio.open(tmp_path / "patch.tif") as patch:
                assert patch.crs == original.crs
                col, row = apply(~original.transform, *apply(patch.transform, cols, rows))  # centres of its pixels
                np.testing.assert_allclose((row % 1, col % 1), 0.5, atol=1e-3)
                np.testing.assert_array_equal(patch.read(), image[:, row.astype(int), col.astype(int)])
                if grid in ("square", "not square", "degrees"):
                    window = from_bounds(*patch.bounds, original.transform).round()
                    np.testing.assert_array_equal(patch.read(), original.read(window=window))


@pytest.mark.parametrize("grid", ["square", "south up", "turned"])
def test_outlines_of_patches_are_on_the_globe(grid, lay, cut, numbered):
    import geopandas

    crs, (a, b, c, d, e, f) = GRIDS[grid]
    image, codes = (
        lay(name, pixels, GRIDS[grid][1]) for name, pixels in zip("il", numbered(HEIGHT, WIDTH), strict=True)
    )
    patches = cut({"images": image, "labels": codes})
    outlines = geopandas.read_parquet(patches.folder / "index.parquet").geometry
    assert outlines.crs == "EPSG:4326"
    for outline, row, col in zip(outlines, patches.index["row"], patches.index["col"], strict=True):
        corners = [(row + r, col + k) for r in (0, 16) for k in (0, 16)]
        x, y = zip(*((a * k + b * r + c, d * k + e * r + f) for r, k in corners), strict=True)
        expected = rasterio.warp.transform_bounds(crs, "EPSG:4326", min(x), min(y), max(x), max(y))
        np.testing.assert_allclose(outline.bounds, expected, atol=1e-9)


def test_two_dates_are_stacked_and_dated(lay, cut, numbered, same):
    image, codes = numbered(HEIGHT, WIDTH)
    later = image + np.uint16(5000)
    scene = {"images": [lay("a.tif", image), lay("b.tif", later)], "labels": lay("l.tif", codes)}
    patches = cut(scene | {"dates": ["2020-05-01", "2021-05-03"]})
    same(patches, np.stack([image, later]), codes - 1)
    assert set(patches.index["dates"]) == {"2020-05-01,2021-05-03"}
    assert set(patches.index["source"]) == {"a"}


STORED = {"uint8": "uint8", "int16": "int16", "uint32": "uint32", "float32": "float32", "float64": "float32"}
STORED |= {"int64": "int32", "uint64": "uint32", "int8": "int8"}


@pytest.mark.parametrize("dtype", STORED)
def test_types_are_kept_but_for_those_of_64_bits(dtype, lay, cut, numbered, same):
    image, codes = numbered(HEIGHT, WIDTH)
    image = (image % 101).astype(dtype)
    patches = cut({"images": lay("i.tif", image), "labels": lay("l.tif", codes)})
    assert patches.images.dtype == STORED[dtype]
    same(patches, image.astype(STORED[dtype]), codes - 1)


def test_dropped_bands_and_wavelengths(lay, cut, numbered, same):
    image, codes = numbered(HEIGHT, WIDTH)
    scene = {"images": lay("i.tif", np.concatenate([image, image + np.uint16(7)])), "labels": lay("l.tif", codes)}
    evenly = {"first": 400, "last": 500}
    for drop, kept in (
        (["420nm..460nm"], [0, 4, 5]),
        (["460nm..420nm", "500nm"], [0, 4]),
        (["400nm"], [1, 2, 3, 4, 5]),
    ):
        patches = cut(scene, bands=None, wavelengths_nm=evenly, drop_bands=drop)
        assert patches.meta.bands == tuple(f"{400 + 20 * k}nm" for k in kept)
        assert patches.meta.wavelengths_nm == tuple(400.0 + 20 * k for k in kept)
        same(patches, np.concatenate([image, image + np.uint16(7)])[kept], codes - 1)


def test_small_scenes_and_windows_without_labels_are_left_out(lay, cut, numbered, same):
    image, codes = numbered(HEIGHT, WIDTH)
    bare = np.zeros_like(codes)
    scenes = [
        {"images": lay("bare.tif", image, crs=None), "labels": lay("bare_l.tif", bare, crs=None)},
        {"images": lay("tiny.tif", image[:, :9, :9], crs=None), "labels": lay("tiny_l.tif", codes[:9, :9], crs=None)},
        {"images": lay("good.tif", image, crs=None), "labels": lay("good_l.tif", codes, crs=None)},
        {"images": lay("last.tif", image, crs=None), "labels": lay("last_l.tif", bare, crs=None)},
    ]
    patches = cut(*scenes, ignore_codes=[0])
    assert set(patches.index["source"]) == {"good"}
    same(patches, image, codes - 1)


def test_windows_need_their_share_of_labels(lay, cut, numbered):
    image, codes = numbered(HEIGHT, WIDTH)
    codes[:, 40:] = 0
    scene = {"images": lay("i.tif", image), "labels": lay("l.tif", codes)}
    settings = {"ignore_codes": [0], "stride_px": 8}
    for share, last in ((0.25, 40 - 4), (0.75, 40 - 12), (1.0, 40 - 16)):
        patches = cut(scene, min_labelled=share, **settings)
        assert patches.index["col"].max() == last // 8 * 8
        assert ((patches.masks != 255).mean(axis=(1, 2)) >= share).all()
    assert cut(scene, min_labelled=0, **settings).index["col"].max() > 40


@pytest.fixture(scope="module")
def landscape():
    """A made-up Sentinel-2 scene of ten bands with its class ids."""
    return simulate.mosaic(192, seed=4)


@pytest.mark.parametrize("right", [True, False])
def test_wrong_order_of_bands_is_noticed(right, landscape, lay, cut):
    image, ids = landscape
    there = np.flatnonzero(np.bincount(ids.ravel())[1:] > 100) + 1
    classes = [{"name": SEGMUNICH.classes[k].name, "codes": [int(k)]} for k in there]
    bands = list(BAND_SETS["paper"])
    patches = cut(
        {"images": lay("i.tif", image), "labels": lay("l.tif", ids)},
        bands=bands if right else bands[::-1],
        classes=classes,
        ignore_codes=[0],
        unlisted_codes="ignore",
        nodata=0,
        patch_px=32,
    )
    assert patches.meta.sensor == "Sentinel-2 MSI"
    assert patches.meta.wavelengths_nm == tuple(SENTINEL2[name].wavelength_nm for name in patches.meta.bands)
    told = [text for text in patches.meta.warnings if "check the declared order of the bands" in text]
    assert bool(told) != right, patches.meta.warnings
