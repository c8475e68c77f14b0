"""Exports of GeoTIFFs that were damaged or edited before they are read back."""

import json

import numpy as np
import pytest

from specdm import rasters
from specdm.errors import UserError
from specdm.patches import open_patches
from specdm.stages.import_patches import import_export


@pytest.fixture
def folder(export, fields):
    return export(fields, "geotiff")


@pytest.fixture
def refused(folder, tmp_path):
    """Expects one sentence with some words, and no output."""

    def check(words):
        with pytest.raises(UserError, match=words) as caught:
            import_export(folder, tmp_path / "out")
        assert str(caught.value).endswith(".") and "\n" not in str(caught.value)
        assert not (tmp_path / "out").exists() and not list(tmp_path.glob(".*partial*"))

    return check


def test_a_missing_mask(folder, refused):
    (folder / "masks" / "p%2E4.tif").unlink()
    refused(r"masks/p%2E4\.tif does not exist")


def test_a_missing_second_date(export, towns, tmp_path):
    folder = export(towns, "geotiff")
    (folder / "images" / "p%2E3_2.tif").unlink()
    with pytest.raises(UserError, match=r"p%2E3_2\.tif does not exist"):
        import_export(folder, tmp_path / "out")


@pytest.mark.parametrize("part", ["images", "masks"])
@pytest.mark.parametrize("keep", [0.1, 0.6])
def test_a_truncated_file(folder, refused, part, keep):
    path = folder / part / "p%2E2.tif"
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content))])
    refused(r"p%2E2\.tif cannot be read, it is damaged")


@pytest.mark.parametrize(
    ("shape", "dtype", "words"),
    [
        ((10, 16, 17), "uint16", r"shape \(10, 16, 17\) of uint16"),
        ((9, 16, 16), "uint16", r"shape \(9, 16, 16\)"),
        ((10, 16, 16), "int16", "of int16 but the first image"),
    ],
)
def test_an_image_of_another_form(folder, refused, shape, dtype, words):
    rasters.write(folder / "images" / "p%2E5.tif", np.ones(shape, dtype))
    refused(words)


@pytest.mark.parametrize(("shape", "dtype"), [((1, 15, 16), "uint8"), ((2, 16, 16), "uint8"), ((1, 16, 16), "int16")])
def test_a_mask_of_another_form(folder, refused, shape, dtype):
    rasters.write(folder / "masks" / "p%2E5.tif", np.ones(shape, dtype))
    refused("masks are uint8 of one band")


def test_a_mask_with_an_id_of_no_class(folder, refused):
    rasters.write(folder / "masks" / "p%2E5.tif", np.full((1, 16, 16), 77, np.uint8))
    refused("holds the id 77, which is in no class")


@pytest.mark.parametrize("content", [None, b"", b"PAR1 but not really"])
def test_a_damaged_index(folder, refused, content):
    path = folder / "index.parquet"
    path.unlink() if content is None else path.write_bytes(content)
    refused("export the set again")


@pytest.mark.parametrize("content", ["[1]", "{}", '{"schema_version": 1, "name": "x"}'])
def test_a_damaged_meta(folder, refused, content):
    (folder / "meta.json").write_text(content)
    refused(r"meta\.json")


def test_corrected_labels_are_read_as_they_are_with_a_warning(folder, fields, tmp_path):
    path = folder / "masks" / "p%2E5.tif"
    rasters.write(path, np.full((1, 16, 16), 4, np.uint8))
    lines, _ = import_export(folder, tmp_path / "out")
    back = open_patches(tmp_path / "out")
    assert (back.masks[5] == 4).all()
    np.testing.assert_array_equal(back.masks[:5], fields.masks[:5])
    assert lines == ["Since the export of fields its masks were changed: they are read as they are."]
    assert list(back.meta.warnings) == lines
    assert (
        json.loads((tmp_path / "out" / "meta.json").read_text())["checksums"]["masks"] != fields.meta.checksums["masks"]
    )


def test_another_folder_with_a_meta_is_told(tmp_path):
    (tmp_path / "meta.json").write_text("{}")
    with pytest.raises(UserError, match="neither shards"):
        import_export(tmp_path, tmp_path / "out")
