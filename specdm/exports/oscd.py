"""Layout oscd: the folders and names of the Onera data set, each patch a "city", for code that reads the benchmark.

    ... - Images/<city>/imgs_{1,2}_rect/B01.tif ... B12.tif   one file a band, 10 m pixels
    ... - Images/<city>/dates.txt                             empty where the dates are unknown
    ... - Images/{train,test}.txt                             cities, separated by commas
    ... - Images/val.txt                                      those of train.txt that were the split val, if any
    ... - {Train,Test} Labels/<city>/cm/<city>-cm.tif         1 = no change, 2 = change, 255 = no label
    ... - {Train,Test} Labels/<city>/cm/cm.png                0 = no change or no label, 255 = change

Code for the benchmark picks bands by their position among all thirteen: bands that the set lacks are written as files
of zeros. The native files (imgs_1, imgs_2), pair/ and the geojson of the real data set are not written. Our reader
(`specdm prepare --source oscd`, windows of a patch's size) gives back images and masks, the cities of train.txt first;
group and source become the city, which is the patch's id as a file name, the id <city>_0000_0000, rows and columns 0.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from PIL import Image

from specdm import rasters
from specdm.bands import SENTINEL2
from specdm.errors import UserError
from specdm.exports.benchmark import (
    folder_of,
    lists_of,
    names_of,
    notes_on_splits,
    raw_codes,
    require_benchmark,
    some_unlabelled,
    write_band,
)
from specdm.exports.selection import Selection, write_each
from specdm.labels import OSCD
from specdm.patches import PatchRecord
from specdm.sources.oscd import OFFICIAL_FOLDERS

CHANGE = next(c.id for c in OSCD.classes if c.name == "change")


def write(selection: Selection, folder: Path) -> list[str]:
    """Write the patches into an empty folder.

    Returns:
        Sentences on what the layout does not carry.

    Raises:
        UserError: when the set is not what code for OSCD expects: two dates, its classes, bands of Sentinel-2 in
            uint16, top-of-atmosphere reflectance as number / 10 000, 0 for pixels without data.
    """
    meta = selection.patches.meta
    require_benchmark(selection, "OSCD", OSCD, dates=2, level="TOA", dtypes=("uint16",))
    strange = [band for band in meta.bands if band not in SENTINEL2]
    if strange:
        raise UserError(
            f"{selection.patches.folder} has the band {strange[0]}, but OSCD has those of Sentinel-2: export it as "
            "geotiff or webdataset."
        )
    images, *labels = (folder / name for name in OFFICIAL_FOLDERS)
    labels_of = dict(zip(("train", "test"), labels, strict=True))
    for path in (images, *labels):
        path.mkdir()
    names, codes = names_of(selection), raw_codes(OSCD)
    absent = [band for band in SENTINEL2 if band not in meta.bands]
    zeros = _zeros(images, selection.patches.masks.shape[1:]) if absent else b""
    undated = []

    def write_patch(image: np.ndarray, mask: np.ndarray, record: PatchRecord) -> None:
        city, place = names[record.id], (record.crs, record.transform)
        for t in range(2):
            date = images / city / f"imgs_{t + 1}_rect"
            date.mkdir(parents=True)
            for band, pixels in zip(meta.bands, image[t], strict=True):
                write_band(date / f"{band}.tif", pixels, *place)
            for band in absent:
                (date / f"{band}.tif").write_bytes(zeros)
        dates = _dates_txt(record.dates)
        (images / city / "dates.txt").write_text(dates)
        if not dates:
            undated.append(city)
        _write_change(labels_of[folder_of(record.split)] / city / "cm", city, mask, codes, place)

    write_each(selection, write_patch)
    for part, cities in lists_of(selection, names).items():
        (images / f"{part}.txt").write_text(",".join(cities) + "\n")
    return _notes(selection, absent, len(undated))


def _zeros(folder: Path, size: tuple[int, int]) -> bytes:
    """The file of a band that the set lacks, compressed: each patch has two of each."""
    path = folder / "zeros.tif"
    with rasters.many_files():
        rasters.write_annotated(path, np.zeros((1, *size), np.uint16), compress="deflate")
    content = path.read_bytes()
    path.unlink()
    return content


def _dates_txt(dates: str) -> str:
    """The two lines of dates.txt; empty unless both dates are known to the day."""
    found = [re.fullmatch(r"(\d{4})-(\d\d)-(\d\d)", date) for date in dates.split(",")]
    if len(found) != 2 or not all(found):
        return ""
    return "".join(f"date_{t}: {''.join(day.groups())}\n" for t, day in enumerate(found, start=1))


def _write_change(folder: Path, city: str, mask: np.ndarray, codes: np.ndarray, place: tuple) -> None:
    folder.mkdir(parents=True)
    write_band(folder / f"{city}-cm.tif", codes[mask], *place)
    Image.fromarray((mask == CHANGE).astype(np.uint8) * 255).save(folder / "cm.png")


def _notes(selection: Selection, absent: list[str], undated: int) -> list[str]:
    notes = notes_on_splits(selection, "val.txt")
    if absent:
        notes.append(f"The set lacks {', '.join(absent)}: their files hold zeros, so that code finds thirteen bands.")
    if undated:
        notes.append(f"{undated} cities have an empty dates.txt: their dates are unknown.")
    if some_unlabelled(selection):
        notes.append("Pixels without a label hold 255 in the -cm.tif files and count as no change in cm.png.")
    return notes
