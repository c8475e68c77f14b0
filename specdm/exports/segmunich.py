"""Layout segmunich: the folders and names of SegMunich, for code that reads the benchmark.

    {train,test}/img/<id>.tif      ten bands, interleaved by pixel ("channel last"), as they are stored in the set
    {train,test}/label/<id>.tif    the benchmark's own codes (21 = arable land, ...); 255 = no label
    dataset/{train,test}.txt       ids, one a line
    dataset/validation.txt         those of train.txt that were the validation split of the set, where there are any

The benchmark has no validation list: its users carve one out of train, and so does our reader. Patches of the split val
therefore stand in train; `--split train` leaves them out. Our reader (`specdm prepare --source segmunich`) gives back
images and masks in the order of the lists, with ids <train|test>/<name>, and draws groups and validation anew.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

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
from specdm.labels import IGNORE, SEGMUNICH
from specdm.patches import PatchRecord
from specdm.rasters import Annotations

BANDS = 10
TYPES = ("uint16", "int16", "float32")  # that readers of SegMunich know


def write(selection: Selection, folder: Path) -> list[str]:
    """Write the patches into an empty folder.

    Returns:
        Sentences on what the layout does not carry.

    Raises:
        UserError: when the set is not what code for SegMunich expects: one date, its classes, ten bands of Sentinel-2,
            surface reflectance as number / 10 000, 0 for pixels without data.
    """
    meta = selection.patches.meta
    require_benchmark(selection, "SegMunich", SEGMUNICH, dates=1, level="BOA", dtypes=TYPES)
    if len(meta.bands) != BANDS or not set(meta.bands) <= SENTINEL2.keys():
        raise UserError(
            f"{selection.patches.folder} has the bands {', '.join(meta.bands)}, but SegMunich has ten of Sentinel-2: "
            "export it as geotiff or webdataset."
        )
    names, codes = names_of(selection), raw_codes(SEGMUNICH)
    for part in ("train", "test"):
        for kind in ("img", "label"):
            (folder / part / kind).mkdir(parents=True)
    (folder / "dataset").mkdir()
    for part, listed in lists_of(selection, names).items():
        part = {"val": "validation"}.get(part, part)
        (folder / "dataset" / f"{part}.txt").write_text("".join(f"{name}\n" for name in listed))
    about = Annotations(bands=meta.bands)

    def write_patch(image: np.ndarray, mask: np.ndarray, record: PatchRecord) -> None:
        part, name, place = folder / folder_of(record.split), names[record.id], (record.crs, record.transform)
        rasters.write_annotated(part / "img" / f"{name}.tif", image[0], about, *place, interleave="pixel")
        write_band(part / "label" / f"{name}.tif", codes[mask], *place)

    write_each(selection, write_patch)
    return _notes(selection)


def _notes(selection: Selection) -> list[str]:
    notes = [f"The files hold the bands {', '.join(selection.patches.meta.bands)}: name them to the reader."]
    notes += notes_on_splits(selection, "dataset/validation.txt")
    if some_unlabelled(selection):
        notes.append(f"Pixels without a label hold {IGNORE}, which the benchmark's own files do not; losses ignore it.")
    return notes
