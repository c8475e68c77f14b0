"""Reading ahead, and reading windows side by side at once."""

import threading

import numpy as np
import pytest

from specdm.sources import scene_scan
from specdm.sources.scene_scan import chunks, one_ahead


def test_items_come_in_order_and_each_is_made_while_the_one_before_is_used():
    made = threading.Event()

    def items():
        yield 1
        made.set()
        yield 2

    ahead = one_ahead(items())
    assert next(ahead) == 1
    assert made.wait(10)  # nobody has asked for the second item yet
    assert list(ahead) == [2]
    assert list(one_ahead(iter(range(100)))) == list(range(100))


def test_an_error_arrives_in_its_turn():
    def items():
        yield 1
        raise OSError("disk")

    ahead = one_ahead(items())
    assert next(ahead) == 1
    with pytest.raises(OSError, match="disk"):
        next(ahead)


def test_whoever_stops_early_leaves_no_thread():
    before = threading.active_count()
    for item in one_ahead(iter(range(1000))):
        if item == 3:
            break
    del item
    assert threading.active_count() <= before + 1


@pytest.mark.parametrize("limit", [1, 16 * 10 * 3, 10**9])
def test_chunks_hold_every_window_once_in_rows_of_a_bounded_width(monkeypatch, limit):
    monkeypatch.setattr(scene_scan, "CHUNK_BYTES", limit)
    windows = np.array([(r, c) for r in (0, 5, 11) for c in (0, 3, 6, 40, 43)])
    seen = []
    for some, row, left, right in chunks(windows, 10, 16):
        assert (windows[some, 0] == row).all()
        assert left == windows[some, 1].min() and right == windows[some, 1].max() + 10
        assert right - left <= max(limit // 16, 10)
        seen += some.tolist()
    assert seen == list(range(len(windows)))
