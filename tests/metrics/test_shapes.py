import math
from itertools import product

import numpy as np
import pytest

from specdm.errors import UserError
from specdm.metrics.shapes import BoundaryScore, ObjectRecall

NAMES = ["ground", "water", "wood"]


def _masks(seed, n=3, side=12, classes=3, hole=True):
    rng = np.random.default_rng(seed)
    masks = rng.integers(0, classes, (n, side // 3, side // 3)).repeat(3, 1).repeat(3, 2).astype(np.uint8)
    if hole:
        masks[:, 4:6, :5] = 255
    return masks


def _line(mask, k):
    """Pixels of class k beside a labelled pixel of another class, by a plain loop."""
    h, w = mask.shape
    found = []
    for i, j in product(range(h), range(w)):
        if mask[i, j] == k:
            beside = [(i + 1, j), (i - 1, j), (i, j + 1), (i, j - 1)]
            if any(0 <= a < h and 0 <= b < w and mask[a, b] not in (k, 255) for a, b in beside):
                found.append((i, j))
    return found


@pytest.mark.parametrize("tolerance", [1, 2])
def test_boundary_scores_equal_a_plain_count_of_near_pixels(tolerance):
    truth, guess = _masks(0), _masks(1, hole=False)
    score = BoundaryScore(3, tolerance)
    score.update(guess[:1], truth[:1])
    score.update(guess[1:], truth[1:])
    expected = []
    for k in range(3):
        hits, sizes = [0, 0], [0, 0]
        for g, t in zip(guess, truth, strict=True):
            lines = [_line(np.where(t == 255, 255, g), k), _line(t, k)]
            for one, other in ((0, 1), (1, 0)):
                sizes[one] += len(lines[one])
                hits[one] += sum(
                    any(max(abs(a - c), abs(b - d)) <= tolerance for c, d in lines[other]) for a, b in lines[one]
                )
        p, r = hits[0] / sizes[0], hits[1] / sizes[1]
        expected.append(2 * p * r / (p + r))
    scores = score.scores(NAMES)
    np.testing.assert_allclose([scores[f"boundary_f1_{name}"] for name in NAMES], expected)
    assert scores["boundary_f1_macro"] == pytest.approx(np.mean(expected))


def test_a_perfect_mask_meets_every_boundary_and_a_shift_within_the_tolerance_as_well():
    truth = np.zeros((1, 16, 16), np.uint8)
    truth[:, :, 8:] = 1
    for shift, expected in ((0, 1), (2, 1), (3, 0)):
        score = BoundaryScore(3, 2)
        score.update(np.roll(truth, shift, 2) * (np.arange(16) >= 4), truth)
        assert score.scores(NAMES)["boundary_f1_water"] == expected


def test_a_class_without_boundary_is_left_out_and_one_that_is_only_predicted_is_zero():
    truth, guess = np.zeros((1, 8, 8), np.uint8), np.zeros((1, 8, 8), np.uint8)
    score = BoundaryScore(3)
    score.update(guess, truth)
    assert all(math.isnan(v) for v in score.scores(NAMES).values())
    guess[:, :3] = 1
    score.update(guess, truth)
    scores = score.scores(NAMES)
    assert scores["boundary_f1_water"] == scores["boundary_f1_ground"] == scores["boundary_f1_macro"] == 0
    assert math.isnan(scores["boundary_f1_wood"])


def test_ignored_pixels_and_the_rim_make_no_boundary():
    truth = np.ones((1, 8, 8), np.uint8)
    truth[:, 3:] = 255
    score = BoundaryScore(3)
    score.update((truth == 1).astype(np.uint8), truth)
    assert not any(counts.any() for counts in score.counts.values())


def test_recall_of_objects_by_their_size():
    truth = np.zeros((2, 20, 20), np.uint8)
    truth[0, 0, 0] = truth[0, 1, 1] = 1  # one object of two pixels, by their corner
    truth[0, 10:14, 10:14] = 1  # sixteen
    truth[0, 18, :2] = 1  # two, missed
    truth[1, :12, :12] = 1  # a hundred and forty-four
    truth[1, 19, 19] = 255
    guess = np.zeros_like(truth)
    guess[0, 0, 0] = 1
    guess[0, 10:14, 10:12] = 1
    guess[1, :12, :3] = 1
    guess[1, 15:, 15:] = 1  # a false alarm is no matter of recall
    recall = ObjectRecall()
    recall.update(guess[:1], truth[:1])
    recall.update(guess[1:], truth[1:])
    assert recall.scores() == {
        "objects_below_10": 2,
        "recall_px_below_10": 0.25,
        "touched_below_10": 0.5,
        "objects_10_to_99": 1,
        "recall_px_10_to_99": 0.5,
        "touched_10_to_99": 1.0,
        "objects_from_100": 1,
        "recall_px_from_100": 0.25,
        "touched_from_100": 1.0,
    }


def test_sizes_at_the_limits_belong_to_the_larger_group_and_no_object_gives_no_recall():
    truth = np.zeros((1, 20, 20), np.uint8)
    truth[0, 0, :10] = 1
    truth[0, 10:, :10] = 1  # a hundred
    recall = ObjectRecall()
    recall.update(np.zeros_like(truth), truth)
    assert recall.counts["objects"].tolist() == [0, 1, 1]
    scores = recall.scores()
    assert math.isnan(scores["recall_px_below_10"]) and math.isnan(scores["touched_below_10"])
    assert scores["recall_px_10_to_99"] == 0


@pytest.mark.parametrize("score", [BoundaryScore(2), ObjectRecall()])
def test_unequal_shapes_are_refused(score):
    with pytest.raises(UserError, match="differ in shape"):
        score.update(np.zeros((1, 4, 4), np.uint8), np.zeros((2, 4, 4), np.uint8))
