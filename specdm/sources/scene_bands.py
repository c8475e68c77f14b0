"""What the bands of the user's own scenes are, from the settings and their files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from specdm import bands as tables
from specdm.errors import UserError
from specdm.rasters import WindowedRaster, read_bands
from specdm.settings import ImageFile, SceneSettings, WavelengthRange
from specdm.sources.arrays import ARRAYS, read_array

FROM_FILE = "file"
SENTINEL2, UNKNOWN_SENSOR = "Sentinel-2 MSI", "unnamed sensor"


@dataclass(frozen=True)
class SceneBands:
    """The bands of a file and which of them are kept.

    Attributes:
        in_file: names of all bands of the file, in its order.
        kept: positions of those that patches get.
        wavelengths_nm: centre wavelengths of the kept bands, empty when unknown.
        sensor: name of the sensor.
        sentinel2: whether the names are Sentinel-2's.
    """

    in_file: tuple[str, ...]
    kept: tuple[int, ...]
    wavelengths_nm: tuple[float, ...]
    sensor: str
    sentinel2: bool

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the kept bands."""
        return tuple(self.in_file[i] for i in self.kept)


def scene_bands(settings: SceneSettings, images: Sequence[ImageFile]) -> SceneBands:
    """The bands of the settings, or of the images where the settings refer to them.

    Raises:
        UserError: when names repeat, names and wavelengths differ in number, a band to drop does not exist, or the
            files do not name their bands or name different ones.
    """
    wavelengths = settings.wavelengths_nm
    if wavelengths == FROM_FILE:
        wavelengths = _same_in_all(images, "wavelengths_nm")
    elif isinstance(wavelengths, WavelengthRange):
        count = len(settings.bands) if isinstance(settings.bands, tuple) else _count(images[0])
        wavelengths = tuple(np.linspace(wavelengths.first, wavelengths.last, count).round(2).tolist())
    declared = _same_in_all(images, "names") if settings.bands == FROM_FILE else settings.bands
    names = _names(declared, wavelengths, settings.sensor)
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UserError(f"The band {twice} is named twice: give each band a name of its own.")
    if wavelengths and len(wavelengths) != len(names):
        raise UserError(f"{len(names)} bands are named but {len(wavelengths)} wavelengths given: give each band one.")
    known = tables.wavelengths(names) if _of_sentinel2(names, settings.sensor) else ()
    kept = _kept(names, settings.drop_bands)
    every = wavelengths or known
    sensor = settings.sensor or (SENTINEL2 if known else UNKNOWN_SENSOR)
    return SceneBands(names, kept, tuple(every[i] for i in kept) if every else (), sensor, bool(known))


def _same_in_all(images: Sequence[ImageFile], what: str) -> tuple:
    """Names or wavelengths of the bands as all files declare them."""
    first = None
    for image in images:
        path = Path(image.path)
        if path.is_dir() or path.suffix.lower() in ARRAYS:
            raise UserError(f"{path} does not say what its bands are: write them down under bands or wavelengths_nm.")
        found = getattr(read_bands(path), what)
        if not found:
            raise UserError(f"{path} does not declare {what} for all of its bands: write them down in the settings.")
        if first is not None and found != first:
            raise UserError(f"{path} declares other bands than {images[0].path}: bring all scenes into one order.")
        first = found
    return first


def _names(
    declared: str | Sequence[str] | None, wavelengths: Sequence[float] | None, sensor: str | None
) -> tuple[str, ...]:
    if isinstance(declared, str):
        return tables.resolve(declared)
    if declared is None:
        return tuple(f"{w:g}nm" for w in wavelengths)
    return tuple(_canonical(name) for name in declared) if _of_sentinel2(declared, sensor) else tuple(declared)


def _of_sentinel2(names: Sequence[str], sensor: str | None) -> bool:
    """Whether names are Sentinel-2's: many sensors have a B4, but only one a B8A, and few write B04."""
    if not all(re.fullmatch(r"[Bb](\d\d?|0?8[Aa])", name) and _canonical(name) for name in names):
        return False
    if sensor is not None:
        return "sentinel-2" in sensor.lower()
    return all(name in tables.SENTINEL2 for name in names) or any(name[-1] in "Aa" for name in names)


def _canonical(name: str) -> str | None:
    """The Sentinel-2 band that is meant, B1 and B01 alike, or None."""
    try:
        return tables.parse(name)
    except UserError:
        return None


def _kept(names: Sequence[str], dropped: Sequence[str]) -> tuple[int, ...]:
    gone: set[int] = set()
    for entry in dropped:
        ends = [end.strip() for end in entry.split("..")]
        ends = [end if end in names else _canonical(end) or end for end in ends]
        unknown = [end for end in ends if end not in names]
        if unknown or len(ends) > 2:
            raise UserError(f"drop_bands: there is no band {(unknown or [entry])[0]}; {_listed(names)}.")
        first, last = sorted((names.index(ends[0]), names.index(ends[-1])))
        gone |= set(range(first, last + 1))
    kept = tuple(i for i in range(len(names)) if i not in gone)
    if not kept:
        raise UserError("drop_bands leaves out every band: keep at least one.")
    return kept


def _listed(names: Sequence[str]) -> str:
    shown = names if len(names) <= 16 else (*names[:8], "...", *names[-4:])
    return f"the bands are {', '.join(shown)}"


def runs(names: Sequence[str], chosen: Sequence[int]) -> str:
    """Some bands as drop_bands takes them: "b3, b7..b9"."""
    parts = np.split(np.asarray(chosen), np.flatnonzero(np.diff(chosen) > 1) + 1)
    return ", ".join(names[p[0]] if len(p) == 1 else f"{names[p[0]]}..{names[p[-1]]}" for p in parts)


def _count(image: ImageFile) -> int:
    path = Path(image.path)
    if path.is_dir():
        raise UserError(f"{path} is a folder of single-band files: name its bands.")
    if path.suffix.lower() in ARRAYS:
        layout = {key: getattr(image, key) for key in ("variable", "shape", "axes", "time")}
        return len(read_array(path, ("band", "row", "col"), **layout))
    with WindowedRaster(path) as raster:
        return raster.count
