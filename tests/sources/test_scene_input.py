"""Bad scenes: one sentence that names the file and the remedy, and nothing half-written."""

import gzip

import geopandas
import h5py
import numpy as np
import pandas as pd
import pytest
import rasterio
from scipy import io
from shapely.geometry import Point, Polygon, box

UTM, PLACE = "EPSG:32633", (10.0, 0.0, 500000.0, 0.0, -10.0, 5000000.0)
ELSEWHERE = (10.0, 0.0, 600000.0, 0.0, -10.0, 5000000.0)
SIZE = (64, 80)


@pytest.fixture
def pixels(numbered) -> np.ndarray:
    return numbered(*SIZE)[0]


@pytest.fixture
def good(lay, numbered) -> dict:
    image, codes = numbered(*SIZE)
    return {"images": lay("i.tif", image), "labels": lay("l.tif", codes)}


@pytest.fixture
def raw(tmp_path, good):
    return tmp_path / "raw"


def test_missing_raw_folder(refused):
    refused("i.tif", "does not exist", "raw", scenes=[{"images": "i.tif", "labels": "l.tif"}])
    refused("{name}.tif", "no file", "raw", scenes=[{"images": "{name}.tif", "labels": "l.tif"}])


def test_three_images(good, refused):
    refused("3 images", "scenes of their own", scenes=[good | {"images": ["i.tif"] * 3}])


@pytest.mark.parametrize("profile", [{}, {"compress": "deflate"}, {"tiled": True, "blockxsize": 16, "blockysize": 16}])
@pytest.mark.parametrize("keep", [0.3, 0.7, 0.98])
def test_truncated_tiff(keep, profile, good, lay, raw, pixels, refused):
    lay("i.tif", pixels, **profile)
    data = (raw / "i.tif").read_bytes()
    (raw / "i.tif").write_bytes(data[: int(keep * len(data))])
    refused("i.tif", "truncated", "fetch", scenes=[good])


def test_truncated_labels(good, lay, raw, pixels, refused):
    lay("l.tif", pixels[0])
    (raw / "l.tif").write_bytes((raw / "l.tif").read_bytes()[:5000])
    refused("l.tif", "truncated", scenes=[good])


def test_truncated_file_among_bands_of_other_grids(good, lay, raw, pixels, refused):
    for name, plane in zip("abc", pixels, strict=True):
        lay(f"f/{name}.tif", plane)
    lay("f/b.tif", pixels[1, ::2, ::2], (20, 0, 500000, 0, -20, 5000000), blockysize=4)
    (raw / "f/b.tif").write_bytes((raw / "f/b.tif").read_bytes()[:-600])
    refused("b.tif", "truncated", scenes=[good | {"images": {"path": "f", "band_files": "{band}.tif"}}])


@pytest.mark.parametrize("interleave", ["bsq", "bil", "bip"])
def test_truncated_envi_image(interleave, good, lay, raw, pixels, refused):
    """GDAL itself reads what is missing as zeros."""
    lay("e.img", pixels, driver="ENVI", interleave=interleave)
    (raw / "e.img").write_bytes((raw / "e.img").read_bytes()[:-2])
    for name in ("e.img", "e.hdr"):
        refused("e.img", "truncated", scenes=[good | {"images": name}])


def test_envi_images_may_start_late_or_be_compressed(good, lay, raw, pixels, cut, same, numbered):
    lay("e.img", pixels, driver="ENVI")
    header, data = (raw / "e.hdr").read_text(), (raw / "e.img").read_bytes()
    (raw / "e.hdr").write_text(header.replace("header offset = 0", "header offset = 300"))
    (raw / "e.img").write_bytes(bytes(300) + data)
    (raw / "z.hdr").write_text(header + "file compression = 1\n")
    (raw / "z.img").write_bytes(gzip.compress(data))
    for name in ("e.img", "z.hdr"):
        same(cut(good | {"images": name}), pixels, numbered(*SIZE)[1] - 1)


def test_envi_header_alone(good, lay, raw, pixels, refused):
    lay("e.img", pixels, driver="ENVI")
    (raw / "e.img").unlink()
    refused("e.hdr", "data file", scenes=[good | {"images": "e.hdr"}])


@pytest.mark.parametrize("dtype", ["complex64", "complex128", "complex_int16"])
def test_complex_images(dtype, good, raw, refused):
    profile = {"driver": "GTiff", "count": 3, "height": 64, "width": 80, "dtype": dtype}
    with rasterio.open(raw / "c.tif", "w", crs=UTM, transform=rasterio.Affine(*PLACE), **profile):
        pass
    refused("c.tif", "complex", scenes=[good | {"images": "c.tif"}])
    refused("c.tif", "complex", scenes=[good | {"labels": "c.tif"}])


def test_arrays_that_are_no_numbers(good, raw, pixels, refused):
    layout = {"axes": ["band", "row", "col"]}
    io.savemat(raw / "c.mat", {"x": pixels + 1j, "y": np.array([[{"a": 1}, "b"]], object)})
    np.save(raw / "o.npy", np.array([{"a": 1}], object), allow_pickle=True)
    for path, words in (({"path": "c.mat", "variable": "x"}, "complex"), ({"path": "c.mat", "variable": "y"}, "cell")):
        refused("c.mat", words, scenes=[good | {"images": path | layout}])
    refused("o.npy", "pickled", scenes=[good | {"images": {"path": "o.npy"} | layout}])
    refused("o.npy", "pickled", scenes=[good | {"labels": "o.npy"}])


def test_files_that_are_something_else(good, raw, refused):
    (raw / "page.tif").write_text("<html>not found</html>")
    refused("page.tif", "not a raster", scenes=[good | {"images": "page.tif"}])
    with h5py.File(raw / "many.h5", "w") as file:
        file["one"] = file["two"] = np.ones((3, *SIZE))
    refused("many.h5", "several images", scenes=[good | {"images": "many.h5"}])
    refused("is a folder", "raster file", scenes=[good | {"labels": "."}])


def test_bands_of_several_types(good, raw, refused):
    file = "<SourceFilename relativeToVRT='1'>i.tif</SourceFilename>"
    source = f"<SimpleSource>{file}<SourceBand>1</SourceBand></SimpleSource>"
    bands = [
        f"<VRTRasterBand dataType='{t}' band='{k + 1}'>{source}</VRTRasterBand>"
        for k, t in enumerate(["UInt16", "Float32"])
    ]
    (raw / "m.vrt").write_text(f"<VRTDataset rasterXSize='80' rasterYSize='64'>{''.join(bands)}</VRTDataset>")
    refused("m.vrt", "float32 and uint16", scenes=[good | {"images": "m.vrt"}], bands=["a", "b"])


def test_wrong_number_of_bands(good, refused):
    refused("i.tif", "3 bands but 2 are named", scenes=[good], bands=["a", "b"])
    refused("i.tif", "3 bands but 4 are named", "drop_bands", scenes=[good], bands=list("abcd"), drop_bands=["d"])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"drop_bands": ["d"]}, ("no band d", "a, b, c")),
        ({"drop_bands": ["a..d"]}, ("no band d",)),
        ({"drop_bands": ["a..b..c"]}, ("a..b..c",)),
        ({"drop_bands": ["c..a"]}, ("every band",)),
        ({"bands": ["a", "b", "a"]}, ("a is named twice",)),
        ({"bands": ["B1", "B01", "B8A"]}, ("B01 is named twice",)),
        ({"wavelengths_nm": [400, 500]}, ("3 bands are named but 2 wavelengths",)),
    ],
)
def test_bands_that_do_not_fit(settings, words, good, refused):
    refused(*words, scenes=[good], **settings)


def test_wavelengths_that_are_no_numbers(good, lay, raw, pixels, refused):
    lay("e.img", pixels, driver="ENVI")
    (raw / "e.hdr").write_text((raw / "e.hdr").read_text() + "wavelength = {400, unknown, 500}\n")
    refused("e.img", "wavelengths_nm", scenes=[good | {"images": "e.img"}], bands=None, wavelengths_nm="file")


def test_folders_of_bands(good, lay, raw, pixels, refused):
    for name, plane in zip("abc", pixels, strict=True):
        lay(f"f/x_{name}.tif", plane)
    bands = {"path": "f", "band_files": "x_{band}.tif"}
    refused("f is a folder", "band_files", scenes=[good | {"images": "f"}])
    refused("f is a folder", "{band}", scenes=[good | {"images": bands | {"band_files": "x_*.tif"}}])
    lay("f/y_b.tif", pixels[0])
    refused("2 files *_b.tif", scenes=[good | {"images": bands | {"band_files": "*_{band}.tif"}}])
    (raw / "f/x_b.tif").unlink()
    refused("0 files x_b.tif", "names of the bands", scenes=[good | {"images": bands}])
    lay("f/x_b.tif", pixels[:2])
    refused("x_b.tif", "2 bands", scenes=[good | {"images": bands}])
    lay("f/x_b.tif", pixels[1].astype("float32"))
    refused("x_b.tif", "float32", "uint16", scenes=[good | {"images": bands}])
    lay("f/x_b.tif", pixels[1], crs="EPSG:32632")
    refused("x_b.tif", "EPSG:32632", "EPSG:32633", scenes=[good | {"images": bands}])
    lay("f/x_b.tif", pixels[1, ::2, ::2], crs=None)
    refused("x_b.tif", "another size", "georeference", scenes=[good | {"images": bands}])
    lay("f/x_b.tif", pixels[1], ELSEWHERE)
    refused("x_b.tif", "another place", scenes=[good | {"images": bands}])
    lay("f/x_b.tif", pixels[1], nodata=7)
    refused("x_b.tif has nodata 7.0", "x_a.tif None", scenes=[good | {"images": bands}])
    lay("f/x_b.tif", pixels[1, :, :60])
    refused("only a part", "nodata", scenes=[good | {"images": bands}])


def test_second_images_that_cannot_be_placed(good, lay, raw, pixels, refused):
    def pair(second, **more):
        return [good | {"images": ["i.tif", second]} | more]

    refused("only a part", "nodata", scenes=pair(lay("b.tif", pixels, (10, 0, 500050, 0, -10, 5000000))))
    refused("another place", scenes=pair(lay("b.tif", pixels, ELSEWHERE)))
    refused("another place", scenes=pair("b.tif"), nodata=0)
    refused("EPSG:32632", "EPSG:32633", "warp", scenes=pair(lay("b.tif", pixels, crs="EPSG:32632")))
    refused("64 x 60", "64 x 80", "georeference", scenes=pair(lay("b.tif", pixels[:, :, :60], crs=None)))
    refused("b.tif holds 2 bands", scenes=pair(lay("b.tif", pixels[:2])))
    refused("b.tif holds int32", "uint16", scenes=pair(lay("b.tif", pixels.astype("int32"))))
    refused("b.tif holds uint16 with nodata 0.0", "None", scenes=pair(lay("b.tif", pixels, nodata=0)))
    np.save(raw / "b.npy", pixels[:, :, :60])
    array = {"path": "b.npy", "axes": ["band", "row", "col"]}
    refused("64 x 60", "64 x 80", scenes=pair(array))
    np.save(raw / "b.npy", pixels)
    west, north = 600000, 5000000
    refused("another place", scenes=pair(array | {"crs": UTM, "bounds": [west, north - 640, west + 800, north]}))


def test_transparency_is_not_resampled(good, lay, pixels, refused, cut):
    """Resampling would take the fourth band for a mask; as it lies it is a band."""
    four = np.concatenate([pixels, pixels[:1]]).astype("uint8")
    first, second = (
        lay("a.tif", four),
        lay("b.tif", four, (10, 0, 500005, 0, -10, 5000000), photometric="rgb", alpha="yes"),
    )
    bands = list("abcd")
    scene = good | {"images": [first, second]}
    refused("b.tif", "transparency", scenes=[scene], bands=bands, nodata=0)
    lay("b.tif", four, photometric="rgb", alpha="yes")
    assert (cut(scene, bands=bands).images[:, 0] == cut(scene, bands=bands).images[:, 1]).all()


def test_scenes_of_different_types(good, lay, pixels, refused):
    def both(name):
        return [good, {"images": name, "labels": "l.tif"}]

    refused("b holds float32", "i uint16", scenes=both(lay("b.tif", pixels.astype("float32"))))
    refused("b holds uint16 with nodata 0.0", "None", "declare nodata", scenes=both(lay("b.tif", pixels, nodata=0)))
    refused("Two scenes are called i", scenes=both("i.tif"))


def test_too_little_ground(good, refused):
    refused("No scene holds a window of 128 px", "patch_px", scenes=[good], patch_px=128)
    refused("1 spatial block(s)", "patch_px", "more scenes", scenes=[good], patch_px=48)
    refused("spatial block(s)", "block_px", scenes=[good], block_px=64)


def test_places_with_and_without_georeference(good, lay, pixels, refused):
    other = {"images": lay("b.tif", pixels, crs=None), "labels": "l.tif", "place": "here"}
    refused("place here", "crs and bounds", scenes=[good | {"place": "here"}, other])


def test_reference_systems_that_do_not_exist(good, raw, pixels, refused, cut):
    np.save(raw / "b.npy", pixels)
    array = {"path": "b.npy", "axes": ["band", "row", "col"], "bounds": [500000, 5000000 - 640, 500800, 5000000]}
    for crs in ("mars", "EPSG:999999"):
        refused(repr(crs), "EPSG:32633", scenes=[good | {"images": array | {"crs": crs}}])
    assert set(cut(good | {"images": array | {"crs": "epsg:32633"}}).index["crs"]) == {UTM}


def test_labels_of_another_grid(good, lay, raw, refused, numbered):
    codes = numbered(*SIZE)[1]
    refused("64 x 60", "64 x 80", "grid", scenes=[good | {"labels": lay("b.tif", codes[:, :60], crs=None)}])
    refused("another place", scenes=[good | {"labels": lay("b.tif", codes, ELSEWHERE)}])
    refused("another place", scenes=[good | {"labels": lay("b.tif", codes, crs="EPSG:32632")}])
    np.save(raw / "b.npy", codes.T)
    refused("80 x 64", "64 x 80", scenes=[good | {"labels": "b.npy"}])


def test_labels_that_are_no_codes(good, lay, refused, numbered):
    codes = numbered(*SIZE)[1]
    refused("3 layers", "one with the codes", scenes=[good | {"labels": lay("b.tif", np.stack([codes] * 3))}])
    refused("code 1234567,", "[1, 2, 3]", scenes=[good | {"labels": lay("b.tif", codes.astype("int32") * 1234567)}])
    refused("code 0.5", scenes=[good | {"labels": lay("b.tif", codes / np.float32(2))}])
    two = lay("b.tif", np.zeros((2, *SIZE), "float32"))
    order = [{"name": name} for name in "xyz"]
    refused("2 layers", "3, as `order`", scenes=[good | {"labels": {"path": two, "order": list("xyz")}}], classes=order)


def test_classes_without_pixels_and_windows_without_labels(good, lay, refused, numbered):
    more = [{"name": name, "codes": [k]} for k, name in enumerate(("none", "ash", "birch", "cedar"))]
    refused("'none'", "codes of this class", scenes=[good], classes=more)
    few = np.zeros(SIZE, "uint8")
    few[::20, ::20] = numbered(*SIZE)[1][::20, ::20]
    refused("5.0% labelled", "min_labelled", scenes=[good | {"labels": lay("b.tif", few)}], ignore_codes=[0])


@pytest.fixture
def shapes(raw):
    """Writes three boxes that cover the scene with changes: shapes(name, more=(), values, crs, **options) -> labels."""

    def write(name: str, more=(), crs=UTM, **options) -> dict:
        boxes = [box(500000 + 300 * k, 4999000, 500300 + 300 * k, 5000000) for k in range(3)]
        frame = {"kind": [1, 2, 3, *[1] * len(more)]}
        geopandas.GeoDataFrame(frame, geometry=[*boxes, *more], crs=crs).to_file(raw / name, **options)
        return {"path": name, "attribute": "kind"}

    return write


@pytest.mark.filterwarnings("ignore:'crs' was not provided")
def test_shapes_that_cannot_be_used(good, lay, pixels, raw, shapes, refused):
    def on(labels, **more):
        return [good | {"labels": labels} | more]

    there = shapes("a.gpkg")
    refused("no attribute 'sort'", "kind", scenes=on(there | {"attribute": "sort"}))
    refused("no layer 'b'", "it has a", scenes=on(there | {"layer": "b"}))
    refused("georeference", "crs and bounds", scenes=on(there, images=lay("n.tif", pixels, crs=None)))
    bow = Polygon([(500000, 5000000), (500100, 4999900), (500100, 5000000), (500000, 4999900)])
    refused("feature 3", "Self-intersection", "make_valid", scenes=on(shapes("bow.gpkg", [bow])))
    refused("no coordinate reference system", scenes=on(shapes("nowhere.shp", crs=None)))
    shapes("two.gpkg", layer="one")
    refused("one, two", scenes=on(shapes("two.gpkg", layer="two")))
    geopandas.GeoDataFrame({"kind": []}, geometry=[], crs=UTM).to_file(raw / "none.gpkg")
    refused("none.gpkg", "no shapes", scenes=on({"path": "none.gpkg", "attribute": "kind"}))
    pd.DataFrame({"kind": [1]}).to_csv(raw / "table.csv")
    refused("table.csv", "no geometries", scenes=on({"path": "table.csv", "attribute": "kind"}))
    (raw / "cut.gpkg").write_bytes((raw / "a.gpkg").read_bytes()[:3000])
    refused("cut.gpkg", "vector file", scenes=on({"path": "cut.gpkg", "attribute": "kind"}))
    refused("i.tif", "vector file", scenes=on({"path": "i.tif", "attribute": "kind"}))
    refused("a.gpkg", "not a raster", scenes=on("a.gpkg"))


def test_shapes_of_other_values_and_places(good, raw, shapes, refused, cut):
    labels = shapes("a.gpkg")
    frame = geopandas.read_file(raw / "a.gpkg")
    frame.assign(kind=[1, 2, 9]).to_file(raw / "b.gpkg")
    refused("value 9", "ignore_codes", "unlisted_codes", scenes=[good | {"labels": labels | {"path": "b.gpkg"}}])
    frame.assign(kind=["x", "y", None]).to_file(raw / "b.gpkg")
    scene = good | {"labels": labels | {"path": "b.gpkg"}}
    two = [{"name": "x", "codes": ["x"]}, {"name": "y", "codes": ["y"]}]
    refused("value None", "ignore_codes", scenes=[scene], classes=two)
    assert len(cut(scene, classes=two, ignore_codes=["None"]))  # what the sentence advises
    frame.translate(100000).to_frame("geometry").assign(kind=[1, 2, 3]).to_file(raw / "b.gpkg")
    refused("b.gpkg", "no shape on the ground", scenes=[scene])
    # Where ground without shapes has a class, a scene may well show nothing else; all of them may not.
    bare = good | {"name": "bare", "labels": {"path": "b.gpkg", "covered": "x", "uncovered": "y"}}
    refused("No pixel with data is labelled 'x'", scenes=[bare], classes=[{"name": "x"}, {"name": "y"}])
    points = frame.assign(geometry=[Point(500005, 4999995), Point(500305, 4999995), Point(500605, 4999995)])
    points.to_file(raw / "b.gpkg")
    refused("No window has 5.0% labelled", "min_labelled", scenes=[scene])
