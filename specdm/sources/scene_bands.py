"""What the bands and classes of the user's own scenes are, from the settings and the first file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from specdm import bands as tables
from specdm.errors import UserError
from specdm.labels import LabelClass, LabelSet
from specdm.rasters import WindowedRaster
from specdm.settings import ImageFile, SceneClass, SceneSettings, WavelengthRange
from specdm.sources.arrays import read_array

UNKNOWN_SENSOR = "unnamed sensor"
# Distinct on screen and in print, also for the colour-blind in their first eight (Okabe and Ito).
PALETTE = (
    (0, 114, 178), (230, 159, 0), (0, 158, 115), (204, 121, 167), (86, 180, 233), (213, 94, 0), (240, 228, 66),
    (110, 110, 110), (140, 86, 75), (148, 103, 189), (44, 90, 40), (188, 189, 34), (127, 0, 85), (23, 190, 207),
    (255, 187, 120), (197, 176, 213), (60, 60, 150), (152, 223, 138), (255, 152, 150), (199, 199, 199),
)  # fmt: skip


@dataclass(frozen=True)
class SceneBands:
    """The bands of a file and which of them are kept.

    Attributes:
        in_file: names of all bands of the file, in its order.
        kept: positions of those that patches get.
        wavelengths_nm: centre wavelengths of the kept bands, empty when unknown.
        sensor: name of the sensor.
    """

    in_file: tuple[str, ...]
    kept: tuple[int, ...]
    wavelengths_nm: tuple[float, ...]
    sensor: str

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the kept bands."""
        return tuple(self.in_file[i] for i in self.kept)


def scene_bands(settings: SceneSettings, image: ImageFile) -> SceneBands:
    """The bands of the settings; evenly spaced wavelengths are counted by the file `image`.

    Raises:
        UserError: when names repeat, names and wavelengths differ in number, or a band to drop does not exist.
    """
    wavelengths = settings.wavelengths_nm
    if isinstance(wavelengths, WavelengthRange):
        count = len(settings.bands) if isinstance(settings.bands, tuple) else _count(image)
        wavelengths = tuple(np.linspace(wavelengths.first, wavelengths.last, count).round(2).tolist())
    names = _names(settings.bands, wavelengths)
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UserError(f"The band {twice} is named twice: give each band a name of its own.")
    if wavelengths and len(wavelengths) != len(names):
        raise UserError(f"{len(names)} bands are named but {len(wavelengths)} wavelengths given: give each band one.")
    known = tables.wavelengths(names)
    kept = _kept(names, settings.drop_bands)
    every = wavelengths or known
    sensor = settings.sensor or ("Sentinel-2 MSI" if known else UNKNOWN_SENSOR)
    return SceneBands(names, kept, tuple(every[i] for i in kept) if every else (), sensor)


def _names(declared: str | Sequence[str] | None, wavelengths: Sequence[float] | None) -> tuple[str, ...]:
    if isinstance(declared, str):
        return tables.resolve(declared)
    if declared is None:
        return tuple(f"{w:g}nm" for w in wavelengths)
    try:
        return tuple(tables.parse(name) for name in declared)  # B1 and B01 are one band of Sentinel-2
    except UserError:
        return tuple(declared)


def _kept(names: Sequence[str], dropped: Sequence[str]) -> tuple[int, ...]:
    gone: set[int] = set()
    for entry in dropped:
        ends = [end.strip() for end in entry.split("..")]
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
    if path.suffix.lower() in (".mat", ".npy"):
        layout = {key: getattr(image, key) for key in ("variable", "shape", "axes", "time")}
        return len(read_array(path, ("band", "row", "col"), **layout))
    with WindowedRaster(path) as raster:
        return raster.count


def label_set(name: str, classes: Sequence[SceneClass]) -> LabelSet:
    """The classes of the settings with ids in their order; those without a colour get one of the palette.

    Raises:
        UserError: for more than 255 classes.
    """
    if len(classes) > 255:
        raise UserError(f"{len(classes)} classes do not fit into masks of 255: merge some.")
    return LabelSet(
        name,
        tuple(LabelClass(i, c.name, c.colour or PALETTE[i % len(PALETTE)], c.codes) for i, c in enumerate(classes)),
    )
