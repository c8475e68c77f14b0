"""The formats that rasters and vectors are read and written in."""

from __future__ import annotations

from specdm.doctor.imports import Imported
from specdm.doctor.section import Section, first_line

DRIVERS = {"rasterio": ("GTiff", "COG"), "pyogrio": ("GPKG",)}


def gdal(imports: dict[str, Imported]) -> Section:
    """The GDAL of rasterio and of pyogrio, and which formats they lack. `imports`: what came of importing both."""
    lines, missing = [], []
    for package, needed in DRIVERS.items():
        facts = imports[package].facts
        if "drivers" not in facts:
            lines.append(f"{package}: cannot be asked")
            if "fault" in facts:
                missing.append(
                    f"GDAL of {package} does not work ({first_line(facts['fault'])}): install {package} anew, without "
                    "GDAL_DATA and PROJ_LIB of another GDAL in the environment."
                )
            continue
        there = [name for name in needed if name in facts["drivers"]]
        lines.append(f"{package}: GDAL {facts['gdal']}, {', '.join(there) or 'no driver that is needed'}")
        missing += [
            f"GDAL of {package} lacks the driver {name}: install {package} from requirements.lock, which brings it."
            for name in needed
            if name not in there
        ]
    return Section("GDAL", tuple(lines), tuple(missing))
