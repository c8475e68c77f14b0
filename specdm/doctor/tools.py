"""Programs that only some ways of running need: conda and container engines."""

from __future__ import annotations

from specdm.doctor.commands import Find, Run
from specdm.doctor.section import Section, first_line

SECONDS = 20.0  # conda is Python, and may lie on a slow disk


def conda(run: Run, find: Find) -> Section:
    """Whether conda is there."""
    return Section("conda", (_found("conda", run, find) or "not found (needed only for --sdm conda)",))


def containers(run: Run, find: Find) -> Section:
    """Which engines of containers are there."""
    found = [text for name in ("apptainer", "singularity") if (text := _found(name, run, find))]
    return Section("containers", tuple(found) or ("neither apptainer nor singularity (needed only to run in one)",))


def _found(name: str, run: Run, find: Find) -> str:
    if find(name) is None:
        return ""
    ran = run([name, "--version"], SECONDS)
    return first_line(ran.out) if ran is not None and ran.status == 0 and ran.out.strip() else f"{name}, which fails"
