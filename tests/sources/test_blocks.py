"""Spatial blocks: what rectangles touch, contain and keep away from, against the same found block by block."""

import numpy as np
import pytest

from specdm.errors import UserError
from specdm.patches import SPLITS
from specdm.rasters import Grid
from specdm.sources import blocks
from specdm.sources.blocks import NONE, Blocks, Ground

UTM = "EPSG:32633"


def random_blocks(rng: np.random.Generator, places: int) -> Blocks:
    """Edges at whole and broken pixels; some places have none."""
    rows, cols = (
        [np.unique(rng.uniform(0, 100, rng.integers(0, 5)).round(k % 2)) for k in range(places)] for _ in range(2)
    )
    return Blocks(10, tuple(rows), tuple(cols))


def bounds(found: Blocks, p: int) -> list[tuple[float, float, float, float]]:
    """Top, left, bottom and right of the blocks of a place, row by row; the outer ones have no end."""
    rows, cols = (np.r_[-np.inf, edges[p], np.inf] for edges in (found.rows, found.cols))
    return [(rows[r], cols[c], rows[r + 1], cols[c + 1]) for r in range(len(rows) - 1) for c in range(len(cols) - 1)]


def random_windows(rng: np.random.Generator, n: int, places: int) -> tuple[np.ndarray, np.ndarray]:
    corner, size = rng.integers(-20, 100, (n, 2)), rng.integers(1, 60, (n, 2))
    return rng.integers(0, places, n), np.hstack([corner, corner + size]).astype(float)


def random_case(seed: int, n: int) -> tuple[Blocks, np.ndarray, np.ndarray, np.ndarray]:
    """Blocks of four places, the place of n windows, the windows, and the number of each place's first block."""
    rng = np.random.default_rng(seed)
    found = random_blocks(rng, 4)
    return found, *random_windows(rng, n, 4), np.cumsum([0, *(len(bounds(found, p)) for p in range(4))])


@pytest.mark.parametrize("seed", range(5))
def test_touched_and_near_blocks_are_those_found_one_by_one(seed):
    found, place, windows, first = random_case(seed, 80)
    assert len(found) == first[-1]
    for margin in (0, 1, 7.5):
        expected = np.zeros((80, len(found)), int)
        for i, (top, left, bottom, right) in enumerate(windows):
            for k, (t, le, b, r) in enumerate(bounds(found, place[i])):
                # Pixels between the window and the block, on the axis of their larger distance; less than 0 within.
                apart = max(t - bottom, top - b, le - right, left - r)
                expected[i, first[place[i]] + k] = apart < margin
        np.testing.assert_array_equal(found.touched(place, windows, margin).toarray(), expected)


@pytest.mark.parametrize("seed", range(5))
def test_the_containing_block_holds_the_centre(seed):
    found, place, windows, first = random_case(seed, 200)
    names = set()
    for block, p, (top, left, bottom, right) in zip(found.containing(place, windows), place, windows, strict=True):
        t, le, b, r = bounds(found, p)[block - first[p]]
        assert t <= (top + bottom) / 2 <= b and le <= (left + right) / 2 <= r
        row, col = divmod(block - first[p], len(found.cols[p]) + 1)
        assert found.name(block) == f"place{p:03}_{row:03}_{col:03}"
        names.add(found.name(block))
    assert len(names) == len(set(found.containing(place, windows)))


@pytest.mark.parametrize("seed", range(5))
def test_splits_of_windows_follow_from_their_blocks(seed):
    rng = np.random.default_rng(seed)
    found = random_blocks(rng, 3)
    place, windows = random_windows(rng, 150, 3)
    split = rng.integers(0, 3, len(found))
    touched, near = found.touched(place, windows), found.touched(place, windows, 5)
    for i, result in enumerate(blocks.window_splits(split, touched, near)):
        inside, close = (set(split[np.flatnonzero(matrix[[i]].toarray()[0])]) for matrix in (touched, near))
        expected = inside.pop() if len(inside) == 1 else NONE
        if (expected == 0 and close & {1, 2}) or (expected == 1 and 2 in close):
            expected = NONE
        assert result == expected


def test_rounding_does_not_reach_the_next_block():
    found = Blocks(10, (np.array([30.0]),), (np.array([0.1 * 3 * 100]),))
    windows = np.array([[0, 0, 30, 30.0], [30, 30, 60, 60.0]]) + 1e-9 * np.array([[1, 1, 1, 1], [-1, -1, -1, -1]])
    np.testing.assert_array_equal(found.touched(np.zeros(2, int), windows).toarray(), [[1, 0, 0, 0], [0, 0, 0, 1]])
    np.testing.assert_array_equal(found.touched(np.zeros(2, int), windows, 8).toarray(), np.ones((2, 4)))


def tiled(height: int, width: int, size: int, stride: int) -> np.ndarray:
    corners = [(r, c) for r in range(0, height - size + 1, stride) for c in range(0, width - size + 1, stride)]
    return np.hstack([corners, np.add(corners, size)]).astype(float)


@pytest.mark.parametrize("shift", [(0, 0), (0.5, -0.5), (-0.3, 0.2)])
@pytest.mark.parametrize(("side", "length"), [(16, 100), (16, 33), (40, 100), (16, 15)])
def test_blocks_have_at_least_their_side(side, length, shift):
    windows = tiled(length, 3 * length, 8, 4)
    made = blocks.make_blocks(np.zeros(len(windows), int), windows, 8, side, shift)
    last = windows[:, 2:].max(axis=0)
    for edges, end in zip((made.rows[0], made.cols[0]), last, strict=True):
        steps = np.diff(np.r_[0, edges, end])
        assert len(steps) == max(1, end // side)
        outer = steps[[0, -1]]
        assert (outer >= min(side, end) - 1e-9).all()
        assert shift != (0, 0) or (steps >= min(side, end) - 1e-9).all()


@pytest.mark.parametrize(("length", "side"), [(256, 64), (128, 32), (64, 16), (40, 16), (500, 64)])
def test_blocks_shrink_until_there_are_enough(length, side):
    windows = tiled(length, length, 16, 8)
    made = blocks.make_blocks(np.zeros(len(windows), int), windows, 16, None)
    assert made.side_px == side
    assert len(made) >= blocks.ENOUGH_BLOCKS or side == 16


def test_ground_between_scenes_that_lie_apart_is_no_block():
    """Two scenes of one place, far from each other: their own blocks count."""
    windows = np.vstack([tiled(64, 64, 16, 8), tiled(64, 64, 16, 8) + 1000])
    place, classes = np.zeros(len(windows), int), np.ones((len(windows), 2), int)
    found = blocks.divide(place, windows, classes, 16, None, 4, {"val": 0.2, "test": 0.2}, 0)
    assert np.bincount(found.split, minlength=4)[:3].all()
    assert found.blocks.inhabited(place, windows) >= blocks.ENOUGH_BLOCKS or found.blocks.side_px == 16


def test_each_place_is_divided_by_its_own_extent():
    one, other = tiled(64, 64, 16, 16), tiled(32, 96, 16, 16) + 1000
    place = np.repeat([0, 1], [len(one), len(other)])
    made = blocks.make_blocks(place, np.vstack([one, other]), 16, 32)
    np.testing.assert_array_equal(made.rows[0], [32])
    np.testing.assert_array_equal(made.cols[1], [1032, 1064])
    assert len(made.rows[1]) == 0 and len(made) == 4 + 3


@pytest.mark.parametrize("seed", range(4))
def test_a_division_keeps_what_it_promises(seed, few_draws):
    """Random windows of several places: splits share no ground and keep the guard, counted pair by pair."""
    rng = np.random.default_rng(seed)
    place, windows = random_windows(rng, 120, 3)
    windows[:, 2:] = windows[:, :2] + rng.integers(4, 14, (120, 2))
    classes = rng.integers(0, 50, (120, 3))
    guard = int(rng.integers(0, 5))
    found = blocks.divide(place, windows, classes, 10, None, guard, {"val": 0.2, "test": 0.3}, seed)
    counts = np.bincount(found.split, minlength=4)
    assert counts[:3].all()
    for i in range(120):
        for j in range(120):
            if place[i] == place[j] and found.split[i] < found.split[j] < NONE:
                (t, le, b, r), (t2, le2, b2, r2) = windows[i], windows[j]
                assert max(t2 - b, t - b2, le2 - r, le - r2) >= guard


def test_the_search_prefers_even_and_complete_splits():
    rng = np.random.default_rng(0)
    windows = tiled(160, 160, 16, 16)
    classes = np.zeros((len(windows), 3), int)
    classes[:, 0] = 200
    classes[rng.permutation(len(windows))[:8], 1] = 56
    classes[[0, 55, 99], 2] = 30
    found = blocks.divide(np.zeros(100, int), windows, classes, 16, 16, 0, {"val": 0.2, "test": 0.3}, 0)
    share = np.bincount(found.split, minlength=4)[:3] / 100
    np.testing.assert_allclose(share, (0.5, 0.2, 0.3), atol=0.05)
    for split in range(3):
        assert classes[found.split == split].sum(axis=0).all()


def test_edges_are_moved_where_there_are_few_blocks():
    """A class that every window across the middle shows, and no other: halves would lose it."""
    windows = tiled(40, 40, 16, 2)
    across = (windows[:, 0] <= 16) & (windows[:, 2] >= 24)
    classes = np.stack([np.full(len(windows), 200), 50 * across], axis=1)
    found = blocks.divide(np.zeros(len(windows), int), windows, classes, 16, 16, 0, {"val": 0.2, "test": 0.3}, 0)
    assert all(classes[found.split == split, 1].any() for split in (0, 2))


def test_too_few_blocks():
    windows = tiled(40, 40, 32, 4)
    place, classes = np.zeros(len(windows), int), np.ones((len(windows), 2))
    with pytest.raises(UserError, match=r"1 spatial block\(s\) cannot give train, val and test a patch each"):
        blocks.divide(place, windows, classes, 32, None, 8, {"val": 0.2, "test": 0.2}, 0)


def _names(place: str | None) -> frozenset[str]:
    return frozenset([place] if place else [])


def at(east: float, south: float, size=(50, 60), pixel=(10.0, 10.0), crs: str = UTM, place=None) -> Ground:
    return Ground(Grid(*size, crs, (pixel[0], 0, 500000 + east, 0, -pixel[1], 5000000 - south)), _names(place))


@pytest.mark.parametrize(
    ("other", "near", "one"),
    [
        (at(590, 0), 0, True),
        (at(600, 0), 0, False),
        (at(590, 490), 0, True),
        (at(640, 0), 4.1, True),
        (at(640, 0), 3.9, False),
        (at(-640, 540), 4.1, True),
        (at(0, 560, pixel=(10, 20)), 2.9, False),
        (at(0, 560, pixel=(10, 20)), 3.1, True),
        (Ground(Grid(50, 60, "", ())), 100, False),
        (at(9000, 0, place="here"), 0, False),
    ],
)
def test_scenes_that_overlap_or_nearly_do_are_one_place(other, near, one):
    for pair in ((at(0, 0), other), (other, at(0, 0))):
        found = blocks.find_places(pair, near)
        assert (found[0] == found[1]) == one


def test_places_are_joined_by_name_by_ground_and_through_others():
    unplaced = [Ground(Grid(9, 9, "", ()), frozenset(names)) for names in ("xz", "", "x", "a", "az")]
    found = blocks.find_places(unplaced)
    assert found[0] == found[2] == found[3] == found[4] != found[1]
    chain = [at(0, 0), at(1100, 0), at(550, 0), at(9000, 0, place="y"), at(20000, 0, place="y"), at(9500, 0)]
    found = blocks.find_places(chain)
    assert found[0] == found[1] == found[2] != found[3] == found[4] == found[5]
    with pytest.raises(UserError, match="the place x have a georeference and some have none"):
        blocks.find_places([*unplaced, at(0, 0, place="x")])


def test_windows_are_carried_to_the_pixels_of_the_first_scene():
    grounds = [at(0, 0), Ground(Grid(50, 60, "", ())), at(105, 207, pixel=(5.0, 20.0))]
    place = np.array([0, 1, 0])
    windows = np.array([[1, 2, 17, 18], [3, 4, 19, 20], [10, 30, 26, 46]], float)
    found = blocks.on_frames(grounds, np.array([0, 1, 2]), windows, place)
    np.testing.assert_array_equal(found[:2], windows[:2])
    np.testing.assert_allclose(found[2], [20.7 + 20, 10.5 + 15, 20.7 + 52, 10.5 + 23])
    assert SPLITS[NONE - 1] == "test"
