"""What cannot be given is refused in one sentence; what can is kept as it is."""

import numpy as np
import pytest
import torch

from specdm.errors import UserError
from specdm.given import given
from specdm.nn.streams import Streams

SHAPE, CLASSES, N = (2, 3, 8, 6), 4, 5
RNG = np.random.default_rng(0)
MASK = RNG.integers(0, CLASSES, (N, 8, 6)).astype(np.uint8)
IMAGE = RNG.random((N, *SHAPE), np.float32)
DATE1 = IMAGE[:, 0]


def _with(array, index, value):
    changed = array.copy()
    changed[index] = value
    return changed


EMPTY = _with(MASK, 3, 255)
FAULTS = {
    "nothing": ({}, "given: name mask, image, date1, or date1 with mask; with image the mask is what is drawn."),
    "unknown": ({"masks": MASK}, "given: there is no 'masks', choose among mask, image, date1."),
    "both": (
        {"image": IMAGE, "mask": MASK},
        "given: name mask, image, date1, or date1 with mask; with image the mask is what is drawn.",
    ),
    "twice": (
        {"image": IMAGE, "date1": DATE1},
        "given: name mask, image, date1, or date1 with mask; with image the mask is what is drawn.",
    ),
    "float mask": (
        {"mask": MASK.astype(np.float32)},
        "given mask: got an array of float32 of shape (5, 8, 6), this model needs class ids of shape (n, 8, 6).",
    ),
    "bool mask": (
        {"mask": MASK > 1},
        "given mask: got an array of bool of shape (5, 8, 6), this model needs class ids of shape (n, 8, 6).",
    ),
    "side of mask": (
        {"mask": MASK[:, :6]},
        "given mask: got an array of uint8 of shape (5, 6, 6), this model needs class ids of shape (n, 8, 6).",
    ),
    "one mask": (
        {"mask": MASK[0]},
        "given mask: got an array of uint8 of shape (8, 6), this model needs class ids of shape (n, 8, 6).",
    ),
    "large id": (
        {"mask": _with(MASK, (2, 3, 3), 4)},
        "given mask: holds the id 4, this model knows 0 to 3 and 255 for none.",
    ),
    "negative id": (
        {"mask": _with(MASK.astype(int), (2, 3, 3), -1)},
        "given mask: holds the id -1, this model knows 0 to 3 and 255 for none.",
    ),
    "huge id": (
        {"mask": _with(MASK.astype(int), (2, 3, 3), 256)},
        "given mask: holds the id 256, this model knows 0 to 3 and 255 for none.",
    ),
    "empty mask": ({"mask": EMPTY}, "given mask: patch 3 has no labelled pixel, leave it out."),
    "no masks": ({"mask": MASK[:0]}, "given mask: holds no patch."),
    "no images": ({"image": IMAGE[:0]}, "given image: holds no patch."),
    "no dates": ({"date1": DATE1[:0]}, "given date1: holds no patch."),
    "bands": (
        {"image": IMAGE[:, :, :2]},
        "given image: got an array of shape (5, 2, 2, 8, 6), this model needs (n, 2, 3, 8, 6): dates, bands, rows and "
        "columns.",
    ),
    "dates": (
        {"image": IMAGE[:, :1]},
        "given image: got an array of shape (5, 1, 3, 8, 6), this model needs (n, 2, 3, 8, 6): dates, bands, rows and "
        "columns.",
    ),
    "size": (
        {"date1": DATE1[..., :5]},
        "given date1: got an array of shape (5, 3, 8, 5), this model needs (n, 1, 3, 8, 6): dates, bands, rows and "
        "columns.",
    ),
    "two dates as first": (
        {"date1": IMAGE},
        "given date1: got an array of shape (5, 2, 3, 8, 6), this model needs (n, 1, 3, 8, 6): dates, bands, rows and "
        "columns.",
    ),
    "NaN": (
        {"image": _with(IMAGE, (1, 1, 1, 1, 1), np.nan)},
        "given image: holds NaN or infinite values, fill them first.",
    ),
    "infinite": (
        {"date1": _with(DATE1, (1, 1, 1, 1), np.inf)},
        "given date1: holds NaN or infinite values, fill them first.",
    ),
    "lengths": (
        {"date1": DATE1[:4], "mask": MASK},
        "given: 4 patches of date1 but 5 masks, give one mask for each.",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_does_not_fit_the_model_is_refused_in_one_sentence(fault):
    arrays, message = FAULTS[fault]
    with pytest.raises(UserError) as refusal:
        given(arrays, SHAPE, CLASSES)
    assert str(refusal.value) == message


def test_a_first_date_alone_says_nothing_to_a_model_of_one_date():
    with pytest.raises(UserError) as refusal:
        given({"date1": DATE1}, (1, 3, 8, 6), CLASSES)
    assert str(refusal.value) == "given date1: this model draws patches of one date; give image, to have it labelled."


@pytest.mark.parametrize(
    ("arrays", "names"),
    [
        ({"mask": MASK}, {"mask"}),
        ({"image": IMAGE}, {"image1", "image2"}),
        ({"date1": DATE1}, {"image1"}),
        ({"mask": MASK, "date1": DATE1}, {"image1", "mask"}),
    ],
)
def test_what_fits_names_its_streams_and_keeps_its_values(arrays, names):
    found = given(arrays, SHAPE, CLASSES)
    assert len(found) == N
    assert found.names(Streams(("image1", "image2", "mask"), (1, 1, 1))) == names
    rows = found.rows([4, 1, 1])
    assert len(rows) == 3 and rows.names(Streams(("image1", "image2", "mask"), (1, 1, 1))) == names
    if "mask" in arrays:
        np.testing.assert_array_equal(found.masks, MASK)
        np.testing.assert_array_equal(rows.masks, MASK[[4, 1, 1]])
        assert found.masks.dtype == np.uint8
    if "image" in arrays:
        np.testing.assert_array_equal(found.refl, IMAGE)
    if "date1" in arrays:
        np.testing.assert_array_equal(rows.refl, DATE1[[4, 1, 1], None])


def test_a_first_date_may_keep_its_date_axis_and_a_mask_pixels_without_a_label():
    with_axis = given({"date1": DATE1[:, None]}, SHAPE, CLASSES)
    np.testing.assert_array_equal(with_axis.refl, given({"date1": DATE1}, SHAPE, CLASSES).refl)
    sparse = _with(EMPTY, (3, 0, 0), 1)
    np.testing.assert_array_equal(given({"mask": sparse.astype(np.int64)}, SHAPE, CLASSES).masks, sparse)


class _Noting:
    """In place of an autoencoder: returns the images and the one-hot masks that it is asked to encode."""

    class spec:
        dates, bands, classes = 2, 3, CLASSES

    def encode_given(self, images, onehot):
        self.images, self.onehot = images, onehot


class _Halves:
    def apply(self, refl):
        return refl / 2


def test_only_what_is_given_is_encoded_and_pixels_without_data_like_the_mean():
    network = _Noting()
    found = given({"date1": DATE1, "mask": _with(MASK, (0, 0, 0), 255)}, SHAPE, CLASSES)
    valid = np.ones((N, 1, 8, 6), bool)
    valid[2, 0, 4, 4] = False
    type(found)(found.masks, found.refl, valid).encode(network, _Halves(), torch.device("cpu"))
    expected = DATE1 / 2
    expected[2, :, 4, 4] = 0
    np.testing.assert_array_equal(network.images[:, 0], expected)
    assert network.images.shape[1] == 1
    assert not network.onehot[0, :, 0, 0].any()
    np.testing.assert_array_equal(network.onehot[1:].argmax(1), MASK[1:])
    given({"image": IMAGE}, SHAPE, CLASSES).encode(network, _Halves(), torch.device("cpu"))
    np.testing.assert_array_equal(network.images, IMAGE / 2)
    assert network.onehot is None
