from __future__ import annotations

import numpy as np
import pytest
import torch
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

from specdm.errors import UserError
from specdm.metrics import frechet
from specdm.metrics.frechet import (
    FeatureMoments,
    equal_size_distance,
    frechet_distance,
    frechet_from_moments,
    halves_floor,
)

RNG = np.random.default_rng(0)


def _reference(x, y):
    """The textbook formula through the eigenvalues of S1 S2, which are real and >= 0 in exact arithmetic."""
    s1, s2 = np.cov(x.T), np.cov(y.T)
    cross = np.sqrt(np.linalg.eigvals(s1 @ s2).real.clip(0)).sum()
    return np.sum((x.mean(0) - y.mean(0)) ** 2) + np.trace(s1) + np.trace(s2) - 2 * cross


@pytest.mark.parametrize("n, m, d", [(20, 30, 64), (64, 30, 64), (500, 300, 16), (20, 300, 64)])
def test_distance_is_the_textbook_one(n, m, d):
    x = RNG.standard_normal((n, d)) @ RNG.standard_normal((d, d)) / d**0.5
    y = RNG.standard_normal((m, d)) * 1.5 + 0.3
    assert frechet_distance(x, y) == pytest.approx(_reference(x, y), rel=1e-5)
    assert frechet_distance(x, y) == pytest.approx(frechet_distance(y, x), rel=1e-6)


@pytest.mark.parametrize("n", [20, 300])
def test_known_shift_and_identity(n):
    x = RNG.standard_normal((n, 40))
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-5)
    assert frechet_distance(x, x + 2) == pytest.approx(4 * 40, abs=1e-5)
    assert frechet_distance(x, 3 * (x - x.mean(0)) + x.mean(0)) == pytest.approx(4 * x.var(0, ddof=1).sum(), rel=1e-6)


@pytest.mark.parametrize("n, m", [(200, 300), (20, 30), (20, 300)])
def test_distance_is_that_of_torch_fidelity(n, m):
    x = RNG.standard_normal((n, 40)) @ RNG.standard_normal((40, 40))
    y = RNG.exponential(2, (m, 40))
    theirs = fid_statistics_to_metric(*(fid_features_to_statistics(torch.tensor(z)) for z in (x, y)), verbose=False)
    assert frechet_distance(x, y) == pytest.approx(theirs["frechet_inception_distance"], rel=1e-6)
    assert frechet_from_moments(_moments(x), _moments(y)) == pytest.approx(frechet_distance(x, y), rel=1e-6)


def test_known_moments_give_the_closed_form():
    # covariances with common axes: the distance is the sum of the squared differences of the deviations
    axes, _ = np.linalg.qr(RNG.standard_normal((6, 6)))
    white = np.vstack([np.eye(6), -np.eye(6)]) * (11 / 2) ** 0.5  # covariance 1, mean 0
    s, t = np.array([3, 2, 1, 1, 0.5, 0]), np.array([1, 2, 0, 4, 0.25, 1e-3])
    x, y = white * s @ axes.T, white * t @ axes.T + np.arange(6)
    assert frechet_distance(x, y) == pytest.approx(np.sum((s - t) ** 2) + 55, rel=1e-9)


@pytest.mark.parametrize("n", [5, 50])
def test_constant_features_leave_the_shift_of_the_means(n):
    x, y = np.full((n, 8), 0.1), np.full((n, 8), 0.4)
    assert frechet_distance(x, x) == 0
    assert frechet_distance(x, y) == pytest.approx(8 * 0.3**2, rel=1e-12)
    assert frechet_distance(x, y + RNG.standard_normal((n, 8))) > 8 * 0.3**2
    x[:, 3] = RNG.standard_normal(n)  # one that is not
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-12)


def _moments(*batches) -> FeatureMoments:
    moments = FeatureMoments(batches[0].shape[1])
    for batch in batches:
        moments.update(batch)
    return moments


@pytest.mark.parametrize("n, d", [(200, 8), (30, 64)])
def test_streaming_is_the_same_as_all_at_once(n, d, monkeypatch):
    """Also for means that are a hundred thousand deviations from zero, and for batches of any size."""
    monkeypatch.setattr(frechet, "ROWS", 70)
    x = (RNG.standard_normal((n, d)) + 1e5 * np.arange(1, d + 1)) * np.logspace(-3, 3, d)
    for cuts in ([], [1], [0, 1, 3, n // 2, n]):
        streamed = _moments(*np.split(x, cuts))
        assert streamed.n == n
        np.testing.assert_allclose(streamed.mean, x.mean(0), rtol=1e-12)
        deviations = x.std(0, ddof=1)
        scale = np.outer(deviations, deviations)
        np.testing.assert_allclose(streamed.covariance / scale, np.cov(x.T) / scale, rtol=1e-9, atol=1e-9)
    parts = [_moments(part) for part in np.split(x, [n // 3])]
    merged = parts[0] + parts[1]
    np.testing.assert_allclose(merged.covariance / scale, np.cov(x.T) / scale, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose((merged.n, *merged.mean), (n, *x.mean(0)), rtol=1e-12)
    assert parts[0].n == n // 3  # the parts stay as they were
    np.testing.assert_allclose(parts[0].mean, x[: n // 3].mean(0), rtol=1e-12)
    both = FeatureMoments(d) + merged
    assert both.n == n and np.array_equal(both.covariance, merged.covariance)
    y = x + RNG.standard_normal((n, d)) * deviations
    distance = frechet_from_moments(_moments(x), _moments(y[:7], y[7:]))
    # with fewer samples than dimensions square roots of rounding errors enter
    assert frechet_from_moments(merged, _moments(y)) == pytest.approx(distance, rel=1e-9 if n > d else 1e-6)


def test_single_precision_features_are_summed_in_double():
    for n in (200, 8):  # more and fewer than dimensions
        x, y = (RNG.standard_normal((2, n, 16)) + 1e4).astype(np.float32)
        assert frechet_distance(x, y) == pytest.approx(_reference(x.astype(float), y.astype(float)), rel=1e-4)
        assert frechet_distance(x, y) == pytest.approx(frechet_distance(x.astype(float), y.astype(float)), rel=1e-9)


def test_equal_sizes_are_drawn():
    x, y = RNG.standard_normal((50, 4)), RNG.standard_normal((30, 4))
    assert equal_size_distance(x, y).n == 30 and equal_size_distance(x, y, n=1000).n == 30
    small = equal_size_distance(x, y, n=10, seed=1)
    assert small.n == 10 and small == equal_size_distance(x, y, n=10, seed=1)
    assert small != equal_size_distance(x, y, n=10, seed=2)


def test_floor_falls_with_the_number_of_samples():
    x = RNG.standard_normal((2000, 16))
    floors = [halves_floor(x, n=n).distance for n in (30, 100, 1000)]
    assert floors[0] > floors[1] > floors[2] > 0


def test_floor_keeps_groups_apart_and_balances_them():
    # one direction a group: halves that share no group are perpendicular, so their covariances do not overlap
    groups = np.repeat(list("abcdef"), [50, 40, 40, 30, 20, 20])
    x = np.eye(6)[np.unique(groups, return_inverse=True)[1]] * RNG.standard_normal((200, 1))
    floor = halves_floor(x, groups)
    assert floor.n == 100  # 50 + 30 + 20 | 40 + 40 + 20
    assert floor.distance > 5 * halves_floor(x).distance
    assert halves_floor(x, groups, n=30).n == 30


def test_floor_of_one_group_splits_its_samples():
    x = RNG.standard_normal((101, 4))
    assert halves_floor(x, ["munich"] * 101) == halves_floor(x) and halves_floor(x).n == 50
    assert halves_floor(x, seed=1) != halves_floor(x)


def test_mistakes_are_explained():
    with pytest.raises(UserError, match="at least 2 samples"):
        frechet_distance(np.zeros((1, 4)), np.zeros((5, 4)))
    with pytest.raises(UserError, match="at least 2 samples"):
        halves_floor(np.zeros((3, 4)), n=1)
    with pytest.raises(UserError, match="4 and 5 dimensions"):
        frechet_distance(np.zeros((3, 4)), np.zeros((3, 5)))
    for bad in (np.nan, np.inf):
        x = np.zeros((5, 4))
        x[3, 1] = bad
        for call in (
            lambda x=x: frechet_distance(np.zeros((5, 4)), x),
            lambda x=x: halves_floor(x),
            lambda x=x: equal_size_distance(x, x, n=2),
            lambda x=x: FeatureMoments(4).update(x),
        ):
            with pytest.raises(UserError, match="sample 3 has a feature that is NaN or infinite"):
                call()
    with pytest.raises(UserError, match="at least 2 samples, not 1"):
        frechet_from_moments(_moments(np.zeros((1, 4))), _moments(np.zeros((5, 4))))
    with pytest.raises(UserError, match="4 and 5 dimensions"):
        frechet_from_moments(_moments(np.zeros((3, 4))), _moments(np.zeros((3, 5))))
    with pytest.raises(UserError, match="4 and 5 dimensions"):
        FeatureMoments(4) + FeatureMoments(5)
    with pytest.raises(UserError, match="5 and 4 dimensions"):
        FeatureMoments(4).update(np.zeros((3, 5)))
