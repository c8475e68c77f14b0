"""What the kernel's control groups (v1 and v2) allow this process: a container's or a job's share of the machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path


def memory_limit_bytes(root: Path = Path("/")) -> int | None:
    """The smallest limit of memory in the groups of this process and those around them; None: none is set.

    Version 1 writes a number near 2^63 where nothing is set: compare with the machine's memory.
    """
    limits = [_number(group / "memory.max") for group in _groups(root, "")]
    limits += [_number(group / "memory.limit_in_bytes") for group in _groups(root, "memory")]
    return min((int(limit) for limit in limits if limit is not None), default=None)


def cpu_limit(root: Path = Path("/")) -> float | None:
    """The smallest quota of processor time, in cores; None: none is set."""
    limits = [_quota(*_words(group / "cpu.max")) for group in _groups(root, "")]
    for group in _groups(root, "cpu"):
        limits.append(_quota(*_words(group / "cpu.cfs_quota_us"), *_words(group / "cpu.cfs_period_us")))
    return min((limit for limit in limits if limit is not None), default=None)


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """Folders of the groups of this process, from its own outwards; those that a container does not show are left out.

    `controller` is one of version 1, or "" for the one tree of version 2.
    """
    listed, mounted = root / "proc/self/cgroup", root / "sys/fs/cgroup"
    for line in listed.read_text().splitlines() if listed.is_file() else []:
        _, names, path = line.split(":", 2)
        if controller not in names.split(","):
            continue
        base = next((base for base in (mounted / names, mounted / controller) if base.is_dir()), None)
        parts = Path(path).parts[1:]
        for n in range(len(parts), -1, -1):
            if base is not None and (group := base.joinpath(*parts[:n])).is_dir():
                yield group


def _quota(quota: str = "max", period: str = "100000") -> float | None:
    return None if quota in ("max", "-1") else int(quota) / int(period)


def _number(path: Path) -> int | None:
    words = _words(path)
    return int(words[0]) if words and words[0] != "max" else None


def _words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []
