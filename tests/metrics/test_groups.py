from __future__ import annotations

import numpy as np
import pytest

from specdm.errors import UserError
from specdm.metrics.groups import bootstrap_weights, folds, halves


def test_groups_stay_whole_and_parts_are_about_equal():
    groups = np.repeat(np.arange(12), np.random.default_rng(0).integers(5, 20, 12))
    parts = folds(groups, 3)
    assert all(len(set(parts[groups == g])) == 1 for g in range(12))
    sizes = np.bincount(parts)
    assert len(sizes) == 3 and sizes.max() - sizes.min() <= 10
    assert (parts == folds(groups, 3)).all() and (parts != folds(groups, 3, seed=5)).any()


def test_few_groups_leave_parts_empty_and_a_single_one_belongs_to_none():
    assert set(folds(["a", "a", "b"], 4).tolist()) == {0, 1}
    assert (folds(["a"] * 5, 3) == -1).all()


def test_halves_are_disjoint_by_group_balanced_and_seeded():
    groups = np.repeat(np.arange(7), [30, 20, 10, 10, 5, 5, 4])
    first = halves(84, groups, 0)
    assert not set(groups[first]) & set(groups[~first])
    assert abs(int(first.sum()) - 42) <= 4
    assert any((halves(84, groups, s) != first).any() for s in range(1, 5))
    for seed in range(6):  # one large group against three small ones
        assert halves(12, np.repeat(list("abcd"), [2, 2, 6, 2]), seed).sum() == 6
    alone = halves(9, ["one"] * 9)
    assert alone.sum() in (4, 5) and (alone == halves(9)).all()
    with pytest.raises(UserError, match="no two halves"):
        halves(1)


def test_bootstrap_draws_whole_groups_as_many_as_there_are():
    groups = np.array(list("aabbbc"))
    weights = bootstrap_weights(6, groups, 4000, 1)
    assert (weights[:, 0] == weights[:, 1]).all() and (weights[:, 2] == weights[:, 4]).all()
    assert (weights[:, [0, 2, 5]].sum(1) == 3).all()
    np.testing.assert_allclose(weights.mean(0), 1, atol=0.05)
    assert (bootstrap_weights(6, groups, 50, 1, 1) != weights[:50]).any()
    assert (bootstrap_weights(6, None, 50, 1).sum(1) == 6).all()
