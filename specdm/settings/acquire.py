"""Acquisition of satellite images from an imagery service: where, when, which bands, and what it may cost."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from specdm.settings.base import Section

DATE = r"^\d{4}-\d{2}-\d{2}$"


class Area(Section):
    """A part of the ground."""

    name: str = Field("area", pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", description="names the folder of its images")
    file: str | None = Field(None, description="vector file of its outline, of any format that geopandas reads")
    layer: str | None = Field(None, description="its layer, when there are several")
    bounds: tuple[float, float, float, float] | None = Field(
        None, description="instead of a file: west, south, east and north edge"
    )
    crs: str = Field("EPSG:4326", description="coordinate reference system of bounds")
    grid: str | None = Field(
        None, description="coordinate reference system of the images, in metres; null: the UTM zone of the area"
    )

    @model_validator(mode="after")
    def _one_outline(self) -> Area:
        if (self.file is None) == (self.bounds is None):
            raise ValueError("an area is a file or bounds: give one of the two")
        if self.layer is not None and self.file is None:
            raise ValueError("layer belongs to file")
        if self.bounds and not self.bounds[1] < self.bounds[3]:
            raise ValueError("bounds are west, south, east, north: the north edge must be the larger one")
        return self


class When(Section):
    """A day, or the days with the fewest clouds within a period."""

    day: str | None = Field(None, pattern=DATE, description="a day (UTC): 2024-07-03")
    first: str | None = Field(None, pattern=DATE, description="first day of a period")
    last: str | None = Field(None, pattern=DATE, description="its last day, included")
    max_clouds: float = Field(0.1, ge=0, le=1, description="cloudier days of the period are not taken")
    n: int = Field(1, ge=1, description="days to take, those with the fewest clouds; for unlabelled images")

    @model_validator(mode="before")
    @classmethod
    def _a_day_is_enough(cls, data: Any) -> Any:
        return {"day": str(data)} if isinstance(data, str | dt.date) else _as_text(data)

    @model_validator(mode="after")
    def _day_or_period(self) -> When:
        if (self.day is None) == (self.first is None) or (self.first is None) != (self.last is None):
            raise ValueError("give a day, or the first and last day of a period")
        for text in filter(None, (self.day, self.first, self.last)):
            dt.date.fromisoformat(text)
        if self.first and self.first > self.last:
            raise ValueError(f"the period ends ({self.last}) before it begins ({self.first})")
        return self

    @property
    def period(self) -> tuple[str, str]:
        """First and last day."""
        return (self.day, self.day) if self.day else (self.first, self.last)


def _as_text(data: Any) -> Any:
    """YAML reads an unquoted day as a date."""
    if not isinstance(data, dict):
        return data
    return {key: value.isoformat() if isinstance(value, dt.date) else value for key, value in data.items()}


def _as_list(data: Any) -> Any:
    return data if isinstance(data, list | tuple) else [data]


class Budget(Section):
    """What an acquisition may cost at most."""

    requests: int = Field(1000, ge=1, description="requests for images")  # a tenth of a free account's month
    units: float = Field(1000, gt=0, description="processing units")


class AcquireSettings(Section):
    """Satellite images of areas, from Sentinel Hub or the Copernicus Data Space Ecosystem."""

    provider: Literal["cdse", "sentinelhub"] = Field(
        "cdse", description="Copernicus Data Space Ecosystem, or Sentinel Hub; credentials: see docs/own-region.md"
    )
    base_url: str | None = Field(None, pattern=r"^https://", description="another deployment of the service")
    token_url: str | None = Field(None, pattern=r"^https://", description="where it gives out tokens")
    level: Literal["TOA", "BOA"] = Field("BOA", description="reflectance at top (L1C) or bottom of atmosphere (L2A)")
    bands: str | tuple[str, ...] = Field("paper", description="a named Sentinel-2 set, or names of bands")
    resolution_m: float = Field(10.0, ge=10, le=120, description="side of a pixel in metres")
    resampling: Literal["nearest", "bilinear", "bicubic"] = Field(
        "nearest", description="how the service brings bands of 20 and 60 m to finer pixels"
    )
    areas: Annotated[
        tuple[Area, ...],
        BeforeValidator(_as_list),
        WithJsonSchema({"anyOf": [{"type": "object"}, {"type": "array", "items": {"type": "object"}}]}),
    ] = Field(min_length=1, description="the areas; each becomes a scene")
    dates: Annotated[
        tuple[When, ...],
        BeforeValidator(_as_list),
        WithJsonSchema({"type": "array", "items": {"anyOf": [{"type": "string"}, {"type": "object"}]}}),
    ] = Field(min_length=1, description="one for segmentation, two for change detection: days, or periods")
    unlabelled: bool = Field(
        False, description="images alone, of all areas and any number of dates, as many as the budget allows"
    )
    max_missing: float = Field(
        0.02, ge=0, lt=1, description="share of an area that a day's images may leave without data"
    )
    budget: Budget = Field(Budget(), description="limits")

    @model_validator(mode="after")
    def _consistent(self) -> AcquireSettings:
        names = [area.name for area in self.areas]
        if len(set(names)) < len(names):
            raise ValueError("two areas have the same name: name each")
        if not self.unlabelled and len(self.dates) > 2:
            raise ValueError(
                f"{len(self.dates)} dates: give one for segmentation or two for change detection, or set unlabelled"
            )
        if not self.unlabelled and any(date.n > 1 for date in self.dates):
            raise ValueError("n is for unlabelled images: labels belong to one image")
        if (self.base_url is None) != (self.token_url is None):
            raise ValueError("base_url and token_url go together: give both or neither")
        return self
