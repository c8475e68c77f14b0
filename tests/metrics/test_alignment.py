from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from specdm.metrics.alignment import Seen, Tally, align, between_bounds, derangement, interval
from specdm.metrics.paired import miou_macro
from specdm.metrics.scorers import ReadingAgreement


def _masks(n=40, size=32, seed=0):
    """Blocks of 8 pixels with random classes, so that neighbours and images differ."""
    draws = np.random.default_rng(seed).integers(0, 3, (n, size // 8, size // 8))
    return draws.repeat(8, 1).repeat(8, 2).astype(np.uint8)


def _seen(readings, valid=None):
    """Images nobody looks at, with readings (N,R,H,W)."""
    n, _, h, w = readings.shape
    images = np.zeros((n, 1, 2, h, w), np.float32)
    return Seen(images, images, np.ones((n, 1, h, w), bool) if valid is None else valid, {"network": readings})


NETWORK = ReadingAgreement("network", "", "network", 3, miou_macro)


def _tally(readings, masks, shifts=(1, 2, 4), seed=0):
    tally = Tally([NETWORK], shifts)
    for rows in np.array_split(np.arange(len(masks)), 3):
        tally.add(_seen(readings[rows]), masks[rows], masks[derangement(len(masks), seed)][rows])
    return tally


def _miou(prediction, mask):
    ious = []
    for k in range(3):
        a, b = prediction == k, (mask == k) & (mask != 255)
        a = a & (mask != 255)
        if (a | b).any():
            ious.append((a & b).sum() / (a | b).sum())
    return np.mean(ious)


def test_scores_are_those_of_all_pairs_at_once():
    masks = _masks()
    readings = np.where(np.random.default_rng(1).random(masks.shape) < 0.2, (masks + 1) % 3, masks).astype(np.uint8)
    tally = _tally(readings[:, None], masks)
    assert NETWORK.score(tally.sums(NETWORK).sum(0)) == pytest.approx(_miou(readings, masks))
    moved = [
        (readings[:, 2:], masks[:, :-2]),
        (readings[:, :-2], masks[:, 2:]),
        (readings[:, :, 2:], masks[:, :, :-2]),
        (readings[:, :, :-2], masks[:, :, 2:]),
    ]
    together = (np.concatenate([x.ravel() for x in side]) for side in zip(*moved, strict=True))
    assert tally.curve(NETWORK)[2] == pytest.approx(_miou(*together))
    exchanged = masks[derangement(len(masks), 0)]
    assert NETWORK.score(tally.sums(NETWORK, "exchanged").sum(0)) == pytest.approx(_miou(readings, exchanged))


def test_matched_beats_shifted_beats_exchanged_and_the_curve_peaks_at_zero():
    masks = _masks()
    tally = _tally(masks[:, None], masks)
    result = align(NETWORK, tally, tally, np.arange(len(masks)))
    order = [*result.curve.values(), result.exchanged]
    assert order == sorted(order, reverse=True) and order[0] == 1 and order[-1] < 0.4
    assert result.peak.px == 0
    assert result.scaled.value == result.scaled.low == result.scaled.high == 1


def test_an_offset_in_one_direction_shows_as_a_lower_score_and_a_ring_as_a_peak_elsewhere():
    masks = _masks()
    offset = align(NETWORK, _tally(np.roll(masks, 4, axis=2)[:, None], masks), _tally(masks[:, None], masks), range(40))
    assert offset.scaled.value < 0.8 and offset.scaled.high < 0.9
    assert (offset.peak.px, offset.peak.direction, offset.peak.score) == (4, "right", 1)
    for move, direction in (((4, 1), "down"), ((-4, 1), "up"), ((-4, 2), "left")):
        tally = _tally(np.roll(masks, move[0], axis=move[1])[:, None], masks)
        assert (tally.best(NETWORK).px, tally.best(NETWORK).direction) == (4, direction)
    points = np.zeros((6, 16, 16), np.uint8)
    points[:, 6, 7] = 1
    ring = np.zeros_like(points)
    ring[:, [4, 8, 6, 6], [7, 7, 5, 9]] = 1  # two pixels away in every direction
    tally = _tally(ring[:, None], points, (1, 2))
    curve = align(NETWORK, tally, tally, range(6)).curve
    assert max(curve, key=curve.get) == 2


def test_more_wrong_pixels_score_lower():
    masks = _masks()
    real = _tally(masks[:, None], masks)
    rng = np.random.default_rng(3)
    scaled = []
    for share in (0.0, 0.1, 0.3, 0.6):
        wrong = np.where(rng.random(masks.shape) < share, rng.integers(0, 3, masks.shape), masks).astype(np.uint8)
        scaled.append(align(NETWORK, _tally(wrong[:, None], masks), real, range(40)).scaled)
    values = [s.value for s in scaled]
    assert values[0] == 1 and values == sorted(values, reverse=True) and values[-1] < 0.6
    assert all(s.low <= s.value <= s.high for s in scaled)


def test_exchanged_masks_score_zero_and_are_told_apart_from_real_pairs():
    masks = _masks(80)
    other = masks[derangement(len(masks), 7)]
    result = align(NETWORK, _tally(masks[:, None], other), _tally(masks[:, None], masks), range(80))
    assert abs(result.scaled.value) < 0.1 and result.scaled.low <= 0.05 and not result.because


def test_where_real_pairs_do_not_beat_exchanged_masks_there_is_a_reason_instead_of_a_number():
    masks = _masks()
    noise = _masks(seed=9)[:, None]
    result = align(NETWORK, _tally(noise, masks), _tally(noise, masks), range(40))
    assert "cannot tell" in result.because and np.isnan(result.scaled.value)
    unlabelled = np.full_like(masks, 255)
    result = align(NETWORK, _tally(masks[:, None], unlabelled), _tally(masks[:, None], masks), range(40))
    assert "the synthetic pairs hold too few labelled pixels" in result.because
    assert result.peak is None


def test_ignored_and_invalid_pixels_drop_out_and_large_shifts_are_left_out():
    masks = _masks(size=8)
    holes = masks.copy()
    holes[:, :4] = 255
    wrong = masks.copy()
    wrong[:, 6:] = (wrong[:, 6:] + 1) % 3
    valid = np.ones((len(masks), 1, 8, 8), bool)
    valid[:, :, 6:] = False
    tally = Tally([NETWORK], (2, 5))
    tally.add(_seen(wrong[:, None], valid), holes)
    sums = tally.sums(NETWORK)
    assert sums.sum() == len(masks) * 2 * 8  # rows 4 and 5 alone
    assert NETWORK.score(sums.sum(0)) == 1
    assert tally.sums(NETWORK, "exchanged") is None
    assert list(tally.curve(NETWORK)) == [0, 2]


@dataclass(frozen=True)
class _Mean:
    """The mean of numbers: what its bootstrap must give is known."""

    name: str = "mean"
    title: str = ""

    def look(self, seen):
        return seen.images[:, 0, :1]

    def sums(self, maps, masks):
        return np.stack([maps.sum((1, 2, 3)), np.full(len(maps), float(maps[0].size))], 1)

    def score(self, sums):
        return sums[..., 0] / sums[..., 1]


def test_intervals_are_those_of_the_mean_and_groups_widen_them():
    rng = np.random.default_rng(5)
    groups = np.repeat(np.arange(20), 20)
    values = (rng.normal(size=20)[groups] + 0.1 * rng.normal(size=400)).astype(np.float32)
    tally = Tally([_Mean()])
    images = np.broadcast_to(values[:, None, None, None, None], (400, 1, 1, 2, 2)).copy()
    masks = np.zeros((400, 2, 2), np.uint8)
    tally.add(Seen(images, images, np.ones((400, 1, 2, 2), bool), {}), masks, masks)
    result = align(_Mean(), tally, tally, groups, n_bootstrap=2000)
    single = 1.96 * values.std() / 20
    of_means = 1.96 * np.array([values[groups == g].mean() for g in range(20)]).std() / np.sqrt(20)
    assert result.synthetic.high - result.synthetic.low == pytest.approx(2 * single, rel=0.15)
    assert result.real.high - result.real.low == pytest.approx(2 * of_means, rel=0.25)
    assert result.synthetic.value == pytest.approx(values.mean(), abs=1e-6)
    apart = align(_Mean(), tally, tally, range(400))  # the same pairs on both sides, each side drawn by itself
    assert (apart.synthetic.low, apart.synthetic.high) != (apart.real.low, apart.real.high)
    again = align(_Mean(), tally, tally, groups, n_bootstrap=2000)
    assert again == result and align(_Mean(), tally, tally, groups, n_bootstrap=2000, seed=1).real != result.real


def test_bounds_place_a_score_between_exchanged_and_real():
    draws = {"synthetic": np.array([0.4, 0.6]), "exchanged": np.full(2, 0.2), "real": np.full(2, 0.7)}
    result = between_bounds({"synthetic": 0.5, "exchanged": 0.2, "real": 0.7}, draws)
    assert result.scaled.value == pytest.approx(0.6)
    assert (result.scaled.low, result.scaled.high) == (pytest.approx(0.41), pytest.approx(0.79))
    assert np.isnan(interval(1.0, np.array([np.nan])).low)
    assert interval(1.0, np.array([np.nan, 3, 3])).high == 3


@pytest.mark.parametrize("n", [2, 3, 10, 101])
def test_derangement_moves_everything(n):
    moved = derangement(n, 0)
    assert sorted(moved) == list(range(n)) and (moved != np.arange(n)).all()


def test_a_derangement_follows_its_seed():
    assert (derangement(50, 1) == derangement(50, 1)).all() and (derangement(50, 1) != derangement(50, 2)).any()
