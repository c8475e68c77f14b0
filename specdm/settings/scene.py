"""Preparation of the user's own scenes, with labels or without: files, bands, classes, tiling and splits."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema, field_validator, model_validator

from specdm.settings.base import Section

AXES = ("band", "class", "row", "col", "time", "-")
_FILE = {"anyOf": [{"type": "string"}, {"type": "object"}]}
_FILE_OR_NULL = {"anyOf": [*_FILE["anyOf"], {"type": "null"}]}


class ArrayLayout(Section):
    """How an array lies in a file that does not say so itself (.mat, .npy); raster files need none of it."""

    path: str = Field(description="the file, below `raw`; {name} stands for any text and makes a scene of each match")
    variable: str | None = Field(None, description="name of the array within a .mat file")
    shape: tuple[int, ...] | None = Field(None, description="shape to give the array first (last axis fastest)")
    axes: tuple[Literal["band", "class", "row", "col", "time", "-"], ...] | None = Field(
        None, description="what each dimension is; time: one of several dates, -: of length 1"
    )
    time: int | None = Field(None, ge=0, description="which of several dates, counted from 0")


class ImageFile(ArrayLayout):
    """One image: a raster or array file, or a folder of single-band files."""

    band_files: str | None = Field(
        None, description="for a folder: name of a band's file, with {band} for the band and * for any text"
    )
    crs: str | None = Field(None, description="coordinate reference system, for files that carry none: EPSG:32633")
    bounds: tuple[float, float, float, float] | None = Field(
        None, description="west, south, east and north edge in that system"
    )

    @model_validator(mode="before")
    @classmethod
    def _a_path_is_enough(cls, data: Any) -> Any:
        return {"path": data} if isinstance(data, str) else data

    @model_validator(mode="after")
    def _placed_whole(self) -> ImageFile:
        if (self.crs is None) != (self.bounds is None):
            raise ValueError("crs and bounds go together: give both or neither")
        if self.bounds and not (self.bounds[0] < self.bounds[2] and self.bounds[1] < self.bounds[3]):
            raise ValueError("bounds are west, south, east, north: the east and north edges must be the larger ones")
        return self


class LabelFile(ArrayLayout):
    """The labels of a scene: a raster of codes; with `order`, abundances; with `attribute` or `covered`, shapes."""

    order: tuple[str, ...] | None = Field(
        None, description="abundances: the classes in the order of the file; a pixel gets the most abundant one"
    )
    layer: str | None = Field(None, description="vector files: the layer, when there are several")
    attribute: str | None = Field(None, description="vector files: the attribute that holds the codes of the classes")
    covered: str | None = Field(None, description="vector files: the class of every shape, instead of an attribute")
    uncovered: str | None = Field(None, description="vector files: the class of ground without a shape; null: ignore")

    @model_validator(mode="before")
    @classmethod
    def _a_path_is_enough(cls, data: Any) -> Any:
        return {"path": data} if isinstance(data, str) else data

    @property
    def kind(self) -> Literal["codes", "abundances", "shapes"]:
        """What the file holds."""
        return "abundances" if self.order else "shapes" if self.attribute or self.covered else "codes"

    @model_validator(mode="after")
    def _one_kind(self) -> LabelFile:
        if (self.attribute and self.covered) or (self.order and (self.attribute or self.covered)):
            raise ValueError("order (abundances), attribute and covered (shapes) exclude each other: give one of them")
        if (self.layer or self.uncovered) and self.kind != "shapes":
            raise ValueError("layer and uncovered are for vector files: name their attribute, or the class covered")
        return self


def _as_list(data: Any) -> Any:
    return [data] if isinstance(data, str | dict) else data


class Scene(Section):
    """One scene, or, with {name} in its paths, as many as there are files."""

    name: str | None = Field(None, pattern=r"^[A-Za-z0-9_.-]+$", description="null: the file's name, or what {name} is")
    images: Annotated[
        tuple[ImageFile, ...],
        BeforeValidator(_as_list),
        WithJsonSchema({"anyOf": [*_FILE["anyOf"], {"type": "array", "items": _FILE, "maxItems": 2}]}),
    ] = Field(description="the image, or the two images of a change-detection scene (a path, or a mapping)")
    labels: Annotated[LabelFile | None, WithJsonSchema(_FILE_OR_NULL)] = Field(
        description="the labels (a path, or a mapping), rasters without a georeference on the grid of the first image; "
        "null: none, in all scenes of the data set or in no one"
    )
    dates: Annotated[
        tuple[str, ...],
        BeforeValidator(lambda d: _as_list(str(d)) if not isinstance(d, list | tuple) else [str(v) for v in d]),
        WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
    ] = Field((), description="acquisition dates, one an image; none: as the files' tags `acquired` say, or unknown")
    place: str | None = Field(
        None, description="scenes without georeference that show the same ground on one grid: a common name"
    )
    split: Literal["train", "val", "test"] | None = Field(
        None, description="fixed split; null: by spatial blocks (without labels: train)"
    )

    @field_validator("images")
    @classmethod
    def _one_or_two(cls, images: tuple[ImageFile, ...]) -> tuple[ImageFile, ...]:
        if len(images) not in (1, 2):
            raise ValueError(
                f"{len(images)} images: give one for segmentation or two for change detection, "
                "and more dates as scenes of their own"
            )
        return images

    @model_validator(mode="after")
    def _dated(self) -> Scene:
        if self.dates and len(self.dates) != len(self.images):
            raise ValueError(f"{len(self.dates)} dates for {len(self.images)} images: give one an image")
        if "{name}" in self.images[0].path and self.name:
            raise ValueError("name and {name} exclude each other: with {name} each match is a scene of that name")
        return self


class SceneClass(Section):
    """One class of the labels."""

    name: str = Field(min_length=1, description="name of the class")
    codes: tuple[int | str, ...] = Field((), description="codes, or values of the attribute, that mean it")
    colour: tuple[int, int, int] | None = Field(
        None, description="red, green and blue, 0 to 255; null: by its name (water is blue) or from a palette"
    )


class WavelengthRange(Section):
    """Evenly spaced centre wavelengths."""

    first: float = Field(gt=0, description="centre of the first band in nm")
    last: float = Field(gt=0, description="centre of the last band in nm")


class SceneSettings(Section):
    """Preparation of the user's own scenes."""

    scenes: tuple[Scene, ...] = Field(min_length=1, description="the scenes of the data set")
    sensor: str | None = Field(None, description="name of the sensor; null: Sentinel-2 MSI by the names of the bands")
    level: Literal["TOA", "BOA", "unitless"] | None = Field(
        description="reflectance at top or bottom of atmosphere, or none; null: as the files' tags `level` say"
    )
    scale: Annotated[float, Field(gt=0)] | None = Field(
        description="reflectance = number in the file x scale + offset; null: as the files declare"
    )
    offset: float | None = Field(0.0, description="see scale; null: as the files declare")
    bands: str | tuple[str, ...] | None = Field(
        None,
        description="names of the file's bands in its order, a named Sentinel-2 set, or file: as raster files describe "
        "them; null: by wavelength",
    )
    wavelengths_nm: tuple[float, ...] | WavelengthRange | Literal["file"] | None = Field(
        None,
        description="centre wavelengths of the file's bands in its order, or file: as raster files declare them (ENVI "
        "headers, GDAL metadata); null: known for Sentinel-2 names",
    )
    drop_bands: tuple[str, ...] = Field((), description="bands to leave out, by name; first..last for a run of them")
    nodata: float | Literal["file"] | None = Field(
        "file", description="value of pixels without data; file: as the files declare; null: none"
    )
    resampling: Literal["nearest", "bilinear", "cubic"] = Field(
        "cubic", description="for bands and dates on another grid than the first one's"
    )
    classes: tuple[SceneClass, ...] = Field(
        (), description="classes in the order of their ids, two or more; without labels as many as one likes, or none"
    )
    ignore_codes: tuple[int | str, ...] = Field((), description="codes of pixels without a label")
    unlisted_codes: Literal["error", "ignore"] = Field("error", description="what codes of no class are")
    patch_px: int = Field(128, ge=8, description="side of a patch in pixels")
    stride_px: int | None = Field(
        None, ge=1, description="distance of neighbouring patches; null: a patch, or less until there are 200"
    )
    block_px: int | None = Field(
        None, ge=1, description="side of the spatial blocks that splits are made of; null: by the size of the scenes"
    )
    guard_px: int | None = Field(
        None, ge=0, description="pixels between training and other patches, at least; null: a quarter of a patch"
    )
    val_fraction: float = Field(0.15, gt=0, lt=1, description="share of the patches for validation")
    test_fraction: float = Field(0.2, gt=0, lt=1, description="share of the patches for testing")
    min_labelled: float = Field(
        0.05, ge=0, le=1, description="patches with a smaller share of labelled pixels with data are dropped"
    )

    @property
    def n_dates(self) -> int:
        """Images a scene: 1 for segmentation, 2 for change detection."""
        return len(self.scenes[0].images)

    @property
    def labelled(self) -> bool:
        """Whether the scenes have labels: all of them or none."""
        return self.scenes[0].labels is not None

    @model_validator(mode="after")
    def _consistent(self) -> SceneSettings:
        if len({len(scene.images) for scene in self.scenes}) > 1:
            raise ValueError("some scenes have one image and some two: make two data sets of them")
        if len({scene.labels is None for scene in self.scenes}) > 1:
            raise ValueError("some scenes have labels and some none: make two data sets of them")
        declared = [scene.split for scene in self.scenes]
        if not self.labelled and set(declared) - {None, "train"}:
            raise ValueError("scenes without labels cannot validate or test: leave out their split")
        if self.labelled and any(declared) and not {"train", "val", "test"} <= set(declared):
            raise ValueError("fixed splits must name train, val and test scenes: give each scene a split, or none")
        if any(declared) and not all(declared):
            raise ValueError("some scenes have a split and some none: give each scene one, or none")
        if self.bands is None and self.wavelengths_nm is None:
            raise ValueError("name the bands, or give their centre wavelengths: bands or wavelengths_nm")
        if self.val_fraction + self.test_fraction >= 1:
            raise ValueError("val_fraction and test_fraction leave nothing for training: lower them")
        self._check_classes()
        return self

    def _check_classes(self) -> None:
        if self.labelled and len(self.classes) < 2:
            raise ValueError("labels need classes: name two or more under classes, or set labels: null for none")
        names = [c.name for c in self.classes]
        codes = [code for c in self.classes for code in c.codes] + list(self.ignore_codes)
        for what, values in (("class", names), ("code", codes)):
            twice = [v for v, n in Counter(values).items() if n > 1]
            if twice:
                raise ValueError(f"the {what} {twice[0]!r} occurs twice: use each once")
        if not self.labelled:
            return  # the classes name a label set, and nothing is looked up by their codes
        used = {name for c in self.classes if c.codes for name in [c.name]}
        for labels in filter(None, (scene.labels for scene in self.scenes)):
            mentioned = [*(labels.order or ()), *filter(None, (labels.covered, labels.uncovered))]
            unknown = [name for name in mentioned if name not in names]
            if unknown:
                raise ValueError(f"labels name {unknown[0]!r}, which is none of the classes {', '.join(names)}")
            used |= set(mentioned)
        silent = [name for name in names if name not in used]
        if silent:
            raise ValueError(f"the class {silent[0]!r} has no codes: say which codes of the labels mean it")
