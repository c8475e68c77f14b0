"""What the bands of the user's own scenes are called: declared, by wavelength, or as their files say."""

import numpy as np
import pytest
import rasterio

from specdm import config
from specdm.errors import UserError
from specdm.settings import ImageFile, SceneSettings
from specdm.sources.scene_bands import runs, scene_bands

LEAST = {
    "scenes": [{"images": "a.tif", "labels": "b.tif"}],
    "level": "BOA",
    "scale": 1,
    "classes": [{"name": "x", "codes": [1]}, {"name": "y", "codes": [2], "colour": [9, 8, 7]}],
}


def _bands(*paths, **changed):
    settings = config.parse_section(SceneSettings, LEAST | changed)
    return scene_bands(settings, [ImageFile(path=str(path)) for path in paths] or [ImageFile(path="a.tif")])


@pytest.fixture
def envi(tmp_path):
    """Writes an ENVI image whose header holds more lines: make(name, lines) -> path of the header."""

    def make(name: str, lines: str, count: int = 3):
        profile = {"driver": "ENVI", "width": 4, "height": 4, "count": count, "dtype": "int16"}
        with (
            pytest.warns(rasterio.errors.NotGeoreferencedWarning),
            rasterio.open(tmp_path / f"{name}.bsq", "w", **profile) as target,
        ):
            target.write(np.zeros((count, 4, 4), np.int16))
        header = tmp_path / f"{name}.hdr"
        header.write_text(header.read_text() + lines)
        return header

    return make


@pytest.mark.parametrize(
    ("units", "written"),
    [("Nanometers", "{450.25, 550, 2200}"), ("Micrometers", "{0.45025, 0.55, 2.2}"), ("", "{0.45025, 0.55, 2.2}")],
)
def test_wavelengths_of_an_envi_header_are_in_nm(envi, units, written):
    unit_line = f"wavelength units = {units}\n" if units else ""
    bands = _bands(envi("a", f"{unit_line}wavelength = {written}\n"), wavelengths_nm="file")
    assert bands.wavelengths_nm == (450.25, 550, 2200)
    assert bands.names == ("450.25nm", "550nm", "2200nm")
    assert (bands.sensor, bands.sentinel2) == ("unnamed sensor", False)


def test_descriptions_of_a_geotiff_are_names(tmp_path):
    paths = []
    for name, described in (("a", ("B1", "B8A")), ("b", ("B1", "B8A")), ("c", ("B8A", "B1")), ("d", ("B1", None))):
        paths.append(tmp_path / f"{name}.tif")
        place = {"crs": "EPSG:32633", "transform": rasterio.Affine(10, 0, 0, 0, -10, 0)}
        with rasterio.open(
            paths[-1], "w", driver="GTiff", width=4, height=4, count=2, dtype="uint8", **place
        ) as target:
            for band, text in enumerate(described):
                if text:
                    target.set_band_description(band + 1, text)
    assert _bands(*paths[:2], bands="file").names == ("B01", "B8A")
    with pytest.raises(UserError, match=r"c\.tif declares other bands than .*a\.tif"):
        _bands(*paths[:3], bands="file")
    with pytest.raises(UserError, match=r"d\.tif does not declare names for all of its bands"):
        _bands(paths[3], bands="file")
    with pytest.raises(UserError, match=r"a\.tif does not declare wavelengths_nm"):
        _bands(paths[0], wavelengths_nm="file")
    with pytest.raises(UserError, match="does not say what its bands are"):
        _bands(tmp_path / "x.npy", bands="file")


def test_names_of_sentinel2_have_wavelengths_in_any_spelling():
    bands = _bands(bands=["B2", "b08", "B8a", "B12"])
    assert bands.names == ("B02", "B08", "B8A", "B12")
    assert bands.wavelengths_nm == (492.4, 832.8, 864.7, 2202.4)
    assert (bands.sensor, bands.sentinel2) == ("Sentinel-2 MSI", True)


@pytest.mark.parametrize(
    "changed",
    [
        {"bands": ["B2", "B3"], "sensor": "Landsat 8 OLI"},  # its B3 is green as well, but its B5 is near infrared
        {"bands": ["B04", "B05"], "sensor": "Landsat 8 OLI"},
        {"bands": ["2", "3"]},
        {"bands": ["b1", "b2", "b3", "b4"]},  # any camera may call them so
        {"bands": ["B2", "red"]},
    ],
)
def test_bands_of_other_sensors_are_left_as_they_are(changed):
    bands = _bands(**changed)
    assert bands.names == tuple(changed["bands"])
    assert (bands.wavelengths_nm, bands.sentinel2) == ((), False)


def test_the_sensor_tells_what_short_names_mean():
    bands = _bands(bands=["B2", "B3"], sensor="Sentinel-2B MSI")
    assert (bands.names, bands.sensor, bands.sentinel2) == (("B02", "B03"), "Sentinel-2B MSI", True)


def test_a_run_of_bands_is_dropped_and_said_the_same_way():
    names = [f"b{i}" for i in range(1, 9)]
    bands = _bands(bands=names, wavelengths_nm={"first": 400, "last": 750}, drop_bands=["b2..b4", "b7"])
    assert bands.names == ("b1", "b5", "b6", "b8")
    assert bands.kept == (0, 4, 5, 7)
    assert bands.wavelengths_nm == (400, 600, 650, 750)
    assert runs(bands.in_file, [1, 2, 3, 6]) == "b2..b4, b7"
    assert _bands(bands="all", drop_bands=["B1", "B10"]).kept == tuple(i for i in range(13) if i not in (0, 10))


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"bands": ["a", "b", "a"]}, "The band a is named twice"),
        ({"wavelengths_nm": [500, 500]}, "The band 500nm is named twice"),
        ({"bands": ["a", "b"], "wavelengths_nm": [1.0]}, "2 bands are named but 1 wavelengths given"),
        ({"bands": ["a", "b"], "drop_bands": ["c"]}, "drop_bands: there is no band c; the bands are a, b."),
        ({"bands": ["a", "b"], "drop_bands": ["a..b"]}, "drop_bands leaves out every band"),
    ],
)
def test_bands_that_do_not_fit_are_told(changed, words):
    with pytest.raises(UserError) as caught:
        _bands(**changed)
    assert str(caught.value).startswith(words)
