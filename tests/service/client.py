"""Orders that the tests give to the real client, sentinelhub-py."""

from __future__ import annotations

import numpy as np

from tests.service.server import LocalSentinelHub

UTM32, NORTH = "32632", 5_400_000


def settings(hub: LocalSentinelHub, **changes: object):
    """The client's configuration; credentials come from the environment, retries are quick and few."""
    from sentinelhub import SHConfig

    fast = {"download_sleep_time": 0.01, "max_download_attempts": 3, "download_timeout_seconds": 10.0, "max_retries": 5}
    return SHConfig(sh_base_url=hub.base_url, sh_token_url=hub.token_url, **fast | changes)


def collection(hub: LocalSentinelHub, level: str = "L2A"):
    """The data collection at this server."""
    from sentinelhub import DataCollection

    usual = {"L2A": DataCollection.SENTINEL2_L2A, "L1C": DataCollection.SENTINEL2_L1C}[level]
    # Ports come back, and a definition may have one name only.
    known = (c for c in DataCollection if (c.api_id, c.service_url) == (usual.api_id, hub.base_url))
    return next(known, None) or usual.define_from(f"{level} at {hub.base_url}", service_url=hub.base_url)


def script(bands: tuple[str, ...], units: str = "DN", sample_type: str = "UINT16") -> str:
    """An evalscript that gives bands as they are."""
    each = ["DN" if band == "dataMask" else units for band in bands]
    return f"""//VERSION=3
function setup() {{
  return {{input: [{{bands: {list(bands)}, units: {each}}}],
           output: {{bands: {len(bands)}, sampleType: "{sample_type}"}}}};
}}
function evaluatePixel(sample) {{ return [{", ".join(f"sample.{band}" for band in bands)}]; }}
"""


def order(
    hub: LocalSentinelHub,
    bounds: tuple[float, float, float, float],
    size: tuple[int, int],
    bands: tuple[str, ...] = ("B02", "dataMask"),
    *,
    time: tuple[str, str] = ("2024-07-01", "2024-07-31"),
    crs: str = UTM32,
    level: str = "L2A",
    units: str = "DN",
    sample_type: str = "UINT16",
    config=None,
    **input_data: object,
):
    """A request for an image of (width, height) `size` in pixels."""
    from sentinelhub import CRS, BBox, MimeType, SentinelHubRequest

    return SentinelHubRequest(
        evalscript=script(bands, units, sample_type),
        input_data=[SentinelHubRequest.input_data(collection(hub, level), time_interval=time, **input_data)],
        responses=[SentinelHubRequest.output_response("default", MimeType.TIFF)],
        bbox=BBox(bounds, CRS(crs)),
        size=size,
        config=config or settings(hub),
    )


def image(*arguments: object, **options: object) -> np.ndarray:
    """What `order` brings, (H,W,C), as the client decodes it."""
    return np.atleast_3d(order(*arguments, **options).get_data()[0])


def box(col: int, row: int, width: int, height: int, west: float = 600_000) -> tuple[float, float, float, float]:
    """West, south, east, north of a rectangle of 10 m pixels, counted from the corner of the usual tile."""
    left, top = west + 10 * col, NORTH - 10 * row
    return left, top - 10 * height, left + 10 * width, top
