import itertools

import numpy as np
import pytest
import torch

from specdm.errors import UserError
from specdm.nn import matching
from specdm.nn.matching import (
    WindowGrid,
    coarse_scores,
    fit,
    nearest,
    principal_axes,
    projected,
    restored,
    variances,
    variant,
    variants,
)


def _land(n, dates=1, planes=3, side=32, seed=0):
    """Smooth random fields with fine texture, (n,T,P,H,W): large forms dominate as in images of land."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)) + 1 / side
    white = np.fft.rfft2(rng.normal(size=(n, dates, planes, side, side)))
    return torch.from_numpy(np.fft.irfft2(white / frequency**1.2, s=(side, side)).astype(np.float32))


def _correlation(a, b):
    """NCC of two windows (T,P,w,w), the mean of each plane removed, one norm: written out with NumPy."""
    a, b = (x.double().numpy() - x.double().numpy().mean((-2, -1), keepdims=True) for x in (a, b))
    return (a * b).sum() / np.sqrt((a**2).sum() * (b**2).sum())


def _planted(references, numbers, k, shift, size):
    """Queries whose window is cut from references at `shift` from the middle and turned such that variant k fits."""
    moved = torch.roll(references[numbers], (-shift[0], -shift[1]), (-2, -1))
    return restored(moved, k) * 1.7 + 0.4


@pytest.mark.parametrize("side", [32, 40, 64, 100, 128, 256])
def test_windows_lie_in_the_middle(side):
    grid = WindowGrid.of(side, 0.5)
    assert 2 * grid.margin_px + grid.window_px == grid.used_px <= side
    assert grid.window_px == pytest.approx(side / 2, rel=0.2)
    assert 16 <= grid.coarse_px < 32


@pytest.mark.parametrize("share", [0.1, 0.97])
def test_windows_that_tell_nothing_are_refused(share):
    with pytest.raises(UserError, match="window_share"):
        WindowGrid.of(32, share)


@pytest.mark.parametrize("dates", [1, 2])
def test_every_variant_is_another_and_can_be_undone(dates):
    x = _land(2, dates, side=8)
    every = variants(x)
    assert every.shape == (2, 8 * dates, *x.shape[1:])
    for a, b in itertools.combinations(range(8 * dates), 2):
        assert not torch.equal(every[:, a], every[:, b])
    for k in range(8 * dates):
        assert torch.equal(every[:, k], variant(x, k))
        assert torch.equal(restored(variant(x, k), k), x)


def test_swapped_variants_exchange_the_dates_alone():
    x = _land(1, 2, side=8)
    assert torch.equal(variant(x, 8), x.flip(1))


def test_coarse_scores_are_the_largest_of_all_views_and_places(monkeypatch):
    grid = WindowGrid.of(16, 0.5)
    queries, references = _land(2, 2, side=16, seed=1), _land(5, 2, side=16, seed=2)
    expected = np.full((2, 5), -2.0)
    for q, r in itertools.product(range(2), range(5)):
        for k, y, x in itertools.product(range(16), range(9), range(9)):
            window = variant(grid.centre(queries[q]), k)
            expected[q, r] = max(expected[q, r], _correlation(window, references[r, ..., y : y + 8, x : x + 8]))
    np.testing.assert_allclose(coarse_scores(queries, references, grid), expected, atol=1e-5)
    monkeypatch.setattr(matching, "_BLOCK", 1)  # one reference a block
    np.testing.assert_allclose(coarse_scores(queries, references, grid), expected, atol=1e-5)


def test_a_fit_is_the_best_of_all_shifts_around_the_best_coarse_place():
    grid = WindowGrid.of(48, 0.5)
    queries, references = _land(3, 2, side=48, seed=3), _land(3, 2, side=48, seed=4) + 5
    found, w, f, c = fit(queries, references, grid), grid.window_px, grid.factor, grid.window
    small, middle = grid.small(references), (grid.coarse_px - grid.window) // 2
    for i in range(3):
        centre = grid.small(queries)[i, ..., middle : middle + c, middle : middle + c]
        _, k, y, x = max(
            (_correlation(variant(centre, k), small[i, ..., y : y + c, x : x + c]), k, y, x)
            for k, y, x in itertools.product(range(16), *[range(grid.coarse_px - c + 1)] * 2)
        )
        window = variant(grid.centre(queries[i]), k)
        starts = [[p for p in range(f * at - f, f * at + f + 1) if 0 <= p <= 48 - w] for at in (y, x)]
        best = {
            (row, col): _correlation(window, references[i, ..., row : row + w, col : col + w])
            for row, col in itertools.product(*starts)
        }
        here = int(found.row[i]), int(found.col[i])
        assert int(found.variant[i]) == k
        assert float(found.distance[i]) == pytest.approx(1 - max(best.values()), abs=1e-7)
        assert float(found.distance[i]) == pytest.approx(1 - best[here], abs=1e-7)


@pytest.mark.parametrize("dates", [1, 2])
@pytest.mark.parametrize(("side", "shift"), [(32, (5, -7)), (128, (4, -12))])  # 4 and 12 px: half way between places
def test_copies_are_found_turned_shifted_and_brightened(dates, side, shift):
    grid = WindowGrid.of(side, 0.5)
    references, numbers = _land(24, dates, side=side), torch.arange(8 * dates)
    queries = torch.cat([_planted(references, numbers[k : k + 1], k, shift, side) for k in range(8 * dates)])
    scores = coarse_scores(grid.small(queries), grid.small(references), grid)
    which, found = nearest(lambda i: queries[i], lambda i: references[i], scores, grid, 4)
    assert torch.equal(which, numbers)
    assert float(found.distance.max()) < 1e-6
    assert found.variant.tolist() == numbers.tolist()
    assert set(zip((found.row - grid.margin_px).tolist(), (found.col - grid.margin_px).tolist(), strict=True)) == {
        shift
    }


def test_barred_references_are_never_taken():
    grid = WindowGrid.of(32, 0.5)
    x = _land(6)
    scores = coarse_scores(grid.small(x), grid.small(x), grid).masked_fill(torch.eye(6, dtype=bool), -2)
    which, found = nearest(lambda i: x[i], lambda i: x[i], scores, grid, 6)
    assert not (which == torch.arange(6)).any()
    assert float(found.distance.min()) > 0.05


def test_more_candidates_find_nothing_farther():
    grid = WindowGrid.of(32, 0.5)
    queries, x = _land(12, seed=5), _land(40, seed=6)
    scores = coarse_scores(grid.small(queries), grid.small(x), grid)
    few, many = (nearest(lambda i: queries[i], lambda i: x[i], scores, grid, k)[1].distance for k in (1, 12))
    assert bool((many <= few).all()) and bool((many < few).any())


def test_windows_without_contrast_resemble_nothing():
    grid = WindowGrid.of(32, 0.5)
    flat, land = torch.full((2, 1, 3, 32, 32), 1234.5), _land(2)
    assert bool((variances(grid.centre(flat)) == 0).all())
    for a, b in ((flat, land), (land, flat), (flat, flat)):
        assert bool((coarse_scores(grid.small(a), grid.small(b), grid) == 0).all())
        assert fit(a, b, grid).distance.tolist() == [1, 1]


def test_the_variance_of_one_hot_planes_is_the_chance_that_two_pixels_differ():
    ids = torch.from_numpy(np.random.default_rng(0).choice(3, (1, 8, 8), p=[0.7, 0.2, 0.1]))
    hot = torch.nn.functional.one_hot(ids, 3).movedim(-1, 1).float()[:, None]
    share = np.bincount(ids.numpy().ravel()) / 64
    assert float(variances(hot)[0, 0]) == pytest.approx(1 - (share**2).sum())


def test_all_components_keep_every_distance_and_the_first_keep_most_variance():
    x = _land(4, 2, planes=5, seed=7)
    x[:, :, 3:] = 0.02 * x[:, :, 3:] + x[:, :, :2]  # two bands that tell nothing new
    axes = principal_axes(x, 9)
    assert axes.shape == (5, 5)
    grid = WindowGrid.of(32, 0.5)
    all_bands, rotated = (fit(y[:2], y[2:], grid).distance for y in (x, projected(x, axes)))
    np.testing.assert_allclose(all_bands, rotated, atol=1e-5)
    kept = variances(projected(x, principal_axes(x, 3))).sum() / variances(x).sum()
    assert 0.995 < float(kept) < 1
