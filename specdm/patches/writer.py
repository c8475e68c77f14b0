"""The streaming writer of patch sets."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from specdm import files
from specdm.errors import UserError
from specdm.patches.meta import INDEX_COLUMNS, SPLITS, PatchMeta, PatchRecord
from specdm.patches.values import class_counts, valid_pixels


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
        if meta.wavelengths_nm and len(meta.wavelengths_nm) != len(meta.bands):
            raise UserError(f"{folder}: {len(meta.wavelengths_nm)} wavelengths for {len(meta.bands)} bands: give each.")
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
        counts = class_counts(masks, len(self.meta.labels))
        for record, count, share in zip(records, counts, valid, strict=True):
            if record.id in self._ids or record.split not in SPLITS:
                raise UserError(f"{self.folder}: patch id {record.id!r} occurs twice or its split is unknown.")
            self._ids.add(record.id)
            self._rows.append(
                dataclasses.asdict(record)
                | {"valid_fraction": share, "class_counts": count.tolist(), "synthetic": self.meta.synthetic}
            )
        for name, stream, array in (("images", self._images, images), ("masks", self._masks, masks)):
            data = memoryview(array).cast("B")
            stream.write(data)
            self._hashes[name].update(data)

    def attach(self, name: str, array: np.ndarray) -> None:
        """Add <name>.npy to the folder: an array of one row a patch that only some sets have."""
        np.save(self._temporary / f"{name}.npy", array)

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
