"""GeoTIFFs that say what they hold, against plain rasterio."""

import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import rasterio

from specdm import rasters
from specdm.errors import UserError
from specdm.rasters import Annotations

UTM, PLACE = "EPSG:32633", (10.0, 0.0, 500000.0, 0.0, -10.0, 5000000.0)


@pytest.fixture
def palette():
    return np.random.default_rng(0).integers(0, 256, (256, 3)).astype(np.uint8)


def test_what_is_written_is_what_is_read(tmp_path, palette):
    about = Annotations(("a", "b"), (443.1, 2202.4), (1e-4, 1e-4), (-0.1, -0.1), -5, {"level": "TOA"})
    rasters.write_annotated(tmp_path / "a.tif", np.ones((2, 4, 6), np.int16), about, UTM, PLACE)
    header = rasters.read_header(tmp_path / "a.tif")
    assert (header.grid.height, header.grid.width, header.grid.crs) == (4, 6, UTM)
    assert header.grid.transform == PLACE and header.count == 2 and header.dtype == np.int16
    found = header.about
    assert (found.bands, found.scales, found.offsets, found.nodata) == (("a", "b"), (1e-4,) * 2, (-0.1,) * 2, -5)
    assert found.tags["level"] == "TOA" and found.palette is None
    assert rasters.read_bands(tmp_path / "a.tif").wavelengths_nm == (443.1, 2202.4)
    rasters.write_annotated(tmp_path / "m.tif", np.ones((1, 4, 6), np.uint8), Annotations(palette=palette), UTM, PLACE)
    np.testing.assert_array_equal(rasters.read_header(tmp_path / "m.tif").about.palette, palette)


def test_a_plain_file_says_nothing(tmp_path):
    rasters.write(tmp_path / "a.tif", np.ones((2, 4, 6), np.float32))
    about = rasters.read_header(tmp_path / "a.tif").about
    assert (about.bands, about.scales, about.offsets, about.nodata) == ((), (1.0, 1.0), (0.0, 0.0), None)


def test_some_unnamed_bands_are_none_named(tmp_path):
    rasters.write_annotated(tmp_path / "a.tif", np.ones((2, 4, 6), np.uint8), Annotations(("a",)), UTM, PLACE)
    assert rasters.read_header(tmp_path / "a.tif").about.bands == ()


@pytest.mark.parametrize(
    ("dtype", "nodata", "written"),
    [
        ("uint8", 255, 255),
        ("uint8", 256, None),
        ("uint16", -1, None),
        ("int16", 0.5, None),
        ("float32", -9999.5, -9999.5),
    ],
)
def test_a_nodata_value_that_no_pixel_can_hold_is_left_out(tmp_path, dtype, nodata, written):
    rasters.write_annotated(tmp_path / "a.tif", np.ones((1, 4, 6), dtype), Annotations(nodata=nodata), UTM, PLACE)
    with rasterio.open(tmp_path / "a.tif") as file:
        assert file.nodata == written


def test_threads_write_files_without_a_place_in_silence(tmp_path):
    pixels = np.arange(64 * 2 * 8 * 8, dtype=np.uint16).reshape(64, 2, 8, 8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with rasters.many_files(), ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda i: rasters.write_annotated(tmp_path / f"{i}.tif", pixels[i]), range(64)))
        for i in range(64):
            np.testing.assert_array_equal(rasters.read(tmp_path / f"{i}.tif").pixels, pixels[i])


def test_files_beside_a_raster_are_found_among_many(tmp_path):
    with rasters.many_files():
        rasters.write_annotated(tmp_path / "a.tif", np.ones((1, 4, 6), np.uint8))
        (tmp_path / "a.tfw").write_text("10\n0\n0\n-10\n500005\n4999995\n")
        with rasterio.open(tmp_path / "a.tif") as file:
            assert tuple(file.transform)[:6] == PLACE


def test_a_place_that_cannot_be_written_is_told(tmp_path):
    with pytest.raises(UserError, match=r"none/a\.tif cannot be written .*use another folder\.$"):
        rasters.write_annotated(tmp_path / "none" / "a.tif", np.ones((1, 4, 6), np.uint8), Annotations(), UTM, PLACE)


def test_bands_of_several_types_have_no_header(tmp_path):
    vrt = tmp_path / "a.vrt"
    rasters.write(tmp_path / "x.tif", np.ones((1, 4, 6), np.uint8))
    band = (
        '<VRTRasterBand dataType="{}" band="{}"><SimpleSource><SourceFilename relativeToVRT="1">x.tif</SourceFilename>'
        "<SourceBand>1</SourceBand></SimpleSource></VRTRasterBand>"
    )
    bands = band.format("Byte", 1) + band.format("Float32", 2)
    vrt.write_text(f'<VRTDataset rasterXSize="6" rasterYSize="4">{bands}</VRTDataset>')
    with pytest.raises(UserError, match="types float32, uint8: convert them to one"):
        rasters.read_header(vrt)
