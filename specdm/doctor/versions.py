"""The versions that a run's results were computed with."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import specdm
from specdm import provenance
from specdm.doctor import gpu, packages, slurm
from specdm.doctor.commands import Find, Run
from specdm.doctor.commands import run as run_program
from specdm.doctor.imports import imported
from specdm.errors import UserError


def versions(
    lock: Path,
    root: Path = Path("/"),
    run: Run = run_program,
    find: Find = shutil.which,
    version_of: Callable[[str], str | None] = packages.installed,
) -> dict:
    """Versions of everything that decides results, as plain JSON; two runs in one environment give the same.

    Args:
        lock: requirements.lock.
        root: folder of proc.
        run, find: as for `examine`.
        version_of: package -> installed version or None.

    Raises:
        UserError: when there is no lock file.
    """
    pins = packages.pinned(lock)
    if not pins:
        raise UserError(f"{lock} pins no packages: run from a clone of the repository, which has one.")
    return {
        "specdm": specdm.__version__,
        "commit": provenance.commit(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: version_of(name) for name in pins},
        "differs": [asdict(each) for each in packages.differences(pins, version_of)],
        "gpu": _gpu(root, run),
        "slurm": slurm.version(run, find),
    }


def _gpu(root: Path, run: Run) -> dict | None:
    """What torch computes on; None when torch cannot be asked."""
    facts = imported(["torch"], run)["torch"].facts
    if "build" not in facts:
        return None
    names = [name for name, _ in facts["devices"]]
    return {"devices": names, "build": facts["build"], "driver": gpu.driver(run, root).version}
