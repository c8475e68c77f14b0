"""The patch set: the on-disk contract between the stages, its reader and its streaming writer.

A patch set is a folder:

    images.npy     (N,T,C,H,W) in the source's own type: integer digital numbers (dn) or float32
    masks.npy      (N,H,W) uint8 class ids, 255 = ignore
    index.parquet  one row a patch (see INDEX_COLUMNS); GeoParquet where there is a location
    meta.json      sensor, level, bands, scale and offset to reflectance, nodata, label set, checksums, provenance

reflectance = dn * scale + offset. T is the number of dates: 1 for segmentation, 2 for change detection.
"""

from specdm.patches.meta import FILES, INDEX_COLUMNS, SCHEMA_VERSION, SPLITS, PatchMeta, PatchRecord
from specdm.patches.normaliser import Normaliser
from specdm.patches.reader import PatchSet, check_masks, open_patches, require_labels
from specdm.patches.values import class_counts, to_dn, to_reflectance, valid_pixels
from specdm.patches.writer import PatchWriter

__all__ = [
    "FILES",
    "INDEX_COLUMNS",
    "SCHEMA_VERSION",
    "SPLITS",
    "Normaliser",
    "PatchMeta",
    "PatchRecord",
    "PatchSet",
    "PatchWriter",
    "check_masks",
    "class_counts",
    "open_patches",
    "require_labels",
    "to_dn",
    "to_reflectance",
    "valid_pixels",
]
