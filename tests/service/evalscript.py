"""The part of an evalscript that says what is wanted: bands, units, type and order of the output.

No JavaScript runs here. `setup()` is read as an object literal, and `evaluatePixel` may only return a list of bands,
`return [s.B02, s.B03, s.dataMask];`. Everything else is refused, though the service would run it.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from tests.service.payload import Refused, expect, known

REFLECTIVE = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12")
BANDS = {
    "sentinel-2-l1c": REFLECTIVE,
    "sentinel-2-l2a": tuple(band for band in REFLECTIVE if band != "B10"),
}
SHORT = {"sentinel-2-l1c": "S2L1C", "sentinel-2-l2a": "S2L2A"}
UNITS = ("REFLECTANCE", "DN")  # the first is the default; dataMask has DN alone
SAMPLE_TYPES = ("UINT16", "FLOAT32")  # of the service's types, those drawn here


@dataclass(frozen=True)
class Evalscript:
    """What the script asks for.

    Attributes:
        inputs: input bands without dataMask; they are what is charged.
        outputs: bands of the image in order, dataMask among them.
        units: unit of each input band.
        sample_type: "UINT16" or "FLOAT32".
        identifier: name of the output.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    units: dict[str, str]
    sample_type: str
    identifier: str


def parse(text: object, collection: str) -> Evalscript:
    """Read an evalscript of version 3.

    Raises:
        Refused: when the service would refuse it, or when it does more than this reader understands.
    """
    expect(isinstance(text, str), "evalscript must be a string")
    expect(text.lstrip().startswith("//VERSION=3"), "Evalscript must start with //VERSION=3")
    plain = re.sub(r"/\*.*?\*/|//[^\n]*", "", text, flags=re.DOTALL)
    setup = _setup(plain)
    known(setup, "evalscript setup", {"input", "output"}, {"mosaicking"})
    expect(setup.get("mosaicking", "SIMPLE") == "SIMPLE", "the local service draws only the mosaicking SIMPLE")
    units = _inputs(setup["input"], collection)
    output = setup["output"][0] if isinstance(setup["output"], list) and setup["output"] else setup["output"]
    expect(
        not isinstance(setup["output"], list) or len(setup["output"]) == 1,
        "the local service draws only one output",
    )
    known(output, "evalscript output", {"bands"}, {"id", "sampleType", "nodataValue"})
    sample_type = output.get("sampleType", "AUTO")
    expect(sample_type in SAMPLE_TYPES, f"the local service draws {' and '.join(SAMPLE_TYPES)}, not {sample_type}")
    outputs = _returned(plain)
    for band in outputs:
        expect(band in units, f"Script failed: {band} is not among the input bands", "RENDERER_EXCEPTION")
    expect(
        output["bands"] == len(outputs),
        f"Output default requires {output['bands']} bands but the script returned {len(outputs)}",
        "RENDERER_EXCEPTION",
    )
    inputs = tuple(band for band in units if band != "dataMask")
    return Evalscript(inputs, outputs, units, sample_type, output.get("id", "default"))


def _setup(plain: str) -> dict:
    """The object that setup() returns."""
    start = re.search(r"function\s+setup\s*\(\s*\)\s*\{\s*return\s*(?=\{)", plain)
    expect(start is not None, "Failed to evaluate script: setup() is missing", "RENDERER_EXCEPTION")
    literal = re.sub(r"\bSampleType\.(\w+)", r'"\1"', plain[start.end() :])
    literal = re.sub(r"'([^'\"\n]*)'", r'"\1"', literal)
    literal = re.sub(r"([{,]\s*)(\w+)\s*:", r'\1"\2":', literal)
    literal = re.sub(r",(\s*[}\]])", r"\1", literal)
    try:
        return json.JSONDecoder().raw_decode(literal)[0]
    except ValueError as error:
        raise Refused("Failed to evaluate script: setup() is no plain object", code="RENDERER_EXCEPTION") from error


def _inputs(given: object, collection: str) -> dict[str, str]:
    """Unit of each input band, in the order of the script."""
    expect(isinstance(given, list) and given, "evalscript input must be a list")
    if all(isinstance(entry, str) for entry in given):
        given = [{"bands": given}]
    expect(len(given) == 1, "the local service reads only one input")
    known(given[0], "evalscript input", {"bands"}, {"units"})
    bands, units = given[0]["bands"], given[0].get("units")
    names = isinstance(bands, list) and bands and all(isinstance(band, str) for band in bands)
    expect(names and len(set(bands)) == len(bands), "input bands must be a list of different names")
    for band in bands:
        expect(
            band in (*BANDS[collection], "dataMask"),
            f"Invalid script! Collection '{SHORT[collection]}' does not contain band '{band}'!",
            "RENDERER_EXCEPTION",
        )
    expect(
        units is None or isinstance(units, str) or (isinstance(units, list) and len(units) == len(bands)),
        "input units must be one text, or a list as long as the bands",
    )
    each = units if isinstance(units, list) else [units] * len(bands)
    chosen = {}
    for band, unit in zip(bands, each, strict=True):
        possible = ("DN",) if band == "dataMask" else UNITS
        chosen[band] = possible[0] if unit is None else unit
        expect(
            chosen[band] in possible,
            f"Invalid script! Band '{band}' of collection '{SHORT[collection]}' requested in unsupported units "
            f"'{unit}'! Supported units for this band: [{', '.join(possible)}].",
            "RENDERER_EXCEPTION",
        )
    return chosen


def _returned(plain: str) -> tuple[str, ...]:
    """The bands that evaluatePixel returns, in order."""
    whole = r"function\s+evaluatePixel\s*\(\s*(\w+)\s*\)\s*\{\s*return\s*\[([^\]]*)\]\s*;?\s*\}"
    found = re.search(whole, plain)
    expect(found is not None, "Script must return an array.", "RENDERER_EXCEPTION")
    sample, entries = found[1], [entry.strip() for entry in found[2].split(",")]
    entries = entries[:-1] if entries[-1] == "" else entries
    for entry in entries:
        expect(
            re.fullmatch(rf"{sample}\.\w+", entry) is not None,
            f"the local service cannot evaluate {entry!r}: return bands as {sample}.B02",
            "RENDERER_EXCEPTION",
        )
    return tuple(entry.split(".")[1] for entry in entries)
