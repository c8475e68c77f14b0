"""What other programs see in the GeoTIFFs of an export."""

import warnings

import numpy as np
import pytest
import rasterio

from specdm.labels import SEGMUNICH
from specdm.sources.export_layout import file_name
from tests.exports.sets import PLACES, make_set


def opened(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        return rasterio.open(path)


def test_an_image_file_says_what_it_holds(export, fields):
    folder = export(fields, "geotiff")
    for i, patch_id in enumerate(fields.index["id"]):
        with opened(folder / "images" / f"{file_name(patch_id)}.tif") as file:
            pixels, tags = file.read(), file.tags()
            np.testing.assert_array_equal(pixels, fields.images[i, 0])
            assert file.descriptions == fields.meta.bands
            refl = pixels * np.array(file.scales)[:, None, None] + np.array(file.offsets)[:, None, None]
            np.testing.assert_allclose(refl, fields.reflectance([i])[0, 0], atol=1e-6)
            assert file.nodata == 0 and "all bands" in tags["nodata_rule"]
            crs, transform = PLACES[i % len(PLACES)]
            assert (file.crs.to_string() if file.crs else "") == crs
            assert tuple(file.transform)[:6] == (transform or (1, 0, 0, 0, 1, 0))  # the identity is "none" to GDAL
            assert tags["id"] == patch_id and tags["level"] == "BOA" and tags["synthetic"] == "false"
            assert tags.get("date", "") == fields.index["dates"][i]
            nm = [1000 * float(file.tags(b, ns="IMAGERY")["CENTRAL_WAVELENGTH_UM"]) for b in file.indexes]
            np.testing.assert_allclose(nm, fields.meta.wavelengths_nm)
            assert rasterio.enums.ColorInterp.alpha not in file.colorinterp


def test_a_mask_file_has_colours_and_names(export, fields):
    folder = export(fields, "geotiff")
    for i, patch_id in enumerate(fields.index["id"]):
        with opened(folder / "masks" / f"{file_name(patch_id)}.tif") as file:
            np.testing.assert_array_equal(file.read(1), fields.masks[i])
            colours = file.colormap(1)
            assert all(colours[c.id][:3] == c.colour for c in SEGMUNICH.classes)
            assert file.nodata == 255
            assert file.tags()["classes"].startswith("0 background, 1 arable land, 2 permanent crops")
            assert bool(file.crs) == bool(fields.index["crs"][i])


def test_two_dates_are_two_files(export, towns):
    folder = export(towns, "geotiff")
    assert len(list((folder / "images").iterdir())) == 2 * len(towns)
    for t in (0, 1):
        with opened(folder / "images" / f"p%2E1_{t + 1}.tif") as file:
            np.testing.assert_array_equal(file.read(), towns.images[1, t])
            assert file.tags()["date"] == ("2016-03-15", "2017-08-29")[t]
        with opened(folder / "images" / f"p%2E0_{t + 1}.tif") as file:
            assert "date" not in file.tags()


def test_synthetic_files_say_so_and_lie_nowhere(export, drawn):
    folder = export(drawn, "geotiff")
    paths = sorted([*(folder / "images").iterdir(), *(folder / "masks").iterdir()])
    assert len(paths) == 2 * len(drawn)
    for path in paths:
        with opened(path) as file:
            assert file.crs is None and file.transform.is_identity and not file.gcps[0]
            tags = file.tags()
        assert (tags["synthetic"], tags["seed"]) == ("true", "7")
        assert tags["generator"] == "autoencoder=a11ce denoiser=d3n0"


def test_nothing_warns_of_missing_places(export, drawn):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        export(drawn, "geotiff")


@pytest.mark.parametrize("compression", ["deflate", "zstd"])
@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_compression_changes_no_pixel(export, tmp_path, compression, dtype):
    patches = make_set(tmp_path / "smooth", n=2, dtype=dtype)
    path = export(patches, "geotiff", compression=compression) / "images" / "p%2E1.tif"
    with opened(path) as file:
        np.testing.assert_array_equal(file.read(), patches.images[1, 0])
        assert file.profile["compress"] == compression


@pytest.mark.parametrize(("dtype", "nodata", "written"), [("int16", -9999, -9999), ("uint16", None, None)])
def test_nodata_is_that_of_the_set(export, tmp_path, dtype, nodata, written):
    patches = make_set(tmp_path / "set", n=1, dtype=dtype, nodata=nodata)
    with opened(export(patches, "geotiff") / "images" / "p%2E0.tif") as file:
        assert file.nodata == written
        assert ("nodata_rule" in file.tags()) == (written is not None)


def test_four_bands_are_not_taken_for_transparency(export, tmp_path):
    patches = make_set(tmp_path / "set", n=1, dtype="uint8", bands=("B02", "B03", "B04", "B08"))
    with opened(export(patches, "geotiff") / "images" / "p%2E0.tif") as file:
        assert rasterio.enums.ColorInterp.alpha not in file.colorinterp
