from __future__ import annotations

import numpy as np
import pytest

from specdm.errors import UserError
from specdm.metrics.alignment import derangement, mask_agreement, normalised_score


def _masks(n=12, size=32):
    """Blocks of 8 pixels with random classes, so that neighbours and images differ."""
    return np.random.default_rng(0).integers(0, 3, (n, size // 8, size // 8)).repeat(8, 1).repeat(8, 2).astype(np.uint8)


def test_matched_beats_shifted_beats_shuffled():
    masks = _masks()
    scores = mask_agreement(masks, masks, 3)
    order = [scores[f"miou_{k}"] for k in ("matched", "shift_1", "shift_2", "shift_4", "shuffled")]
    assert order[0] == 1 and order == sorted(order, reverse=True) and order[-1] < 0.4
    assert scores["accuracy_matched"] == 1 and scores["accuracy_shuffled"] == pytest.approx(1 / 3, abs=0.08)


def test_an_offset_shows_as_a_peak_away_from_matched():
    masks = _masks()
    predictions = np.roll(masks, 4, axis=2)
    scores = mask_agreement(predictions, masks, 3, shifts=(4,))
    one_way = (predictions[:, :, 4:] == masks[:, :, :-4]).mean()
    assert one_way == 1 and scores["accuracy_matched"] < 0.75


def test_shifts_move_masks_in_all_four_directions():
    mask = np.zeros((2, 8, 8), dtype=np.uint8)
    mask[:, 2, 3] = 1
    for move in [(1, 0), (-1, 0), (0, 1), (0, -1)]:
        scores = mask_agreement(np.roll(mask, move, (1, 2)), mask, 2, shifts=(1,))
        assert scores["miou_shift_1"] > scores["miou_matched"]


def test_ignored_pixels_and_large_shifts_are_left_out():
    masks = _masks(size=8)
    holes = masks.copy()
    holes[:, :4] = 255
    scores = mask_agreement(masks, holes, 3, shifts=(2, 5))
    assert scores["accuracy_matched"] == 1 and "miou_shift_2" in scores and "miou_shift_5" not in scores


@pytest.mark.parametrize("n", [2, 3, 10, 101])
def test_derangement_moves_everything(n):
    moved = derangement(n, 0)
    assert sorted(moved) == list(range(n)) and (moved != np.arange(n)).all()


def test_shuffle_follows_the_seed():
    assert (derangement(50, 1) == derangement(50, 1)).all() and (derangement(50, 1) != derangement(50, 2)).any()
    with pytest.raises(UserError, match="at least 2 images"):
        mask_agreement(_masks(1), _masks(1), 3)


def test_normalised_score():
    assert normalised_score(0.5, 0.7, 0.2) == pytest.approx(0.6)
    assert normalised_score(0.2, 0.7, 0.2) == 0 and np.isnan(normalised_score(0.5, 0.2, 0.2))
