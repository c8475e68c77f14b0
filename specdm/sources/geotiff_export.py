"""An export of the layout geotiff -> the patch set it was made of, bit for bit."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np

from specdm import rasters
from specdm.errors import UserError
from specdm.labels import IGNORE
from specdm.patches import INDEX_COLUMNS, SCHEMA_VERSION, PatchMeta, PatchRecord, PatchWriter
from specdm.progress import Progress
from specdm.sources.export_layout import INDEX, META, Checksums, image_files, mask_file, record_of

CHUNK = 64  # patches in memory at once


def read_meta(folder: Path) -> PatchMeta:
    """The meta.json of an export.

    Raises:
        UserError: when it is damaged or of another schema version.
    """
    path = folder / META
    try:
        data = json.loads(path.read_text())
        if data.get("schema_version") == SCHEMA_VERSION:
            return PatchMeta.from_dict(data)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"{path} is damaged or no meta.json of a patch set: export the set again.") from error
    raise UserError(f"{path} has schema version {data.get('schema_version')}, not {SCHEMA_VERSION}: export it again.")


def prepare(folder: Path, out: Path, name: str = "") -> list[str]:
    """Read an export of the layout geotiff back.

    Images and masks that were changed since (labels corrected in a GIS, say) are read as they are now; the set then
    carries a warning. asked.npy of a synthetic set is not part of an export.

    Args:
        folder: the export.
        out: folder of the patch set.
        name: of the set; empty: as it was.

    Returns:
        Lines to print.

    Raises:
        UserError: for files that are missing, damaged, of another size, type or number of bands, masks with ids of no
            class, or a damaged index.
    """
    meta = read_meta(folder)
    meta = dataclasses.replace(meta, name=name or meta.name)
    records = _records(folder / INDEX)
    known = np.zeros(256, bool)
    known[[c.id for c in meta.labels.classes] + [IGNORE]] = True
    dates = 2 if image_files(folder, records[0].id, 2)[0].is_file() else 1
    first = _read_image(image_files(folder, records[0].id, dates))
    checksums, progress = Checksums(), Progress(f"importing {meta.name}", len(records))
    with rasters.many_files(), PatchWriter(out, meta, first.shape, first.dtype) as writer:
        for start in range(0, len(records), CHUNK):
            some = records[start : start + CHUNK]
            pairs = [_read_pair(folder, record, first, known) for record in some]
            images, masks = (np.stack(arrays) for arrays in zip(*pairs, strict=True))
            checksums.update(images, masks, some)
            writer.append(images, masks, some)
            progress.update(len(writer))
        changed = checksums.differing(meta.checksums)
        lines = []
        if changed:
            parts = " and ".join(changed)
            lines = [f"Since the export of {meta.name} its {parts} were changed: they are read as they are."]
            writer.meta = dataclasses.replace(meta, warnings=(*meta.warnings, *lines))
    return lines


def _records(path: Path) -> list[PatchRecord]:
    import pandas as pd

    if not path.is_file():
        raise UserError(f"{path} does not exist: export the set again, or import the files with --settings.")
    try:
        rows = pd.read_parquet(path, columns=list(INDEX_COLUMNS)).to_dict("records")
    except (OSError, ValueError) as error:  # what pyarrow raises are subclasses of these
        raise UserError(f"{path} is damaged: export the set again.") from error
    if not rows:
        raise UserError(f"{path} lists no patch: export the set again.")
    return [record_of(row) for row in rows]


def _read_pair(
    folder: Path, record: PatchRecord, first: np.ndarray, known: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    paths, path = image_files(folder, record.id, len(first)), mask_file(folder, record.id)
    image, mask = _read_image(paths), rasters.read(path).pixels
    if image.shape != first.shape or image.dtype != first.dtype:
        raise UserError(
            f"{paths[0]} has shape {image.shape[1:]} of {image.dtype} but the first image {first.shape[1:]} of "
            f"{first.dtype}: bring all files to one size, type and number of bands."
        )
    if mask.shape != (1, *first.shape[2:]) or mask.dtype != np.uint8:
        raise UserError(
            f"{path} has shape {mask.shape} of {mask.dtype} but its image {first.shape[2:]}: masks are uint8 of one "
            "band and of the image's size."
        )
    strange = np.flatnonzero((np.bincount(mask.ravel(), minlength=256) > 0) & ~known)
    if len(strange):
        raise UserError(f"{path} holds the id {strange[0]}, which is in no class: correct it or export the set again.")
    return image, mask[0]


def _read_image(paths: list[Path]) -> np.ndarray:
    dates = [rasters.read(path).pixels for path in paths]
    if len({(d.shape, d.dtype) for d in dates}) > 1:
        raise UserError(f"{paths[1]} has another size, type or number of bands than {paths[0].name}: make them alike.")
    return np.stack(dates)
