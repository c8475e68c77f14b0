from specdm.doctor.gdal import gdal
from specdm.doctor.imports import Imported

RASTERS = Imported(facts={"gdal": "3.10.3", "drivers": ["COG", "GTiff", "PNG"]})
VECTORS = Imported(facts={"gdal": "3.12.4", "drivers": ["GPKG"]})


def test_versions_and_formats_of_both_libraries_are_told():
    section = gdal({"rasterio": RASTERS, "pyogrio": VECTORS})
    assert section.lines == ("rasterio: GDAL 3.10.3, GTiff, COG", "pyogrio: GDAL 3.12.4, GPKG")
    assert section.missing == ()


def test_each_format_that_is_lacking_is_missing():
    few = Imported(facts={"gdal": "3.0", "drivers": ["GTiff"]})
    section = gdal({"rasterio": few, "pyogrio": Imported(facts={"gdal": "3.0", "drivers": ["PNG"]})})
    assert section.lines == ("rasterio: GDAL 3.0, GTiff", "pyogrio: GDAL 3.0, no driver that is needed")
    assert [told.split(":")[0] for told in section.missing] == [
        "GDAL of rasterio lacks the driver COG",
        "GDAL of pyogrio lacks the driver GPKG",
    ]


def test_a_library_that_cannot_be_imported_is_told_once_among_the_packages():
    section = gdal({"rasterio": Imported("ImportError: x"), "pyogrio": VECTORS})
    assert section.lines[0] == "rasterio: cannot be asked" and section.missing == ()


def test_a_gdal_that_does_not_start_is_missing():
    section = gdal({"rasterio": RASTERS, "pyogrio": Imported(facts={"fault": "GDALError: no data files"})})
    (told,) = section.missing
    assert told.startswith("GDAL of pyogrio does not work (GDALError: no data files): install pyogrio anew")
