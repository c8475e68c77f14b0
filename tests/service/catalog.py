"""The catalogue service: STAC search over the acquisitions, newest first."""

from __future__ import annotations

import datetime as dt
import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.service.payload import expect, is_bbox, is_number, known, moment
from tests.service.scenes import LEVELS, Acquisition

LIMIT = 100
COMPARISONS = {"<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt, "=": operator.eq}
OPTIONAL = {"bbox", "intersects", "ids", "filter", "filter-lang", "filter-crs", "fields", "limit", "next"}


@dataclass(frozen=True)
class Search:
    """A search as the catalogue understands it.

    Attributes:
        collection: "sentinel-2-l2a" or "sentinel-2-l1c".
        start, end: sensing times wanted, both included; None is open.
        area: shapely geometry in longitude and latitude, or None.
        ids: names wanted, or None.
        clouds: (comparison, percent) that all have to hold.
        include, exclude: fields of the answer.
        limit, next: how many features, from which on.
    """

    collection: str
    start: dt.datetime | None
    end: dt.datetime | None
    area: object | None
    ids: tuple[str, ...] | None
    clouds: tuple[tuple[Callable, float], ...]
    include: tuple[str, ...]
    exclude: tuple[str, ...]
    limit: int
    next: int


def parse(body: object) -> Search:
    """Check the JSON body of a search.

    Raises:
        Refused: for anything that the catalogue does not know, or that is not searched here.
    """
    known(body, "search", {"collections", "datetime"}, OPTIONAL)
    collections = body["collections"]
    expect(isinstance(collections, list) and len(collections) == 1, "collections must name one collection")
    expect(collections[0] in tuple(LEVELS), f"Collection {collections[0]!r} not found")
    expect(not {"bbox", "intersects"} <= body.keys(), "bbox and intersects exclude each other")
    fields, ids = body.get("fields", {}), body.get("ids")
    known(fields, "fields", set(), {"include", "exclude"})
    for key, texts in (*fields.items(), ("ids", [] if ids is None else ids)):
        expect(isinstance(texts, list) and all(isinstance(text, str) for text in texts), f"{key} must hold texts")
    limit, after = body.get("limit", 10), body.get("next", 0)
    expect(type(limit) is int and 1 <= limit <= LIMIT, f"limit must be between 1 and {LIMIT}")
    expect(type(after) is int and after >= 0, "next must be what an answer gave")
    return Search(
        collections[0],
        *_interval(body["datetime"]),
        _area(body),
        None if ids is None else tuple(ids),
        _clouds(body.get("filter"), body.get("filter-lang", "cql2-text")),
        tuple(fields.get("include", ())),
        tuple(fields.get("exclude", ())),
        limit,
        after,
    )


def _interval(given: object) -> tuple[dt.datetime | None, dt.datetime | None]:
    expect(isinstance(given, str), "datetime must be a text")
    ends = given.split("/")
    expect(len(ends) in (1, 2) and ends != ["..", ".."] and ends != [".."], "datetime must be a time or an interval")
    start, end = (None if text == ".." else moment(text, "datetime") for text in (ends[0], ends[-1]))
    expect(start is None or end is None or start <= end, "datetime: the start is later than the end")
    return start, end


def _area(body: dict) -> object | None:
    import shapely
    from shapely.geometry import box, shape

    if "bbox" in body:
        given = body["bbox"]
        expect(is_bbox(given), "bbox must be west, south, east, north")
        expect(given[0] >= -180 and given[2] <= 180 and given[1] >= -90 and given[3] <= 90, "bbox must be in degrees")
        return box(*given)
    if "intersects" not in body:
        return None
    known(body["intersects"], "intersects", {"type", "coordinates"})
    try:
        return shape(body["intersects"])
    except (ValueError, TypeError, shapely.errors.ShapelyError):
        expect(False, "intersects must be a GeoJSON geometry")


def _clouds(given: object, language: object) -> tuple[tuple[Callable, float], ...]:
    """The comparisons of eo:cloud_cover, in text or in JSON, joined by AND."""
    expect(language in ("cql2-text", "cql2-json"), f"filter-lang: unknown {language!r}")
    if given is None:
        return ()
    if language == "cql2-text":
        expect(isinstance(given, str), "filter must be a text")
        found = []
        for part in re.split(r"\s+and\s+", given.strip(), flags=re.IGNORECASE):
            clause = re.fullmatch(r"eo:cloud_cover\s*(<=|>=|<|>|=)\s*(\d+(?:\.\d+)?)", part)
            expect(clause is not None, f"filter: cannot be read or queried: {part!r}")
            found.append((COMPARISONS[clause[1]], float(clause[2])))
        return tuple(found)
    known(given, "filter", {"op", "args"})
    expect(isinstance(given["args"], list), "filter: args must be a list")
    if given["op"] == "and":
        return tuple(one for part in given["args"] for one in _clouds(part, language))
    expect(
        given["op"] in tuple(COMPARISONS)
        and len(given["args"]) == 2
        and given["args"][0] == {"property": "eo:cloud_cover"}
        and is_number(given["args"][1]),
        f"filter: cannot be read or queried: {given!r}",
    )
    return ((COMPARISONS[given["op"]], given["args"][1]),)


def answer(search: Search, acquisitions: Sequence[Acquisition], url: str) -> dict:
    """The page of features that a search asks for, as a STAC FeatureCollection."""
    found = []
    for acquisition in sorted(acquisitions, key=lambda one: one.time, reverse=True):
        wanted = (
            acquisition.collection == search.collection
            and (search.start is None or search.start <= acquisition.time)
            and (search.end is None or acquisition.time <= search.end)
            and (search.ids is None or acquisition.id in search.ids)
            and all(compare(acquisition.cloud_cover, percent) for compare, percent in search.clouds)
        )
        if wanted and (search.area is None or footprint(acquisition).intersects(search.area)):
            found.append(acquisition)
    page = found[search.next : search.next + search.limit]
    end = search.next + len(page)
    context = {"limit": search.limit, "returned": len(page)} | ({"next": end} if end < len(found) else {})
    links = [{"href": url, "rel": "self", "type": "application/geo+json"}]
    if "next" in context:
        links.append(
            {"href": url, "rel": "next", "type": "application/geo+json", "title": "Next set of results",
             "method": "POST", "body": {"next": end}, "merge": True}
        )  # fmt: skip
    features = [_shown(feature(one), search.include, search.exclude) for one in page]
    return {"type": "FeatureCollection", "features": features, "links": links, "context": context}


def footprint(acquisition: Acquisition):
    """Where an acquisition has data, a shapely polygon in longitude and latitude."""
    import shapely
    from pyproj import Transformer

    to_degrees = Transformer.from_crs(f"EPSG:{acquisition.epsg}", "EPSG:4326", always_xy=True).transform
    # every kilometre a corner, since a straight line in metres is bent in degrees
    return shapely.transform(acquisition.polygon.segmentize(1000), to_degrees, interleaved=False)


def feature(acquisition: Acquisition) -> dict:
    """The STAC item of an acquisition."""
    from shapely.geometry import MultiPolygon, mapping

    def named(crs: str) -> dict:
        return {"type": "name", "properties": {"name": f"urn:ogc:def:crs:{crs}"}}

    degrees = footprint(acquisition)
    metres = MultiPolygon([acquisition.polygon])
    return {
        "stac_version": "1.0.0",
        "stac_extensions": [
            "https://stac-extensions.github.io/eo/v1.0.0/schema.json",
            "https://stac-extensions.github.io/projection/v1.0.0/schema.json",
        ],
        "id": acquisition.id,
        "type": "Feature",
        "geometry": {"crs": named("OGC::CRS84"), **mapping(MultiPolygon([degrees]))},
        "bbox": list(degrees.bounds),
        "properties": {
            "datetime": acquisition.time.astimezone(dt.UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            "platform": f"sentinel-{acquisition.id[1:3].lower()}",
            "instruments": ["msi"],
            "constellation": "sentinel-2",
            "gsd": 10,
            "eo:cloud_cover": acquisition.cloud_cover,
            "proj:epsg": acquisition.epsg,
            "proj:bbox": list(metres.bounds),
            "proj:geometry": {"crs": named(f"EPSG::{acquisition.epsg}"), **mapping(metres)},
        },
        "collection": acquisition.collection,
        "links": [],
        "assets": {},
    }


def _shown(item: dict, include: tuple[str, ...], exclude: tuple[str, ...]) -> dict:
    """The part of an item that the fields ask for; names of properties have the prefix "properties."."""
    if include:
        shown = {key: value for key, value in item.items() if key in include}
        some = {key: value for key, value in item["properties"].items() if f"properties.{key}" in include}
        item = shown | ({"properties": some} if some and "properties" not in include else {})
    item = {key: value for key, value in item.items() if key not in exclude}
    if "properties" in item:
        kept = {key: value for key, value in item["properties"].items() if f"properties.{key}" not in exclude}
        item["properties"] = kept
    return item
