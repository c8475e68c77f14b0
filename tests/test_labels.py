import json

import numpy as np
import pytest

from specdm.errors import UserError
from specdm.labels import IGNORE, OSCD, SEGMUNICH, LabelSet


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
    with pytest.raises(UserError, match=rf"^train/7\.tif holds the label code {int(raw[1])}, .*segmunich"):
        SEGMUNICH.remap(np.array(raw), "train/7.tif")


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
