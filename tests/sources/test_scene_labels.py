"""Labels of the user's own scenes: codes, abundances and shapes become the class ids of the pixels they lie on."""

import geopandas
import numpy as np
import pandas as pd
import pytest
import shapely
from shapely.geometry import LineString, MultiPolygon, Point, Polygon, box

from specdm.labels import LabelClass, LabelSet

UTM, PLACE = "EPSG:32633", (10.0, 0.0, 500000.0, 0.0, -10.0, 5000000.0)
SIZE = (80, 96)


def classes(*codes) -> list[dict]:
    return [{"name": name, "codes": [code]} for name, code in zip(("ash", "birch", "cedar"), codes)]


@pytest.fixture
def image(lay, numbered):
    return lay("i.tif", numbered(*SIZE)[0])


def assert_ids(patches, ids: np.ndarray) -> None:
    for mask, row, col in zip(patches.masks, patches.index["row"], patches.index["col"], strict=True):
        np.testing.assert_array_equal(mask, ids[row : row + 16, col : col + 16])


def share_wrong(patches, ids: np.ndarray) -> float:
    corners = zip(patches.index["row"], patches.index["col"], strict=True)
    return np.mean(patches.masks != [ids[row : row + 16, col : col + 16] for row, col in corners])


# codes of the three classes, type of the file, code of a fourth kind of pixels, and what the settings say of it
CODES = {
    "negative": ((-1, 0, -7), "int16", 9, {"ignore_codes": [9]}),
    "large": ((1234567, 31, 70000), "int32", -2147483648, {"ignore_codes": [-2147483648]}),
    "beyond 32 bits": ((2**40, 1, 2), "int64", 0, {"ignore_codes": [0]}),
    "beyond 63 bits": ((2**64 - 1, 1, 2), "uint64", 0, {"ignore_codes": [0]}),
    "255 is a class": ((255, 0, 1), "uint8", 7, {"ignore_codes": [7]}),
    "255 is ignored": ((3, 0, 1), "uint8", 255, {}),
    "whole floats": ((1, 2, 3), "float32", np.nan, {}),
    "halves ignored": ((1, 2, 3), "float64", 1.5, {"unlisted_codes": "ignore"}),
    "unlisted": ((1, 2, 3), "uint8", 200, {"unlisted_codes": "ignore"}),
    "nodata of the file": ((1, 2, 3), "int16", -99, {}),
    "nan nodata": ((1, 2, 3), "float32", np.nan, {}),
}


@pytest.mark.parametrize("kind", CODES)
def test_codes_of_any_kind(kind, image, lay, cut, numbered):
    codes, dtype, other, settings = CODES[kind]
    rng = np.random.default_rng(0)
    which = rng.integers(0, 4, SIZE)
    raw = np.array([*codes, other], dtype)[which]
    profile = {"nodata": other} if "nodata" in kind else {}
    patches = cut({"images": image, "labels": lay("l.tif", raw, **profile)}, classes=classes(*codes), **settings)
    assert_ids(patches, np.where(which == 3, 255, which))


def test_a_class_may_have_many_codes_and_the_files_nodata(image, lay, cut):
    which = np.random.default_rng(0).integers(0, 6, SIZE).astype("uint8")
    groups = [{"name": "ash", "codes": [0, 3, 5]}, {"name": "birch", "codes": [1]}]
    labels = lay("l.tif", which, nodata=0)  # some software declares it of every map, also where 0 is a class
    patches = cut({"images": image, "labels": labels}, classes=groups, ignore_codes=[2, 4])
    assert_ids(patches, np.array([0, 1, 255, 0, 255, 0])[which])


def remapped(raw: np.ndarray, *codes: int, **options) -> np.ndarray:
    return LabelSet("made", tuple(LabelClass(k, str(k), (k, k, k), (c,)) for k, c in enumerate(codes))).remap(
        raw, "file", **options
    )


def test_a_code_of_a_class_is_not_ignored():
    np.testing.assert_array_equal(remapped(np.array([255, 4, 9]), 255, 4, ignore=(255, 9, 4)), [0, 1, 255])


def test_windows_of_few_codes_beyond_63_bits():
    raw = np.full((2, 3), 2**64 - 1, "uint64")
    raw[0] -= np.uint64(1)
    np.testing.assert_array_equal(remapped(raw, 2**64 - 1, 2**64 - 2), [[1] * 3, [0] * 3])


@pytest.mark.parametrize("kind", ["tif", "npy"])
def test_the_most_abundant_class_is_the_label(kind, image, lay, cut, tmp_path):
    shares = np.random.default_rng(0).dirichlet((0.4, 0.4, 0.4), SIZE)  # H W K, of cedar, ash and birch
    shares[10:20, 10:30] = 0
    shares[30:35, 40:50, 1] = np.nan
    shares[50:60, 60:70] = (0, 1, 0)
    expected = np.array([2, 0, 1])[np.nan_to_num(shares).argmax(axis=2)]
    expected[10:20, 10:30] = expected[30:35, 40:50] = 255
    if kind == "tif":
        labels = {"path": lay("l.tif", np.moveaxis(shares, 2, 0))}
    else:
        np.save(tmp_path / "raw" / "l.npy", shares)
        labels = {"path": "l.npy", "axes": ["row", "col", "class"]}
    names = [{"name": name} for name in ("ash", "birch", "cedar")]
    patches = cut({"images": image, "labels": labels | {"order": ["cedar", "ash", "birch"]}}, classes=names)
    assert_ids(patches, expected)


@pytest.mark.parametrize(("nodata", "ignored"), [(0, False), (-1, True)])
def test_nodata_of_abundances(nodata, ignored, image, lay, cut):
    """0 is also a legal share: only pixels without any share have no label."""
    shares = np.zeros((2, *SIZE), "float32")
    shares[0, :, :40] = shares[1, :, 40:] = 1
    shares[:, :8] = nodata
    shares[1, 8:16, :40] = nodata
    labels = {"path": lay("l.tif", shares, nodata=nodata), "order": ["ash", "birch"]}
    patches = cut({"images": image, "labels": labels}, classes=[{"name": "ash"}, {"name": "birch"}], min_labelled=0)
    expected = np.where(np.arange(SIZE[1]) < 40, 0, 1) + np.zeros(SIZE, int)
    expected[:8] = 255
    expected[8:16, :40] = 255 if ignored else 0
    assert_ids(patches, expected)


@pytest.fixture
def write_shapes(tmp_path):
    """Writes a vector file: write(name, geometries in UTM, values, crs of the file, **options) -> name."""

    def write(name: str, geometries, values, crs: object = UTM, **options) -> str:
        frame = geopandas.GeoDataFrame({"kind": values}, geometry=list(geometries), crs=UTM)
        frame = frame.to_crs(crs) if crs else frame.set_crs(None, allow_override=True)
        path = tmp_path / "raw" / name
        frame.to_parquet(path) if path.suffix == ".parquet" else frame.to_file(path, **options)
        return name

    return write


def random_polygons(n: int, seed: int = 0) -> list[Polygon]:
    """Triangles and rings that overlap, in metres of UTM; some reach beyond the scene."""
    rng = np.random.default_rng(seed)
    found = []
    while len(found) < n:
        x, y = 500000 + rng.uniform(-60, 1020), 5000000 - rng.uniform(-60, 860)
        corners = np.c_[x, y] + rng.normal(0, 130, (rng.integers(3, 7), 2))
        polygon = shapely.convex_hull(shapely.multipoints(corners))
        found.append(polygon.difference(polygon.buffer(-40)) if len(found) % 3 == 0 else polygon)
    return found


def painted(polygons, ids, order) -> np.ndarray:
    """Ids by the class that covers the centre of each pixel, later ones of `order` on top."""
    row, col = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
    ids, x, y = np.asarray(ids), 500000 + 10 * col, 5000000 - 10 * row
    out = np.full(SIZE, 255)
    for wanted in order:
        for k in np.flatnonzero(ids == wanted):
            out[shapely.contains_xy(polygons[k], x, y)] = wanted
    return out


VALUES = {"number": [1, 2, 3], "text": ["1", "2", "3"], "word": ["fen", "moor", "bog"], "float": [1.0, 2.0, 3.0]}


@pytest.mark.parametrize("values", VALUES)
@pytest.mark.parametrize("name", ["l.gpkg", "l.geojson", "l.shp", "l.parquet", "l.fgb"])
def test_shapes_label_the_pixels_whose_centre_they_cover(name, values, image, write_shapes, cut):
    polygons = random_polygons(24)
    ids = [k % 3 for k in range(24)]
    crs = "EPSG:4326" if name == "l.geojson" else UTM
    path = write_shapes(name, polygons, [VALUES[values][k] for k in ids], crs)
    codes = VALUES[values] if values == "word" else (1, 2, 3)
    patches = cut({"images": image, "labels": {"path": path, "attribute": "kind"}}, classes=classes(*codes))
    expected = painted(polygons, ids, (0, 1, 2))
    assert share_wrong(patches, expected) <= (0 if crs == UTM else 1e-3)  # GeoJSON keeps seven decimals of a degree


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0)])
def test_where_shapes_overlap_the_class_declared_later_lies_on_top(order, image, write_shapes, cut):
    polygons, ids = random_polygons(30, seed=1), [k % 3 for k in range(30)]
    path = write_shapes("l.gpkg", polygons, ids)
    declared = [{"name": f"class {k}", "codes": [k]} for k in order]
    patches = cut({"images": image, "labels": {"path": path, "attribute": "kind"}}, classes=declared)
    by_code = painted(polygons, ids, order)
    assert_ids(patches, np.where(by_code == 255, 255, np.argsort([*order, 9])[np.minimum(by_code, 2)]))


def test_ground_without_shapes_may_be_a_class_and_ignored_shapes_lie_at_the_bottom(image, write_shapes, cut):
    polygons, ids = random_polygons(12, seed=2), [k % 3 for k in range(12)]
    path = write_shapes("l.gpkg", polygons, ids)
    declared = [{"name": "one", "codes": [1]}, {"name": "two", "codes": [2]}, {"name": "other"}]
    labels = {"path": path, "attribute": "kind", "uncovered": "other"}
    patches = cut({"images": image, "labels": labels}, classes=declared, ignore_codes=[0])
    by_code = painted(polygons, ids, (0, 1, 2))
    expected = np.full(SIZE, 2)
    for code, wanted in ((0, 255), (1, 0), (2, 1)):
        expected[by_code == code] = wanted
    assert_ids(patches, expected)


def test_every_shape_may_be_one_class(image, write_shapes, cut):
    polygons = random_polygons(12, seed=3)
    path = write_shapes("l.gpkg", [*polygons[:-2], MultiPolygon(polygons[-2:-1])], range(11))
    labels = {"path": path, "covered": "pond", "uncovered": "land"}
    patches = cut({"images": image, "labels": labels}, classes=[{"name": "land"}, {"name": "pond"}])
    assert_ids(patches, np.where(painted(polygons[:-1], [1] * 11, (1,)) == 1, 1, 0))


def test_shapes_of_another_reference_system_are_placed(image, write_shapes, cut):
    polygons, ids = random_polygons(24), [k % 3 for k in range(24)]
    fine = [shapely.segmentize(polygon, 5) for polygon in polygons]
    path = write_shapes("l.gpkg", fine, ids, "EPSG:3857")
    patches = cut({"images": image, "labels": {"path": path, "attribute": "kind"}}, classes=classes(0, 1, 2))
    assert share_wrong(patches, painted(polygons, ids, (0, 1, 2))) < 1e-3


def test_points_and_lines_mark_their_pixels(image, write_shapes, cut):
    rng = np.random.default_rng(0)
    rows, cols = np.divmod(rng.permutation(SIZE[0] * SIZE[1])[:400], SIZE[1])
    expected = np.full(SIZE, 255)
    expected[rows, cols] = ids = np.arange(400) % 2
    points = [Point(500000 + 10 * c + 3, 5000000 - 10 * r - 8) for r, c in zip(rows, cols, strict=True)]
    expected[40] = 2
    line = LineString([(500000, 5000000 - 404), (500960, 5000000 - 404)])
    path = write_shapes("l.gpkg", [*points, line], [*ids.tolist(), 2])
    labels = {"path": path, "attribute": "kind"}
    patches = cut({"images": image, "labels": labels}, classes=classes(0, 1, 2), min_labelled=0)
    assert_ids(patches, expected)


def test_texts_that_are_one_number_may_be_two_classes(image, write_shapes, cut):
    west, middle, east = (box(500000 + 320 * k, 4999000, 500320 + 320 * k, 5000000) for k in range(3))
    path = write_shapes("l.gpkg", [west, middle, east], ["1.1", "1.10", "1_1"])
    labels = {"path": path, "attribute": "kind"}
    patches = cut({"images": image, "labels": labels}, classes=classes("1.1", "1.10", "1_1"))
    assert_ids(patches, np.broadcast_to(np.arange(SIZE[1]) // 32, SIZE))


@pytest.mark.parametrize("name", ["l.gpkg", "l.parquet"])
@pytest.mark.parametrize("values", ["numbers", "texts"])
def test_shapes_without_a_value_are_no_class(name, values, image, write_shapes, cut):
    known = [1, 2, None] if values == "numbers" else ["1", "2", None]
    boxes = [box(500000 + 320 * k, 4999000, 500320 + 320 * k, 5000000) for k in range(3)]
    path = write_shapes(name, boxes, pd.array(known, "Int64" if values == "numbers" else object))
    labels = {"path": path, "attribute": "kind"}
    patches = cut({"images": image, "labels": labels}, classes=classes(1, 2), unlisted_codes="ignore", min_labelled=0)
    assert_ids(patches, np.broadcast_to(np.array([0, 1, 255])[np.arange(SIZE[1]) // 32], SIZE))


def test_empty_and_missing_geometries_are_left_out(image, write_shapes, cut):
    polygons, ids = random_polygons(12), [k % 3 for k in range(12)]
    path = write_shapes("l.gpkg", [*polygons, None, Polygon()], [*ids, 77, 78])
    patches = cut({"images": image, "labels": {"path": path, "attribute": "kind"}}, classes=classes(0, 1, 2))
    assert_ids(patches, painted(polygons, ids, (0, 1, 2)))


def test_one_of_several_layers(image, write_shapes, cut):
    polygons, ids = random_polygons(12), [k % 3 for k in range(12)]
    write_shapes("l.gpkg", random_polygons(3, seed=9), [5, 6, 7], layer="other")
    write_shapes("l.gpkg", polygons, ids, layer="wanted", mode="w")
    labels = {"path": "l.gpkg", "layer": "wanted", "attribute": "kind"}
    patches = cut({"images": image, "labels": labels}, classes=classes(0, 1, 2))
    assert_ids(patches, painted(polygons, ids, (0, 1, 2)))


def test_a_file_that_was_mended_is_read_anew(image, write_shapes, cut):
    polygons, ids = random_polygons(12), [k % 3 for k in range(12)]
    scene = {"images": image, "labels": {"path": write_shapes("l.geojson", polygons, ids), "attribute": "kind"}}
    first = cut(scene, classes=classes(0, 1, 2))
    write_shapes("l.geojson", polygons, [2 - k for k in ids])
    second = cut(scene, classes=classes(2, 1, 0))
    assert first.meta.checksums["masks"] == second.meta.checksums["masks"]
