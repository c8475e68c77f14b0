from __future__ import annotations

import numpy as np
import pytest

from specdm.errors import UserError
from specdm.metrics.frechet import equal_size_distance, frechet_distance, halves_floor

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


def test_single_precision_features_are_summed_in_double():
    x, y = (RNG.standard_normal((2, 200, 8)) + 1e4).astype(np.float32)
    assert frechet_distance(x, y) == pytest.approx(_reference(x.astype(float), y.astype(float)), rel=1e-4)


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
