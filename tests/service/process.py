"""The process service: a request checked strictly, the image that it asks for, and what it costs."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tests.service import evalscript
from tests.service.evalscript import BANDS, Evalscript
from tests.service.payload import expect, is_bbox, is_number, known, moment
from tests.service.scenes import Acquisition

MAX_PX = 2500
STRIP_PX = 128  # rows drawn at once: what they need stays in the processor's cache
CACHE_BYTES = 16 * 2**20
RESAMPLING = ("NEAREST", "BILINEAR", "BICUBIC")  # all are accepted; drawn is always the nearest
ORDERS = {  # which acquisition lies on top
    "mostRecent": lambda acquisition: -acquisition.time.timestamp(),
    "leastRecent": lambda acquisition: acquisition.time.timestamp(),
    "leastCC": lambda acquisition: (acquisition.cloud_cover, -acquisition.time.timestamp()),
}


@dataclass(frozen=True)
class ProcessRequest:
    """A request as the service understands it.

    Attributes:
        collection: "sentinel-2-l2a" or "sentinel-2-l1c".
        start, end: sensing times wanted, both included.
        order: which acquisition lies on top, a key of ORDERS.
        max_cloud_cover: percent, of whole acquisitions.
        harmonize: whether numbers of all baselines mean 10000 x reflectance.
        bbox: west, south, east, north in the units of `crs`.
        crs: such as "EPSG:32632"; of geographic ones, longitude comes first.
        width_px, height_px: size of the image.
        script: bands, units and type.
    """

    collection: str
    start: dt.datetime
    end: dt.datetime
    order: str
    max_cloud_cover: float
    harmonize: bool
    bbox: tuple[float, float, float, float]
    crs: str
    width_px: int
    height_px: int
    script: Evalscript


def parse(body: object) -> ProcessRequest:
    """Check the JSON body of a request.

    Raises:
        Refused: for anything that the service does not know, or that is not drawn here.
    """
    known(body, "request", {"input", "output", "evalscript"})
    known(body["input"], "input", {"bounds", "data"})
    data = body["input"]["data"]
    expect(isinstance(data, list) and len(data) == 1, "input.data must hold one data source")
    known(data[0], "input.data", {"type", "dataFilter"}, {"processing", "id"})
    collection = data[0]["type"]
    expect(collection in tuple(BANDS), f"input.data.type: unknown collection {collection!r}")
    bbox, crs = _bounds(body["input"]["bounds"])
    script = evalscript.parse(body["evalscript"], collection)
    width, height = _output(body["output"], bbox, script.identifier)
    start, end, order, clouds = _filter(data[0]["dataFilter"])
    processing = data[0].get("processing", {})
    known(processing, "processing", set(), {"upsampling", "downsampling", "harmonizeValues"})
    for key in ("upsampling", "downsampling"):
        expect(processing.get(key, "NEAREST") in RESAMPLING, f"processing.{key} must be one of {', '.join(RESAMPLING)}")
    harmonize = processing.get("harmonizeValues", True)
    expect(isinstance(harmonize, bool), "processing.harmonizeValues must be true or false")
    return ProcessRequest(collection, start, end, order, clouds, harmonize, bbox, crs, width, height, script)


def _bounds(bounds: object) -> tuple[tuple[float, float, float, float], str]:
    known(bounds, "input.bounds", {"bbox", "properties"})
    known(bounds["properties"], "input.bounds.properties", {"crs"})
    expect(is_bbox(bounds["bbox"]), "input.bounds.bbox must be west, south, east, north")
    url = bounds["properties"]["crs"]
    expect(isinstance(url, str), "input.bounds.properties.crs must be a text")
    if url == "http://www.opengis.net/def/crs/OGC/1.3/CRS84":
        return tuple(bounds["bbox"]), "EPSG:4326"
    named = re.fullmatch(r"http://www\.opengis\.net/def/crs/EPSG/0/(4326|3857|32[67](?:0[1-9]|[1-5]\d|60))", url)
    expect(named is not None, f"input.bounds.properties.crs: unknown {url!r}")
    return tuple(bounds["bbox"]), f"EPSG:{named[1]}"


def _output(output: object, bbox: tuple[float, ...], identifier: str) -> tuple[int, int]:
    """Width and height in pixels."""
    known(output, "output", {"responses"}, {"width", "height", "resx", "resy"})
    sizes = output.keys() - {"responses"}
    expect(sizes in ({"width", "height"}, {"resx", "resy"}), "output needs either width and height, or resx and resy")
    responses = output["responses"]
    expect(isinstance(responses, list) and len(responses) == 1, "output.responses must hold one response")
    known(responses[0], "output.responses", {"identifier", "format"})
    known(responses[0]["format"], "output.responses.format", {"type"})
    named = responses[0]["identifier"]
    expect(named == identifier, f"Output {named} requested but missing from function setup()")
    expect(responses[0]["format"]["type"] == "image/tiff", "the local service draws only image/tiff")
    pixels = []
    for size, step, extent in (("width", "resx", bbox[2] - bbox[0]), ("height", "resy", bbox[3] - bbox[1])):
        if step in output:
            expect(is_number(output[step]) and output[step] > 0, f"output.{step} must be a positive number")
            pixels.append(max(1, round(extent / output[step])))
            expect(
                pixels[-1] <= MAX_PX,
                f"`{size} = {pixels[-1]}`, calculated from {step}, is larger than allowed {MAX_PX}.",
            )
        else:
            given = output[size]
            expect(isinstance(given, int) and not isinstance(given, bool), f"output.{size} must be an integer")
            expect(1 <= given <= MAX_PX, f"Invalid {size} ({given}): must be between 1 and {MAX_PX}.")
            pixels.append(given)
    return pixels[0], pixels[1]


def _filter(given: object) -> tuple[dt.datetime, dt.datetime, str, float]:
    known(given, "dataFilter", {"timeRange"}, {"mosaickingOrder", "maxCloudCoverage"})
    known(given["timeRange"], "dataFilter.timeRange", {"from", "to"})
    start, end = (moment(given["timeRange"][key], f"dataFilter.timeRange.{key}") for key in ("from", "to"))
    expect(start <= end, "dataFilter.timeRange: from is later than to")
    order = given.get("mosaickingOrder", "mostRecent")
    expect(order in tuple(ORDERS), f"dataFilter.mosaickingOrder must be one of {', '.join(ORDERS)}")
    clouds = given.get("maxCloudCoverage", 100)
    expect(is_number(clouds) and 0 <= clouds <= 100, "dataFilter.maxCloudCoverage must be between 0 and 100")
    return start, end, order, clouds


def processing_units(request: ProcessRequest) -> float:
    """The price of a request: one unit is 512 x 512 pixels of three bands; 32-bit floats cost double.

    The least area that counts is a hundredth of a unit's.
    """
    area, bands = max(0.01, request.width_px * request.height_px / 512**2), len(request.script.inputs) / 3
    return max(0.005, area * bands * (2 if request.script.sample_type == "FLOAT32" else 1))


def draw(request: ProcessRequest, acquisitions: Sequence[Acquisition], interleave: str) -> bytes:
    """The image as a GeoTIFF of uint16 or float32, 0 in all bands where no acquisition has data.

    Every value is that of the ground below the pixel's centre, so that neighbouring images fit.
    """
    import rasterio
    from rasterio.windows import Window

    chosen = [
        acquisition
        for acquisition in acquisitions
        if acquisition.collection == request.collection
        and request.start <= acquisition.time <= request.end
        and acquisition.cloud_cover <= request.max_cloud_cover
    ]
    chosen.sort(key=ORDERS[request.order])
    width, height = request.width_px, request.height_px
    west, south, east, north = request.bbox
    profile = {
        "driver": "GTiff",
        "count": len(request.script.outputs),
        "height": height,
        "width": width,
        "dtype": request.script.sample_type.lower(),
        "interleave": interleave,
        "photometric": "minisblack",
        "crs": request.crs,
        "transform": rasterio.Affine((east - west) / width, 0, west, 0, (south - north) / height, north),
    }
    with rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES), rasterio.MemoryFile() as memory:
        with memory.open(**profile) as target:
            for top in range(0, height, STRIP_PX):
                bottom = min(top + STRIP_PX, height)
                target.write(_strip(request, chosen, top, bottom), window=Window(0, top, width, bottom - top))
        return memory.read()


def _strip(request: ProcessRequest, acquisitions: Sequence[Acquisition], top: int, bottom: int) -> np.ndarray:
    """The rows (C,h,W) of the image from `top` on; of the acquisitions, the first lies on top."""
    shape = (len(request.script.outputs), bottom - top, request.width_px)
    strip, missing = np.zeros(shape, request.script.sample_type.lower()), np.ones(shape[1:], bool)
    for acquisition in acquisitions:
        x, y = centres(request, acquisition.epsg, top, bottom)
        here = missing & acquisition.valid(x, y)
        if not here.any():
            continue
        for i, band in enumerate(request.script.outputs):
            values = 1 if band == "dataMask" else _values(request, acquisition, band, x, y)
            np.copyto(strip[i], values, where=here, casting="unsafe")
        missing &= ~here
        if not missing.any():
            break
    return strip


def _values(request: ProcessRequest, acquisition: Acquisition, band: str, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """What the script sees of a band, in the type of the image; integers are rounded and clamped."""
    dn = acquisition.pixels.values(band, x, y)
    offset = 0 if request.harmonize else acquisition.offset_dn
    if offset:
        dn = dn.astype(np.int32) + offset
    dn = np.maximum(dn, 0)
    if request.script.units[band] == "REFLECTANCE":
        dn = dn / np.float32(10_000)
    if request.script.sample_type == "FLOAT32":
        return dn.astype(np.float32)
    highest = 65535 if dn.dtype.kind == "f" else min(65535, np.iinfo(dn.dtype).max)
    return np.minimum(np.rint(dn) if dn.dtype.kind == "f" else dn, highest).astype(np.uint16)


def centres(request: ProcessRequest, epsg: int, top: int, bottom: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions x, y in metres of the centres of the rows from `top`: (1,W) and (h,1), or both (h,W) in another CRS.

    They are rounded to a thousandth of a millimetre, lest two neighbours disagree about a cell's edge.
    """
    west, south, east, north = request.bbox
    x = west + (np.arange(request.width_px) + 0.5)[None] * ((east - west) / request.width_px)
    y = north - (np.arange(top, bottom) + 0.5)[:, None] * ((north - south) / request.height_px)
    if request.crs != f"EPSG:{epsg}":
        from pyproj import Transformer

        x, y = np.broadcast_arrays(x, y)
        x, y = Transformer.from_crs(request.crs, f"EPSG:{epsg}", always_xy=True).transform(x, y)
    return np.round(x, 6), np.round(y, 6)
