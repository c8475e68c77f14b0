"""Fetch the weights of the Inception network of FID and KID, or take a file that was fetched by hand."""

from __future__ import annotations

import hashlib
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from specdm import files
from specdm.errors import UserError

LICENCE = "Apache-2.0 (TensorFlow models, converted by torch-fidelity)"
ATTEMPTS = 3
_CHUNK = 1 << 20


def address() -> str:
    """Where torch-fidelity has its weights; the file's name ends in the first eight digits of its sha256."""
    from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3

    return URL_INCEPTION_V3


def fetch_inception(out: Path, from_dir: Path | None = None, say: Callable[[str], None] = print) -> Path:
    """Bring the weights (96 MB) into a folder under their published name, complete or not at all; returns the file.

    A file that lies there already is checked and kept.

    Args:
        out: folder; other files there are left alone.
        from_dir: folder with the file under its published name; then nothing is fetched.
        say: receives the licence, and what went wrong before another attempt.

    Raises:
        UserError: when they cannot be fetched, read or written, or are not what the name says.
    """
    source = address()
    path = Path(out) / source.rsplit("/", 1)[1]
    say(f"Inception: weights of {source}, licence: {LICENCE}")
    if path.is_file():
        check(path)
        return path
    with files.new_file(path) as temporary:
        if from_dir is not None:
            _copy(Path(from_dir) / path.name, temporary, source)
        else:
            _fetch(source, temporary, path, say)
    return path


def check(path: Path, named: Path | None = None) -> None:
    """UserError unless the sha256 of a file begins as its name, or that of `named`, ends."""
    named = named or path
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    wanted = re.search(r"-([0-9a-f]{8,})\.pth$", named.name)
    if wanted is None or not found.startswith(wanted[1]):
        raise UserError(
            f"{named} is damaged or another file (its sha256 begins with {found[:8]}, unlike its name): delete it and "
            "fetch it again."
        )


def _copy(given: Path, temporary: Path, source: str) -> None:
    if not given.is_file():
        raise UserError(f"{given} does not exist: fetch it from {source} and put it there under this name.")
    check(given)
    shutil.copyfile(given, temporary)


def _fetch(source: str, temporary: Path, path: Path, say: Callable[[str], None]) -> None:
    import requests

    for attempt in range(ATTEMPTS):
        time.sleep(attempt)
        try:
            with requests.get(source, stream=True, timeout=(15, 60)) as answer, temporary.open("wb") as stream:
                answer.raise_for_status()
                for chunk in answer.iter_content(_CHUNK):
                    stream.write(chunk)
            check(temporary, named=path)
            return
        except requests.RequestException as error:
            problem = type(error).__name__ if error.response is None else f"HTTP {error.response.status_code}"
        except UserError:
            problem = "what came is cut short or another file"
        say(f"{source}: {problem}")
        if problem.startswith("HTTP 4"):
            break
    raise UserError(
        f"{path.name} could not be fetched from {source} ({problem}): run the command again, or fetch it by hand into "
        "a folder and name that folder with --from-dir."
    )
