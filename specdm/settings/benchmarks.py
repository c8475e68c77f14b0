"""Preparation of the benchmark data sets, and the size of simulated ones."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from specdm.settings.base import Section


class OscdSettings(Section):
    """Preparation of OSCD (paper section 4.1)."""

    bands: str | tuple[str, ...] = Field("paper", description="a named band set or a list of band names")
    patch_px: int = Field(256, ge=8, description="side of a patch in 10 m pixels")
    stride_px: Annotated[int, Field(ge=1)] | Literal["paper-overlap", "paper-counts"] = Field(
        "paper-overlap",
        description="distance of neighbouring windows: a number of pixels; paper-overlap, 60 % overlap as printed; or "
        "paper-counts, half a patch less one pixel, which gives 234 and 86 windows of 256 px",
    )
    grid: Literal["official", "registered"] = Field(
        "official", description="official: as the published rect files; registered: date 2 resampled onto date 1"
    )
    val_cities: tuple[str, ...] = Field(("nantes", "hongkong"), description="training cities used for validation")
    train_cities: tuple[str, ...] | None = Field(
        None, min_length=1, description="training cities that are kept beside val_cities; null: all"
    )
    guard_px: int = Field(32, ge=0, description="training windows this close to a test city's ground are dropped")

    @property
    def stride(self) -> int:
        """The distance of neighbouring windows in pixels."""
        named = {"paper-overlap": round(0.4 * self.patch_px), "paper-counts": self.patch_px // 2 - 1}
        return named.get(self.stride_px, self.stride_px)


class SegMunichSettings(Section):
    """Preparation of SegMunich (paper section 4.1)."""

    bands: str | tuple[str, ...] = Field("paper", description="a named band set or a list of band names")
    patch_px: int = Field(128, ge=8, description="side of a patch; files are cut when it is smaller than theirs")
    max_background: float = Field(0.5, ge=0, le=1, description="patches with a larger share of label 0 are removed")
    splits: Literal["official", "grouped"] = Field(
        "official", description="the published lists (test shares ground with train), or blocks that do not leak"
    )
    val_fraction: float = Field(0.1, gt=0, lt=1, description="share of the training groups used for validation")
    test_fraction: float = Field(0.2, gt=0, lt=1, description="share of the groups used for testing, splits: grouped")
    position_pattern: str | None = Field(
        None, description="regular expression on file names with groups row and col, in pixels of the mosaic"
    )
    block_px: int = Field(512, ge=1, description="side of the spatial blocks that form groups")


class SimulatedSegMunich(Section):
    """Size of a simulated SegMunich folder."""

    mosaic_px: int = Field(1024, ge=128, description="side of the simulated landscape in 10 m pixels")
    stride_px: int = Field(64, ge=1, description="distance of neighbouring 128-px windows")
    copies: int = Field(1, ge=1, description="files a window: itself and transformed copies")


class SimulatedCity(Section):
    """One simulated OSCD city."""

    name: str = Field(description="name of the city")
    split: Literal["train", "test"] = Field(description="the list it stands in")
    height: int = Field(240, ge=64, description="rows of 10 m pixels")
    width: int = Field(240, ge=64, description="columns of 10 m pixels")


class SimulatedOscd(Section):
    """Size of a simulated OSCD folder."""

    cities: tuple[SimulatedCity, ...] = Field(min_length=2, description="the cities")
