import math

import numpy as np
import pytest

from specdm.errors import UserError
from specdm.metrics.ranking import area_under_curve


def test_the_area_is_the_share_of_pairs_in_order_with_ties_half():
    rng = np.random.default_rng(0)
    scores, positive = rng.integers(0, 6, 60).astype(float), rng.random(60) < 0.3
    higher = np.sign(scores[positive][:, None] - scores[~positive])
    assert area_under_curve(scores, positive) == pytest.approx((higher + 1).mean() / 2)
    assert area_under_curve(-scores, positive) == pytest.approx(1 - area_under_curve(scores, positive))
    assert area_under_curve([1, 2, 3], [False, True, True]) == 1
    assert area_under_curve([4, 4, 4], [False, True, True]) == 0.5


def test_minus_infinity_is_the_lowest_and_one_kind_alone_has_no_area():
    assert area_under_curve([-np.inf, 0, 1], [False, True, False]) == 0.5
    assert math.isnan(area_under_curve([1, 2], [True, True]))
    with pytest.raises(UserError, match="NaN"):
        area_under_curve([1, math.nan], [True, False])
