import time

import numpy as np
import pandas as pd
import pytest

from specdm.patches.overlap import on_shared_ground

UTM = "EPSG:32632"


def _index(rows: list[dict]) -> pd.DataFrame:
    """An index of patches; each row may set split, source, row, col, crs, transform."""
    blank = {"split": "train", "source": "a", "row": 0, "col": 0, "crs": "", "transform": ()}
    return pd.DataFrame([blank | row for row in rows])


def _at(x: float, y: float, split: str, crs: str = UTM, pixel: float = 10.0) -> dict:
    return {"split": split, "crs": crs, "transform": (pixel, 0.0, x, 0.0, -pixel, y), "source": f"{split}{x}{y}"}


def test_squares_that_touch_share_nothing_and_squares_one_pixel_closer_do():
    index = _index(
        [
            _at(600_000, 5_000_000, "train"),
            _at(600_320, 5_000_000, "test"),  # the right-hand neighbour of 32 px
            _at(600_310, 5_000_000, "test"),
            _at(600_000, 5_000_320, "test"),  # the upper neighbour
            _at(599_690, 4_999_690, "test"),  # a corner of one pixel
            _at(599_690, 4_999_680, "test"),
            _at(600_000, 5_000_000, "val"),
        ]
    )
    assert on_shared_ground(index, 32, 32, "test").tolist() == [False, True, False, True, False]
    assert on_shared_ground(index, 32, 32, "val").tolist() == [True]


def test_only_the_training_split_counts_and_only_within_a_reference_system():
    index = _index(
        [
            _at(0, 0, "train", crs="EPSG:32633"),
            _at(0, 0, "test"),
            _at(0, 0, "val"),
            _at(9000, 0, "train"),
        ]
    )
    assert on_shared_ground(index, 32, 32, "test").tolist() == [False]


def test_patches_without_a_location_are_compared_within_their_file():
    index = _index(
        [
            {"source": "a", "row": 0, "col": 0},
            {"source": "a", "row": 31, "col": 31, "split": "test"},
            {"source": "a", "row": 32, "col": 0, "split": "test"},
            {"source": "b", "row": 0, "col": 0, "split": "test"},
        ]
    )
    assert on_shared_ground(index, 32, 32, "test").tolist() == [True, False, False]


def test_patches_are_not_always_square():
    index = _index([_at(0, 0, "train"), _at(250, 0, "test"), _at(0, 250, "test")])
    assert on_shared_ground(index, 20, 30, "test").tolist() == [True, False]


def test_pixels_of_other_sizes_are_seen_in_full():
    """A patch of 60 m pixels reaches six times as far as one of 10 m."""
    index = _index([_at(0, 0, "train", pixel=60.0), _at(1900, 0, "test"), _at(1930, 0, "test"), _at(-319, 5, "test")])
    assert on_shared_ground(index, 32, 32, "test").tolist() == [True, False, True]


def test_a_turned_grid_is_compared_along_its_own_axes():
    turn = np.deg2rad(30)
    cos, sin = 10 * np.cos(turn), 10 * np.sin(turn)

    def patch(col: float, row: float, split: str) -> dict:
        x, y = cos * col - sin * row, sin * col + cos * row
        return {"split": split, "crs": UTM, "transform": (cos, -sin, x, sin, cos, y)}

    index = _index([patch(0, 0, "train"), patch(32, 0, "test"), patch(31, 31, "test"), patch(0, -32, "test")])
    assert on_shared_ground(index, 32, 32, "test").tolist() == [False, True, False]


def test_degrees_are_as_good_as_metres():
    size = 32 * 8.983e-5
    index = _index(
        [
            _at(11.5, 48.1, "train", crs="EPSG:4326", pixel=8.983e-5),
            _at(11.5 + size, 48.1, "test", crs="EPSG:4326", pixel=8.983e-5),
            _at(11.5 + size * 31 / 32, 48.1, "test", crs="EPSG:4326", pixel=8.983e-5),
        ]
    )
    assert on_shared_ground(index, 32, 32, "test").tolist() == [False, True]


@pytest.mark.parametrize("placed", [True, False])
def test_many_patches_agree_with_every_pair_compared(placed):
    rng = np.random.default_rng(0)
    corners = rng.integers(0, 1500, (600, 2))
    splits = rng.choice(["train", "val", "test"], 600)
    rows = [
        _at(10.0 * x, -10.0 * y, s) if placed else {"row": y, "col": x, "split": s}
        for (x, y), s in zip(corners.tolist(), splits, strict=True)
    ]
    for split in ("val", "test"):
        ours, train = corners[splits == split], corners[splits == "train"]
        expected = (np.abs(ours[:, None] - train[None]) < 32).all(-1).any(1)
        assert 0 < expected.sum() < len(expected)
        np.testing.assert_array_equal(on_shared_ground(_index(rows), 32, 32, split), expected)


@pytest.mark.parametrize("kind", ["all on each other", "each in its own file"])
def test_thirty_thousand_patches_take_a_moment(kind):
    rows = [_at(0, 0, "train" if i % 2 else "test") for i in range(30_000)]
    if kind == "each in its own file":
        rows = [{"split": row["split"], "source": f"file{i}"} for i, row in enumerate(rows)]
    index = _index(rows)
    started = time.monotonic()
    shared = on_shared_ground(index, 32, 32, "test")
    assert time.monotonic() - started < 5
    assert len(shared) == 15_000
    assert (shared == (kind == "all on each other")).all()
