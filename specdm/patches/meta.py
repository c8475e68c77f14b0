"""What a patch set is (meta.json) and what each of its patches is (a row of index.parquet)."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

from specdm.labels import LabelSet

SCHEMA_VERSION = 1
FILES = ("images.npy", "masks.npy", "index.parquet", "meta.json")
SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class PatchMeta:
    """What a patch set is.

    Attributes:
        name: name of the data set.
        sensor: for example "Sentinel-2 MSI".
        level: "TOA", "BOA" or "unitless"; sets of different level are never mixed silently.
        bands: band names in the order of the channel axis.
        wavelengths_nm: their centre wavelengths in nm; empty when unknown.
        scale, offset: reflectance = dn * scale + offset.
        nodata: a pixel whose bands all hold this value has no data; None when there is no such value.
        labels: the label set of the masks.
        synthetic: whether a generator made it.
        provenance: settings, counts and parents, plain JSON.
        warnings: sentences a user of the set should read.
        checksums: sha256 of the array bytes, filled in by the writer.
    """

    name: str
    sensor: str
    level: str
    bands: tuple[str, ...]
    scale: float
    offset: float
    nodata: float | None
    labels: LabelSet
    wavelengths_nm: tuple[float, ...] = ()
    synthetic: bool = False
    provenance: dict = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    checksums: dict = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION

    def to_dict(self) -> dict:
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        lists = {key: list(fields[key]) for key in ("bands", "wavelengths_nm", "warnings")}
        return fields | lists | {"labels": self.labels.to_dict()}

    @classmethod
    def from_dict(cls, data: dict) -> PatchMeta:
        # Sets written before wavelengths were recorded have none.
        lists = {key: tuple(data.get(key, ())) for key in ("bands", "wavelengths_nm", "warnings")}
        return cls(**data | lists | {"labels": LabelSet.from_dict(data["labels"])})


@dataclass(frozen=True)
class PatchRecord:
    """One row of the index.

    Attributes:
        id: unique name of the patch within the set.
        split: "train", "val" or "test".
        group: the unit of leakage (a city, a spatial block with all its copies).
        source: the raw file or scene the patch was cut from.
        dates: acquisition dates as ISO texts, comma separated; empty when unknown.
        row, col: first pixel of the patch within its source, in pixels.
        crs: coordinate reference system of `transform`; empty for patches without a location.
        transform: affine coefficients (a, b, c, d, e, f) of the *patch*, empty without a location.
    """

    id: str
    split: str
    group: str
    source: str
    dates: str = ""
    row: int = 0
    col: int = 0
    crs: str = ""
    transform: tuple[float, ...] = ()


RECORD_COLUMNS = tuple(f.name for f in dataclasses.fields(PatchRecord))
INDEX_COLUMNS = (*RECORD_COLUMNS, "valid_fraction", "class_counts", "synthetic")
