"""What a folder of image and mask files does not say itself, for `specdm import`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from specdm.settings.base import Section
from specdm.settings.scene import SceneClass


def _as_tuple(data: Any) -> Any:
    return (data,) if isinstance(data, str) else data


class FolderSettings(Section):
    """A folder of images and masks of one size, as GeoTIFFs or other raster files; file names match."""

    images: str = Field("images", description="sub-folder of the images")
    masks: str = Field("masks", description="sub-folder of the masks")
    image_ends: Annotated[tuple[str, ...], BeforeValidator(_as_tuple)] = Field(
        (".tif",),
        description="how the names of the images end: one text, or one for each of two dates, such as [_1.tif, "
        "_2.tif]; what stands before is the patch's name",
    )
    mask_end: str = Field(".tif", min_length=1, description="how the names of the masks end")
    level: Literal["TOA", "BOA", "unitless"] = Field(description="reflectance at top or bottom of atmosphere, or none")
    sensor: str | None = Field(None, description="name of the sensor; null: Sentinel-2 MSI by the names of the bands")
    scale: float | None = Field(
        None, gt=0, description="reflectance = number in the file x scale + offset; null: as the files declare"
    )
    offset: float | None = Field(None, description="see scale")
    bands: str | tuple[str, ...] | None = Field(
        None, description="names of the bands in the files' order, or a named Sentinel-2 set; null: as the files do"
    )
    wavelengths_nm: tuple[float, ...] | None = Field(
        None, description="centre wavelengths; null: as the files declare, or known for Sentinel-2 names"
    )
    nodata: float | Literal["file"] | None = Field(
        "file", description="value of pixels without data, in all bands; file: as the files declare; null: none"
    )
    classes: tuple[SceneClass, ...] | None = Field(
        None, min_length=2, description="classes in the order of their ids; null: by the tag `classes` of the masks"
    )
    ignore_codes: tuple[int, ...] = Field((), description="codes of pixels without a label, beside the masks' nodata")
    unlisted_codes: Literal["error", "ignore"] = Field("error", description="what codes of no class are")
    val_fraction: float = Field(0.15, gt=0, lt=1, description="share for validation, without folders train, val, test")
    test_fraction: float = Field(0.2, gt=0, lt=1, description="share for testing, without folders train, val, test")

    @model_validator(mode="after")
    def _consistent(self) -> FolderSettings:
        if len(self.image_ends) not in (1, 2) or not all(self.image_ends):
            raise ValueError("image_ends: give one text, or one for each of two dates")
        if self.images == self.masks and self.mask_end in self.image_ends:
            raise ValueError("images and masks have one folder and one ending: nothing tells them apart")
        if (self.scale is None) != (self.offset is None):
            raise ValueError("scale and offset go together: give both or neither")
        if self.val_fraction + self.test_fraction >= 1:
            raise ValueError("val_fraction and test_fraction leave nothing for training: lower them")
        for c in self.classes or ():
            if any(isinstance(code, str) for code in c.codes) or not c.codes:
                raise ValueError(f"the class {c.name!r} needs codes that are whole numbers, as masks hold them")
        return self
