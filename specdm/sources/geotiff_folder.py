"""A folder of image and mask files of one size, whoever made them -> a patch set: each pair is one patch.

<images>/<name>.tif, <masks>/<name>.tif                 split by the ground they show, or at random
{train,val,test}/<images>/..., {train,val,test}/<masks>/...     split as the folders say; also
<images>/{train,val,test}/..., <masks>/{train,val,test}/...
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from specdm import bands as tables
from specdm import rasters
from specdm.errors import UserError
from specdm.labels import LabelSet
from specdm.patches import SPLITS, PatchMeta, PatchRecord, PatchWriter
from specdm.progress import Progress
from specdm.rasters import Header
from specdm.settings import SceneClass
from specdm.settings.exchange import FolderSettings
from specdm.sources import blocks as blocking
from specdm.sources import ground
from specdm.sources.blocks import NONE, Ground
from specdm.sources.scene_bands import SENTINEL2, UNKNOWN_SENSOR
from specdm.sources.scene_classes import label_set

CHUNK = 64  # patches in memory at once
TOUCH_PX = 0.01  # an overlap narrower than this is two neighbours and the rounding of their coordinates


@dataclass(frozen=True)
class Pair:
    """The files of one patch: an image a date, and the mask; `split` is empty unless the folders say it."""

    name: str
    split: str
    images: tuple[Path, ...]
    mask: Path


@dataclass(frozen=True)
class FolderReport:
    """Counts of an import.

    Attributes:
        files: pairs found.
        left_out: pairs left out because they overlap patches of two splits.
        sizes, groups: patches and groups by split.
        how: how the splits were made.
        warnings: sentences a user of the set should read.
    """

    files: int
    left_out: int
    sizes: dict[str, int]
    groups: dict[str, int]
    how: str
    warnings: tuple[str, ...]

    def lines(self) -> list[str]:
        """The report as it is printed."""
        return [f"{self.files} pairs of files, {self.left_out} left out; splits: {self.how}", *self.warnings]


def prepare(root: Path, out: Path, settings: FolderSettings, *, name: str, seed: int = 0) -> FolderReport:
    """Import image and mask files.

    The files are read twice: first headers and masks, by which everything is checked and split; then the images.

    Args:
        root: the folder.
        out: folder of the patch set.
        settings: what the files do not say.
        name: of the set.
        seed: of the splits, where the folders do not say them.

    Returns:
        The counts, also stored in the set's provenance.

    Raises:
        UserError: for an image without a mask or the other way round, files of another size, type or number of bands,
            codes of no class, damaged files, or what neither files nor settings say.
    """
    pairs = find_pairs(root, settings)
    first = rasters.read_header(pairs[0].images[0])
    bands, wavelengths, sensor = _bands(pairs[0].images[0], first, settings)
    scale, offset = _scaling(pairs[0].images[0], first, settings)
    labels = label_set(name, settings.classes or classes_of(pairs[0].mask))
    with rasters.many_files():
        grids, classes = _scan(pairs, first, settings, labels)
    split, group, how, warnings = _split(pairs, grids, classes, settings, seed)
    kept = np.flatnonzero(split != "")
    empty = [s for s in SPLITS if not (split == s).any()]
    warnings += [f"No patch stands in {s}: move some files, or give no folders train, val and test." for s in empty]
    report = FolderReport(
        files=len(pairs),
        left_out=len(pairs) - len(kept),
        sizes={s: int((split == s).sum()) for s in SPLITS},
        groups={s: len(set(group[split == s])) for s in SPLITS},
        how=how,
        warnings=tuple(warnings),
    )
    meta = PatchMeta(
        name=name,
        sensor=sensor,
        level=settings.level,
        bands=bands,
        scale=scale,
        offset=offset,
        nodata=_nodata(first, settings),
        labels=labels,
        wavelengths_nm=wavelengths,
        provenance={"source": "folder", "root": str(root), "seed": seed, **dataclasses.asdict(report)},
        warnings=report.warnings,
    )
    progress = Progress(f"importing {name}", len(kept))
    shape = (len(settings.image_ends), first.count, first.grid.height, first.grid.width)
    with rasters.many_files(), PatchWriter(out, meta, shape, first.dtype) as writer:
        for start in range(0, len(kept), CHUNK):
            some = kept[start : start + CHUNK]
            images = [np.stack([rasters.read(path).pixels for path in pairs[i].images]) for i in some]
            masks = [_read_mask(pairs[i].mask, settings, labels) for i in some]
            records = [_record(pairs[i], grids[i], str(split[i]), str(group[i])) for i in some]
            writer.append(np.stack(images), np.stack(masks), records)
            progress.update(len(writer))
    return report


def find_pairs(root: Path, settings: FolderSettings) -> list[Pair]:
    """The pairs of files below a folder, in the order of their names.

    Raises:
        UserError: when there is none, or a file lacks its partner.
    """
    found = []
    for split in ("", *SPLITS):
        places = [(root / split / settings.images, root / split / settings.masks)]
        if split:
            places.append((root / settings.images / split, root / settings.masks / split))
        for images, masks in places:
            if images.is_dir():
                found += _pairs(images, masks, split, settings)
    if not found:
        ends = " and ".join(f"*{end}" for end in settings.image_ends)
        raise UserError(
            f"{root} has no files {ends} in {settings.images}/, nor in folders train, val and test: name the folders "
            "and endings in the settings (images, masks, image_ends, mask_end)."
        )
    if len({bool(pair.split) for pair in found}) > 1:
        raise UserError(f"{root} has files in and beside the folders train, val and test: move all into them, or none.")
    return found


def _pairs(images: Path, masks: Path, split: str, settings: FolderSettings) -> list[Pair]:
    together = (*settings.image_ends, settings.mask_end) if images == masks else ()
    dates = [_by_name(images, end, together or settings.image_ends) for end in settings.image_ends]
    labels = _by_name(masks, settings.mask_end, together or (settings.mask_end,))
    kinds = [*zip([images] * len(dates), settings.image_ends, dates, strict=True), (masks, settings.mask_end, labels)]
    for name in sorted({name for _, _, found in kinds for name in found}):
        present = next(found[name] for _, _, found in kinds if name in found)
        for folder, end, found in kinds:
            if name not in found:
                raise UserError(f"{present} has no partner {folder / (name + end)}: add it, or move the file away.")
    prefix = f"{split}/" if split else ""
    return [
        Pair(f"{prefix}{name}", split, tuple(date[name] for date in dates), labels[name]) for name in sorted(labels)
    ]


def _by_name(folder: Path, end: str, ends: Sequence[str]) -> dict[str, Path]:
    """The files of a folder with an ending, by the name before it; of several `ends` the longest is a file's own."""
    found = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        own = max((e for e in ends if path.name.endswith(e)), key=len, default="")
        name = path.name.removesuffix(end)
        if own == end and name and not name.startswith(".") and path.is_file():
            found[name] = path
    return found


def _bands(path: Path, first: Header, settings: FolderSettings) -> tuple[tuple[str, ...], tuple[float, ...], str]:
    """Names and wavelengths of the bands, and the sensor."""
    declared = settings.bands
    names = tables.resolve(declared) if isinstance(declared, str) else declared or first.about.bands
    if not names:
        raise UserError(f"{path} does not name its bands: write their names down in the settings (bands).")
    if settings.sensor == SENTINEL2:  # then B2, b02 and B02 are one
        names = tables.resolve(tuple(names))
    if len(names) != first.count or len(set(names)) < len(names):
        raise UserError(f"{path} has {first.count} bands, not {len(names)} of different names: name each once (bands).")
    known = tables.wavelengths(names) if settings.sensor in (None, SENTINEL2) else ()
    wavelengths = settings.wavelengths_nm or rasters.read_bands(path).wavelengths_nm or known
    if wavelengths and len(wavelengths) != len(names):
        raise UserError(f"wavelengths_nm: {len(wavelengths)} wavelengths for {len(names)} bands: give each band one.")
    return tuple(names), tuple(wavelengths), settings.sensor or (SENTINEL2 if known else UNKNOWN_SENSOR)


def _scaling(path: Path, first: Header, settings: FolderSettings) -> tuple[float, float]:
    if settings.scale is not None:
        return settings.scale, settings.offset
    found = set(zip(first.about.scales, first.about.offsets, strict=True))
    if len(found) > 1:
        raise UserError(f"{path} scales its bands differently: bring them to one scale and offset.")
    scale, offset = next(iter(found))
    if (scale, offset) == (1, 0) and settings.level != "unitless" and np.issubdtype(first.dtype, np.integer):
        raise UserError(
            f"{path} declares no scale, and whole numbers are no reflectance: say scale and offset in the settings, "
            "such as scale: 1e-4, offset: 0, or level: unitless."
        )
    return scale, offset


def _nodata(first: Header, settings: FolderSettings) -> float | None:
    value = first.about.nodata if settings.nodata == "file" else settings.nodata
    return None if value is None or value != value else value  # NaN: the writer refuses pixels that hold it


def classes_of(path: Path) -> tuple[SceneClass, ...]:
    """The classes of a mask file by its tag `classes` ("0 water, 1 forest"), in the colours of its colour table.

    Raises:
        UserError: when the file has no such tag.
    """
    about = rasters.read_header(path).about
    parts = re.split(r", (?=\d+ )", about.tags.get("classes", ""))
    found = [re.fullmatch(r"(\d+) (.+)", part) for part in parts]
    codes = [int(match[1]) for match in found if match]
    if len(codes) < 2 or not all(found) or len(set(codes)) < len(codes):
        raise UserError(
            f"{path} does not say what its codes mean (tag `classes`): list the classes in the settings, such as "
            "classes: [{name: water, codes: [1]}, {name: land, codes: [2]}]."
        )
    colours = [tuple(map(int, about.palette[c])) if about.palette is not None and c < 256 else None for c in codes]
    return tuple(
        SceneClass(name=match[2], codes=(code,), colour=colour)
        for match, code, colour in zip(found, codes, colours, strict=True)
    )


def _read_mask(path: Path, settings: FolderSettings, labels: LabelSet) -> np.ndarray:
    """Class ids (H,W) uint8; errors for codes of no class."""
    header = rasters.read_header(path)
    if header.count != 1:
        raise UserError(f"{path} has {header.count} bands: masks have one, of class codes.")
    nodata = () if header.about.nodata is None else (header.about.nodata,)
    codes = rasters.read(path).pixels[0]
    return labels.remap(codes, path, (*settings.ignore_codes, *nodata), settings.unlisted_codes)


def _scan(
    pairs: Sequence[Pair], first: Header, settings: FolderSettings, labels: LabelSet
) -> tuple[list[rasters.Grid], np.ndarray]:
    """Check every header and mask; the grid of each patch, and its labelled pixels by class (n,K)."""
    grids, classes = [], np.zeros((len(pairs), len(labels)), np.int64)
    progress, start = Progress("reading masks", len(pairs), "files"), pairs[0].images[0]
    for i, pair in enumerate(pairs):
        headers = [rasters.read_header(path) for path in pair.images]
        for path, header in zip(pair.images, headers, strict=True):
            difference = _difference(header, first, settings)
            if difference:
                raise UserError(f"{path} differs from {start.name} in {difference}: bring all files to one form.")
        ids = _read_mask(pair.mask, settings, labels)
        if ids.shape != (first.grid.height, first.grid.width):
            raise UserError(
                f"{pair.mask} is {ids.shape} pixels but its image {pair.images[0].name} "
                f"{(first.grid.height, first.grid.width)}: cut them alike."
            )
        classes[i] = np.bincount(ids.ravel(), minlength=256)[: len(labels)]
        if headers[0].grid.crs != headers[-1].grid.crs or headers[0].grid.transform != headers[-1].grid.transform:
            raise UserError(f"{pair.images[1]} lies elsewhere than {pair.images[0].name}: give images of one ground.")
        grids.append(headers[0].grid)
        progress.update(i + 1)
    silent = [labels.names[k] for k in np.flatnonzero(classes.sum(axis=0) == 0)]
    if len(silent) == len(labels):
        raise UserError(f"{pairs[0].mask.parent}: no mask has a labelled pixel: check the codes of the classes.")
    return grids, classes


def _difference(header: Header, first: Header, settings: FolderSettings) -> str:
    """In what a file differs from the first one; empty where it does not."""
    pairs = [
        ("size", (header.grid.height, header.grid.width), (first.grid.height, first.grid.width)),
        ("number of bands", header.count, first.count),
        ("type of pixels", str(header.dtype), str(first.dtype)),
    ]
    if settings.bands is None:
        pairs.append(("names of bands", header.about.bands, first.about.bands))
    if settings.scale is None:
        pairs.append(("scale", header.about.scales, first.about.scales))
        pairs.append(("offset", header.about.offsets, first.about.offsets))
    if settings.nodata == "file":
        pairs.append(("nodata value", str(header.about.nodata), str(first.about.nodata)))
    return next((f"{what} ({have} instead of {want})" for what, have, want in pairs if have != want), "")


def _split(
    pairs: Sequence[Pair], grids: Sequence[rasters.Grid], classes: np.ndarray, settings: FolderSettings, seed: int
) -> tuple[np.ndarray, np.ndarray, str, list[str]]:
    """Split ("" for those left out) and group of each pair (n,), how they were made, and warnings."""
    wanted = {"val": settings.val_fraction, "test": settings.test_fraction}
    names = np.array([pair.name for pair in pairs], object)
    bare = sum(not grid.crs for grid in grids)
    if pairs[0].split:
        split = np.array([pair.split for pair in pairs], object)
        return split, names, "as the folders say", []
    leak = (
        f"{bare} of {len(pairs)} files have no georeference and were split at random, each by itself: neighbours may "
        "stand in two splits, and scores on them may flatter."
    )
    if len(pairs) < len(SPLITS):
        raise UserError(f"{len(pairs)} pair(s) of files cannot fill three splits: make folders train, val and test.")
    if bare == len(pairs):
        return ground.assign(names, classes, wanted, seed), names, "at random by file", [leak]
    grounds = [Ground(grid) for grid in grids]
    place = blocking.find_places(grounds, -TOUCH_PX)
    whole = np.tile([0.0, 0.0, grids[0].height, grids[0].width], (len(pairs), 1))
    windows = blocking.on_frames(grounds, np.arange(len(pairs)), whole, place)
    try:
        division = blocking.divide(place, windows, classes, max(grids[0].height, grids[0].width), None, 0, wanted, seed)
    except UserError as error:
        raise UserError(
            f"{pairs[0].images[0].parent}: the {len(pairs)} files overlap too much on the ground for three splits: "
            "give more files, or make folders train, val and test."
        ) from error
    group = np.array([division.blocks.name(b) for b in division.blocks.containing(place, windows)], object)
    split = np.array([SPLITS[s] if s != NONE else "" for s in division.split], object)
    return split, group, "by spatial blocks, no ground in two splits", [leak] if bare else []


def _record(pair: Pair, grid: rasters.Grid, split: str, group: str) -> PatchRecord:
    tags = [rasters.read_header(path).about.tags for path in pair.images]
    dates = [own.get("date", "") for own in tags]
    return PatchRecord(
        id=pair.name,
        split=split,
        group=group,
        source=tags[0].get("source", pair.images[0].name),
        dates=",".join(dates) if all(dates) else "",
        crs=grid.crs,
        transform=grid.transform,
    )
