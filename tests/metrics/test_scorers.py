from __future__ import annotations

import numpy as np
import pytest

from specdm.metrics.alignment import Seen
from specdm.metrics.paired import mean_recall, miou_macro
from specdm.metrics.scorers import (
    STABLE,
    BoundaryContrast,
    ReadingAgreement,
    StableBackground,
    change_angle_rad,
    change_magnitude,
    scorers,
)


def _seen(images, readings=None, refl=None):
    images = np.asarray(images, np.float32)
    valid = np.ones((len(images), images.shape[1], *images.shape[-2:]), bool)
    return Seen(images if refl is None else refl, images, valid, readings or {})


def _halves(n=4, size=8):
    """Masks with a vertical edge in the middle."""
    masks = np.zeros((n, size, size), np.uint8)
    masks[:, :, size // 2 :] = 1
    return masks


def _score(scorer, seen, masks):
    return float(scorer.score(scorer.sums(scorer.look(seen), masks).sum(0)))


def test_readings_count_each_model_and_each_pair_by_itself():
    masks = np.array([[[0, 1], [2, 255]], [[1, 1], [0, 2]]], np.uint8)
    readings = np.stack([masks % 3, (masks + 1) % 3], 1).astype(np.uint8)  # one right, one wrong everywhere
    agreement = ReadingAgreement("a", "", "network", 3, mean_recall)
    sums = agreement.sums(agreement.look(_seen(np.zeros((2, 1, 1, 2, 2)), {"network": readings})), masks)
    expected = np.zeros((2, 3, 3))
    for i, mask in enumerate(masks):
        for r in range(2):
            for true, read in zip(mask.ravel(), readings[i, r].ravel(), strict=True):
                if true != 255:
                    expected[i, true, read] += 1
    assert (sums.reshape(2, 3, 3) == expected).all()
    assert agreement.score(sums.sum(0)) == pytest.approx(0.5)
    counts = expected.sum(0)
    ious = [counts[k, k] / (counts[k].sum() + counts[:, k].sum() - counts[k, k]) for k in range(3)]
    assert ReadingAgreement("a", "", "n", 3, miou_macro).score(sums.sum(0)) == pytest.approx(np.mean(ious))


def test_boundary_contrast_is_the_log_ratio_of_steps_across_and_within():
    masks = _halves()
    rng = np.random.default_rng(0)
    images = masks[:, None, None] * 4.0 + rng.normal(size=(4, 1, 3, 8, 8)) * 0.1
    down = np.sqrt(np.square(np.diff(images[:, 0], axis=2)).mean(1))
    right = np.sqrt(np.square(np.diff(images[:, 0], axis=3)).mean(1))
    within = np.concatenate([down.ravel(), np.delete(right, 3, axis=2).ravel()]).mean()
    assert _score(BoundaryContrast(), _seen(images), masks) == pytest.approx(np.log(right[:, :, 3].mean() / within))


def test_boundary_contrast_falls_with_shift_and_blur_and_ignores_what_has_no_label():
    masks = _halves(size=16)
    images = masks[:, None, None].astype(float) + np.random.default_rng(1).normal(size=(4, 1, 1, 16, 16)) * 0.05
    contrast = BoundaryContrast()
    sharp = _score(contrast, _seen(images), masks)
    blurred = sum(np.roll(images, s, axis=4) for s in (-1, 0, 1)) / 3
    shifted = np.roll(masks, 3, axis=2)
    shifted[:, :, :3] = 255
    assert sharp > _score(contrast, _seen(blurred), masks) > _score(contrast, _seen(images), shifted)
    holes = masks.copy()
    holes[:, :, 7:9] = 255
    assert np.isnan(_score(contrast, _seen(images), holes))  # no edge between two labels is left
    assert np.isnan(_score(contrast, _seen(np.zeros_like(images)), masks))


def test_boundary_contrast_of_change_pairs_looks_at_the_difference_of_the_dates():
    masks = _halves()
    ground = np.random.default_rng(2).normal(size=(4, 1, 8, 8)) * 5  # edges in both dates that are no change
    images = np.stack([ground, ground + masks[:, None]], 1)
    noisy = images + np.random.default_rng(3).normal(size=images.shape) * 0.01
    assert _score(BoundaryContrast(), _seen(noisy), masks) > 3


def _change_table(seen, masks):
    sides = change_magnitude(seen).ravel(), change_angle_rad(seen).ravel(), masks.ravel() == 0
    return {s.name: s for s in scorers(2, *sides)}


def test_the_area_under_the_curve_is_the_share_of_pairs_in_the_right_order():
    rng = np.random.default_rng(4)
    masks = (rng.random((6, 12, 12)) < 0.2).astype(np.uint8)
    refl = rng.uniform(0.1, 0.3, (6, 2, 3, 12, 12)).astype(np.float32)
    refl[:, 1] += masks[:, None] * rng.uniform(0, 0.3, (6, 3, 12, 12)).astype(np.float32)
    seen = _seen(refl * 10, refl=refl)
    magnitude = np.sqrt(np.square(refl[:, 1] - refl[:, 0]).mean(1)) * 10
    dot = (refl[:, 0] * refl[:, 1]).sum(1) / np.linalg.norm(refl[:, 0], axis=1) / np.linalg.norm(refl[:, 1], axis=1)
    for name, values in (("change magnitude", magnitude), ("change angle", np.arccos(dot.clip(-1, 1)))):
        changed, unchanged = values[masks == 1], values[masks == 0]
        exact = (changed[:, None] > unchanged).mean()
        assert _score(_change_table(seen, masks)[name], seen, masks) == pytest.approx(exact, abs=0.01), name
    table = _change_table(seen, masks)
    assert np.isnan(_score(table["change magnitude"], seen, np.zeros_like(masks)))
    alike = _seen(np.zeros((6, 2, 3, 12, 12)), refl=refl)  # no pixel changes more than another: a toss of a coin
    assert _score(table["change magnitude"], alike, masks) == 0.5
    holes = np.where(np.arange(12) < 6, masks, 255)
    left = _score(table["change magnitude"], seen, holes)
    expected = (magnitude[..., :6][masks[..., :6] == 1][:, None] > magnitude[..., :6][masks[..., :6] == 0]).mean()
    assert left == pytest.approx(expected, abs=0.02)


def test_the_background_is_as_stable_as_that_of_the_pairs_it_was_measured_on_and_noise_shows():
    rng = np.random.default_rng(5)
    masks = _halves(20, 16)
    images = rng.normal(size=(20, 2, 2, 16, 16)) * 0.1
    images[:, 1] += masks[:, None] * 3.0
    seen = _seen(images)
    stable = next(s for s in _change_table(seen, masks).values() if isinstance(s, StableBackground))
    assert _score(stable, seen, masks) == pytest.approx(STABLE, abs=0.002)
    restless = images.copy()
    restless[:, 1] += rng.normal(size=restless[:, 1].shape) * 0.2
    assert _score(stable, _seen(restless), masks) < 0.8
    assert np.isnan(_score(stable, seen, np.ones_like(masks)))
    half = np.where(np.arange(16) < 4, masks, 255)  # of the unchanged half only its left is labelled
    there = np.sqrt(np.square(images[:, 1] - images[:, 0]).mean(1))[..., :4] <= stable.limit
    assert _score(stable, seen, half) == pytest.approx(there.mean())


def test_the_table_has_scorers_of_change_for_two_dates_alone():
    names = [s.name for s in scorers(4)]
    assert names == ["network", "class spectra", "boundary contrast"]
    seen = _seen(np.random.default_rng(0).normal(size=(2, 2, 2, 8, 8)), refl=np.full((2, 2, 2, 8, 8), 0.2, np.float32))
    assert set(names) < set(_change_table(seen, _halves(2)))
