import threading
import time

import pytest

from specdm.training import Part
from specdm.training.ahead import Ahead

DEPTH = 2  # of a single thread
PARTS = [Part(step, index, 2) for step in range(5) for index in range(2)]


def test_the_parts_come_in_their_order_with_their_own_data():
    def data_at(part):
        time.sleep(0.002 if part.index == 0 else 0)
        return part.step, part.index

    with Ahead(data_at, PARTS) as ahead:
        assert list(ahead) == [(part, (part.step, part.index)) for part in PARTS]


def test_parts_are_made_ahead_but_never_more_than_the_depth():
    started, taken, semaphore = [], 0, threading.Semaphore(0)

    def data_at(part):
        started.append(part)
        semaphore.release()

    with Ahead(data_at, PARTS) as ahead:
        while taken < len(PARTS):
            expected = min(taken + DEPTH, len(PARTS))
            while len(started) < expected:
                assert semaphore.acquire(timeout=30), "nothing is made ahead"
            assert len(started) <= expected
            next(ahead)
            taken += 1
    assert started == PARTS


def test_the_data_is_made_in_another_thread():
    with Ahead(lambda part: threading.current_thread(), PARTS) as ahead:
        threads = {thread for _, thread in ahead}
    assert threading.current_thread() not in threads
    assert len(threads) == 1


def test_several_threads_work_at_the_same_time_and_change_neither_order_nor_data():
    together = threading.Barrier(3, timeout=30)

    def data_at(part):
        if part.step < 3:
            together.wait()  # six parts, three at a time, or never
        time.sleep(0.002 * (1 - part.index))
        return part.step, part.index

    with Ahead(data_at, PARTS, n_threads=3) as ahead:
        assert list(ahead) == [(part, (part.step, part.index)) for part in PARTS]


def test_an_error_of_the_data_reaches_who_asks_for_it_and_not_before():
    def data_at(part):
        if part.step == 2:
            raise ValueError("torn tile")
        return part.step

    with Ahead(data_at, PARTS) as ahead:
        assert [next(ahead)[1] for _ in range(4)] == [0, 0, 1, 1]
        with pytest.raises(ValueError, match="torn tile"):
            next(ahead)


def test_leaving_early_makes_no_more_data_and_leaves_no_thread():
    made, threads = [], threading.active_count()
    with pytest.raises(KeyError), Ahead(made.append, PARTS) as ahead:
        next(ahead)
        raise KeyError
    assert len(made) <= 1 + DEPTH
    assert threading.active_count() == threads


def test_no_parts_are_no_data():
    with Ahead(lambda part: part, []) as ahead:
        assert list(ahead) == []


def test_the_wait_counts_slow_data_and_not_slow_steps():
    def waited(data_s: float, step_s: float) -> float:
        with Ahead(lambda part: time.sleep(data_s), PARTS) as ahead:
            for _ in ahead:
                time.sleep(step_s)
        return ahead.waited_s

    assert waited(data_s=0.02, step_s=0) > 3 * waited(data_s=0, step_s=0.02)
