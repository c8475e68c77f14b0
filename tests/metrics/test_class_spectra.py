from __future__ import annotations

import numpy as np
import pytest

from specdm.errors import UserError
from specdm.metrics.class_spectra import PatchSpectra, msad_floor, msad_interval, profile
from specdm.metrics.groups import bootstrap_weights, halves

RNG = np.random.default_rng(0)


def _set(n, seed, spectra=((0.1, 0.2, 0.4), (0.4, 0.2, 0.1)), noise=0.02, dates=1, gain=0.0):
    """Patches of 6 x 6 pixels of two classes; each has a gain, and a tilt of its spectra of that size."""
    rng = np.random.default_rng(seed)
    masks = rng.integers(0, len(spectra), (n, 6, 6)).astype(np.uint8)
    images = np.moveaxis(np.asarray(spectra)[masks], -1, 1)[:, None].repeat(dates, 1)
    tilt = 1 + gain * rng.standard_normal((n, 1, images.shape[2], 1, 1))
    return images * tilt + rng.normal(0, noise, images.shape), masks


def test_patch_sums_by_hand_and_streamed():
    refl, masks = _set(5, 0, dates=2)
    masks[0, 0, 0] = 255
    valid = RNG.random((5, 2, 6, 6)) < 0.8
    whole = PatchSpectra.of(refl, masks, 3, valid=valid)
    for n, k in np.ndindex(5, 3):
        pixels = [refl[n, t, :, r, c] for t, r, c in np.ndindex(2, 6, 6) if masks[n, r, c] == k and valid[n, t, r, c]]
        assert whole.counts[n, k] == len(pixels)
        np.testing.assert_allclose(whole.sums[n, k], np.sum(pixels, 0) if pixels else np.zeros(3))
    parts = PatchSpectra.joined(PatchSpectra.of(refl[p], masks[p], 3, valid=valid[p]) for p in ([0, 1], [2, 3, 4]))
    np.testing.assert_array_equal(parts.sums, whole.sums)
    np.testing.assert_array_equal(parts.counts, whole.counts)
    np.testing.assert_array_equal(whole[np.array([3])].sums, whole.sums[3:4])


def test_a_labelled_pixel_without_a_number_is_refused_and_an_ignored_one_is_not():
    refl, masks = _set(2, 0)
    refl[1, 0, 2, 3, 3] = np.nan
    with pytest.raises(UserError, match="finite"):
        PatchSpectra.of(refl, masks, 2)
    masks[1, 3, 3] = 255
    assert np.isfinite(PatchSpectra.of(refl, masks, 2).sums).all()


def _angles_rad(one, other):
    """Angle between the class means of two sets (refl, masks) by the cosine, for classes 0 and 1."""
    found = []
    for k in (0, 1):
        u, v = (np.moveaxis(refl[:, 0], 1, -1)[masks == k].mean(0) for refl, masks in (one, other))
        found.append(np.arccos(u @ v / np.linalg.norm(u) / np.linalg.norm(v)))
    return found


def test_the_angles_are_those_between_class_means():
    one, other = (_set(8, seed, noise=0.1) for seed in (1, 2))
    found = msad_interval(PatchSpectra.of(*one, 3), PatchSpectra.of(*other, 3), min_pixels=10)
    np.testing.assert_allclose(found.sad_rad, _angles_rad(one, other), rtol=1e-6)
    assert found.msad_rad == pytest.approx(np.mean(_angles_rad(one, other)))
    assert (found.classes, found.excluded) == ((0, 1), (2,))


def test_the_interval_is_that_of_drawing_groups_one_by_one():
    """An independent bootstrap: patches are copied and averaged in each draw."""
    (refl_a, masks_a), (refl_b, masks_b) = _set(9, 1, gain=0.1), _set(8, 2, gain=0.1)
    groups = np.array(list("aabbbcccc"))
    a, b = PatchSpectra.of(refl_a, masks_a, 2), PatchSpectra.of(refl_b, masks_b, 2)
    found = msad_interval(a, b, groups, None, min_pixels=1, n_bootstrap=200, seed=4)
    draws = []
    for wa, wb in zip(bootstrap_weights(9, groups, 200, 4, 0), bootstrap_weights(8, None, 200, 4, 1), strict=True):
        angles = []
        for k in range(2):
            means = []
            for refl, masks, weights in ((refl_a, masks_a, wa), (refl_b, masks_b, wb)):
                taken = np.repeat(np.arange(len(masks)), weights.astype(int))
                means.append(np.moveaxis(refl[taken, 0], 1, -1)[masks[taken] == k].mean(0))
            angles.append(np.arccos(means[0] @ means[1] / np.linalg.norm(means[0]) / np.linalg.norm(means[1])))
        draws.append(angles)
    low, high = np.quantile(draws, [0.025, 0.975], axis=0)
    np.testing.assert_allclose(found.sad_low_rad, low, rtol=1e-6)
    np.testing.assert_allclose(found.sad_high_rad, high, rtol=1e-6)
    np.testing.assert_allclose(
        (found.msad_low_rad, found.msad_high_rad), np.quantile(np.mean(draws, 1), [0.025, 0.975]), rtol=1e-6
    )
    assert found.units.tolist() == [3, 3]


def test_most_intervals_hold_the_true_angle_and_more_patches_narrow_them():
    other = ((0.15, 0.2, 0.35), (0.4, 0.2, 0.2))
    true = np.mean(
        [
            np.arccos(np.dot(u, v) / np.linalg.norm(u) / np.linalg.norm(v))
            for u, v in zip(other, ((0.1, 0.2, 0.4), (0.4, 0.2, 0.1)), strict=True)
        ]
    )
    widths = []
    for n in (25, 100):
        found = [
            msad_interval(
                PatchSpectra.of(*_set(n, 2 * s, other, gain=0.1), 2),
                PatchSpectra.of(*_set(n, 2 * s + 1), 2),
                n_bootstrap=200,
                seed=s,
            )
            for s in range(60)
        ]
        held = np.mean([f.msad_low_rad <= true <= f.msad_high_rad for f in found])
        assert 0.85 <= held < 1  # of 95 %, and 60 trials
        widths.append(np.mean([f.msad_high_rad - f.msad_low_rad for f in found]))
    assert widths[1] == pytest.approx(widths[0] / 2, rel=0.15)


def test_gain_and_order_of_patches_change_nothing():
    refl, masks = _set(12, 1, gain=0.1)
    a, b = PatchSpectra.of(refl, masks, 2), PatchSpectra.of(*_set(12, 2), 2)
    plain = msad_interval(a, b)
    assert msad_interval(PatchSpectra.of(3 * refl, masks, 2), b).msad_rad == pytest.approx(plain.msad_rad)
    assert msad_interval(a[np.arange(12)[::-1]], b).msad_rad == pytest.approx(plain.msad_rad)
    assert msad_interval(a, a).msad_rad == pytest.approx(0, abs=1e-7)


def test_the_floor_is_the_msad_of_halves_without_a_common_group():
    refl, masks = _set(20, 1, gain=0.1)
    spectra, groups = PatchSpectra.of(refl, masks, 3), np.repeat(list("abcd"), 5)
    first = halves(20, groups, 3)
    floor = msad_floor(spectra, groups, seed=3)
    expected = _angles_rad(*((refl[part], masks[part]) for part in (first, ~first)))
    assert floor.msad_rad == pytest.approx(np.mean(expected)) and floor.excluded == (2,)
    apart = np.repeat([1.0, 2.0], 10)  # unlike groups, not unlike patches, are what the floor measures
    unlike = PatchSpectra.of(refl * np.stack([np.ones(20), apart, np.ones(20)], 1)[:, None, :, None, None], masks, 2)
    assert msad_floor(unlike, apart).msad_rad > 5 * msad_floor(unlike).msad_rad


def test_what_cannot_be_compared_is_said():
    a, b = (PatchSpectra.of(*_set(3, s), 2) for s in (1, 2))
    with pytest.raises(UserError, match="no class has 1000 pixels"):
        msad_interval(a, b, min_pixels=1000)
    with pytest.raises(UserError, match="bands"):
        msad_interval(a, PatchSpectra(np.ones((3, 2, 4)), b.counts))
    with pytest.raises(UserError, match="class 1 is 0 in every band"):
        msad_interval(a, PatchSpectra(b.sums * [[[1.0], [0.0]]], b.counts), min_pixels=1)
    with pytest.raises(UserError, match="1 patches"):
        msad_interval(a[np.array([0])], b, min_pixels=1)
    with pytest.raises(UserError, match="2 groups for 3 patches"):
        msad_interval(a, b, groups_a=["x", "y"], min_pixels=1)


def test_draws_without_a_class_do_not_count():
    """Class 1 stands in one of two groups: a quarter of the draws lacks it."""
    refl, masks = _set(8, 1, gain=0.1)
    masks[:4] = 0
    spectra, other = PatchSpectra.of(refl, masks, 2), PatchSpectra.of(*_set(8, 2), 2)
    found = msad_interval(spectra, other, list("aaaabbbb"), min_pixels=1)
    assert np.isfinite([*found.sad_low_rad, *found.sad_high_rad, found.msad_low_rad, found.msad_high_rad]).all()
    assert found.units.tolist() == [2, 1]


def test_a_profile_is_the_mean_of_pixels_and_the_spread_of_patches():
    refl, masks = _set(30, 1, gain=0.2)
    masks[0], masks[0, 0, :3] = 0, 1  # too few pixels to count in the spread
    found = profile(PatchSpectra.of(refl, masks, 2), 1)
    np.testing.assert_allclose(found.mean, np.moveaxis(refl[:, 0], 1, -1)[masks == 1].mean(0))
    means = [np.moveaxis(x[0], 0, -1)[m == 1].mean(0) for x, m in zip(refl, masks, strict=True) if (m == 1).sum() >= 10]
    assert found.n == len(means) < 30
    np.testing.assert_allclose((found.low, found.high), np.percentile(means, (10, 90), axis=0))
    with pytest.raises(UserError, match="no patch holds"):
        profile(PatchSpectra.of(refl, masks, 3), 2)
