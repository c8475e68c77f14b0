"""Layout geotiff: one GeoTIFF an image and a mask, which name and scale their bands and classes; read by any GIS.

    images/<id>.tif            one date; of two dates <id>_1.tif and <id>_2.tif
    masks/<id>.tif             class ids with their colours and names, 255 = ignore
    index.parquet, meta.json   as in the patch set: `specdm import` gives back the same set, bit for bit

Ids become file names by `sources.export_layout.file_name`. The class fractions that a synthetic set was asked for
(asked.npy) are not exported.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from specdm import files, rasters
from specdm.exports.selection import Selection, write_each
from specdm.labels import IGNORE
from specdm.patches import PatchMeta, PatchRecord
from specdm.rasters import Annotations
from specdm.sources.export_layout import IMAGES, INDEX, MASKS, META, image_files, mask_file

# GDAL's options by name. Level 1 and differences of neighbours: on Sentinel-2 patches no other level is smaller.
COMPRESSIONS = {
    "none": {},
    "deflate": {"compress": "deflate", "zlevel": 1},
    "zstd": {"compress": "zstd", "zstd_level": 1},
}
NODATA_RULE = "a pixel has no data where all bands hold the nodata value; a single band may hold it as a measurement"


def write(selection: Selection, folder: Path, compression: str = "none") -> list[str]:
    """Write the patches into an empty folder.

    Args:
        selection: the patches.
        folder: an empty folder.
        compression: of the images, a key of COMPRESSIONS; masks are always compressed (DEFLATE).

    Returns:
        Sentences on what the layout does not carry.

    Raises:
        UserError: when a file cannot be written, or the set is damaged.
    """
    meta, dates = selection.patches.meta, selection.dates
    of_images, of_masks = _image_annotations(meta), mask_annotations(meta)
    options = dict(COMPRESSIONS[compression])
    if options:
        options["predictor"] = 2 if np.issubdtype(selection.patches.images.dtype, np.integer) else 3
    for part in (IMAGES, MASKS):
        (folder / part).mkdir()

    def write_patch(image: np.ndarray, mask: np.ndarray, record: PatchRecord) -> None:
        days = record.dates.split(",") if record.dates else []
        for t, path in enumerate(image_files(folder, record.id, dates)):
            tags = {"date": days[t]} if len(days) == dates else {}
            place = (record.crs, record.transform)
            rasters.write_annotated(path, image[t], _with_tags(of_images, record, tags), *place, **options)
        path = mask_file(folder, record.id)
        rasters.write_annotated(
            path, mask[None], _with_tags(of_masks, record), record.crs, record.transform, compress="deflate"
        )

    write_each(selection, write_patch, threaded=bool(options))
    selection.write_index(folder / INDEX)
    (folder / META).write_text(files.to_json(selection.meta().to_dict()))
    return []


def _with_tags(about: Annotations, record: PatchRecord, more: dict[str, str] | None = None) -> Annotations:
    own = {"id": record.id, "split": record.split, "group": record.group, "source": record.source}
    return Annotations(**vars(about) | {"tags": {**about.tags, **own, **(more or {})}})


def _image_annotations(meta: PatchMeta) -> Annotations:
    quantity = "value" if meta.level == "unitless" else "reflectance"
    tags = {
        "sensor": meta.sensor,
        "level": meta.level,
        "quantity": f"{quantity} = stored number * {meta.scale!r} + {meta.offset!r}",
    }
    if meta.nodata is not None:
        tags["nodata_rule"] = NODATA_RULE
    bands = len(meta.bands)
    return Annotations(
        bands=meta.bands,
        wavelengths_nm=meta.wavelengths_nm,
        scales=(meta.scale,) * bands,
        offsets=(meta.offset,) * bands,
        nodata=meta.nodata,
        tags=tags | origin_tags(meta),
    )


def mask_annotations(meta: PatchMeta) -> Annotations:
    """Colours and names of the classes, in the words that maps of `specdm predict` have as well."""
    names = ", ".join(f"{c.id} {c.name}" for c in meta.labels.classes)
    tags = {"classes": names, "label_set": meta.labels.name}
    return Annotations(nodata=IGNORE, tags=tags | origin_tags(meta), palette=meta.labels.palette())


def origin_tags(meta: PatchMeta) -> dict[str, str]:
    """What made the patches: data set, and of synthetic ones the generator and the seed."""
    tags = {"data_set": meta.name, "synthetic": str(meta.synthetic).lower()}
    if meta.synthetic:
        models = meta.provenance.get("models") or {}
        tags |= {"generator": " ".join(f"{part}={models[part]}" for part in sorted(models)) or "not recorded"}
        tags |= {"seed": str(meta.provenance.get("seed", "not recorded"))}
    return tags
