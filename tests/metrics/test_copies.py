import dataclasses

import numpy as np
import pytest
from scipy.stats import binomtest

from specdm.errors import UserError
from specdm.metrics.copies import Nearness, Places, clopper_pearson, n_apart, share_ground, tail_share, verdict


def _places(*rows):
    return Places(*(np.array(column) for column in zip(*rows, strict=True)))


def _tail(samples, real, held_out=(), apart=None, held_out_apart=None, quantile=0.01, level=0.01):
    worth = len(real) if apart is None else apart, len(held_out) if held_out_apart is None else held_out_apart
    return tail_share(samples, real, held_out, *worth, quantile, level)


HERE = ("scene", "town", 100, 100)


@pytest.mark.parametrize(
    ("other", "shared"),
    [
        (HERE, True),
        (("scene", "other block", 163, 37), True),  # nearer than the reach along both axes
        (("scene", "town", 164, 100), False),  # of one group, yet far enough: within a source positions are known
        (("scene", "town", 100, 36), False),
        (("copy", "town", 0, 0), True),  # another file of the group: a flipped copy, say
        (("copy", "country", 100, 100), False),
    ],
)
def test_patches_share_ground_by_position_or_else_by_group(other, shared):
    a, b = _places(HERE), _places(other, ("elsewhere", "far", 0, 0))
    assert share_ground(a, b, 64).tolist() == [[shared, False]]
    assert share_ground(b, a, 64).tolist() == [[shared], [False]]


def test_overlapping_windows_are_worth_fewer():
    strip = _places(*[("scene", "block", 0, 8 * i) for i in range(20)])
    assert [n_apart(strip, w) for w in (8, 16, 80, 1000)] == [20, 10, 2, 1]
    assert n_apart(_places(*[(f"file{i}", f"group{i // 4}", 0, 0) for i in range(20)]), 16) == 5


def test_the_interval_is_that_of_the_binomial_test():
    for k, n in ((0, 20), (3, 40), (40, 40), (17, 300)):
        exact = binomtest(k, n).proportion_ci(0.95, "exact")
        assert clopper_pearson(k, n) == pytest.approx((exact.low, exact.high))
    assert clopper_pearson(0, 30)[1] == pytest.approx(1 - 0.025 ** (1 / 30))


def test_the_expected_share_is_that_of_like_samples():
    rng = np.random.default_rng([0, 1])
    found = [_tail(rng.gamma(2, size=100), rng.gamma(2, size=150)) for _ in range(1000)]
    assert found[0].expected == pytest.approx(1 / 151)
    assert np.mean([t.share for t in found]) == pytest.approx(1 / 151, abs=3 * 0.01 / np.sqrt(1000) + 3e-4)


@pytest.mark.parametrize("m", [40, 400])
def test_false_alarms_are_as_rare_as_promised(m):
    rng = np.random.default_rng([0, 2])
    alarms = [_tail(rng.gamma(2, size=300), rng.gamma(2, size=m), level=0.05).exceeds for _ in range(600)]
    assert np.mean(alarms) < 0.05 + 3 * np.sqrt(0.05 / 600)
    assert np.mean(alarms) > 0.005  # and the test is not empty


def test_repeated_real_distances_count_once():
    """What overlapping patches do: fifteen of a kind, with a threshold far below what so few patches can know."""
    rng = np.random.default_rng([0, 3])

    def alarm(apart):
        real = np.repeat(rng.gamma(2, size=40), 15) * rng.uniform(1, 1.001, 600)
        return _tail(rng.gamma(2, size=300), real, apart=apart, level=0.05).exceeds

    honest, naive = (np.mean([alarm(apart) for _ in range(300)]) for apart in (40, 600))
    assert honest < 0.07 < 0.2 < naive


@pytest.mark.parametrize("n_real", [200, 1000])
def test_copies_are_found_when_they_are_one_sample_in_twenty(n_real):
    rng = np.random.default_rng([0, 4])
    found = 0
    for _ in range(50):
        samples = rng.uniform(0.3, 0.6, 300)
        samples[:15] = 0.01
        found += _tail(samples, rng.uniform(0.3, 0.6, n_real), level=0.003).exceeds
    assert found >= 45


def test_scores_do_not_depend_on_the_scale_of_distances():
    rng = np.random.default_rng([0, 5])
    samples, real, held_out = rng.gamma(2, size=100), rng.gamma(2, size=200), rng.gamma(2, size=90)
    a = dataclasses.asdict(_tail(samples, real, held_out))
    b = dataclasses.asdict(_tail(np.sqrt(samples), np.sqrt(real), np.sqrt(held_out)))
    assert a.pop("threshold") == pytest.approx(b.pop("threshold") ** 2)
    assert a == b


def test_more_near_samples_are_never_judged_milder():
    real = np.linspace(0.3, 0.6, 400)
    found = [_tail(np.r_[np.full(k, 0.1), np.full(200 - k, 0.5)], real) for k in range(0, 30)]
    assert [t.share for t in found] == [k / 200 for k in range(30)]
    flags = [t.exceeds for t in found]
    assert flags == sorted(flags) and not flags[2] and flags[-1]
    first = flags.index(True)
    assert found[first].share > found[first].limit >= found[first - 1].share


def test_held_out_patches_that_are_as_near_leave_it_open():
    rng = np.random.default_rng([0, 6])
    real, near = rng.uniform(0.3, 0.6, 400), np.r_[np.full(30, 0.1), np.full(170, 0.5)]
    alone, controlled = _tail(near, real), _tail(near, real, near)
    assert alone.exceeds and not alone.doubtful and alone.held_out is None
    assert controlled.doubtful and not controlled.exceeds and controlled.held_out == 0.15
    assert verdict(controlled, controlled)[0] == "not computable"
    far_more = _tail(np.r_[np.full(150, 0.1), np.full(50, 0.5)], real, near)
    assert far_more.exceeds and verdict(far_more, alone)[0] == "copies"
    # Where the near ones of the held-out patches overlap, they are one case and no reason for doubt.
    assert _tail(near, real, near, held_out_apart=6).exceeds


def test_one_of_two_tests_is_enough_and_says_why():
    real = np.linspace(0.3, 0.6, 400)
    nothing, much = _tail(np.full(200, 0.5), real), _tail(np.full(200, 0.1), real)
    assert verdict(nothing, nothing)[0] == "none found"
    assert f"{100 * nothing.limit:.3g} % " in verdict(nothing, nothing)[1]
    assert verdict(much, nothing)[0] == verdict(nothing, much)[0] == "copies"
    assert "closer than the threshold" in verdict(much, nothing)[1]
    assert "one training patch alone" in verdict(nothing, much)[1]


def test_too_few_real_patches_cannot_tell():
    few = _tail(np.full(20, 0.5), np.linspace(0.3, 0.6, 20), level=1e-13)
    assert few.limit == 1 and not few.exceeds
    assert verdict(few, few)[0] == "not computable"


def test_a_ratio_is_one_for_equal_distances_and_small_for_a_lone_twin():
    near = Nearness(np.array([0.0, 0.4, 0.01]), np.array([0.0, 0.4, 0.5]), 3)
    assert near.ratio == pytest.approx([1, 1, 0.02], abs=1e-4)


@pytest.mark.parametrize(
    ("samples", "real", "match"),
    [
        (np.r_[np.nan, np.ones(50)], np.ones(50), "NaN"),
        (np.ones(50), np.r_[np.nan, np.ones(50)], "NaN"),
        (np.ones(19), np.ones(50), "only 19 samples"),
        (np.ones(50), np.ones(19), "only 19 training patches"),
        (np.ones(50), np.r_[np.zeros(3), np.ones(97)], "3 % of the real patches equal"),
    ],
)
def test_what_cannot_be_judged_says_why(samples, real, match):
    with pytest.raises(UserError, match=match):
        _tail(samples, real)
