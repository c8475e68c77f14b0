import numpy as np
import pytest
from pydantic import ValidationError
from scipy.ndimage import map_coordinates

from specdm.settings.augmentation import StrongAugmentation
from specdm.stages.augmentation import Patch, strong

SHAPE = (24, 32)
ROWS, COLUMNS = np.indices(SHAPE)
OFF = {"zoom": 1, "gain": 0, "offset": 0, "band_dropout": 0, "cutmix": 0, "paste": 0}
MEAN, STD = np.array([0.05, 0.2, 0.4]), np.array([0.02, 0.1, 0.05])
ALL_ON = StrongAugmentation(cutmix=1, paste=1)


def noise(seed, dates=2, bands=3):
    """A patch of noise with labels 0, 1, 2 and 255, and holes in its data that differ between the dates."""
    rng = np.random.default_rng(seed)
    valid = rng.random((dates, *SHAPE)) > 0.1
    images = rng.normal(size=(dates, bands, *SHAPE)).astype(np.float32) * valid[:, None]
    return Patch(images, rng.choice([0, 1, 2, 255], SHAPE).astype(np.int64), valid)


def patch_of(image, mask, valid=None, dates=2, bands=3):
    """A patch with the same image (H,W) in all dates and bands, 0 where it is not valid (H,W)."""
    valid = np.broadcast_to(np.ones(SHAPE, bool) if valid is None else valid, (dates, *SHAPE)).copy()
    images = np.broadcast_to(image, (dates, bands, *SHAPE)).astype(np.float32) * valid[:, None]
    return Patch(images, np.asarray(mask, np.int64), valid)


def ramps(plus=0, label=ROWS):
    """A patch whose band 0 is the row of each pixel and band 1 the column: they tell where a pixel came from."""
    image = np.stack([ROWS, COLUMNS, 0 * ROWS])
    return patch_of(image + plus, label)


def augmented(patch, other, seed, **on):
    return strong(patch, other, np.random.default_rng(seed), MEAN / STD, StrongAugmentation(**OFF | on))


def assert_same(a, b, where=slice(None)):
    for x, y in zip(a, b, strict=True):
        np.testing.assert_array_equal(x[..., where], y[..., where])


def crop(line):
    """Zoom factor, start and end (pixels, from the edge of the first) of the crop that a ramp was resampled by."""
    n, middle = len(line), len(line) // 2
    factor = 1 / (line[middle] - line[middle - 1])
    start = line[middle] + 0.5 - (middle + 0.5) / factor
    return factor, start, start + n / factor


@pytest.mark.parametrize("dates", [1, 2])
def test_with_everything_off_a_patch_stays_as_it_is(dates):
    patch, other = noise(0, dates), noise(1, dates)
    for seed in range(5):
        assert_same(augmented(patch, other, seed), patch)


@pytest.mark.parametrize("dates", [1, 2])
def test_inputs_are_neither_changed_nor_handed_out(dates):
    patch, other = noise(0, dates), noise(1, dates)
    copies = [[x.copy() for x in given] for given in (patch, other)]
    for settings in (ALL_ON, StrongAugmentation(**OFF)):
        for seed in range(5):
            out = strong(patch, other, np.random.default_rng(seed), MEAN / STD, settings)
            for given, copy in zip((patch, other), copies, strict=True):
                assert_same(given, copy)
                assert not any(np.shares_memory(x, y) for x, y in zip(out, given, strict=True))
            assert [x.dtype for x in out] == [np.float32, np.int64, bool]
            assert [x.shape for x in out] == [x.shape for x in patch]


def test_the_same_randomness_gives_the_same_patch():
    patch, other = noise(0), noise(1)
    a, b, c = (strong(patch, other, np.random.default_rng(s), MEAN / STD, ALL_ON) for s in (5, 5, 6))
    assert_same(a, b)
    assert not np.array_equal(a.images, c.images) and not np.array_equal(a.mask, c.mask)


def test_gain_and_offset_act_on_reflectance():
    """x' = g x + o s, g and o of each band and date, fitted to the reflectance before and after."""
    rng = np.random.default_rng(0)
    mean, std = MEAN[:, None, None], STD[:, None, None]
    reflectance = rng.uniform(0.01, 0.6, (2, 3, *SHAPE))
    patch = Patch(((reflectance - mean) / std).astype(np.float32), 0 * ROWS, np.ones((2, *SHAPE), bool))

    def fits(**on):
        for seed in range(100):
            after = augmented(patch, patch, seed, **on).images * std + mean
            for date, band in np.ndindex(2, 3):
                x, y = reflectance[date, band].ravel(), after[date, band].ravel()
                g, add = np.polyfit(x, y, 1)
                np.testing.assert_allclose(y, g * x + add, atol=1e-5)
                yield g, add / STD[band]

    for on in ({"gain": 0.3}, {"offset": 0.2}, {"gain": 0.3, "offset": 0.2}):
        gains, offsets = (np.array(v).reshape(100, 6) for v in zip(*fits(**on), strict=True))
        for values, centre, width in ((gains, 1, on.get("gain")), (offsets, 0, on.get("offset"))):
            if width is None:
                np.testing.assert_allclose(values, centre, atol=1e-4)
                continue
            share = (values - centre) / width  # uniform in -1..1
            assert abs(share).max() < 1.001 and share.min() < -0.97 and share.max() > 0.97
            assert abs(share.mean()) < 0.08 and abs(share.std() - 3**-0.5) < 0.04
            assert abs(np.corrcoef(share.T) - np.eye(6)).max() < 0.4  # none is tied to another
        if len(on) == 2:
            assert abs(np.corrcoef(gains.ravel(), offsets.ravel())[0, 1]) < 0.15


def test_gain_and_offset_are_those_of_the_patch_not_of_the_pixels_origin():
    ones = patch_of(1, 0 * ROWS)
    out = augmented(ones, ones._replace(mask=1 + 0 * ROWS), 0, gain=0.3, offset=0.3, cutmix=1)
    assert len(np.unique(out.mask)) == 2
    assert (out.images == out.images[..., :1, :1]).all() and len(np.unique(out.images)) == 6


def test_zoom_draws_factor_and_place_evenly_and_alike_for_all():
    """Ramps tell the crop: it lies inside the patch, has the patch's shape, and is the same in both dates."""
    found = []
    for seed in range(300):
        out = augmented(ramps(), noise(1), seed, zoom=4)
        np.testing.assert_array_equal(out.images[0], out.images[1])
        np.testing.assert_allclose(np.ptp(out.images[0, 0], axis=1), 0, atol=1e-4)
        np.testing.assert_allclose(np.ptp(out.images[0, 1], axis=0), 0, atol=1e-4)
        (f, top, bottom), (g, left, right) = crop(out.images[0, 0, :, 0]), crop(out.images[0, 1, 0])
        assert f == pytest.approx(g, rel=1e-3) and 0.999 < f < 4.001
        assert min(top, left) > -0.01 and bottom < SHAPE[0] + 0.01 and right < SHAPE[1] + 0.01
        found.append(
            (np.log(f) / np.log(4), *(a / (n - n / f) if f > 1.1 else np.nan for a, n in zip((top, left), SHAPE)))
        )
    found = np.array(found)
    assert len(found[~np.isnan(found).any(axis=1)]) > 250
    for values in found.T:  # all three uniform in 0..1
        np.testing.assert_allclose(
            np.nanquantile(values, [0.01, 0.25, 0.5, 0.75, 0.99]), [0, 0.25, 0.5, 0.75, 1], atol=0.1
        )
    assert abs(np.corrcoef(found[~np.isnan(found).any(axis=1)].T) - np.eye(3)).max() < 0.2


@pytest.mark.parametrize("label", [ROWS, COLUMNS])
def test_zoomed_mask_and_image_are_aligned_to_half_a_pixel(label):
    shifts = []
    for seed in range(100):
        out = augmented(patch_of(label, label), noise(1), seed, zoom=3)
        shift = out.images - out.mask
        assert abs(shift).max() <= 0.5 + 1e-4
        shifts.append(shift[..., 2:-2, 2:-2].mean())
    assert abs(np.mean(shifts)) < 0.04  # neither is ahead of the other


def test_zoomed_classes_have_the_zoomed_image_away_from_their_edges():
    mask = (ROWS // 8 + COLUMNS // 8) % 3
    changed = 0
    for seed in range(20):
        out = augmented(patch_of(mask, mask), noise(1), seed, zoom=2)
        height, width = SHAPE[0] - 4, SHAPE[1] - 4
        around = np.stack([out.mask[i : i + height, j : j + width] for i in range(5) for j in range(5)])
        inner = np.pad((around == around[12]).all(axis=0), 2)  # the same class two pixels around
        assert inner.mean() > 0.1
        np.testing.assert_array_equal(out.images[..., inner], np.broadcast_to(out.mask[inner], (2, 3, inner.sum())))
        changed += (out.mask != mask).any()
    assert changed > 15


def test_zoom_is_bilinear():
    patch = patch_of(0, 0 * ROWS)
    patch.images[:] = np.random.default_rng(0).normal(size=patch.images.shape)
    for seed in range(5):
        where = augmented(ramps(), patch, seed, zoom=2).images[0, :2]
        out = augmented(patch, patch, seed, zoom=2).images
        for date, band in np.ndindex(2, 3):
            expected = map_coordinates(patch.images[date, band], where, order=1, mode="nearest")
            np.testing.assert_allclose(out[date, band], expected, atol=1e-4)


def test_zoomed_validity_is_that_of_the_nearest_pixel_and_no_zero_bleeds_from_pixels_without_data():
    rng = np.random.default_rng(0)
    valid = np.stack([rng.random(SHAPE) > share for share in (0.3, 0.7)])
    for date in (0, 1):
        patch = patch_of(5, valid[date], valid)
        for seed in range(10):
            out = augmented(patch, noise(1), seed, zoom=2)
            np.testing.assert_array_equal(out.mask, out.valid[date])  # the mask was the validity
            for t in (0, 1):
                np.testing.assert_allclose(out.images[t][:, out.valid[t]], 5, rtol=1e-5)
                assert (out.images[t][:, ~out.valid[t]] == 0).all()


def test_values_near_pixels_without_data_are_the_weighted_mean_of_those_with_data():
    """Along columns only: half-way between a valid 8 and a hole is 8, and a hole's other side does not matter."""
    valid = COLUMNS != 15
    patch = patch_of(np.where(COLUMNS < 15, 8, -3), 0 * ROWS, valid)
    for seed in range(10):
        out = augmented(patch, noise(1), seed, zoom=2)
        assert set(np.unique(out.images.round(4))) <= {8, -3, 0}
        assert ((out.images == 0) == ~out.valid[:, None]).all()


@pytest.mark.parametrize("dates", [1, 2])
def test_pixels_without_data_stay_empty_through_everything(dates):
    for seed in range(30):
        out = strong(noise(seed, dates), noise(99, dates), np.random.default_rng(seed), MEAN / STD, ALL_ON)
        for image, valid in zip(out.images, out.valid, strict=True):
            assert (image[:, ~valid] == 0).all()
            assert 0.02 < (~valid).mean() < 0.3


@pytest.mark.parametrize("dates", [1, 2])
def test_cutmix_takes_a_rectangle_of_everything_from_the_same_place(dates):
    patch, other = noise(0, dates), noise(1, dates)
    patch.mask[:], other.mask[:] = 0, 1000 + ROWS * SHAPE[1] + COLUMNS
    areas, aspects, places = [], [], []
    for seed in range(400):
        out = augmented(patch, other, seed, cutmix=1)
        taken = out.mask >= 1000
        rows, columns = np.flatnonzero(taken.any(axis=1)), np.flatnonzero(taken.any(axis=0))
        assert taken.sum() == len(rows) * len(columns) and np.ptp(rows) + 1 == len(rows)
        assert np.ptp(columns) + 1 == len(columns)
        assert_same(out, other, taken)
        assert_same(out, patch, ~taken)
        areas.append(taken.mean())
        aspects.append(np.log2(len(rows) / SHAPE[0] * SHAPE[1] / len(columns)))
        places.append([rows[0] == 0, columns[0] == 0, rows[-1] == SHAPE[0] - 1, columns[-1] == SHAPE[1] - 1])
    quantiles = np.quantile(areas, [0, 0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(quantiles, [0.1, 0.2, 0.3, 0.4, 0.5], atol=0.035)
    quantiles = np.quantile(aspects, [0, 0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(quantiles, [-1, -0.5, 0, 0.5, 1], atol=0.2)
    share = np.mean(places, axis=0)  # each edge of the patch is reached, none is favoured
    assert share.min() > 0.03 and abs(share[:2] - share[2:]).max() < 0.08


def test_paste_takes_whole_objects_with_both_dates_and_nothing_else():
    patch, other = noise(0), noise(1)
    patch.mask[patch.mask == 1] = 0
    other.mask[other.mask == 1] = 0
    patch.mask[2:12, 1:9] = 255  # an object covers pixels without label, too
    objects = np.zeros((4, *SHAPE), bool)
    objects[0, 3:9, 2:7] = True
    objects[1, [14, 15, 16], [4, 5, 4]] = True  # connected by corners
    objects[2, 10:14, 20:] = True
    objects[3, -1, :10] = True
    other.mask[objects.any(axis=0)] = 1
    taken = np.zeros((400, 4), bool)
    for seed in range(400):
        out = augmented(patch, other, seed, paste=1)
        pasted = out.mask == 1
        for k, place in enumerate(objects):
            assert pasted[place].all() or not pasted[place].any()
            taken[seed, k] = pasted[place].all()
        assert_same(out, other, pasted)
        assert_same(out, patch, ~pasted)
    assert taken.any(axis=1).all() and taken.all(axis=1).any()
    np.testing.assert_allclose(taken.mean(axis=0), 1 / 2 + 1 / 2**4 / 4, atol=0.08)
    assert abs(np.corrcoef(taken.T) - np.eye(4)).max() < 0.25


def test_a_single_object_is_always_pasted_and_none_leaves_the_patch_alone():
    patch, other = noise(0), noise(1)
    for seed in range(20):
        other.mask[:] = (ROWS > 5) & (COLUMNS < 9)
        taken = other.mask == 1
        out = augmented(patch, other, seed, paste=1)
        assert_same(out, other, taken)
        assert_same(out, patch, ~taken)
        other.mask[:] = np.where(taken, 255, 2)
        assert_same(augmented(patch, other, seed, paste=1), patch)


def test_of_two_objects_each_is_as_likely():
    label = np.where(ROWS < 4, 1, 0) + np.where(ROWS >= 20, 1, 0)
    masks = [augmented(patch_of(0, 0 * ROWS), patch_of(0, label), seed, paste=1).mask for seed in range(400)]
    first, last = np.mean(masks, axis=0)[[0, -1], 0]  # 1/2, and half of the 1/4 that would be none
    assert abs(first - 0.625) < 0.07 and abs(last - 0.625) < 0.07


def test_nothing_is_pasted_into_a_single_date():
    patch, other = noise(0, dates=1), noise(1, dates=1)
    for seed in range(20):
        assert_same(augmented(patch, other, seed, paste=1), patch)


@pytest.mark.parametrize("how", ["cutmix", "paste"])
def test_the_other_patch_is_zoomed_by_a_draw_of_its_own(how):
    """Its image and mask stay together, and its pixels their place: ramps tell which crop each pixel is of."""
    label = np.where((ROWS > 2) & (COLUMNS > 2), 1, 200) if how == "paste" else 100 + ROWS
    factors = []
    for seed in range(200):
        out = augmented(ramps(label=0 * ROWS), ramps(1000, label), seed, zoom=2, **{how: 1})
        own, image = out.mask == 0, out.images[0]
        assert ((image[0] < 500) == own).all() and (how == "paste" or own.any()) and not own.all()
        if how == "cutmix":
            assert (abs(image[0] - 1000 - (out.mask - 100))[~own] <= 0.5 + 1e-3).all()
        else:
            assert (image[:2, ~own] > 1002).all()  # cut where its mask is, half a pixel before 3
        pair = []
        for inside in (own, ~own):
            # Neighbouring columns of the same origin differ by 1 / factor, but for the patch's rim.
            both = inside[:, :-1] & inside[:, 1:]
            steps = np.diff(image[1], axis=1)[both]
            pair.append(1 / np.median(steps) if len(steps) else np.nan)
        factors.append(pair)
    factors = np.array(factors)
    factors = factors[~np.isnan(factors).any(axis=1)]
    assert len(factors) > 50 and ((factors > 0.999) & (factors < 2.01)).all()
    assert abs(np.corrcoef(factors.T)[0, 1]) < 0.3
    assert (factors.std(axis=0) > 0.15).all()


def test_dropped_bands_are_the_mean_in_all_dates_and_never_all():
    patch, other = noise(0, bands=4), noise(1, bands=4)
    ratio = np.full(4, 3.0)
    for on, share in (({"band_dropout": 0.4}, 0.4 - 0.4**4 / 4), ({"band_dropout": 1}, 0.75)):
        gone = np.zeros((400, 4), bool)
        for seed in range(400):
            settings = StrongAugmentation(**OFF | on)
            out = strong(patch, other, np.random.default_rng(seed), ratio, settings)
            empty = (out.images == 0).all(axis=(2, 3))
            np.testing.assert_array_equal(empty[0], empty[1])
            gone[seed] = empty[0]
            assert_same((out.images[:, ~gone[seed]], *out[1:]), (patch.images[:, ~gone[seed]], *patch[1:]))
        assert not gone.all(axis=1).any()
        np.testing.assert_allclose(gone.mean(axis=0), share, atol=0.08)
        assert np.corrcoef(gone.T)[0, 1] < 0.2  # not all or none
    assert (gone.sum(axis=1) == 3).all()


def test_a_dropped_band_is_dropped_in_pasted_pixels_and_has_no_offset():
    patch, other = noise(0), noise(1)
    for seed in range(20):
        out = augmented(patch, other, seed, band_dropout=1, gain=0.3, offset=0.3, cutmix=1, paste=1, zoom=1.5)
        assert ((out.images == 0).all(axis=(2, 3)).sum(axis=1) == 2).all()


def test_a_patch_of_one_band_keeps_it():
    patch = noise(0, bands=1)
    for seed in range(20):
        out = strong(
            patch, patch, np.random.default_rng(seed), np.ones(1), StrongAugmentation(**OFF | {"band_dropout": 1})
        )
        assert_same(out, patch)


@pytest.mark.parametrize(("how", "probability"), [("cutmix", 0.3), ("paste", 0.5), ("cutmix", 0.8), ("paste", 0.1)])
def test_another_patch_takes_part_as_often_as_asked(how, probability):
    patch, other = patch_of(0, 0 * ROWS), patch_of(1, 1 + 0 * ROWS)
    mixed = [augmented(patch, other, seed, **{how: probability}).mask.any() for seed in range(600)]
    assert abs(np.mean(mixed) - probability) < 0.07


def test_cutmix_and_paste_are_drawn_independently():
    """With both, a patch has objects alone, a rectangle alone, both or none, as often as the probabilities say."""
    spot = (ROWS == 0) & (COLUMNS == 0)
    patch, other = patch_of(0, 0 * ROWS), patch_of(1, np.where(spot, 1, 2))
    masks = [augmented(patch, other, seed, cutmix=0.4, paste=0.4).mask for seed in range(600)]
    rectangle, alone = np.array([[(m == 2).any(), m.sum() == 1] for m in masks]).T
    assert abs(rectangle.mean() - 0.4) < 0.06 and abs(alone.mean() - 0.4 * 0.6) < 0.06
    for seed in range(20):
        mask = augmented(patch, other, seed, cutmix=1, paste=1).mask
        assert mask[0, 0] == 1 and (mask == 2).any()


@pytest.mark.parametrize("wrong", [{"zoom": 0.9}, {"gain": -0.1}, {"gain": 1}, {"cutmix": 1.1}, {"band_dropout": -1}])
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        StrongAugmentation(**wrong)
