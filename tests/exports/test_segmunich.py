"""The layout of SegMunich as other people's code reads it."""

import numpy as np
import pytest
import rasterio
from PIL import Image

from specdm import rasters
from specdm.errors import UserError
from tests.exports.sets import make_set

# From the benchmark's own documentation, not from our table: raw code by class in its usual order.
CODES = [0, 21, 22, 23, 31, 5, 32, 33, 41, 13, 14, 11, 12]


def test_files_and_codes_are_those_of_the_benchmark(export, fields):
    folder = export(fields, "segmunich")
    for part, splits in (("train", ("train", "val")), ("test", ("test",))):
        listed = (folder / "dataset" / f"{part}.txt").read_text().splitlines()
        own = [k for k, s in enumerate(fields.index["split"]) if s in splits]
        assert listed == [fields.index["id"][k].replace(".", "%2E") for k in own]
        for name, k in zip(listed, own, strict=True):
            with rasters.many_files(), rasterio.open(folder / part / "img" / f"{name}.tif") as file:
                np.testing.assert_array_equal(file.read(), fields.images[k, 0])
                assert file.interleaving == rasterio.enums.Interleaving.pixel  # channel last, as skimage reads it
                assert "compress" not in file.profile
            with Image.open(folder / part / "label" / f"{name}.tif") as file:
                codes = np.asarray(file)
            expected = np.array([*CODES, *[0] * 242, 255])[fields.masks[k]]
            np.testing.assert_array_equal(codes, expected)
    readme = (folder / "README.md").read_text()
    assert "B01, B02, B03, B04, B05, B06, B07, B8A, B11, B12" in readme and "dataset/validation.txt" in readme


def test_a_split_alone_fills_its_list_alone(export, fields):
    folder = export(fields, "segmunich", split="train")
    assert len((folder / "dataset" / "train.txt").read_text().split()) == len(fields.ids("train"))
    assert not (folder / "dataset" / "validation.txt").exists()
    assert "The list test is empty" in (folder / "README.md").read_text()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"dates": 2, "level": "BOA"}, r"2 date\(s\) a patch"),
        ({"level": "TOA"}, "level TOA"),
        ({"dtype": "uint8"}, "uint8 pixels"),
        ({"bands": ("B02", "B03", "B04")}, "bands B02, B03, B04, but SegMunich has ten"),
        ({"bands": tuple(f"b{i}" for i in range(10)), "wavelengths_nm": ()}, "but SegMunich has ten of Sentinel-2"),
    ],
)
def test_what_code_for_segmunich_would_misread_is_refused(export, tmp_path, more, words):
    patches = make_set(tmp_path / "set", n=1, **more)
    with pytest.raises(UserError, match=words):
        export(patches, "segmunich")


def test_other_classes_are_refused(export, towns):
    with pytest.raises(UserError, match="SegMunich has 1"):
        export(towns, "segmunich")
