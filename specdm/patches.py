"""The patch set: the on-disk contract between the stages, its reader and its streaming writer.

A patch set is a folder:

    images.npy     (N,T,C,H,W) in the source's own type: integer digital numbers (dn) or float32
    masks.npy      (N,H,W) uint8 class ids, 255 = ignore
    index.parquet  one row a patch (see INDEX_COLUMNS); GeoParquet where there is a location
    meta.json      sensor, level, bands, scale and offset to reflectance, nodata, label set, checksums, provenance

reflectance = dn * scale + offset. T is the number of dates: 1 for segmentation, 2 for change detection.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from specdm import files
from specdm.errors import UserError
from specdm.labels import IGNORE, LabelSet

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
    synthetic: bool = False
    provenance: dict = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    checksums: dict = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION

    def to_dict(self) -> dict:
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return fields | {"bands": list(self.bands), "warnings": list(self.warnings), "labels": self.labels.to_dict()}

    @classmethod
    def from_dict(cls, data: dict) -> PatchMeta:
        own = {"bands": tuple(data["bands"]), "warnings": tuple(data["warnings"])}
        return cls(**data | own | {"labels": LabelSet.from_dict(data["labels"])})


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


INDEX_COLUMNS = (*(f.name for f in dataclasses.fields(PatchRecord)), "valid_fraction", "class_counts", "synthetic")


def to_reflectance(dn: np.ndarray, meta: PatchMeta) -> np.ndarray:
    """Digital numbers -> reflectance, float32, same shape. The only place that knows scale and offset's sense."""
    return dn.astype(np.float32) * np.float32(meta.scale) + np.float32(meta.offset)


def to_dn(refl: np.ndarray, meta: PatchMeta, dtype: np.dtype) -> np.ndarray:
    """Reflectance -> digital numbers of `dtype`; integers are rounded and clipped to their range."""
    dn = (refl - np.float32(meta.offset)) / np.float32(meta.scale)
    if np.issubdtype(dtype, np.integer):
        limits = np.iinfo(dtype)
        # The top of uint16 stays clear of 65535, and the value that means nodata is never produced.
        lowest = max(limits.min, 1) if meta.nodata == 0 else limits.min
        dn = np.clip(np.rint(dn), lowest, limits.max - 1)
    return dn.astype(dtype)


def valid_pixels(dn: np.ndarray, nodata: float | None) -> np.ndarray:
    """Where an image holds data: (...,C,H,W) dn -> (...,H,W) bool, False where every band equals `nodata`."""
    valid = np.ones(dn.shape[:-3] + dn.shape[-2:], bool)
    if nodata is None:
        return valid
    empty = dn[..., 0, :, :] == nodata
    for band in range(1, dn.shape[-3]):
        if not empty.any():  # nearly always: then the other bands need no look
            return valid
        empty &= dn[..., band, :, :] == nodata
    return ~empty


class PatchWriter:
    """Append patches to a new patch set; memory does not grow with their number.

    Use as a context manager: the folder appears complete when the block ends, and not at all when it raises.

    Raises:
        UserError: when a patch is NaN, ids repeat, or the set stays empty.
    """

    def __init__(self, folder: Path, meta: PatchMeta, shape: tuple[int, int, int, int], dtype: np.dtype | str):
        self.folder, self.meta = Path(folder), meta
        self.shape, self.dtype = tuple(shape), np.dtype(dtype)  # (T,C,H,W)
        if self.shape[1] != len(meta.bands):
            raise UserError(f"{folder}: {self.shape[1]} channels but {len(meta.bands)} band names: declare each band.")
        self._rows: list[dict] = []
        self._ids: set[str] = set()
        self._hashes = {"images": hashlib.sha256(), "masks": hashlib.sha256()}

    def __enter__(self) -> PatchWriter:
        self._place = files.new_folder(self.folder, last="meta.json")
        self._temporary = self._place.__enter__()
        self._images = open(self._temporary / "images.npy", "w+b")
        self._masks = open(self._temporary / "masks.npy", "w+b")
        self._write_headers()
        return self

    def __len__(self) -> int:
        return len(self._rows)

    def append(self, images: np.ndarray, masks: np.ndarray, records: Sequence[PatchRecord]) -> None:
        """Add patches: images (n,T,C,H,W) of the set's type, masks (n,H,W) uint8, one record each."""
        t, c, h, w = self.shape
        if images.shape != (len(records), t, c, h, w) or masks.shape != (len(records), h, w):
            raise UserError(
                f"{self.folder}: got images {images.shape} and masks {masks.shape} for {len(records)} patches of "
                f"{self.shape}: all patches of a set have one shape."
            )
        if not np.issubdtype(images.dtype, np.integer) and not np.isfinite(images).all():
            bad = next(r for r, image in zip(records, images, strict=True) if not np.isfinite(image).all())
            raise UserError(f"{bad.source} holds NaN or infinite values: fill them or declare them as nodata.")
        images = np.ascontiguousarray(images, self.dtype)
        masks = np.ascontiguousarray(masks, np.uint8)
        valid = valid_pixels(images, self.meta.nodata).mean(axis=(1, 2, 3))
        for record, mask, share in zip(records, masks, valid, strict=True):
            if record.id in self._ids or record.split not in SPLITS:
                raise UserError(f"{self.folder}: patch id {record.id!r} occurs twice or its split is unknown.")
            self._ids.add(record.id)
            counts = np.bincount(mask.ravel(), minlength=256)[: len(self.meta.labels)]
            self._rows.append(
                dataclasses.asdict(record)
                | {"valid_fraction": share, "class_counts": counts.tolist(), "synthetic": self.meta.synthetic}
            )
        for name, stream, array in (("images", self._images, images), ("masks", self._masks, masks)):
            data = memoryview(array).cast("B")
            stream.write(data)
            self._hashes[name].update(data)

    def __exit__(self, kind, error, traceback) -> bool | None:
        try:
            if kind is None:
                self._finish()
        except BaseException as failure:
            self._close(type(failure), failure, failure.__traceback__)
            raise
        return self._close(kind, error, traceback)

    def _close(self, kind, error, traceback) -> bool | None:
        for stream in (self._images, self._masks):
            with contextlib.suppress(OSError):  # a full disk says so again here; `error` tells it already
                stream.close()
        return self._place.__exit__(kind, error, traceback)

    def _finish(self) -> None:
        if not self._rows:
            raise UserError(f"{self.folder}: no patch is left: loosen the cleaning threshold or check the raw data.")
        self._write_headers()
        self._images.close()
        self._masks.close()
        _write_index(self._temporary / "index.parquet", self._rows, self.shape[2:])
        rows = [[row["id"], row["split"], row["group"]] for row in self._rows]
        checksums = {name: h.hexdigest() for name, h in self._hashes.items()} | {"index": files.digest(rows)}
        meta = dataclasses.replace(self.meta, checksums=checksums)
        (self._temporary / "meta.json").write_text(files.to_json(meta.to_dict()))

    def _write_headers(self) -> None:
        # NumPy pads its headers so that the first axis can grow without moving the data.
        t, c, h, w = self.shape
        for stream, dtype, shape in (
            (self._images, self.dtype, (len(self), t, c, h, w)),
            (self._masks, np.dtype(np.uint8), (len(self), h, w)),
        ):
            stream.seek(0)
            header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(stream, header)


def _write_index(path: Path, rows: list[dict], size: tuple[int, int]) -> None:
    import pandas as pd

    index = pd.DataFrame(rows, columns=list(INDEX_COLUMNS))
    if any(row["crs"] for row in rows):
        from specdm import rasters

        rasters.write_geoparquet(index, size, path)
    else:
        index.to_parquet(path, index=False)


class PatchSet:
    """A patch set on disk: arrays are memory-mapped on first use, in each process for itself.

    Attributes:
        folder: where it lies.
        meta: its PatchMeta.
    """

    def __init__(self, folder: Path, meta: PatchMeta):
        self.folder, self.meta = folder, meta

    def __getstate__(self) -> dict:
        return {"folder": self.folder, "meta": self.meta}  # maps are opened anew in each worker

    def __len__(self) -> int:
        return len(self.masks)

    def __getitem__(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        """Patch i: its image (T,C,H,W) as stored and its mask (H,W), both copies in memory."""
        return np.array(self.images[i]), np.array(self.masks[i])

    @cached_property
    def images(self) -> np.ndarray:
        """(N,T,C,H,W) memory map, as stored."""
        return np.load(self.folder / "images.npy", mmap_mode="r")

    @cached_property
    def masks(self) -> np.ndarray:
        """(N,H,W) uint8 memory map."""
        return np.load(self.folder / "masks.npy", mmap_mode="r")

    @cached_property
    def index(self):
        """The index as a pandas DataFrame, one row a patch."""
        import pandas as pd

        return pd.read_parquet(self.folder / "index.parquet", columns=list(INDEX_COLUMNS))

    def ids(self, split: str) -> np.ndarray:
        """Positions of the patches of a split, in order."""
        return np.flatnonzero((self.index["split"] == split).to_numpy())

    def reflectance(self, positions: Sequence[int] | np.ndarray) -> np.ndarray:
        """Reflectance of some patches, (n,T,C,H,W) float32."""
        return to_reflectance(self.images[np.asarray(positions)], self.meta)

    def valid(self, positions: Sequence[int] | np.ndarray) -> np.ndarray:
        """Where some patches hold data, (n,T,H,W) bool."""
        return valid_pixels(self.images[np.asarray(positions)], self.meta.nodata)

    @property
    def hash(self) -> str:
        """A short hash of everything that a result can depend on."""
        described = self.meta.to_dict()
        return files.digest(
            {key: described[key] for key in ("checksums", "bands", "scale", "offset", "nodata", "labels")}
        )

    def to_xarray(self):
        """The images and masks as one xarray.Dataset with named bands (xarray must be installed)."""
        import xarray

        patch, row, col = self.index["id"].to_numpy(), "row", "col"
        return xarray.Dataset(
            {
                "image": (("patch", "date", "band", row, col), self.images),
                "mask": (("patch", row, col), self.masks),
            },
            coords={"patch": patch, "band": list(self.meta.bands)},
            attrs={"scale": self.meta.scale, "offset": self.meta.offset, "level": self.meta.level},
        )


def open_patches(folder: Path | str) -> PatchSet:
    """Open a patch set.

    Raises:
        UserError: when the folder is missing, incomplete or of another schema version.
    """
    folder = Path(folder)
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        raise UserError(f"{folder} is not a patch set, {missing[0]} is missing: make it with `specdm prepare`.")
    data = json.loads((folder / "meta.json").read_text())
    if data.get("schema_version") != SCHEMA_VERSION:
        raise UserError(
            f"{folder} has schema version {data.get('schema_version')}, not {SCHEMA_VERSION}: prepare it anew."
        )
    patches = PatchSet(folder, PatchMeta.from_dict(data))
    if len(patches.images) != len(patches.masks):
        raise UserError(f"{folder}: {len(patches.images)} images but {len(patches.masks)} masks: prepare it anew.")
    return patches


@dataclass(frozen=True)
class Normaliser:
    """Per-band scaling of reflectance to zero mean and unit variance, measured on a training split.

    ASSUME: the paper names no normalisation; a fixed invertible scale keeps spectral angles meaningful.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def fit(cls, patches: PatchSet, split: str = "train", chunk: int = 32) -> Normaliser:
        """Measure band means and standard deviations (reflectance) over the valid pixels of a split.

        Raises:
            UserError: when the split is empty or a band is constant.
        """
        bands = len(patches.meta.bands)
        n, total, squares = 0, np.zeros(bands), np.zeros(bands)  # of digital numbers: the scale is applied once, below
        positions = patches.ids(split)
        for start in range(0, len(positions), chunk):
            dn = patches.images[positions[start : start + chunk]]
            valid = valid_pixels(dn, patches.meta.nodata)
            n += int(valid.sum())
            for band in range(bands):
                values = (dn[:, :, band].ravel() if valid.all() else dn[:, :, band][valid]).astype(np.float64)
                total[band] += values.sum()
                squares[band] += values @ values
        if n == 0:
            raise UserError(f"{patches.folder}: the split {split!r} holds no valid pixel: check the raw data.")
        mean_dn = total / n
        std = np.sqrt(np.maximum(squares / n - mean_dn**2, 0)) * abs(patches.meta.scale)
        mean = mean_dn * patches.meta.scale + patches.meta.offset
        flat = [name for name, s in zip(patches.meta.bands, std, strict=True) if s < 1e-7]
        if flat:
            raise UserError(f"{patches.folder}: the band {flat[0]} is constant in {split!r}: drop it from the bands.")
        return cls(tuple(mean.tolist()), tuple(std.tolist()))

    def apply(self, refl: np.ndarray) -> np.ndarray:
        """Reflectance (...,C,H,W) -> standardised float32."""
        return (refl - self._column(self.mean)) / self._column(self.std)

    def invert(self, standardised: np.ndarray) -> np.ndarray:
        """Standardised (...,C,H,W) -> reflectance float32."""
        return standardised * self._column(self.std) + self._column(self.mean)

    @staticmethod
    def _column(values: tuple[float, ...]) -> np.ndarray:
        return np.asarray(values, np.float32)[:, None, None]


def check_masks(patches: PatchSet) -> None:
    """Refuse masks with ids outside the label set, reading them in pieces.

    Raises:
        UserError: naming the first unknown id.
    """
    allowed = np.zeros(256, bool)
    allowed[[c.id for c in patches.meta.labels.classes] + [IGNORE]] = True
    for start in range(0, len(patches), 256):
        seen = np.unique(patches.masks[start : start + 256])
        if not allowed[seen].all():
            raise UserError(f"{patches.folder}: mask id {seen[~allowed[seen]][0]} is in no class: prepare it anew.")
