"""Where a result comes from: versions and commit, written into every artefact."""

from __future__ import annotations

import functools
import subprocess
from pathlib import Path

import specdm


@functools.cache
def commit() -> str:
    """The commit of the checkout that runs, "unknown" outside one; -dirty when tracked files differ."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def stamp(stage: str, version: int, seed: int | None, settings: dict) -> dict:
    """Plain JSON that says which code and settings made an artefact."""
    return {
        "stage": stage,
        "stage_version": version,
        "seed": seed,
        "settings": settings,
        "specdm_version": specdm.__version__,
        "commit": commit(),
    }
