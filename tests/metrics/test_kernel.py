"""The kernel distance against torch-fidelity and against all pairs counted one by one; its interval by repetition."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch_fidelity.metric_kid import kid_features_to_metric

from specdm.errors import UserError
from specdm.metrics import kernel
from specdm.metrics.groups import units
from specdm.metrics.kernel import kernel_distance

RNG = np.random.default_rng(0)


@pytest.fixture(params=[1024, 7])
def block(request, monkeypatch):
    """Whole kernel matrices, and many small blocks of them."""
    monkeypatch.setattr(kernel, "BLOCK", request.param)


def _features(n, d=12, shift=0.0, rng=RNG):
    return rng.standard_normal((n, d)) * np.linspace(0.5, 2, d) + shift


@pytest.mark.parametrize("shift", [0, 0.3])
def test_distance_is_that_of_torch_fidelity(block, shift):
    x, y = _features(50), _features(50, shift=shift)
    theirs = kid_features_to_metric(torch.tensor(x), torch.tensor(y), kid_subsets=1, kid_subset_size=50, verbose=False)
    ours = kernel_distance(x, y, n_bootstrap=5)
    assert ours.distance == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-9, abs=1e-12)
    assert (ours.n, ours.m) == (50, 50)
    x, y = (z.astype(np.float32) for z in (x, y))
    assert kernel_distance(x, y) == kernel_distance(x.astype(float), y.astype(float))


def _one_by_one(x, y, x_groups, y_groups, draws):
    """The distances of draws (taken groups of x, of y): the drawn samples side by side, every pair by itself.

    A drawn copy of a group is a place of its own, but no pair may join two copies of the same group.
    """

    def k(a, b):
        return (a @ b / len(a) + 1) ** 3

    def within(z, groups, taken):
        copies = [(copy, g, i) for copy, g in enumerate(taken) for i in np.flatnonzero(groups == g)]
        values = [
            k(z[i], z[j]) for c, g, i in copies for d, h, j in copies if (c == d and i != j) or (c != d and g != h)
        ]
        return np.mean(values)

    distances = []
    for of_x, of_y in draws:
        left = [i for g in of_x for i in np.flatnonzero(x_groups == g)]
        right = [j for g in of_y for j in np.flatnonzero(y_groups == g)]
        between = np.mean([k(x[i], y[j]) for i in left for j in right])
        distances.append(within(x, x_groups, of_x) + within(y, y_groups, of_y) - 2 * between)
    return distances


@pytest.mark.parametrize("grouped", [False, True])
def test_interval_counts_every_pair_once_a_draw(block, grouped, monkeypatch):
    x, y = _features(9, 3), _features(11, 3, 0.2)
    x_groups = np.array([0, 1, 0, 2, 2, 2, 1, 3, 3]) if grouped else np.arange(9)
    y_groups = np.array([0, 0, 0, 1, 1, 2, 2, 1, 3, 4, 4]) if grouped else np.arange(11)
    drawn = {}

    def weights(n, groups, draws, seed, stream):
        ids, rng = units(n, groups), np.random.default_rng(stream)
        drawn[n] = [rng.integers(ids.max() + 1, size=ids.max() + 1) for _ in range(draws)]
        return np.stack([np.bincount(taken, minlength=ids.max() + 1)[ids] for taken in drawn[n]])

    monkeypatch.setattr(kernel, "bootstrap_weights", weights)
    found = kernel_distance(x, y, *((x_groups, y_groups) if grouped else ()), n_bootstrap=6)
    expected = _one_by_one(x, y, x_groups, y_groups, zip(drawn[9], drawn[11], strict=True))
    np.testing.assert_allclose((found.low, found.high), np.quantile(expected, [0.025, 0.975]), rtol=1e-9)
    whole = _one_by_one(x, y, np.arange(9), np.arange(11), [(range(9), range(11))])
    assert found.distance == pytest.approx(whole[0], rel=1e-9)


def test_it_is_unbiased_and_the_interval_holds_zero_for_one_distribution():
    rng = np.random.default_rng(3)
    found = [kernel_distance(_features(40, 6, rng=rng), _features(30, 6, rng=rng), seed=i) for i in range(60)]
    distances = np.array([f.distance for f in found])
    assert abs(distances.mean()) < 3 * distances.std() / len(found) ** 0.5
    held = np.mean([f.low <= 0 <= f.high for f in found])
    assert held >= 0.93  # wider than need be where both are one distribution
    spread = np.mean([f.high - f.low for f in found])
    assert spread < 3 * 4 * distances.std()  # but not so wide that it says nothing


# MMD^2 of N(0,1) and N(SHIFT,1) in one dimension: k = 1 + 3 ab + 3 a^2 b^2 + a^3 b^3 compares the first three moments
SHIFT = 0.7
TRUE = 3 * SHIFT**2 + 3 * SHIFT**4 + (SHIFT**3 + 3 * SHIFT) ** 2


def test_interval_holds_a_true_distance_about_as_often_as_it_should():
    rng = np.random.default_rng(4)
    found = [
        kernel_distance(rng.standard_normal((60, 1)), rng.standard_normal((60, 1)) + SHIFT, seed=i, n_bootstrap=100)
        for i in range(100)
    ]
    assert np.mean([f.distance for f in found]) == pytest.approx(TRUE, rel=0.1)
    assert 0.85 <= np.mean([f.low <= TRUE <= f.high for f in found]) <= 0.99


def test_patches_of_a_place_are_not_independent():
    """Twenty places of ten nearly equal patches are twenty samples, not two hundred."""
    rng = np.random.default_rng(5)
    places = np.repeat(np.arange(20), 10)
    held, widths = np.zeros(2), np.zeros(2)
    for i in range(60):
        x = rng.standard_normal((20, 1))[places] * 0.95**0.5 + rng.standard_normal((200, 1)) * 0.05**0.5 + SHIFT
        y = rng.standard_normal((200, 1))
        alone, grouped = (kernel_distance(x, y, groups, seed=i, n_bootstrap=60) for groups in (None, places))
        assert grouped.distance == pytest.approx(alone.distance, rel=1e-9)
        held += [found.low <= TRUE <= found.high for found in (alone, grouped)]
        widths += [found.high - found.low for found in (alone, grouped)]
    assert held[0] / 60 < 0.55 and held[1] / 60 > 0.7
    assert widths[1] > 1.8 * widths[0]


def test_places_may_stand_in_any_order_and_have_any_name():
    x, y, places = _features(80), _features(80, shift=0.5), np.repeat(np.arange(10), 8)
    shuffled = RNG.permutation(80)
    first = kernel_distance(x, y, x_groups=places)
    again = kernel_distance(x[shuffled], y, x_groups=[f"place {p}" for p in places[shuffled]])
    assert (again.low, again.high) == pytest.approx((first.low, first.high), rel=1e-9)


def test_a_single_place_draws_its_samples():
    x, y = _features(20), _features(20)
    assert kernel_distance(x, y, ["munich"] * 20, y_groups=[1] * 20) == kernel_distance(x, y)


def test_distance_grows_and_the_seed_decides_the_draws():
    x = _features(60)
    found = [kernel_distance(x, _features(60, shift=shift), n_bootstrap=20).distance for shift in (0, 0.5, 1, 2)]
    assert found == sorted(found)
    first = kernel_distance(x, _features(30) + 1, seed=1)
    assert first.low < first.distance < first.high
    y = _features(30) + 1
    assert kernel_distance(x, y, seed=1) == kernel_distance(x, y, seed=1) != kernel_distance(x, y, seed=2)


def test_mistakes_are_explained():
    x = _features(5)
    with pytest.raises(UserError, match="at least 2 samples"):
        kernel_distance(x, x[:1])
    with pytest.raises(UserError, match="12 and 3 dimensions"):
        kernel_distance(x, x[:, :3])
    with pytest.raises(UserError, match="4 groups for 5 patches"):
        kernel_distance(x, x, x_groups=list("abcd"))
    for bad in (np.nan, -np.inf):
        with pytest.raises(UserError, match="sample 2 has a feature that is NaN"):
            kernel_distance(x, np.where(np.arange(5)[:, None] == 2, bad, x))
    with pytest.raises(UserError, match="too few for an interval"):  # every draw takes one sample twice
        monkey = np.array([[1.0, 2.0], [1.0, 0.0]])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(kernel, "_weights", lambda *_: monkey)
            kernel_distance(x[:2], x[:2])
