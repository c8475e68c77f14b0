"""Outputs that are complete or absent: written beside their place, then renamed."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from specdm.errors import UserError


@contextlib.contextmanager
def explain_os_errors(where: Path) -> Iterator[None]:
    """Turn a full disk or a forbidden folder into one sentence about `where`."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UserError(f"The disk is full at {where}: free some space, then run the same command.") from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            place = error.filename or where
            raise UserError(
                f"{place} may not be read or written: mend its permissions, or use another folder."
            ) from error
        raise


@contextlib.contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it into place when the block succeeds, else remove it."""
    with explain_os_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
        try:
            yield temporary
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def new_folder(folder: Path, last: str) -> Iterator[Path]:
    """Yield a temporary folder beside `folder`; move its files into place when the block succeeds.

    The file named `last` arrives last and leaves first: whoever finds it finds the rest complete. Nothing else in an
    existing folder is touched, so that a workflow may own further files there.
    """
    with explain_os_errors(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.partial-", dir=folder.parent))
        temporary.chmod(0o755)
        try:
            yield temporary
            folder.mkdir(exist_ok=True)
            (folder / last).unlink(missing_ok=True)
            for path in sorted(temporary.iterdir(), key=lambda p: p.name == last):
                os.replace(path, folder / path.name)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def to_json(data: object) -> str:
    """Readable JSON; an undefined number (NaN) becomes null, which every reader understands."""
    return json.dumps(_without_nan(data), indent=1, allow_nan=False) + "\n"


def _without_nan(data: object) -> object:
    if isinstance(data, dict):
        return {key: _without_nan(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_without_nan(value) for value in data]
    return None if isinstance(data, float) and math.isnan(data) else data


def write_json(path: Path, data: dict) -> None:
    """Write `data` as readable JSON, atomically."""
    with new_file(path) as temporary:
        temporary.write_text(to_json(data))


def digest(data: object) -> str:
    """A short stable hash of plain JSON data."""
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16]
