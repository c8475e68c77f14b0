"""Layout webdataset: tar files of samples, for training that streams, and for publishing.

    <split>-000000.tar ...     samples in the order of the set, each of three files:
        <key>.image.npy        (T,C,H,W) as stored
        <key>.mask.npy         (H,W) uint8 class ids, 255 = ignore
        <key>.json             the patch's row of the index, and its position in the set
    meta.json                  as in the patch set: `specdm import` gives back the same set, bit for bit

The key is the id by `sources.export_layout.file_name`, without dots. Equal sets give equal bytes. The class fractions
that a synthetic set was asked for (asked.npy) are not exported.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import tarfile
from pathlib import Path

import numpy as np

from specdm import files
from specdm.exports.selection import Selection
from specdm.sources.export_layout import META, PARTS, file_name, shard_name


def write(selection: Selection, folder: Path, shard_bytes: int) -> list[str]:
    """Write the patches into an empty folder.

    Args:
        selection: the patches.
        folder: an empty folder.
        shard_bytes: a shard that has reached this size is closed, and the next one begun.

    Returns:
        Sentences on what the layout does not carry.

    Raises:
        UserError: when the set is damaged.
    """
    position = 0
    with contextlib.ExitStack() as stack:
        shards = {}
        for piece in selection:
            for image, mask, record in zip(piece.images, piece.masks, piece.records, strict=True):
                if record.split not in shards:
                    shards[record.split] = stack.enter_context(_Shards(folder, record.split, shard_bytes))
                row = dataclasses.asdict(record) | {"position": position, "synthetic": selection.patches.meta.synthetic}
                contents = (_npy(image), _npy(mask), json.dumps(row, sort_keys=True).encode())
                shards[record.split].add(file_name(record.id), dict(zip(PARTS, contents, strict=True)))
                position += 1
    (folder / META).write_text(files.to_json(selection.meta().to_dict()))
    return []


class _Shards(contextlib.AbstractContextManager):
    """The shards of one split, of which the last is open."""

    def __init__(self, folder: Path, split: str, limit_bytes: int):
        self.folder, self.split, self.limit_bytes = folder, split, limit_bytes
        self._number, self._open = 0, None

    def add(self, key: str, parts: dict[str, bytes]) -> None:
        """Add a sample: its files by what stands behind the key."""
        if self._open is not None and self._open.offset >= self.limit_bytes:
            self._open.close()
            self._open, self._number = None, self._number + 1
        if self._open is None:
            self._open = tarfile.open(self.folder / shard_name(self.split, self._number), "w")  # noqa: SIM115
        for part, content in parts.items():
            # All else keeps its default (mode 644, time 0, no owner), so that equal sets give equal bytes.
            info = tarfile.TarInfo(f"{key}.{part}")
            info.size = len(content)
            self._open.addfile(info, io.BytesIO(content))

    def __exit__(self, *error: object) -> None:
        if self._open is not None:
            self._open.close()


def _npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    return stream.getvalue()
