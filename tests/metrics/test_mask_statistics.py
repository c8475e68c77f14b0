from __future__ import annotations

from collections import deque

import numpy as np
import pytest
from scipy.stats import wasserstein_distance

from specdm.errors import UserError
from specdm.metrics.mask_statistics import (
    MaskStatistics,
    area_number_distance,
    area_size_distance,
    boundary_distance_px,
    class_shares,
    presence_difference,
    share_distances,
)


def _masks(n, seed, side=12, classes=3, holes=True):
    """Blocks of 2 x 2 pixels of random classes, some without a label."""
    rng = np.random.default_rng(seed)
    masks = rng.choice(classes, (n, side // 2, side // 2), p=[0.6, 0.3, 0.1]).astype(np.uint8)
    masks = masks.repeat(2, 1).repeat(2, 2)
    if holes:
        masks[rng.random(masks.shape) < 0.05] = 255
    return masks


def _flooded(mask):
    """Sizes and classes of areas by flooding, an implementation of its own."""
    seen, found = set(), []
    for start in np.ndindex(mask.shape):
        if start in seen or mask[start] == 255:
            continue
        queue, size = deque([start]), 0
        seen.add(start)
        while queue:
            r, c = queue.popleft()
            size += 1
            for at in ((r + 1, c), (r - 1, c), (r, c + 1), (r, c - 1)):
                inside = 0 <= at[0] < mask.shape[0] and 0 <= at[1] < mask.shape[1]
                if inside and at not in seen and mask[at] == mask[start]:
                    seen.add(at)
                    queue.append(at)
        found.append((int(mask[start]), size))
    return found


def test_areas_pixels_and_boundaries_by_flooding_and_counting():
    masks = _masks(6, 0)
    found = MaskStatistics.of(masks, 4)
    for n, mask in enumerate(masks):
        own = found.area_patch == n
        ours = sorted(zip(found.area_class[own].tolist(), found.area_px[own].tolist(), strict=True))
        assert ours == sorted(_flooded(mask))
        assert found.pixels[n].tolist() == [(mask == k).sum() for k in range(4)]
        assert found.areas[n].tolist() == [sum(k == c for c, _ in ours) for k in range(4)]
        sides = 0
        for (r, c), k in np.ndenumerate(mask):
            for other in (mask[r + 1, c] if r + 1 < 12 else 255, mask[r, c + 1] if c + 1 < 12 else 255):
                sides += 255 not in (k, other) and k != other
        assert found.boundary_px[n] == sides
    assert found.areas[:, 3].sum() == 0


def test_corners_do_not_join_and_patches_neither():
    mask = np.eye(4, dtype=np.uint8)
    found = MaskStatistics.of(np.stack([mask, mask]), 2)
    assert found.areas.tolist() == [[2, 4], [2, 4]]
    assert found.boundary_px.tolist() == [12, 12]


def test_pieces_joined_and_chosen_are_those_of_the_whole():
    masks = _masks(9, 1)
    whole = MaskStatistics.of(masks, 3)
    joined = MaskStatistics.joined(MaskStatistics.of(masks[p], 3) for p in (slice(0, 2), slice(2, 3), slice(3, 9)))
    chosen = np.arange(9) % 2 == 1

    def plain(s):
        return [
            s.pixels.tolist(),
            s.areas.tolist(),
            s.boundary_px.tolist(),
            sorted(zip(s.area_patch.tolist(), s.area_class.tolist(), s.area_px.tolist(), strict=True)),
        ]

    assert plain(joined) == plain(whole) and len(joined) == 9
    assert plain(joined[chosen]) == plain(MaskStatistics.of(masks[chosen], 3))


def test_shares_by_hand():
    a = MaskStatistics.of(np.array([[[0, 0], [0, 1]]]), 3)
    b = MaskStatistics.of(np.array([[[0, 1], [1, 255]], [[0, 255], [255, 255]]]), 3)
    found = share_distances(a, b)
    p, q = np.array([0.75, 0.25]), np.array([0.5, 0.5])
    assert found.total_variation == pytest.approx(0.25)
    mixed = (p + q) / 2
    bits = (p * np.log2(p / mixed)).sum() / 2 + (q * np.log2(q / mixed)).sum() / 2
    assert found.jensen_shannon == pytest.approx(np.sqrt(bits))
    assert share_distances(a, a).jensen_shannon == pytest.approx(0, abs=1e-9)
    apart = share_distances(*(MaskStatistics.of(np.full((1, 2, 2), k), 3) for k in (0, 2)))
    assert (apart.total_variation, apart.jensen_shannon) == pytest.approx((1, 1))


def test_presence_is_of_patches_and_names_classes_that_stand_nowhere():
    a = np.zeros((4, 3, 3), np.uint8)
    b = a.copy()
    a[0, 0, 0] = 2
    b[:3, 0, 0] = 2
    found = presence_difference(*(MaskStatistics.of(m, 4) for m in (a, b)))
    assert (found.classes, found.excluded) == ((0, 2), (1, 3))
    assert found.values.tolist() == [0, 0.5] and found.mean == 0.25


def test_areas_twice_as_wide_are_two_powers_of_two_larger():
    small = np.zeros((30, 16, 16), np.uint8)
    small[:, 4:6, 4:6] = 1
    large = np.zeros((25, 16, 16), np.uint8)
    large[:, 4:8, 4:8] = 1
    found = area_size_distance(*(MaskStatistics.of(m, 3) for m in (small, large)))
    assert found.values[1] == pytest.approx(2) and found.values[0] == pytest.approx(np.log2(252 / 240))
    assert found.mean == pytest.approx(found.values.mean()) and found.excluded == (2,)


def test_sizes_and_numbers_are_distances_of_whole_distributions():
    a, b = _masks(40, 2, holes=False), _masks(30, 3, side=16, holes=False)
    sizes = {}
    for name, masks in (("a", a), ("b", b)):
        sizes[name] = [[(n, s) for n, m in enumerate(masks) for c, s in _flooded(m) if c == k] for k in range(3)]
    x, y = MaskStatistics.of(a, 3), MaskStatistics.of(b, 3)
    for k in range(3):
        logs = [np.log2([s for _, s in sizes[name][k]]) for name in "ab"]
        assert area_size_distance(x, y).values[k] == pytest.approx(wasserstein_distance(*logs))
        numbers = [np.bincount([n for n, _ in sizes[m][k]], minlength=size) for m, size in (("a", 40), ("b", 30))]
        assert area_number_distance(x, y).values[k] == pytest.approx(wasserstein_distance(*numbers))


def test_frayed_masks_have_more_boundary_more_and_smaller_areas():
    smooth, rng = _masks(30, 4, holes=False), np.random.default_rng(0)
    scores = []
    for share in (0.0, 0.03, 0.15):
        frayed = np.where(rng.random(smooth.shape) < share, 1, smooth).astype(np.uint8)
        pair = MaskStatistics.of(frayed, 3), MaskStatistics.of(smooth, 3)
        scores.append((area_size_distance(*pair).mean, area_number_distance(*pair).mean, boundary_distance_px(*pair)))
    assert scores[0] == (0, 0, 0)
    assert (np.diff(np.array(scores), axis=0) > 0).all()


def test_a_pixel_without_a_label_has_no_boundary():
    mask = np.array([[[0, 255, 1], [0, 255, 1], [0, 255, 1]]])
    assert MaskStatistics.of(mask, 2).boundary_px.tolist() == [0]


def test_what_cannot_be_computed_is_said():
    some, none = MaskStatistics.of(_masks(2, 0), 3), MaskStatistics.of(np.full((2, 4, 4), 255), 3)
    for score in (share_distances, presence_difference, area_size_distance, area_number_distance, boundary_distance_px):
        with pytest.raises(UserError, match="no labelled pixel"):
            score(some, none)
        with pytest.raises(UserError, match="3 and 4 classes"):
            score(some, MaskStatistics.of(_masks(2, 0), 4))
    with pytest.raises(UserError, match="no class has 500 areas"):
        area_size_distance(some, some, 500)
    with pytest.raises(UserError, match=r"outside 0\.\.1"):
        MaskStatistics.of(_masks(2, 0), 2)


def test_class_shares_draw_groups():
    pixels = np.array([[10, 0], [10, 0], [0, 20]])
    found = class_shares(pixels, list("aab"))
    assert found.share.tolist() == [0.5, 0.5]
    assert {round(v, 6) for v in found.draws[:, 0]} == {0.0, 0.5, 1.0}  # groups bb, ab or aa
    np.testing.assert_allclose(found.draws.sum(1), 1)
    assert len(class_shares(np.array([[5, 5], [0, 0]]), n_bootstrap=100).draws) < 100  # nothing of nothing
    with pytest.raises(UserError, match="no pixel has a label"):
        class_shares(np.zeros((3, 2)))
