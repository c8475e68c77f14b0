"""The disks of results and raw data: room, and whether files can be made and renamed as outputs are."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from specdm.doctor.section import GB, Section, first_line, size

PAPER_RUN_BYTES = 126 * GB  # results of the paper's experiments, by arithmetic: docs/scale.md


def disk(results: Path, raw: Sequence[Path], root: Path = Path("/")) -> Section:
    """Free room of the folders, by disk, and whether the one of the results can hold outputs.

    Args:
        results: folder of everything that is computed; need not exist yet.
        raw: folders of raw files; need not exist.
        root: where proc/mounts lies.
    """
    folders: dict[int, list[Path]] = {}
    for folder in dict.fromkeys([results, *raw]):
        folders.setdefault(_existing(folder).stat().st_dev, []).append(folder)
    lines = []
    for together in folders.values():
        place = _existing(together[0])
        room, kind = shutil.disk_usage(place), file_system(place, root)
        names = ", ".join(map(str, together))
        lines.append(f"{names}: {size(room.free)} free of {size(room.total)}{f', {kind}' if kind else ''}")
    knowing = []
    free = shutil.disk_usage(_existing(results)).free
    if free < PAPER_RUN_BYTES:
        knowing.append(
            f"{results} has {size(free)} of room, and the paper's experiments take about {size(PAPER_RUN_BYTES)}: for "
            "them, set `results` in the configuration to a folder on a larger disk."
        )
    missing = [
        f"{folder} is a link to a folder that does not exist: make that folder, or the link anew."
        for folder in (results, *raw)
        if os.path.islink(folder) and not os.path.exists(folder)
    ]
    if fault := _fault(_existing(results)):
        missing.append(
            f"{results} cannot hold outputs ({fault}): mend its permissions, or set `results` in the configuration to "
            "another folder."
        )
    return Section("disk", tuple(lines), tuple(missing), tuple(knowing))


def file_system(folder: Path, root: Path = Path("/")) -> str:
    """The kind of file system that a folder lies on ("ext4", "nfs4"), "" where the kernel does not say."""
    mounts = root / "proc/mounts"
    best, kind = -1, ""
    for line in mounts.read_text().splitlines() if mounts.is_file() else []:
        point, name = line.split()[1:3]
        point = Path(re.sub(r"\\(\d{3})", lambda found: chr(int(found[1], 8)), point))  # spaces are written \040
        if folder.resolve().is_relative_to(point) and len(point.parts) >= best:
            best, kind = len(point.parts), name
    return kind


def _existing(folder: Path) -> Path:
    """The folder itself, or the nearest one above it that exists."""
    folder = folder.absolute()
    return next(place for place in (folder, *folder.parents) if os.path.exists(place))  # also where one may not look


def _fault(folder: Path) -> str:
    """Why files cannot be made exclusively and renamed onto others in a folder, "" when they can; leaves nothing."""
    try:
        with tempfile.TemporaryDirectory(prefix=".specdm-doctor-", dir=folder) as name:
            new, old = Path(name, "new"), Path(name, "old")
            old.write_text("old")
            with new.open("x") as file:
                file.write("new")
            try:
                new.open("x").close()
                return "a file that exists can be made again"
            except FileExistsError:
                os.replace(new, old)
            if new.exists() or old.read_text() != "new":
                return "a renamed file does not take the other's place"
    except OSError as error:
        return first_line(error.strerror or str(error))
    return ""
