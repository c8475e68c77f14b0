"""What an acquisition will ask for: images, their tiles as requests, and what these cost."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from specdm.settings import AcquireSettings
from specdm.sources.areas import Ground, Tile
from specdm.sources.catalogue import Pass
from specdm.sources.evalscript import COLLECTIONS, evalscript
from specdm.sources.imagery_service import ImageryService

UNIT_PX = 512 * 512  # of the definition of a processing unit
UNIT_BANDS = 3
LEAST_AREA = 0.01  # of a unit's pixels, counted at least
LEAST_UNITS = 0.005  # of a request


@dataclass(frozen=True)
class Image:
    """An image to be acquired.

    Attributes:
        path: where it goes, below the folder of the raw files.
        ground: its grid and tiles.
        seen: the pass that it shows.
    """

    path: str
    ground: Ground
    seen: Pass


@dataclass(frozen=True)
class Cost:
    """Requests and processing units."""

    requests: int = 0
    units: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.requests + other.requests, self.units + other.units)

    def within(self, requests: float, units: float) -> bool:
        """Whether so many requests and units suffice."""
        return self.requests <= requests and self.units <= units * (1 + 1e-9)

    def __str__(self) -> str:
        return f"{self.requests} request{'s' * (self.requests != 1)} and {self.units:.6g} processing units"


# PU = max(pixels / 512^2, 0.01) x bands / 3, for one date and at most 16 bits a number; the data mask is free.
def units(tile: Tile, n_bands: int) -> float:
    """Processing units of a request for a tile, by the service's published rules."""
    area = max(tile.height * tile.width / UNIT_PX, LEAST_AREA)
    return max(area * n_bands / UNIT_BANDS, LEAST_UNITS)


def cost(tiles: Sequence[Tile], n_bands: int) -> Cost:
    """What requests for tiles cost."""
    return Cost(len(tiles), sum(units(tile, n_bands) for tile in tiles))


def request(
    service: ImageryService, collection, image: Image, tile: Tile, bands: Sequence[str], resampling: str = "nearest"
):
    """The request for a tile of an image, as sentinelhub describes downloads; its name is a hash of its content.

    Offsets of processing baselines are taken out by the service (harmonizeValues): reflectance = number / 10000.
    """
    from sentinelhub import CRS, BBox, MimeType, ResamplingType, SentinelHubRequest

    asked = SentinelHubRequest(
        evalscript=evalscript(bands),
        input_data=[
            SentinelHubRequest.input_data(
                collection,
                time_interval=tuple(moment.astimezone(dt.UTC).replace(tzinfo=None) for moment in image.seen.interval),
                upsampling=ResamplingType(resampling.upper()),
                other_args={"processing": {"harmonizeValues": True}},
            )
        ],
        responses=[SentinelHubRequest.output_response("default", MimeType.TIFF)],
        bbox=BBox(image.ground.bounds(tile), crs=CRS(image.ground.grid.crs)),
        size=(tile.width, tile.height),
        config=service.config,
    )
    return asked.download_list[0]


def description(settings: AcquireSettings, image: Image, bands: Sequence[str]) -> dict:
    """All that decides the pixels of an image, as plain JSON."""
    return {
        "collection": COLLECTIONS[settings.level],
        "bands": list(bands),
        "resampling": settings.resampling,
        "crs": image.ground.grid.crs,
        "transform": list(image.ground.grid.transform),
        "size_px": [image.ground.grid.height, image.ground.grid.width],
        "tiles": [[t.row, t.col, t.height, t.width] for t in image.ground.tiles],
        "acquisitions": [one.id for one in image.seen.acquisitions],
    }
