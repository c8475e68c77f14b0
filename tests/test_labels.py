import json

import numpy as np
import pytest

from specdm.errors import UserError
from specdm.labels import IGNORE, OSCD, SEGMUNICH, LabelClass, LabelSet


@pytest.mark.parametrize("labels", [SEGMUNICH, OSCD])
def test_ids_count_from_zero_and_colours_and_codes_are_distinct(labels):
    assert [c.id for c in labels.classes] == list(range(len(labels)))
    assert len({c.colour for c in labels.classes}) == len(labels)
    codes = [code for c in labels.classes for code in c.raw_codes]
    assert len(set(codes)) == len(codes)
    assert len(set(labels.names)) == len(labels)


def test_raw_codes_become_ids_and_255_stays_ignored():
    raw = np.array([[0, 21, 31], [12, 255, 5]], np.uint8)
    ids = SEGMUNICH.remap(raw, "file")
    np.testing.assert_array_equal(ids, [[0, 1, 4], [12, IGNORE, 5]])
    assert ids.dtype == np.uint8


def test_oscd_maps_hold_one_for_no_change_and_two_for_change():
    np.testing.assert_array_equal(OSCD.remap(np.array([1, 2, 2]), "file"), [0, 1, 1])


@pytest.mark.parametrize("raw", [[0, 42], [0, -1], [0, 256], [21, 300], [0, 0.5]])
def test_an_unknown_code_names_file_and_code(raw):
    with pytest.raises(UserError, match=rf"^train/7\.tif holds the label code {raw[1]:g}, .*segmunich"):
        SEGMUNICH.remap(np.array(raw), "train/7.tif")


LAND = LabelSet(
    "land",
    (
        LabelClass(0, "water", (0, 0, 255), (-7, 70000, 3)),
        LabelClass(1, "forest", (0, 99, 0), ("wood", 255)),
    ),
)


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.int64, np.float32, np.float64])
def test_codes_may_be_negative_large_or_whole_floats(dtype):
    wanted = {-7: 0, 3: 0, 255: 1, -1: IGNORE} | ({70000: 0} if dtype is not np.int16 else {})
    raw = np.array([list(wanted)], dtype)
    np.testing.assert_array_equal(LAND.remap(raw, "f", ignore=(-1,)), [list(wanted.values())])


def test_codes_without_a_class_can_be_ignored_and_nan_always_is():
    np.testing.assert_array_equal(LAND.remap(np.array([3, 42]), "f", unlisted="ignore"), [0, IGNORE])
    np.testing.assert_array_equal(LAND.remap(np.array([3.0, np.nan]), "f"), [0, IGNORE])


def test_attribute_values_may_be_texts_or_numbers_in_any_spelling():
    values = ["wood", 3, 3.0, "3", "70000", None, "mud"]
    np.testing.assert_array_equal(LAND.ids_of(values, "f", unlisted="ignore"), [1, 0, 0, 0, 0, IGNORE, IGNORE])
    np.testing.assert_array_equal(LAND.ids_of(["wood", "mud", None], "f", ignore=("mud", None)), [1, IGNORE, IGNORE])
    with pytest.raises(UserError, match=r"f holds the attribute value 'mud', which belongs to no class"):
        LAND.ids_of([*values[:5], "mud"], "f")


def test_zero_is_no_code_of_oscd():
    with pytest.raises(UserError, match=r"holds the label code 0.*its codes are \[1, 2\]"):
        OSCD.remap(np.array([0, 1]), "cm.tif")


def test_the_palette_colours_classes_and_leaves_the_rest_black():
    palette = SEGMUNICH.palette()
    assert palette.shape == (256, 3)
    assert tuple(palette[5]) == SEGMUNICH.classes[5].colour
    assert not palette[len(SEGMUNICH) :].any()


@pytest.mark.parametrize("labels", [SEGMUNICH, OSCD])
def test_a_label_set_survives_json(labels):
    assert LabelSet.from_dict(json.loads(json.dumps(labels.to_dict()))) == labels
