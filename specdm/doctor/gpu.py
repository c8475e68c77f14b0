"""The GPUs, their driver, and whether torch can use them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from specdm.doctor.commands import Ran, Run
from specdm.doctor.imports import Imported
from specdm.doctor.section import GIB, Section, first_line, size

SECONDS = 20.0  # a driver that sleeps takes some
ON_PROCESSOR = "trainings run on the processor"


@dataclass(frozen=True)
class Driver:
    """NVIDIA's driver: its version (None when there is none), and what nvidia-smi complains about."""

    version: str | None
    complaint: str = ""


def driver(run: Run, root: Path = Path("/")) -> Driver:
    """The driver as nvidia-smi tells it, or else the kernel's module below `root`."""
    ran = run(["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"], SECONDS)
    if ran is not None and ran.status == 0 and re.match(r"\d+\.", ran.out):
        return Driver(ran.out.split()[0])
    loaded = root / "proc/driver/nvidia/version"
    found = re.search(r"\b\d{3,}\.\d+(\.\d+)?\b", loaded.read_text()) if loaded.is_file() else None
    return Driver(found and found[0], _complaint(ran))


def _complaint(ran: Ran | None) -> str:
    return "" if ran is None else first_line(ran.message)


def gpu(torch: Imported, found: Driver, environ: Mapping[str, str]) -> Section:
    """GPUs as torch sees them, and why it sees none where there is a driver.

    Args:
        torch: what came of importing torch.
        found: the driver.
        environ: environment variables; CUDA_VISIBLE_DEVICES may hide GPUs.
    """
    told = f"driver {found.version}" if found.version else "no NVIDIA driver"
    unreached = _unreached(found)
    if torch.error:
        return Section("GPU", (f"{told}; torch cannot be asked",), worth_knowing=unreached)
    facts = torch.facts
    if "fault" in facts:
        return Section(
            "GPU",
            (f"{told}; torch fails on it",),
            worth_knowing=(f"torch fails on the GPU ({first_line(facts['fault'])}): mend its driver.", *unreached),
        )
    built = f"{facts['build']} build of torch"
    counted = Counter((name, memory) for name, memory in facts["devices"])
    if counted:
        format_ = "bfloat16" if facts["bfloat16"] else "no bfloat16, float32 only"
        lines = [f"{n} x {name}, {size(memory, GIB)}, {format_}" for (name, memory), n in counted.items()]
        return Section("GPU", (*lines, f"{told}; {built}"), worth_knowing=unreached)
    why = _why_none(facts, found.version, environ)
    return Section("GPU", (f"none; {told}; {built}",), worth_knowing=(*([why] if why else []), *unreached))


def _why_none(facts: dict, version: str | None, environ: Mapping[str, str]) -> str:
    if facts["build"] == "CPU":
        if version is None:
            return ""
        return (
            f"There is an NVIDIA driver ({version}), but torch is a CPU build and {ON_PROCESSOR}: install the torch of "
            "requirements.lock."
        )
    hidden = environ.get("CUDA_VISIBLE_DEVICES")
    if version is not None and hidden is not None and not re.match(r"\s*(\d|GPU-|MIG-)", hidden):
        return f"CUDA_VISIBLE_DEVICES hides every GPU and {ON_PROCESSOR}: unset it to use them."
    if version is None:
        return (
            f"torch is built for {facts['build']}, but there is no driver here and {ON_PROCESSOR}: usual on "
            "a cluster's login node; elsewhere, install the GPU's driver."
        )
    because = f" ({first_line(facts['warning'])})" if facts["warning"] else ""
    return (
        f"torch is built for {facts['build']} and cannot use the driver {version}{because}: update the driver, or "
        "install a build of torch for an older CUDA."
    )


def _unreached(found: Driver) -> tuple[str, ...]:
    if not found.complaint:
        return ()
    return (f"nvidia-smi does not reach its driver ({found.complaint}): load the driver anew, or restart the machine.",)
