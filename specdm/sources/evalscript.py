"""The script that the imagery service runs for each pixel."""

from __future__ import annotations

from collections.abc import Sequence

from specdm import bands as tables
from specdm.errors import UserError

COLLECTIONS = {"TOA": "sentinel-2-l1c", "BOA": "sentinel-2-l2a"}
SCALE = 1e-4  # reflectance = number x SCALE, at both levels, offsets of processing baselines taken out
MASK = "dataMask"  # 1 where the satellite has seen the ground, else 0


def band_names(selection: str | Sequence[str], level: str) -> tuple[str, ...]:
    """The bands of a selection that a level of Sentinel-2 data has.

    Raises:
        UserError: for unknown bands, bands named twice, and the cirrus band B10 at the bottom of the atmosphere.
    """
    names = tables.resolve(selection)
    if level == "BOA" and "B10" in names:
        raise UserError("bands: surface reflectance (BOA) has no band B10, it sees clouds alone: leave it out.")
    return names


def evalscript(bands: Sequence[str]) -> str:
    """A script that gives digital numbers of bands and the data mask as 16-bit integers, in this order."""
    listed = ", ".join(f'"{name}"' for name in (*bands, MASK))
    values = ", ".join(f"sample.{name}" for name in (*bands, MASK))
    return (
        "//VERSION=3\n"
        "function setup() {\n"
        "  return {\n"
        f'    input: [{{ bands: [{listed}], units: "DN" }}],\n'
        f'    output: {{ bands: {len(bands) + 1}, sampleType: "UINT16" }}\n'
        "  };\n"
        "}\n"
        "function evaluatePixel(sample) {\n"
        f"  return [{values}];\n"
        "}\n"
    )
