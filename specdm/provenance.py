"""Where a result comes from: versions, commit and machine, written into every artefact."""

from __future__ import annotations

import functools
import platform
import subprocess
import sys
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


@functools.cache
def processor() -> str:
    """Name of the processor, by Linux's list of them where there is one."""
    listed = Path("/proc/cpuinfo")
    if listed.is_file():
        for line in listed.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def machine() -> str:
    """What runs: the GPU, where torch is in use and has one, else the processor; versions of Python and torch."""
    torch = sys.modules.get("torch")
    gpu = torch.cuda.get_device_name() if torch is not None and torch.cuda.is_available() else ""
    versions = [f"Python {platform.python_version()}", *([f"torch {torch.__version__}"] if torch is not None else [])]
    return ", ".join([gpu or processor(), *versions])


def stamp(stage: str, version: int, seed: int | None, settings: dict) -> dict:
    """Plain JSON that says which code and settings made an artefact, and on what."""
    return {
        "stage": stage,
        "stage_version": version,
        "seed": seed,
        "settings": settings,
        "specdm_version": specdm.__version__,
        "commit": commit(),
        "machine": machine(),
    }
