from functools import partial

import numpy as np
import pytest

from specdm.errors import UserError
from specdm.metrics import paired
from specdm.metrics.paired import Difference, f1, iou, mf1_macro, miou_macro, paired_difference
from specdm.metrics.segmentation import ConfusionMatrix


def _counts(seed, shape) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 50, shape)


def _hits(counts):
    """Share of pixels on the diagonal: linear in groups of one size, so that its true value is known."""
    return np.diagonal(counts, axis1=-2, axis2=-1).sum(-1) / counts.sum((-2, -1))


@pytest.mark.parametrize("classes", [2, 5, 13])
def test_scores_are_those_of_a_confusion_matrix(classes):
    counts = _counts(classes, (3, 4, classes, classes))
    counts[0, 0, 1] = counts[0, 0, :, 1] = 0  # a class is absent
    counts[0, 1, 1] = 0  # one that is only predicted
    counts[0, 2] = 0  # all are absent
    names = [f"c{i}" for i in range(classes)]
    functions = {"miou_macro": miou_macro, "mf1_macro": mf1_macro, "iou_c1": partial(iou, of=1)}
    functions |= {"f1_c0": partial(f1, of=0), "f1_c1": partial(f1, of=1)}
    for name, function in functions.items():
        values = function(counts.astype(np.float64))
        assert values.shape == (3, 4)
        for at in np.ndindex(3, 4):
            confusion = ConfusionMatrix(classes)
            confusion.matrix = counts[at]
            assert values[at] == pytest.approx(confusion.scores(names)[name], nan_ok=True), (name, at)


def _drawn(seed, n, groups, runs):
    """The draws of paired_difference, as positions: (n,G) and (n,R)."""
    of_groups, of_runs = np.random.default_rng(seed).spawn(2)
    return of_groups.integers(groups, size=(n, groups)), of_runs.integers(runs, size=(n, runs))


@pytest.mark.parametrize(("runs", "groups"), [(3, 6), (1, 6), (3, 1)])
@pytest.mark.parametrize("chunk", [1, 40, 10**6])
def test_the_interval_is_that_of_a_loop_over_the_same_draws(monkeypatch, runs, groups, chunk):
    monkeypatch.setattr(paired, "CHUNK", chunk)
    ours, base = _counts(1, (runs, groups, 3, 3)), _counts(2, (runs, groups, 3, 3))
    values = []
    for chosen_groups, chosen_runs in zip(*_drawn(7, 50, groups, runs), strict=True):
        pairs = []
        for r in chosen_runs:
            a, b = (sum(side[r, g] for g in chosen_groups).astype(float) for side in (ours, base))
            pairs.append(miou_macro(a) - miou_macro(b))
        values.append(np.mean(pairs))
    found = paired_difference(ours, base, miou_macro, n=50, seed=7, level=0.8)
    assert (found.low, found.high) == pytest.approx(np.quantile(values, [0.1, 0.9]))
    point = np.mean([miou_macro(a.sum(0) * 1.0) - miou_macro(b.sum(0) * 1.0) for a, b in zip(ours, base, strict=True)])
    assert found.mean == pytest.approx(point)
    assert found.low < found.mean < found.high


def test_many_draws_are_taken_unless_told_otherwise():
    ours, base = _counts(1, (3, 6, 3, 3)), _counts(2, (3, 6, 3, 3))
    assert paired_difference(ours, base, miou_macro) == paired_difference(ours, base, miou_macro, 2000, 0, 0.95)
    assert paired_difference(ours, base, miou_macro) != paired_difference(ours, base, miou_macro, seed=1)


def test_one_pair_in_one_group_has_no_interval():
    ours, base = _counts(1, (1, 1, 3, 3)), _counts(2, (1, 1, 3, 3))
    found = paired_difference(ours, base, miou_macro)
    assert found.mean == pytest.approx(miou_macro(ours[0, 0] * 1.0) - miou_macro(base[0, 0] * 1.0))
    assert np.isnan([found.low, found.high]).all()


def test_where_all_agree_the_interval_has_no_width():
    ours = _counts(1, (3, 6, 3, 3))
    assert paired_difference(ours, ours, miou_macro) == Difference(0, 0, 0)
    same, other = (np.broadcast_to(_counts(seed, (3, 3)), (3, 6, 3, 3)) for seed in (1, 2))
    found = paired_difference(same, other, miou_macro)
    assert found.mean != 0
    assert (found.low, found.high) == pytest.approx((found.mean, found.mean))


def test_the_order_of_groups_and_pairs_does_not_matter():
    ours, base = _counts(1, (4, 12, 3, 3)), _counts(2, (4, 12, 3, 3))
    first = paired_difference(ours, base, miou_macro)
    rng = np.random.default_rng(0)
    pairs, groups = rng.permutation(4), rng.permutation(12)
    second = paired_difference(ours[pairs][:, groups], base[pairs][:, groups], miou_macro)
    assert second.mean == pytest.approx(first.mean, abs=1e-12)
    # the ends move by chance of the draws alone
    assert (second.low, second.high) == pytest.approx((first.low, first.high), abs=0.1 * (first.high - first.low))


def test_exchanged_sides_change_the_sign_alone():
    ours, base = _counts(1, (3, 6, 3, 3)), _counts(2, (3, 6, 3, 3))
    forth, back = paired_difference(ours, base, mf1_macro), paired_difference(base, ours, mf1_macro)
    assert (back.mean, back.low, back.high) == pytest.approx((-forth.mean, -forth.high, -forth.low))


def _accurate(rates) -> np.ndarray:
    """Counts (...,2,2) of a thousand pixels of which a share (...) is right."""
    right = np.round(1000 * np.asarray(rates)).astype(np.int64)
    counts = np.zeros((*right.shape, 2, 2), np.int64)
    counts[..., 0, 0], counts[..., 0, 1] = right, 1000 - right
    return counts


def test_groups_and_pairs_that_disagree_widen_the_interval():
    def width(of_groups, of_pairs):
        shift = np.array(of_groups)[None, :] + np.array(of_pairs)[:, None]
        found = paired_difference(_accurate(0.6 + shift), _accurate(np.full(shift.shape, 0.5)), _hits)
        assert found.mean == pytest.approx(0.1)
        return found.high - found.low

    agree = width([0] * 4, [0] * 3)
    assert agree == pytest.approx(0, abs=1e-9)
    assert width([-0.1, 0.1, -0.1, 0.1], [0] * 3) > width([-0.02, 0.02, -0.02, 0.02], [0] * 3) > 0.01
    assert width([0] * 4, [-0.1, 0, 0.1]) > width([0] * 4, [-0.02, 0, 0.02]) > 0.01
    assert width([-0.1, 0.1, -0.1, 0.1], [-0.1, 0, 0.1]) > width([-0.1, 0.1, -0.1, 0.1], [0] * 3)


def test_what_both_sides_share_does_not_widen_the_interval():
    """Hard groups and unlucky seeds drop out: pairs share them, and a draw takes the same groups for both sides."""
    shared = np.random.default_rng(0).normal(0, 0.1, (1, 8)) + np.random.default_rng(1).normal(0, 0.1, (3, 1))
    found = paired_difference(_accurate(0.55 + shared), _accurate(0.5 + shared), _hits)
    assert (found.low, found.high) == pytest.approx((0.05, 0.05), abs=2e-3)


def test_the_interval_holds_the_truth_about_as_often_as_it_says():
    rng, truth, held = np.random.default_rng(3), 0.05, 0
    for _ in range(60):
        base = 0.5 + rng.normal(0, 0.05, (1, 20)) + rng.normal(0, 0.02, (6, 1))
        gain = truth + rng.normal(0, 0.05, (1, 20)) + rng.normal(0, 0.02, (6, 1)) + rng.normal(0, 0.02, (6, 20))
        found = paired_difference(_accurate(base + gain), _accurate(base), _hits, n=500)
        held += found.low <= truth <= found.high
    assert 51 <= held <= 60


def test_undefined_scores_are_left_out():
    """Class 1 is in the first group alone: draws without it say nothing about it, and in one pair nobody names it."""
    ours, base = np.zeros((3, 2, 2, 2), np.int64), np.zeros((3, 2, 2, 2), np.int64)
    ours[..., 0, 0], base[..., 0, 0] = 100, 100
    ours[:2, 0, 1, 1], ours[:2, 0, 1, 0] = 8, 2
    base[:2, 0, 1, 1], base[:2, 0, 1, 0] = 4, 6
    found = paired_difference(ours, base, partial(f1, of=1))
    expected = 2 * 8 / (2 * 8 + 2) - 2 * 4 / (2 * 4 + 6)
    assert (found.mean, found.low, found.high) == pytest.approx((expected,) * 3)
    nothing = paired_difference(ours[2:], base[2:], partial(f1, of=1))
    assert np.isnan([nothing.mean, nothing.low, nothing.high]).all()


def test_counts_that_do_not_pair_are_refused():
    with pytest.raises(UserError, match=r"counts \(2, 3, 4, 4\) and \(2, 2, 4, 4\) differ"):
        paired_difference(_counts(0, (2, 3, 4, 4)), _counts(0, (2, 2, 4, 4)), miou_macro)
