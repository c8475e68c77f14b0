"""Imports packages and says what they know; a script, so that a library that crashes ends this process only.

    python -P probe.py torch rasterio        one JSON object a line: {"name": ..., "error": ...} or {..., "facts": ...}

Packages are imported by name, whatever is installed: the rest of the package goes through its own doors.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import warnings
from types import ModuleType


def of_torch(torch: ModuleType) -> dict:
    """What torch was built for and which GPUs it can use; its first complaint about them."""
    version = torch.version
    build = f"CUDA {version.cuda}" if version.cuda else f"ROCm {version.hip}" if version.hip else "CPU"
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        usable = torch.cuda.is_available()
        properties = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count() if usable else 0)]
        bfloat16 = usable and torch.cuda.is_bf16_supported()
    devices = [[each.name, each.total_memory] for each in properties]
    warning = str(told[0].message) if told else ""
    return {"build": build, "devices": devices, "bfloat16": bool(bfloat16), "warning": warning}


def of_rasterio(rasterio: ModuleType) -> dict:
    """GDAL's version, and the raster formats it has."""
    with rasterio.Env() as gdal:
        return {"gdal": rasterio.__gdal_version__, "drivers": sorted(gdal.drivers())}


def of_pyogrio(pyogrio: ModuleType) -> dict:
    """GDAL's version, and the vector formats it can write."""
    drivers = pyogrio.list_drivers(write=True)
    return {"gdal": ".".join(map(str, pyogrio.__gdal_version__)), "drivers": sorted(drivers)}


FACTS = {"torch": of_torch, "rasterio": of_rasterio, "pyogrio": of_pyogrio}


def look(name: str) -> dict:
    """Import a package, and ask it."""
    try:
        module = importlib.import_module(name)
    except (Exception, SystemExit) as error:  # whatever a broken library raises is the finding
        return {"name": name, "error": _words(error)}
    try:
        return {"name": name, "facts": FACTS[name](module) if name in FACTS else {}}
    except Exception as error:
        return {"name": name, "facts": {"fault": _words(error)}}


def _words(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    for asked in sys.argv[1:]:
        print(json.dumps(look(asked)), file=answers, flush=True)
