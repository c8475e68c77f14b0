"""The packages that decide results, beside the versions that requirements.lock pins."""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from specdm.doctor.imports import Imported
from specdm.doctor.section import Section

MODULES = {  # package -> the module it is imported as; the first to be imported stands first
    "torch": "torch",
    "diffusers": "diffusers",
    "lightning-fabric": "lightning_fabric",
    "segmentation-models-pytorch": "segmentation_models_pytorch",
    "timm": "timm",
    "snakemake": "snakemake",
    "snakemake-executor-plugin-slurm": "snakemake_executor_plugin_slurm",
    "numpy": "numpy",
    "pandas": "pandas",
    "scipy": "scipy",
    "rasterio": "rasterio",
    "pyogrio": "pyogrio",
    "geopandas": "geopandas",
    "pydantic": "pydantic",
    "PyYAML": "yaml",
    "sentinelhub": "sentinelhub",
}
INSTALL = "with `pip install -r requirements.lock`."
NO_LOCK = (
    "There is no requirements.lock beside the package, and versions were not compared: run from a clone of the "
    "repository."
)


@dataclass(frozen=True)
class Difference:
    """A package whose installed version (None: absent) is not the pinned one."""

    name: str
    installed: str | None
    pinned: str


def pinned(lock: Path) -> dict[str, str]:
    """The versions of a lock file by package; of one that is not there, none."""
    if not lock.is_file():
        return {}
    return dict(re.findall(r"^([\w.-]+)==(\S+)", lock.read_text(), re.MULTILINE))


def installed(name: str) -> str | None:
    """The version of an installed package, None when it is not installed."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def differences(pins: Mapping[str, str], version_of: Callable[[str], str | None] = installed) -> list[Difference]:
    """Packages that are not installed as pinned; a build (2.15.0+cpu) is of its version (2.15.0)."""
    found = [Difference(name, version_of(name), pin) for name, pin in pins.items()]
    return [each for each in found if not _is(each.installed, each.pinned)]


def _is(version: str | None, pin: str) -> bool:
    return version is not None and version.partition("+")[0] == pin


def packages(
    pins: Mapping[str, str],
    imports: Mapping[str, Imported],
    version_of: Callable[[str], str | None] = installed,
) -> Section:
    """The packages that decide results: version, the pinned one where it differs, whether they can be imported.

    Args:
        pins: package -> version of requirements.lock; empty when there is none.
        imports: what came of importing the modules of MODULES.
        version_of: package -> installed version or None.
    """
    by_name = {_canonical(name): pin for name, pin in pins.items()}
    lines, missing = [], []
    for name, module in MODULES.items():
        version, pin = version_of(name), by_name.get(_canonical(name))
        if version is None:
            lines.append(f"{name} is not installed{f', requirements.lock pins {pin}' if pin else ''}")
            missing.append(f"{name} is not installed: install it {INSTALL}")
            continue
        differs = pin is not None and not _is(version, pin)
        lines.append(f"{name} {version}{f', requirements.lock pins {pin}' if differs else ''}")
        if imports[module].error:
            missing.append(f"{name} cannot be imported ({imports[module].error}): install it anew {INSTALL}")
    if not pins:
        return Section("packages", tuple(lines), tuple(missing), (NO_LOCK,))
    differ = differences(pins, version_of)
    lines.append(f"{len(pins) - len(differ)} of the {len(pins)} packages of requirements.lock are as it pins them")
    return Section("packages", tuple(lines), tuple(missing), tuple(_advice(differ)))


def _advice(differ: list[Difference]) -> Iterable[str]:
    others = [each.name for each in differ if each.installed is not None]
    if others:
        yield (
            f"{_listed(others)} not as requirements.lock pins {'it' if len(others) == 1 else 'them'}, and results may "
            f"differ: install the pinned versions {INSTALL}"
        )
    needed = {_canonical(name) for name in MODULES}
    absent = [each.name for each in differ if each.installed is None and _canonical(each.name) not in needed]
    if absent:
        yield f"{_listed(absent)} not installed: install the pinned versions {INSTALL}"


def _listed(names: list[str], longest: int = 8) -> str:
    more = [f"{len(names) - longest} more"] if len(names) > longest else []
    names = [*names[:longest], *more]
    return f"{' and '.join([', '.join(names[:-1]), names[-1]])} are" if names[1:] else f"{names[0]} is"


def _canonical(name: str) -> str:
    """Names of packages are the same whatever their case and signs between words."""
    return re.sub(r"[-_.]+", "-", name).lower()
