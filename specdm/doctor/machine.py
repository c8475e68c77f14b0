"""The Python that runs, the system, and how much of the machine it may use."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping
from pathlib import Path

import specdm
from specdm import provenance
from specdm.doctor import cgroups
from specdm.doctor.commands import Find
from specdm.doctor.section import GIB, Section, size

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


def version() -> Section:
    """SpecDM's version and commit."""
    return Section("SpecDM", (f"{specdm.__version__}, commit {provenance.commit()}",))


def environment(prefix: Path, base: Path, environ: Mapping[str, str]) -> str:
    """What kind of environment a Python belongs to: "conda environment specdm", "virtual environment" or "system"."""
    if (prefix / "conda-meta").is_dir():
        active = environ.get("CONDA_PREFIX") == str(prefix)
        return f"conda environment {environ.get('CONDA_DEFAULT_ENV') if active else prefix.name}"
    return "virtual environment" if prefix != base else "system"


def python(environ: Mapping[str, str], find: Find, executable: Path = Path(sys.executable)) -> Section:
    """Python's version and environment, and whether the workflow's rules would call the same one."""
    kind = environment(Path(sys.prefix), Path(sys.base_prefix), environ)
    lines = (f"{platform.python_version()}, {kind}",)
    called = find("python")
    if called is None:
        told = "The workflow's rules call `python`, and there is none on PATH: activate this environment."
    elif Path(called).parent.resolve() != executable.parent.resolve():
        told = "The workflow's rules call the `python` of PATH, which is not this one: activate this environment."
    else:
        return Section("Python", lines)
    return Section("Python", lines, worth_knowing=(told,))


def system() -> Section:
    """The operating system."""
    try:
        name = platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    except OSError:
        name = platform.system()
    return Section("system", (f"{name}, kernel {platform.release()}, {platform.machine()}",))


def cores(root: Path, environ: Mapping[str, str]) -> Section:
    """How many cores this process may use, and the variables that say how many threads do."""
    there, quota = os.cpu_count() or 1, cgroups.cpu_limit(root)
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else there
    limits = [f"bound to {bound}"] if bound < there else []
    limits += [f"control group: time of {quota:g}"] if quota is not None and quota < bound else []
    usable = bound if quota is None else min(bound, max(1, int(quota)))
    text = " ".join([f"{usable} of {there} usable", *([f"({', '.join(limits)})"] if limits else [])])
    threads = [f"{name}={environ[name]}" for name in THREADS if name in environ]
    return Section("cores", (text, ", ".join(threads) or "no variable sets a number of threads"))


def memory(root: Path) -> Section:
    """The machine's memory, and what a control group leaves of it."""
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit = cgroups.memory_limit_bytes(root)
    text = size(total, GIB)
    if limit is not None and limit < total:
        text += f", of which the control group allows {size(limit, GIB)}"
    return Section("memory", (text,))
