"""Plain lines that tell how far a long loop is, a few a minute: they read alike in a terminal and in a log file."""

from __future__ import annotations

import time
from collections.abc import Callable


class Progress:
    """Prints at most one line an interval: `encoding oscd: 1200/5000 patches  310/s  12 s left`.

    A loop that ends within the first interval prints nothing; any other ends with a line of the time it took.

    Args:
        name: what is done.
        total: how many there are.
        unit: what is counted, in the plural.
        every_s: seconds between lines.
        start: how many were done before this run; they do not count for the rate.
        clock: returns the time in seconds.
    """

    def __init__(
        self,
        name: str,
        total: int,
        unit: str = "patches",
        every_s: float = 20.0,
        start: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.name, self.total, self.unit, self.every_s, self.start = name, total, unit, every_s, start
        self._clock = clock
        self._started = self._last_line = clock()

    def update(self, done: int) -> None:
        """Say that `done` of all are done, those before this run included."""
        now = self._clock()
        spoken = self._last_line > self._started
        if now - self._last_line < self.every_s and not (spoken and done == self.total):
            return
        rate = (done - self.start) / max(now - self._started, 1e-9)
        tail = f"done in {duration(now - self._started)}" if done == self.total else pace(rate, self.total - done)
        print(f"{self.name}: {done}/{self.total} {self.unit}  {tail}", flush=True)
        self._last_line = now


def pace(rate: float, left: int) -> str:
    """How fast (units a second) and how long `left` units still take: "310/s  12 s left"."""
    speed = f"{rate:.0f}/s" if rate >= 9.95 else f"{rate:.2g}/s"
    return f"{speed}  {duration(left / rate)} left" if rate > 0 else speed


def duration(seconds: float) -> str:
    """A time in words: "0.4 s", "12 s", "2 min 05 s", "3 h 07 min"."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02} min"
