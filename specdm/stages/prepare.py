"""Raw files -> patch set; and where raw files come from: the simulator or a download."""

from __future__ import annotations

from pathlib import Path

from specdm import bands, files, provenance
from specdm.settings import OscdSettings, SceneSettings, SegMunichSettings, SimulatedOscd, SimulatedSegMunich
from specdm.sources import oscd, scene, segmunich, simulate

STAGE_VERSION = 1


def prepare(
    name: str, raw: Path, out: Path, settings: SegMunichSettings | OscdSettings | SceneSettings, seed: int
) -> list[str]:
    """Cut raw files into the patch set `out` and return the lines of the report.

    Raises:
        UserError: when the raw files are missing, damaged or not what the settings declare.
    """
    if isinstance(settings, SceneSettings):
        return scene.prepare(raw, out, settings, name=name, seed=seed).lines()
    options = settings.model_dump() | {"bands": bands.resolve(settings.bands)}
    if isinstance(settings, OscdSettings):
        return oscd.prepare(raw, out, name=name, **options | {"stride_px": settings.stride}).lines()
    return segmunich.prepare(raw, out, name=name, seed=seed, **options).lines()


def simulate_raw(raw: Path, settings: SimulatedSegMunich | SimulatedOscd, seed: int) -> None:
    """Write simulated raw files in the layout of SegMunich or OSCD, and the marker simulate.json last."""
    if isinstance(settings, SimulatedOscd):
        cities = [(c.name, c.split, c.height, c.width) for c in settings.cities]
        simulate.write_oscd(raw, seed=seed, cities=cities)
    else:
        simulate.write_segmunich(raw, seed=seed, **settings.model_dump())
    stamp = provenance.stamp("simulate", STAGE_VERSION, seed, settings.model_dump(mode="json"))
    files.write_json(raw / "simulate.json", stamp)
