"""OSCD, the Onera Satellite Change Detection data set: 24 cities, two Sentinel-2 L1C dates each -> a patch set.

Daudt, Le Saux, Boulch, Gousseau, "Urban Change Detection for Multispectral Earth Observation Using Convolutional
Neural Networks", IGARSS 2018. The change maps are CC BY-NC-SA, the imagery is modified Copernicus Sentinel data.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from specdm import rasters
from specdm.bands import BAND_SETS, wavelengths
from specdm.errors import UserError
from specdm.labels import OSCD
from specdm.patches import PatchMeta, PatchRecord, PatchWriter
from specdm.progress import Progress
from specdm.sources import oscd_raster
from specdm.sources.windows import gap, moved, windows

# 280 m apart: what is learnt in one is seen in the other.
GROUPS = {"paris": "paris+bercy", "bercy": "paris+bercy"}
OFFICIAL_FOLDERS = tuple(
    f"Onera Satellite Change Detection dataset - {part}" for part in ("Images", "Train Labels", "Test Labels")
)
_LAYOUTS = (  # (images, train labels, test labels) below the root; in a merged tree all three are the root
    OFFICIAL_FOLDERS,
    ("images", "train_labels", "test_labels"),
    ("", "", ""),
)


@dataclass(frozen=True)
class City:
    """One city's raw folders; `split` is "train", "val" or "test"."""

    name: str
    split: str
    images: Path
    labels: Path

    @property
    def group(self) -> str:
        return GROUPS.get(self.name, self.name)


@dataclass(frozen=True)
class CityCounts:
    """What one city gave: size and changed pixels of the scene, windows cut and windows the guard dropped."""

    name: str
    split: str
    height: int
    width: int
    changed_px: int
    windows: int
    guarded: int

    @property
    def changed_percent(self) -> float:
        return 100 * self.changed_px / (self.height * self.width)


@dataclass(frozen=True)
class OscdReport:
    """Counts by city; `windows` are those of the floor rule, of which `guarded` were dropped."""

    grid: str
    patch_px: int
    stride_px: int
    guard_px: int
    cities: tuple[CityCounts, ...]

    def kept(self, *splits: str) -> int:
        """Patches written in some splits."""
        return sum(c.windows - c.guarded for c in self.cities if c.split in splits)

    def lines(self) -> list[str]:
        rows = [
            f"{c.split:5} {c.name:12} {c.height:5} x {c.width:<5} changed {c.changed_px:6} "
            f"({c.changed_percent:.2f} %)  windows {c.windows:3}"
            + (f", {c.guarded} dropped by the guard strip" if c.guarded else "")
            for c in self.cities
        ]
        cut = {s: sum(c.windows for c in self.cities if c.split in s) for s in (("train", "val"), ("test",))}
        return [
            *rows,
            f"grid {self.grid}, {self.patch_px} px windows every {self.stride_px} px: "
            f"{cut['train', 'val']} train+val and {cut[('test',)]} test; "
            f"{sum(c.guarded for c in self.cities)} within {self.guard_px} px of a test city dropped",
            f"written: {self.kept('train')} train, {self.kept('val')} val, {self.kept('test')} test",
        ]


def prepare(
    root: Path,
    out: Path,
    *,
    name: str = "oscd",
    bands: Sequence[str] = BAND_SETS["paper"],
    patch_px: int = 256,
    stride_px: int = 102,
    grid: str = "official",
    val_cities: Sequence[str] = ("nantes", "hongkong"),
    train_cities: Sequence[str] | None = None,
    guard_px: int = 32,
) -> OscdReport:
    """Cut the cities of OSCD into a patch set with two dates.

    Args:
        root: the unpacked data set (official folder names, images/ + *_labels/, or one tree of cities).
        out: folder of the patch set.
        name: name written into the set.
        bands: Sentinel-2 band names, in the order of the channel axis.
        patch_px, stride_px: size and distance of the windows in 10 m pixels; only full windows are cut.
            ASSUME: the paper lost both; 256 px with 60 % overlap is the nearest reading of its text (docs/paper.md).
        grid: "official" (bit-equal to the published 10 m files) or "registered" (see oscd_raster).
        val_cities: cities of the official training list that become the validation split.
        train_cities: those of the other training cities that are kept; None: all.
        guard_px: training and validation windows closer than this to a test city are dropped.
            ASSUME: 32 px, above the 7 px by which the official dates of saclay drift apart.

    Returns:
        The counts by city, also stored in the set's provenance.

    Raises:
        UserError: for missing or damaged files, or splits that share a group.
    """
    root, out = Path(root), Path(out)
    if grid not in ("official", "registered"):
        raise UserError(f"There is no OSCD grid {grid!r}: use 'official' or 'registered'.")
    cities = find_cities(root, val_cities, train_cities)
    grids = {city.name: oscd_raster.grid_of(city.images) for city in cities}
    if not any(windows(g.height, g.width, patch_px, stride_px) for g in grids.values()):
        raise UserError(f"No city in {root} holds a window of {patch_px} px: choose a smaller patch_px.")
    meta = PatchMeta(
        name=name,
        sensor="Sentinel-2 MSI",
        level="TOA",
        bands=tuple(bands),
        scale=1e-4,
        offset=0.0,  # acquired 2015 to 2018, before processing baseline 04.00 brought an offset
        nodata=0,  # L1C fills pixels without data with 0 in all bands; the published cities hold none
        labels=OSCD,
        wavelengths_nm=wavelengths(bands),
    )
    counts = []
    progress = Progress(f"cutting {name}", len(cities), "cities")
    with PatchWriter(out, meta, (2, len(bands), patch_px, patch_px), "uint16") as writer:
        for city in cities:
            size = (grids[city.name].height, grids[city.name].width)
            change = oscd_raster.read_change(city.labels, city.name, size)
            pixels = oscd_raster.read_dates(city.images, bands, grid)
            _check_pixels(pixels, city.images)
            every = windows(*size, patch_px, stride_px)
            kept = [rc for rc in every if not _guarded(rc, patch_px, city, cities, grids, guard_px)]
            dates = _read_dates_txt(city.images / "dates.txt")
            for row, col in kept:
                here = np.s_[row : row + patch_px, col : col + patch_px]
                record = PatchRecord(
                    id=f"{city.name}_{row:04}_{col:04}",
                    split=city.split,
                    group=city.group,
                    source=city.name,
                    dates=dates,
                    row=row,
                    col=col,
                    crs=grids[city.name].crs,
                    transform=moved(grids[city.name].transform, row, col),
                )
                writer.append(pixels[(None, ..., *here)], change[here][None], [record])
            changed = int(np.count_nonzero(change == 1))
            counts.append(CityCounts(city.name, city.split, *size, changed, len(every), len(every) - len(kept)))
            progress.update(len(counts))
        report = OscdReport(grid, patch_px, stride_px, guard_px, tuple(counts))
        meta.provenance.update(source="oscd", root=str(root), **dataclasses.asdict(report))
    return report


def find_cities(root: Path, val_cities: Sequence[str], train_cities: Sequence[str] | None = None) -> list[City]:
    """The cities of train.txt and test.txt, in that order, with their folders and splits.

    train_cities: those of the training list that are kept beside val_cities; None: all.

    Raises:
        UserError: when folders are missing, or a chosen city is unknown or shares a group with one of another split.
    """
    if not root.is_dir():
        raise UserError(f"{root} does not exist: fetch OSCD with `specdm download oscd`, or name its folder.")
    layout = next((names for names in _LAYOUTS[:2] if (root / names[0]).is_dir()), _LAYOUTS[2])
    images, train_labels, test_labels = (root / part for part in layout)
    train, test = _read_list(images / "train.txt"), _read_list(images / "test.txt")
    for what, chosen in (("validation", val_cities), ("training", train_cities or ())):
        unknown = [city for city in chosen if city not in train]
        if unknown:
            raise UserError(
                f"The {what} city {unknown[0]!r} is not in {images / 'train.txt'}: choose among {', '.join(train)}."
            )
    if train_cities is not None:
        train = [city for city in train if city in train_cities or city in val_cities]
    cities = [City(c, "val" if c in val_cities else "train", images / c, train_labels / c / "cm") for c in train]
    cities += [City(c, "test", images / c, test_labels / c / "cm") for c in test]
    owner: dict[str, City] = {}
    for city in cities:
        if not city.images.is_dir():
            raise UserError(f"{city.images} is listed but missing: fetch the images again or remove it from the list.")
        other = owner.setdefault(city.group, city)
        if other.split != city.split:
            raise UserError(
                f"{other.name} ({other.split}) and {city.name} ({city.split}) are one group: "
                "give both to the same split in val_cities."
            )
    return cities


def _read_list(path: Path) -> list[str]:
    if not path.is_file():
        raise UserError(f"{path} does not exist: it lists the cities of the split, separated by commas.")
    return [city for city in re.split(r"[\s,]+", path.read_text()) if city]


def _read_dates_txt(path: Path) -> str:
    found = re.findall(r"date_[12]:\s*(\d{4})(\d{2})(\d{2})", path.read_text()) if path.is_file() else []
    return ",".join("-".join(parts) for parts in found)


def _check_pixels(pixels: np.ndarray, where: Path) -> None:
    if pixels.dtype != np.uint16:
        raise UserError(f"{where} holds {pixels.dtype} pixels instead of uint16: fetch the city again.")
    if not any(plane.any() for date in pixels for plane in date):
        raise UserError(f"{where} holds only zeros: fetch the city again.")


def _guarded(
    window: tuple[int, int],
    size: int,
    city: City,
    cities: Sequence[City],
    grids: dict[str, rasters.Grid],
    guard_px: int,
) -> bool:
    """Whether a training window comes within `guard_px` of the ground of a test city."""
    here = grids[city.name]
    if city.split == "test" or not here.transform:
        return False
    corners = (window[0], window[1], window[0] + size, window[1] + size)
    tests = [grids[other.name] for other in cities if other.split == "test"]
    return any(
        gap(corners, _seen_from(here, there)) < guard_px for there in tests if there.transform and there.crs == here.crs
    )


def _seen_from(here: rasters.Grid, there: rasters.Grid) -> tuple[float, float, float, float]:
    """The rectangle (top, left, bottom, right) of another scene in the pixels of this one (both north up)."""
    a, _, c, _, e, f = here.transform
    other_a, _, other_c, _, other_e, other_f = there.transform
    top, left = (other_f - f) / e, (other_c - c) / a
    return top, left, top + there.height * other_e / e, left + there.width * other_a / a
