"""Asking other programs: argument lists, never a shell, and never longer than a given time."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Ran:
    """How a program ended: its exit status (negative: a signal; None: stopped when its time was over) and texts."""

    status: int | None
    out: str = ""
    err: str = ""

    @property
    def message(self) -> str:
        """What it said, complaints first."""
        return self.err.strip() or self.out.strip() or ("no answer in time" if self.status is None else "no message")


Run = Callable[[Sequence[str], float], Ran | None]
Find = Callable[[str], str | None]  # as shutil.which


def run(command: Sequence[str], seconds: float) -> Ran | None:
    """Run a program to its end, at most so many seconds; None when it cannot be started."""
    try:
        done = subprocess.run(
            list(command),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=seconds,
        )
    except subprocess.TimeoutExpired as late:
        return Ran(None, _text(late.stdout), _text(late.stderr))
    except OSError:
        return None
    return Ran(done.returncode, done.stdout, done.stderr)


def _text(partial: bytes | str | None) -> str:
    return partial.decode("utf-8", "replace") if isinstance(partial, bytes) else partial or ""
