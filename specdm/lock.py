"""A lock with a heartbeat: of several jobs, perhaps on different machines, one works in a folder; the others wait.

The holder changes the lock file every few seconds. Whoever waits and sees it unchanged for long takes it over: its
holder was killed. Clocks of machines are never compared, only what the file holds. A holder that was merely asleep
finds another name in the file when it wakes, and ends itself before it can write beside its successor.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True)
class Pace:
    """Seconds between heartbeats, between looks of those who wait, and until an unchanged lock is left behind."""

    beat_s: float = 10.0
    look_s: float = 2.0
    stale_s: float = 90.0


HELD = "SPECDM_LOCK"  # variable that tells a command which lock its launcher holds for it


def of(state: Path) -> Path:
    """The lock of a training's state, beside it: the state is removed when the training is done."""
    return state.with_name(f"{state.name}.lock")


@contextlib.contextmanager
def held(path: Path, pace: Pace = Pace(), on_loss: Callable[[], None] = lambda: os._exit(1)) -> Iterator[bool]:
    """Hold the lock `path` within the block; yields whether another holder had to be waited for.

    Args:
        path: the lock file; its folder is made.
        pace: of heartbeats and looks; that of all who share a lock must be alike.
        on_loss: called from another thread when somebody else holds the lock: the process was taken for dead. It must
            stop the work at once, without saving.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    token = uuid.uuid4().hex
    waited = _acquire(path, token, pace)
    ended = threading.Event()
    heart = threading.Thread(target=_beat, args=(path, token, pace, ended, on_loss), name="lock", daemon=True)
    heart.start()
    try:
        yield waited
    finally:
        ended.set()
        heart.join()
        if _holder(path).get("token") == token:
            path.unlink(missing_ok=True)


def _acquire(path: Path, token: str, pace: Pace) -> bool:
    waited, seen, since = False, None, time.monotonic()
    while not _create(path, token):
        now = _holder(path)
        if now != seen:
            seen, since = now, time.monotonic()
        if not waited and not _is_gone(now):
            place = f"{now.get('host', 'another machine')}, process {now.get('pid', 'unknown')}"
            print(f"{path}: held by {place}: waiting until it ends", file=sys.stderr, flush=True)
            waited = True
        if (_is_gone(now) or time.monotonic() - since > pace.stale_s) and _take_over(path, token, now, pace):
            print(
                f"{path}: left behind by {now.get('host', 'another machine')}: taken over", file=sys.stderr, flush=True
            )
            return waited
        time.sleep(pace.look_s)
    return waited


def _create(path: Path, token: str) -> bool:
    """Make the lock file if there is none; exclusive also on network file systems."""
    try:
        with path.open("x") as stream:
            stream.write(_content(token, 0))
        return True
    except FileExistsError:
        return False


def _take_over(path: Path, token: str, stale: dict, pace: Pace) -> bool:
    """Put our name into a lock that was left behind; of several who try at once, the last one has it."""
    if _holder(path) != stale:
        return False
    _write(path, token, 0)
    time.sleep(pace.look_s)
    return _holder(path).get("token") == token


def _beat(path: Path, token: str, pace: Pace, ended: threading.Event, on_loss: Callable[[], None]) -> None:
    n = 0
    while not ended.wait(pace.beat_s):
        holder = _holder(path).get("token")
        if holder not in (token, None):
            print(
                f"{path}: taken over by another job while this one did not answer: it ends", file=sys.stderr, flush=True
            )
            on_loss()
            return
        n += 1
        # A file system that does not answer for a moment is no loss: the next beat tries again.
        with contextlib.suppress(OSError):
            _write(path, token, n)


def _content(token: str, beat: int) -> str:
    process = psutil.Process()
    who = {"token": token, "host": platform.node(), "pid": process.pid, "born": process.create_time()}
    return json.dumps({**who, "beat": beat})


def _write(path: Path, token: str, beat: int) -> None:
    temporary = path.with_name(f".{path.name}.{token}")  # a process number may occur on two machines
    temporary.write_text(_content(token, beat))
    os.replace(temporary, path)


def _holder(path: Path) -> dict:
    """What the lock file says; empty while it is being made, or gone."""
    try:
        return json.loads(path.read_text())
    except (OSError, json.JSONDecodeError):
        return {}


def _is_gone(holder: dict) -> bool:
    """Whether the holder ran on this very machine and does no more: then nobody has to wait."""
    if holder.get("host") != platform.node():
        return False
    try:
        return psutil.Process(holder["pid"]).create_time() != holder["born"]
    except psutil.NoSuchProcess:
        return True
