"""How much memory processes took, and whether the kernel killed one of this job for it."""

from __future__ import annotations

import resource
import sys
from pathlib import Path


def peak_mb(of_children: bool = False) -> float:
    """Largest memory of this process so far, or of the largest of its children that have ended."""
    who = resource.RUSAGE_CHILDREN if of_children else resource.RUSAGE_SELF
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes there, else in KiB
    return resource.getrusage(who).ru_maxrss * unit / 2**20


def out_of_memory_kills(proc: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Processes of this control group that were killed so far; None where the kernel does not say."""
    try:
        groups = [line.split(":", 2) for line in proc.read_text().splitlines()]
    except OSError:
        return None
    places = [root / "memory" / path.lstrip("/") / "memory.oom_control" for _, kind, path in groups if kind == "memory"]
    places += [root / path.lstrip("/") / "memory.events" for number, _, path in groups if number == "0"]
    for place in places:  # version 1 of control groups, where memory is one of them, else version 2
        try:
            counted = dict(line.split() for line in place.read_text().splitlines())
        except (OSError, ValueError):
            continue
        if "oom_kill" in counted:
            return int(counted["oom_kill"])
    return None
