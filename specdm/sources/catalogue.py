"""Which days a satellite has seen an area on, with how many clouds; and the choice among them."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from specdm import rasters
from specdm.errors import UserError
from specdm.settings import When
from specdm.sources.areas import Ground
from specdm.sources.imagery_service import ImageryService

PAGE = 100  # acquisitions in an answer, the most that the catalogue gives
APART = dt.timedelta(minutes=10)  # of one pass over a long area; the next pass is an hour and a half later
MARGIN = dt.timedelta(seconds=1)


@dataclass(frozen=True)
class Acquisition:
    """One product of the catalogue: a tile of a satellite's pass.

    Attributes:
        id: its name.
        time: when it was taken, UTC.
        clouds: share of it under clouds.
        footprint: shapely geometry in WGS 84.
    """

    id: str
    time: dt.datetime
    clouds: float
    footprint: object


@dataclass(frozen=True)
class Pass:
    """The acquisitions of one pass of a satellite over an area.

    Attributes:
        acquisitions: in the order of time.
        clouds: share of them under clouds.
        missing: share of the area that they leave out.
    """

    acquisitions: tuple[Acquisition, ...]
    clouds: float
    missing: float

    @property
    def day(self) -> str:
        """Its day, UTC."""
        return self.acquisitions[0].time.date().isoformat()

    @property
    def interval(self) -> tuple[dt.datetime, dt.datetime]:
        """A time span that holds its acquisitions and no others."""
        return self.acquisitions[0].time - MARGIN, self.acquisitions[-1].time + MARGIN


def passes(service: ImageryService, collection, ground: Ground, when: When) -> list[Pass]:
    """All passes over an area on the days of `when`, in the order of time."""
    from sentinelhub import CRS, BBox, SentinelHubCatalog

    first, last = when.period
    box = BBox(ground.outline.bounds(rasters.WGS84), crs=CRS.WGS84)
    fields = {"include": ["id", "geometry", "properties.datetime", "properties.eo:cloud_cover"], "exclude": []}
    with service.errors(f"searching images of {ground.name}"):
        catalogue = SentinelHubCatalog(config=service.config)
        catalogue.client = service.client
        span = (f"{first}T00:00:00Z", f"{last}T23:59:59Z")
        found = list(catalogue.search(collection, bbox=box, time=span, fields=fields, limit=PAGE))
    return group([_acquisition(feature) for feature in found], ground)


def _acquisition(feature: dict) -> Acquisition:
    try:
        properties = feature["properties"]
        time = dt.datetime.fromisoformat(properties["datetime"]).astimezone(dt.UTC)
        return Acquisition(
            feature["id"], time, float(properties["eo:cloud_cover"]) / 100, rasters.geometry_of(feature["geometry"])
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            "The catalogue describes an image without its time, clouds or place: try again later."
        ) from error


def group(acquisitions: Sequence[Acquisition], ground: Ground) -> list[Pass]:
    """Acquisitions as passes: those of one satellite with little time between them."""
    by_satellite = defaultdict(list)
    for one in sorted(acquisitions, key=lambda a: a.time):
        by_satellite[one.id[:3]].append(one)  # S2A, S2B, S2C
    runs: list[list[Acquisition]] = []
    for own in by_satellite.values():
        for one in own:
            if runs and runs[-1][-1].id[:3] == one.id[:3] and one.time - runs[-1][-1].time < APART:
                runs[-1].append(one)
            else:
                runs.append([one])
    return sorted((_pass(run, ground) for run in runs), key=lambda p: p.acquisitions[0].time)


def _pass(run: Sequence[Acquisition], ground: Ground) -> Pass:
    footprints = [one.footprint for one in run]
    weights = [max(ground.outline.covered([footprint]), 1e-9) for footprint in footprints]
    clouds = sum(w * one.clouds for w, one in zip(weights, run, strict=True)) / sum(weights)
    return Pass(tuple(run), clouds, max(0.0, 1 - ground.outline.covered(footprints)))


def choose(found: Sequence[Pass], when: When, max_missing: float, name: str) -> list[Pass]:
    """The passes to take: on a day the most complete one, of a period those with the fewest clouds, in order of time.

    Raises:
        UserError: when there is none; it tells the best that there is.
    """
    whole = [one for one in found if one.missing <= max_missing]
    if when.day:
        chosen = sorted(whole, key=lambda p: (p.missing, p.clouds))[:1]
    else:
        clear = [one for one in whole if one.clouds <= when.max_clouds]
        chosen = sorted(sorted(clear, key=lambda p: p.clouds)[: when.n], key=lambda p: p.acquisitions[0].time)
    if not chosen:
        raise UserError(_nothing(found, whole, when, max_missing, name))
    return chosen


def _nothing(found: Sequence[Pass], whole: Sequence[Pass], when: When, max_missing: float, name: str) -> str:
    first, last = when.period
    span = f"on {first}" if first == last else f"from {first} to {last}"
    if not found:
        return f"There is no image of {name} {span}: choose other dates (a place is seen every two to five days)."
    if not whole:
        best = min(found, key=lambda p: p.missing)
        return (
            f"No image of {name} {span} covers it: the best, of {best.day}, leaves out {best.missing:.0%}, more than "
            f"max_missing ({max_missing:.0%}); choose other dates, a smaller area, or raise max_missing."
        )
    best = min(whole, key=lambda p: p.clouds)
    return (
        f"No image of {name} {span} has at most {when.max_clouds:.0%} clouds: the best, of {best.day}, has "
        f"{best.clouds:.0%}; choose a longer period, or raise max_clouds."
    )
