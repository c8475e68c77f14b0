"""A patch set as an xarray.Dataset: named dimensions, bands with wavelengths, dates, classes. xarray is optional."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from specdm.errors import UserError
from specdm.labels import IGNORE
from specdm.patches.meta import PatchMeta

if TYPE_CHECKING:
    from specdm.patches.reader import PatchSet


def to_xarray(patches: PatchSet):
    """The images and masks of a set as one xarray.Dataset.

    Variables:
        image (patch, time, band, row, col): as stored, integer digital numbers or float32.
        mask (patch, row, col): uint8 class ids, 255 = ignore; attributes flag_values and flag_meanings as in CF.

    Coordinates: `patch` ids, `time` number of the date from 1, `band` names, `wavelength_nm` of the bands where known,
    `date` (patch, time) datetime64, NaT where unknown, `split` and `group` of the patches.

    The arrays are the memory maps of the set: nothing is read before it is used, and what is selected from the dataset
    along `patch` reads these patches alone.

    Raises:
        UserError: when xarray is not installed.
    """
    try:
        import xarray
    except ImportError as error:
        raise UserError(
            "to_xarray needs xarray, which is not installed: install it with `pip install xarray`."
        ) from error
    meta, index = patches.meta, patches.index
    dates = patches.images.shape[1]
    coords = {
        "patch": index["id"].to_numpy(object),
        "time": ("time", np.arange(1, dates + 1), {"long_name": "number of the date"}),
        "band": list(meta.bands),
        "date": (("patch", "time"), _dates(index["dates"].tolist(), dates)),
        "split": ("patch", index["split"].to_numpy(object)),
        "group": ("patch", index["group"].to_numpy(object)),
    }
    if meta.wavelengths_nm:
        described = {"units": "nm", "standard_name": "radiation_wavelength"}
        coords["wavelength_nm"] = ("band", np.array(meta.wavelengths_nm), described)
    return xarray.Dataset(
        {
            "image": (("patch", "time", "band", "row", "col"), patches.images, _image_attributes(meta)),
            "mask": (("patch", "row", "col"), patches.masks, _mask_attributes(meta)),
        },
        coords=coords,
        attrs={"title": meta.name, "sensor": meta.sensor, "level": meta.level, "synthetic": int(meta.synthetic)},
    )


def _image_attributes(meta: PatchMeta) -> dict:
    quantity = {"TOA": "top-of-atmosphere reflectance", "BOA": "surface reflectance"}.get(meta.level, "value")
    attributes = {
        "long_name": f"stored number; {quantity} = number * scale + offset",
        "units": "1",
        "scale": meta.scale,
        "offset": meta.offset,
        "level": meta.level,
        "sensor": meta.sensor,
    }
    if meta.nodata is not None:
        attributes |= {"nodata": meta.nodata, "nodata_rule": "no data where all bands hold this value"}
    return attributes


def _mask_attributes(meta: PatchMeta) -> dict:
    classes = meta.labels.classes
    return {
        "long_name": f"classes of {meta.labels.name}",
        "flag_values": np.array([c.id for c in classes], np.uint8),
        "flag_meanings": " ".join("_".join(c.name.split()) for c in classes),
        "ignore": IGNORE,
    }


def _dates(texts: list[str], dates: int) -> np.ndarray:
    """Acquisition dates (n,dates) datetime64 of comma-separated ISO texts; NaT where unknown or not to be read."""
    found = np.full((len(texts), dates), np.datetime64("NaT"), "datetime64[ns]")
    for i, text in enumerate(texts):
        for t, day in enumerate(text.split(",")[:dates] if text else []):
            try:
                found[i, t] = np.datetime64(day.strip())
            except ValueError:  # the user's own words for a date
                continue
    return found
