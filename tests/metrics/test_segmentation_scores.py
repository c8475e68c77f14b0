from __future__ import annotations

import numpy as np
import pytest

from specdm.errors import UserError
from specdm.metrics.segmentation import ConfusionMatrix, slug


def _slow(prediction, target, classes):
    """Scores from sets of pixels, class by class, without a confusion matrix."""
    pairs = [(int(p), int(t)) for p, t in zip(prediction.ravel(), target.ravel(), strict=True) if t != 255]
    iou, f1 = [], []
    for k in range(classes):
        p = {i for i, pair in enumerate(pairs) if pair[0] == k}
        t = {i for i, pair in enumerate(pairs) if pair[1] == k}
        iou.append(len(p & t) / len(p | t) if p | t else None)
        f1.append(2 * len(p & t) / (len(p) + len(t)) if p or t else None)
    oa = sum(p == t for p, t in pairs) / len(pairs)
    chance = (
        sum(sum(p == k for p, _ in pairs) * sum(t == k for _, t in pairs) for k in range(classes)) / len(pairs) ** 2
    )
    return iou, f1, oa, (oa - chance) / (1 - chance)


def test_scores_are_those_of_a_slow_count():
    rng = np.random.default_rng(0)
    target = rng.choice([0, 1, 2, 4, 255], size=(6, 9, 9)).astype(np.uint8)  # class 3 never, class 4 never predicted
    prediction = np.where(rng.random(target.shape) < 0.5, target, rng.integers(0, 3, target.shape)) % 255 % 4
    confusion = ConfusionMatrix(6)
    for p, t in zip(prediction, target, strict=True):
        confusion.update(p, t)
    scores = confusion.scores(list("abcdef"))
    iou, f1, oa, kappa = _slow(prediction, target, 6)
    present = [v for v in iou if v is not None]
    assert scores["miou_macro"] == pytest.approx(np.mean(present))
    assert scores["mf1_macro"] == pytest.approx(np.mean([v for v in f1 if v is not None]))
    assert scores["miou_fg"] == pytest.approx(np.mean([v for v in iou[1:] if v is not None]))
    assert scores["mf1_fg"] == pytest.approx(np.mean([v for v in f1[1:] if v is not None]))
    assert (scores["oa"], scores["kappa"]) == (pytest.approx(oa), pytest.approx(kappa))
    assert scores["classes_absent"] == 6 - len(present) and scores["pixels"] == (target != 255).sum()
    for name, values in (("iou", iou), ("f1", f1)):
        for key, value in zip("abcdef", values, strict=True):
            assert scores[f"{name}_{key}"] == pytest.approx(np.nan if value is None else value, nan_ok=True)


def test_change_scores_by_hand():
    confusion = ConfusionMatrix(2)
    confusion.update(np.array([1, 1, 1, 0, 0, 0]), np.array([1, 1, 0, 1, 0, 255]))
    scores = confusion.scores(["No change", "change"])
    assert confusion.matrix.tolist() == [[1, 1], [1, 2]] and confusion.matrix.dtype == np.int64
    assert scores["iou_change"] == 0.5 and scores["f1_change"] == pytest.approx(2 / 3)
    assert scores["iou_no_change"] == pytest.approx(1 / 3)
    assert scores["precision_change"] == scores["recall_change"] == pytest.approx(2 / 3)


def test_undefined_scores_are_nan():
    confusion = ConfusionMatrix(3)
    confusion.update(np.array([0, 0]), np.array([0, 1]))
    scores = confusion.scores(["a", "b", "c"])
    assert np.isnan([scores["precision_b"], scores["recall_c"], scores["iou_c"]]).all()
    assert scores["recall_b"] == scores["iou_b"] == 0 and scores["miou_macro"] == 0.25
    empty = ConfusionMatrix(2).scores(["a", "b"])
    assert np.isnan([empty["miou_macro"], empty["oa"], empty["kappa"]]).all()


def test_slugs():
    assert slug("Open spaces (33)") == "open_spaces_33" and slug("No change") == "no_change"


def test_mistakes_are_explained():
    confusion = ConfusionMatrix(2)
    with pytest.raises(UserError, match="differ in shape"):
        confusion.update(np.zeros((1, 2)), np.zeros((2, 1)))
    with pytest.raises(UserError, match="a label holds"):
        confusion.update(np.array([0]), np.array([2]))
    with pytest.raises(UserError, match="a prediction holds"):
        confusion.update(np.array([255]), np.array([0]))
    for wrong in (["a"], ["a", "A"]):
        with pytest.raises(UserError, match="as many different names"):
            confusion.scores(wrong)
