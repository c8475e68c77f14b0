from __future__ import annotations

import numpy as np
import pytest

from specdm.errors import UserError
from specdm.metrics.filtering import MIN_SHARE, PARTS, keep_best, strata

REAL = [9000, 900, 100]  # class 2 is the rarest


def test_the_kind_is_the_rarest_class_and_how_much_there_is_of_it():
    counts = np.array([[100, 0, 0], [60, 40, 0], [90, 0, 10], [10, 80, 10], [1000, 0, 1], [50, 40, 10], [50, 45, 5]])
    kinds = strata(counts, REAL)
    assert (kinds // PARTS).tolist() == [0, 1, 2, 2, 0, 2, 2]  # a thousandth does not count
    assert MIN_SHARE > 1 / 1001
    of_rarest = kinds[[6, 2, 3, 5]]
    assert (np.diff(of_rarest) >= 0).all() and len(set(of_rarest.tolist())) == PARTS


def test_the_best_of_every_kind_are_kept_in_proportion():
    rng = np.random.default_rng(0)
    kinds = np.repeat([0, 1, 2], [70, 20, 10])
    badness = rng.random(100) + 10 * (kinds == 2)  # the rare kind is bad throughout
    kept = keep_best(badness, kinds, 50)
    assert (np.diff(kept) > 0).all()
    assert np.bincount(kinds[kept]).tolist() == [35, 10, 5]
    for k in range(3):
        inside, outside = np.isin(np.flatnonzero(kinds == k), kept), badness[kinds == k]
        assert outside[inside].max() < outside[~inside].min()


def test_numbers_that_do_not_divide_still_give_as_many_as_asked_for():
    kinds = np.repeat([0, 1, 2], [5, 4, 2])
    for n in range(12):
        kept = keep_best(np.arange(11.0), kinds, n)
        assert len(kept) == n
        assert (np.abs(np.bincount(kinds[kept], minlength=3) - np.array([5, 4, 2]) * n / 11) < 1).all()


def test_what_is_left_over_goes_to_the_kinds_that_rounding_cost_most():
    kinds = np.repeat([0, 1, 2], [5, 4, 2])  # of 4: 1.82, 1.45 and 0.73
    assert np.bincount(kinds[keep_best(np.arange(11.0), kinds, 4)]).tolist() == [2, 1, 1]


def test_undefined_scores_go_last_and_too_few_patches_are_refused():
    assert keep_best([np.nan, 3.0, 2.0, np.nan], [0, 0, 0, 0], 2).tolist() == [1, 2]
    with pytest.raises(UserError, match="5 patches cannot be kept of 4"):
        keep_best(np.zeros(4), np.zeros(4), 5)
