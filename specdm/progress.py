"""How far a long loop is: a bar on a terminal, else plain lines, a few a minute, that read well in a log file."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable


class Progress:
    """Tells how far a loop is: `encoding oscd: 1200/5000 patches  310/s  12 s left`.

    On a terminal it is one bar that moves. Elsewhere it is at most one line an interval: a loop that ends within the
    first interval prints nothing; any other ends with a line of the time it took.

    Args:
        name: what is done.
        total: how many there are.
        unit: what is counted, in the plural.
        every_s: seconds between lines.
        start: how many were done before this run; they do not count for the rate.
        clock: returns the time in seconds.
        bar: a bar instead of lines; None: where the output is a terminal.
    """

    def __init__(
        self,
        name: str,
        total: int,
        unit: str = "patches",
        every_s: float = 20.0,
        start: int = 0,
        clock: Callable[[], float] = time.monotonic,
        bar: bool | None = None,
    ):
        self.name, self.total, self.unit, self.every_s, self.start = name, total, unit, every_s, start
        self._clock = clock
        self._started = self._last_line = clock()
        self._bar = _bar(name, total, unit, start) if (sys.stdout.isatty() if bar is None else bar) else None

    def update(self, done: int, more: str = "", speak: bool = False) -> None:
        """Say that `done` of all are done, those before this run included.

        `more` is added to the line; `speak` prints one whatever the time.
        """
        if self._bar is not None:
            if more:
                self._bar.set_postfix_str(more, refresh=False)
            self._bar.update(done - self._bar.n)
            if speak:
                self._bar.refresh()
            if done == self.total:
                self._bar.close()
            return
        now = self._clock()
        spoken = self._last_line > self._started
        if not speak and now - self._last_line < self.every_s and not (spoken and done == self.total):
            return
        rate = (done - self.start) / max(now - self._started, 1e-9)
        tail = f"done in {duration(now - self._started)}" if done == self.total else pace(rate, self.total - done)
        print(f"{self.name}: {done}/{self.total} {self.unit}  {tail}{more and '  ' + more}", flush=True)
        self._last_line = now

    def close(self) -> None:
        """End a bar whose loop stopped before its end."""
        if self._bar is not None:
            self._bar.close()


def _bar(name: str, total: int, unit: str, start: int):
    from tqdm import tqdm

    return tqdm(
        desc=name, total=total, initial=start, unit=f" {unit}", dynamic_ncols=True, file=sys.stdout, mininterval=0.5
    )


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
