"""Data of coming steps, made in other threads while the device computes."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from specdm.training.plan import Part


class Ahead:
    """The data of parts in their order, a few made ahead of time: one more than there are threads.

    Args:
        data_at: part -> its data; called from several threads at the same time when there are several.
        parts: in the order in which they are wanted.
        n_threads: that make data.

    Attributes:
        waited_s: seconds that the caller had to wait in all.
    """

    def __init__(self, data_at: Callable[[Part], Any], parts: Iterable[Part], n_threads: int = 1):
        self._data_at, self._parts, self._depth = data_at, iter(parts), n_threads + 1
        self._ready: deque = deque()
        self._pool = ThreadPoolExecutor(n_threads, thread_name_prefix="data")
        self.waited_s = 0.0

    def __enter__(self) -> Iterator[tuple[Part, Any]]:
        for _ in range(self._depth):
            self._start_next()
        return self

    def __iter__(self) -> Ahead:
        return self

    def __next__(self) -> tuple[Part, Any]:
        if not self._ready:
            raise StopIteration
        part, future = self._ready.popleft()
        started = time.monotonic()
        data = future.result()
        self.waited_s += time.monotonic() - started
        self._start_next()
        return part, data

    def __exit__(self, *_) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _start_next(self) -> None:
        part = next(self._parts, None)
        if part is not None:
            self._ready.append((part, self._pool.submit(self._data_at, part)))
