from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import wasserstein_distance

from specdm.errors import UserError
from specdm.metrics.band_statistics import (
    CHANGE_BINS,
    BandStatistics,
    Bins,
    between_dates,
    correlation_difference,
    correlations,
    impossible_shares,
    wasserstein,
)

MIX = np.array([[1.0, 0.5, 0.0], [0.0, 1.0, -0.4], [0.3, 0.0, 0.8]])


def _refl(n, seed, dates=1, spread=0.1):
    """Images of three correlated bands around 0.3."""
    rng = np.random.default_rng(seed)
    return 0.3 + spread * np.einsum("cd,ntdhw->ntchw", MIX, rng.standard_normal((n, dates, 3, 5, 7)))


def _statistics(refl, valid=None, bins=None):
    found = BandStatistics(3) if bins is None else BandStatistics(3, bins)
    found.update(refl, valid)
    return found


def _pixels(refl):
    return np.moveaxis(refl, 2, 0).reshape(refl.shape[2], -1)


def test_wasserstein_agrees_with_scipy_within_a_bin():
    a, b = _refl(20, 1), _refl(31, 2, spread=0.13) + 0.02
    for bins in (Bins(-0.5, 1.5, 4000), Bins(-0.5, 1.5, 40)):
        ours = wasserstein(_statistics(a, bins=bins), _statistics(b, bins=bins))
        theirs = [wasserstein_distance(x, y) for x, y in zip(_pixels(a), _pixels(b), strict=True)]
        np.testing.assert_allclose(ours, theirs, atol=bins.width)


def test_wasserstein_of_a_shift_is_the_shift_and_of_itself_nothing():
    refl = _refl(10, 1)
    a = _statistics(refl)
    np.testing.assert_allclose(wasserstein(a, _statistics(refl + 0.05)), 0.05, atol=a.bins.width)
    assert (wasserstein(a, a) == 0).all()


def test_pieces_and_merged_parts_give_what_the_whole_gives():
    refl = (_refl(9, 1, dates=2) + 40).astype(np.float32)  # far from 0, where sums of squares lose their digits
    valid = np.random.default_rng(0).random((9, 2, 5, 7)) < 0.7
    bins = Bins(39, 42, 300)
    whole = _statistics(refl, valid, bins)
    pieces = _statistics(refl[:2], valid[:2], bins)
    pieces.update(refl[2:5], valid[2:5])
    pieces.update(refl[:1], np.zeros((1, 2, 5, 7), bool))
    pieces.merge(_statistics(refl[5:], valid[5:], bins))
    pieces.merge(BandStatistics(3, bins))
    assert pieces.pixels == whole.pixels == valid.sum()
    for name in ("counts", "outside", "negative", "above_one", "smallest", "largest"):
        np.testing.assert_array_equal(getattr(pieces, name), getattr(whole, name), err_msg=name)
    np.testing.assert_allclose(pieces.mean, whole.mean, rtol=1e-12)
    np.testing.assert_allclose(pieces.scatter, whole.scatter, rtol=1e-9)
    seen = np.moveaxis(refl, 2, 0)[:, valid].astype(np.float64)
    np.testing.assert_allclose(correlations(pieces), np.corrcoef(seen), atol=1e-9)


def test_correlations_ignore_gain_and_offset_of_a_band():
    refl = _refl(20, 1)
    a, b = _statistics(refl), _statistics(refl * np.array([1, 0.5, 1.2])[:, None, None] + 0.1)
    assert correlation_difference(a, b) == pytest.approx(0, abs=1e-12)


def test_correlation_difference_by_hand_and_growing_with_what_is_broken():
    refl = _refl(40, 1)
    rng = np.random.default_rng(3)
    noise = rng.standard_normal(refl.shape)
    a = _statistics(refl)
    found = [correlation_difference(a, _statistics(refl + s * noise)) for s in (0, 0.05, 0.2)]
    assert found[0] == 0 < found[1] < found[2]
    apart = np.abs(np.corrcoef(_pixels(refl)) - np.corrcoef(_pixels(refl + 0.2 * noise)))
    assert found[2] == pytest.approx(apart[np.triu_indices(3, 1)].mean())


def test_a_constant_band_and_a_single_one_are_named():
    refl = _refl(4, 1)
    refl[:, :, 1] = 0.1
    with pytest.raises(UserError, match="band B03 has one value"):
        correlations(_statistics(refl), ("B02", "B03", "B04"))
    one = BandStatistics(1)
    one.update(refl[:, :, :1])
    with pytest.raises(UserError, match="single band"):
        correlation_difference(one, one)


def test_impossible_values_are_counted_apart_and_only_of_reflectance():
    refl = np.full((1, 1, 3, 5, 7), 0.5)
    refl[0, 0, 0, 0, :3], refl[0, 0, 1, 0, :2], refl[0, 0, 1, 1, 0] = -0.01, 1.01, 1.0
    found = impossible_shares(_statistics(refl), "BOA")
    np.testing.assert_allclose(found.negative, [3 / 35, 0, 0])
    np.testing.assert_allclose(found.above_one, [0, 2 / 35, 0])
    assert (found.negative_all, found.above_one_all) == pytest.approx((1 / 35, 2 / 105))
    with pytest.raises(UserError, match="unitless"):
        impossible_shares(_statistics(refl), "unitless")


def test_what_lies_outside_the_bins_is_counted_and_kept_at_their_ends():
    refl = np.full((1, 1, 3, 5, 7), 0.5)
    refl[0, 0, 2, 0, :2] = 1e30, -5
    found = _statistics(refl, bins=Bins(0, 1, 10))
    assert found.outside.tolist() == [0, 0, 2]
    assert found.counts.sum(1).tolist() == [35] * 3 and (found.counts[2, 0], found.counts[2, -1]) == (1, 1)


def test_change_between_dates_is_seen_where_levels_hide_it():
    """Two sets of the same levels on both dates, one with dates of other places."""
    refl = _refl(30, 1).repeat(2, axis=1)
    apart = refl.copy()
    apart[:, 1] = apart[::-1, 1]
    valid = np.ones((30, 2, 5, 7), bool)
    valid[0, 0, 0, 0] = valid[1, 1, 0, 0] = False
    change, both = between_dates(refl, valid)
    assert change.shape == (30, 1, 3, 5, 7) and both.shape == (30, 1, 5, 7) and both.sum() == both.size - 2
    np.testing.assert_allclose(between_dates(np.stack([refl[:, 0], refl[:, 0] + 1], 1))[0], 1)
    levels = wasserstein(_statistics(refl), _statistics(apart))
    changes = wasserstein(*(_statistics(between_dates(x)[0], bins=CHANGE_BINS) for x in (refl, apart)))
    assert levels.max() < 1e-9 and changes.min() > 0.05
    with pytest.raises(UserError, match="1 dates"):
        between_dates(refl[:, :1])


def test_faults_are_told():
    refl = _refl(2, 1)
    refl[0, 0, 0, 0, 0] = np.nan
    with pytest.raises(UserError, match="finite"):
        _statistics(refl)
    valid = np.ones((2, 1, 5, 7), bool)
    valid[0, 0, 0, 0] = False
    assert _statistics(refl, valid).pixels == 69
    with pytest.raises(UserError, match="3 bands instead of 4"):
        BandStatistics(4).update(refl)
    with pytest.raises(UserError, match="no valid pixel"):
        wasserstein(BandStatistics(3), _statistics(_refl(1, 1)))
    with pytest.raises(UserError, match="bins"):
        wasserstein(_statistics(_refl(1, 1), bins=Bins(0, 1, 5)), _statistics(_refl(1, 1)))
    with pytest.raises(UserError, match="are no bins"):
        BandStatistics(3, Bins(1, 0, 5))
