import numpy as np
import pytest

from specdm.metrics.label_errors import labelled_cells, lowest_cells, smoothed
from specdm.metrics.planted_errors import added_object, dropped_object, objects, shifted_mask


def _bits(seed=0, n=3, side=6):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, side, side)).astype(np.float32), rng.random((n, side, side)) < 0.7


def test_smoothing_is_the_mean_of_the_judged_cells_around():
    bits, judged = _bits()
    found = smoothed(bits, judged, 3)
    for n, y, x in np.ndindex(bits.shape):
        window = np.s_[n, max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2]
        if judged[n, y, x]:
            assert found[n, y, x] == pytest.approx(bits[window][judged[window]].mean(), abs=1e-5)
        else:
            assert np.isnan(found[n, y, x])


def test_the_lowest_cell_and_its_place_leave_out_what_is_not_judged():
    bits, judged = np.zeros((2, 4, 5), np.float32), np.ones((2, 4, 5), bool)
    bits[0, 2, 3], bits[0, 1, 1] = -5, -9
    judged[0, 1, 1], judged[1] = False, False
    lowest, places = lowest_cells(smoothed(bits, judged, 1))
    assert lowest[0] == -5 and places[0].tolist() == [2, 3] and np.isnan(lowest[1])


def test_a_cell_is_judged_with_half_of_its_pixels_labelled():
    labelled = np.ones((1, 4, 6), bool)
    labelled[0, :2, 0] = False
    labelled[0, 2:, 2:4] = [[False, False], [False, True]]
    assert labelled_cells(labelled, 2).tolist() == [[[True, True, True], [True, False, True]]]


def _mask():
    mask = np.zeros((20, 24), np.uint8)
    mask[2:8, 3:9], mask[12:18, 12:20] = 1, 2
    mask[10, 10], mask[0] = 1, 255  # one pixel is no object
    return mask


def test_objects_are_regions_of_all_classes_but_the_commonest():
    assert [int(region.sum()) for region in objects(_mask())] == [36, 48]
    assert objects(np.zeros((9, 9), np.uint8)) == [] == objects(np.full((9, 9), 255, np.uint8))


def test_planted_errors_say_where_they_are():
    mask, donor = _mask(), np.zeros((20, 24), np.uint8)
    donor[0:9, 0:6] = 3
    for seed in range(6):
        rng = np.random.default_rng(seed)
        dropped, added = dropped_object(mask, rng), added_object(mask, donor, rng)
        assert dropped.wrong.sum() in (36, 48) and (dropped.mask[dropped.wrong] == 0).all()
        assert added.wrong.sum() == 8 * 6 and (added.mask[added.wrong] == 3).all()
        shifted = shifted_mask(mask, 3, rng)
        for planted in (dropped, added, shifted):
            assert ((planted.mask != mask) == planted.wrong).all()
            assert (planted.mask[0] == 255).all()
        moves = [np.roll(mask, by, axis) for by, axis in ((3, 0), (-3, 0), (3, 1), (-3, 1))]
        inside = np.s_[4:-4, 4:-4]
        assert sum((shifted.mask[inside] == moved[inside]).all() for moved in moves) == 1


def test_what_cannot_be_planted_is_none():
    flat, rng = np.zeros((9, 9), np.uint8), np.random.default_rng(0)
    assert dropped_object(flat, rng) is None and added_object(flat, flat, rng) is None
    assert shifted_mask(flat, 3, rng) is None
