"""What the layouts of both benchmarks have in common: what they can carry, file names, lists, label codes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from specdm import rasters
from specdm.errors import UserError
from specdm.exports.selection import Selection
from specdm.labels import IGNORE, LabelSet
from specdm.rasters import Annotations
from specdm.sources.export_layout import file_name

SCALE, OFFSET, NODATA = 1e-4, 0.0, 0  # of both benchmarks; no file says so, and all their readers take it for granted


def require_benchmark(
    selection: Selection, name: str, labels: LabelSet, dates: int, level: str, dtypes: Sequence[str]
) -> None:
    """Refuse a set whose patches code for a benchmark would misread, as its files have no place to say otherwise.

    Args:
        selection: the patches.
        name: of the benchmark.
        labels, dates, level, dtypes: its classes, images a patch, level and types of pixels.

    Raises:
        UserError: naming the first difference.
    """
    patches, meta = selection.patches, selection.patches.meta
    found = [
        (f"{selection.dates} date(s) a patch", f"{dates}", selection.dates == dates),
        (f"the classes of {meta.labels.name}", "its own", meta.labels.classes == labels.classes),
        (f"{patches.images.dtype} pixels", " or ".join(dtypes), str(patches.images.dtype) in dtypes),
        (f"the level {meta.level}", level, meta.level == level),
        (
            f"the scale {meta.scale:g} and offset {meta.offset:g}",
            f"{SCALE:g} and {OFFSET:g}",
            (meta.scale, meta.offset) == (SCALE, OFFSET),
        ),
        (f"the nodata value {meta.nodata}", f"{NODATA}", meta.nodata in (None, NODATA)),
    ]
    for has, wanted, fits in found:
        if not fits:
            raise UserError(
                f"{patches.folder} has {has}, but {name} has {wanted}, and its files cannot say otherwise: export it "
                "as geotiff or webdataset."
            )


def folder_of(split: str) -> str:
    """The list a patch stands in; the benchmarks have no validation list, it is carved out of train."""
    return "test" if split == "test" else "train"


def names_of(selection: Selection) -> dict[str, str]:
    """File names by id; ids that begin with their list (train/a, as our reader of SegMunich makes them) drop it."""
    index = selection.patches.index.iloc[selection.positions]
    ids, splits = index["id"].tolist(), index["split"].tolist()
    cut = all(i.startswith(f"{folder_of(s)}/") for i, s in zip(ids, splits, strict=True))
    return {i: file_name(i.partition("/")[2] if cut else i) for i in ids}


def raw_codes(labels: LabelSet) -> np.ndarray:
    """The benchmark's code of each class id, (256,) uint8; pixels without a label stay IGNORE."""
    codes = np.full(256, IGNORE, np.uint8)
    for c in labels.classes:
        codes[c.id] = c.raw_codes[0]
    return codes


def write_band(path: Path, pixels: np.ndarray, crs: str, transform: tuple[float, ...]) -> None:
    """Write one band (H,W) as an uncompressed TIFF, with a georeference where there is one.

    Synthetic patches have none, and Pillow writes such files four times as fast as GDAL.
    """
    if crs:
        rasters.write_annotated(path, pixels[None], Annotations(), crs, transform)
    else:
        Image.fromarray(pixels).save(path, format="TIFF")


def lists_of(selection: Selection, names: dict[str, str]) -> dict[str, list[str]]:
    """File names of the lists train and test; and of val, those of train that are the split val, if there are any."""
    index = selection.patches.index.iloc[selection.positions]
    listed: dict[str, list[str]] = {"train": [], "test": [], "val": []}
    for patch_id, split in zip(index["id"], index["split"], strict=True):
        listed[folder_of(split)].append(names[patch_id])
        if split == "val":
            listed["val"].append(names[patch_id])
    return {part: own for part, own in listed.items() if own or part != "val"}


def notes_on_splits(selection: Selection, validation: str) -> list[str]:
    """Sentences on splits that a benchmark does not have or that stay empty; `validation` names the list of val."""
    counts, notes = selection.splits(), []
    if counts["val"]:
        notes.append(
            f"The {counts['val']} patches of the split val stand in the list train, as the benchmark has no validation "
            f"list; {validation} names them."
        )
    notes += [
        f"The list {part} is empty: take that of the real benchmark."
        for part in ("train", "test")
        if not counts[part] + (counts["val"] if part == "train" else 0)
    ]
    return notes


def some_unlabelled(selection: Selection) -> bool:
    """Whether some pixel has no label."""
    counts = selection.patches.index["class_counts"].to_numpy()[selection.positions]
    return any(sum(row) < selection.patches.masks[0].size for row in counts)
