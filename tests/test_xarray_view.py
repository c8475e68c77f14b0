"""A patch set as an xarray.Dataset."""

import sys

import numpy as np
import pytest

from specdm.errors import UserError
from specdm.labels import SEGMUNICH
from tests.exports.sets import make_cities, make_set


def test_without_xarray_it_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "xarray", None)
    with pytest.raises(UserError, match=r"^to_xarray needs xarray, .*`pip install xarray`\.$"):
        make_set(tmp_path / "set", n=1).to_xarray()


@pytest.fixture
def xarray():
    return pytest.importorskip("xarray", reason="xarray is not installed")


def test_values_are_found_by_their_names(xarray, tmp_path):
    towns = make_cities(tmp_path / "towns")
    view = towns.to_xarray()
    assert view["image"].dims == ("patch", "time", "band", "row", "col")
    assert view["mask"].dims == ("patch", "row", "col")
    chosen = view["image"].sel(patch="p.4", time=2, band="B8A")
    np.testing.assert_array_equal(chosen, towns.images[4, 1, towns.meta.bands.index("B8A")])
    assert float(chosen["wavelength_nm"]) == 864.7 and view["wavelength_nm"].attrs["units"] == "nm"
    assert str(chosen["date"].values)[:10] == "2017-08-29"
    assert str(view["date"].sel(patch="p.4", time=1).values)[:10] == "2016-03-15"
    assert np.isnat(view["date"].sel(patch="p.0")).all()
    assert view["split"].values.tolist() == towns.index["split"].tolist()
    np.testing.assert_array_equal(
        view["mask"].where(view["split"] == "test", drop=True), towns.masks[towns.ids("test")]
    )
    refl = view["image"].sel(patch="p.1") * view["image"].attrs["scale"] + view["image"].attrs["offset"]
    np.testing.assert_allclose(refl, towns.reflectance([1])[0], atol=1e-6)


def test_attributes_say_what_the_numbers_mean(xarray, tmp_path):
    view = make_set(tmp_path / "set", n=1, offset=-0.1).to_xarray()
    about = view["image"].attrs
    assert (about["level"], about["sensor"], about["nodata"], about["units"]) == ("BOA", "Sentinel-2 MSI", 0, "1")
    assert (about["scale"], about["offset"]) == (1e-4, -0.1)
    flags = view["mask"].attrs
    assert flags["flag_values"].tolist() == list(range(13)) and flags["ignore"] == 255
    assert [name.replace("_", " ") for name in flags["flag_meanings"].split(" ")] == list(SEGMUNICH.names)


def test_nothing_is_read_before_it_is_used(xarray, tmp_path):
    patches = make_set(tmp_path / "set", n=3)
    view = patches.to_xarray()
    for name, array in (("image", patches.images), ("mask", patches.masks)):
        assert np.shares_memory(view[name].data, array)
    assert isinstance(patches.images, np.memmap)


def test_what_is_unknown_is_left_out(xarray, tmp_path):
    view = make_set(tmp_path / "set", n=1, bands=("a", "b"), wavelengths_nm=(), nodata=None).to_xarray()
    assert "wavelength_nm" not in view.coords and "nodata" not in view["image"].attrs
    assert np.isnat(view["date"]).all() and view["time"].values.tolist() == [1]
