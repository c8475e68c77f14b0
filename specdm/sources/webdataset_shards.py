"""An export of the layout webdataset -> the patch set it was made of, bit for bit."""

from __future__ import annotations

import dataclasses
import heapq
import io
import itertools
import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from specdm.errors import UserError
from specdm.patches import SPLITS, PatchRecord, PatchWriter
from specdm.progress import Progress
from specdm.sources.export_layout import PARTS, Checksums, record_of
from specdm.sources.geotiff_export import read_meta

CHUNK = 64  # patches in memory at once
_MEND = "fetch it again or export the set again"


@dataclass(frozen=True)
class Sample:
    """A patch of a shard: its position in the set, image (T,C,H,W), mask (H,W) and record."""

    position: int
    image: np.ndarray
    mask: np.ndarray
    record: PatchRecord
    shard: Path


def find_shards(folder: Path) -> dict[str, list[Path]]:
    """The shards of a folder by split, in order."""
    return {split: sorted(folder.glob(f"{split}-[0-9]*.tar")) for split in SPLITS}


def prepare(folder: Path, out: Path, name: str = "") -> list[str]:
    """Read the shards of an export back, in the order of the set.

    Args:
        folder: the export.
        out: folder of the patch set.
        name: of the set; empty: as it was.

    Returns:
        Lines to print.

    Raises:
        UserError: for shards that are damaged, cut short or missing, or samples of different shapes.
    """
    meta = read_meta(folder)
    shards = find_shards(folder)
    samples = heapq.merge(*(_samples(own) for own in shards.values()), key=lambda sample: sample.position)
    first = next(samples, None)
    if first is None:
        raise UserError(f"{folder} holds no sample: {_MEND}.")
    checksums, progress = Checksums(), Progress(f"importing {meta.name}", sum(map(len, shards.values())), "shards")
    expected, seen = itertools.count(), set()
    meta = dataclasses.replace(meta, name=name or meta.name)
    with PatchWriter(out, meta, first.image.shape, first.image.dtype) as writer:
        for some in _chunks(itertools.chain([first], samples)):
            for sample in some:
                _check(sample, first, next(expected))
            seen |= {sample.shard for sample in some}
            images, masks = (np.stack([getattr(s, part) for s in some]) for part in ("image", "mask"))
            records = [sample.record for sample in some]
            checksums.update(images, masks, records)
            writer.append(images, masks, records)
            progress.update(len(seen), f"{len(writer)} patches")
        changed = checksums.differing(meta.checksums)
        if "index" in changed:
            raise UserError(f"{folder} lacks samples that meta.json counts, its last shard is missing: {_MEND}.")
        if changed:
            raise UserError(f"{folder}: the {changed[0]} are not those that meta.json was written for: {_MEND}.")
    return []


def _chunks(samples: Iterator[Sample]) -> Iterator[list[Sample]]:
    while some := list(itertools.islice(samples, CHUNK)):
        yield some


def _check(sample: Sample, first: Sample, expected: int) -> None:
    if sample.position != expected:
        raise UserError(
            f"{sample.shard.parent} has no sample number {expected} (or two), a shard is missing or damaged: {_MEND}."
        )
    for part in ("image", "mask"):
        have, want = getattr(sample, part), getattr(first, part)
        if (have.shape, have.dtype) != (want.shape, want.dtype):
            raise UserError(
                f"{sample.shard}: the {part} of {sample.record.id} is {have.shape} of {have.dtype} but the first "
                f"{want.shape} of {want.dtype}: {_MEND}."
            )


def _samples(shards: list[Path]) -> Iterator[Sample]:
    """The samples of one split, in the order of its shards."""
    for shard in shards:
        try:
            with tarfile.open(shard, "r:") as archive:
                members = iter(archive)
                while parts := list(itertools.islice(members, len(PARTS))):
                    yield _sample(archive, parts, shard)
        except (tarfile.TarError, EOFError, OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{shard} is damaged, cut short or no shard of an export: {_MEND}.") from error


def _sample(archive: tarfile.TarFile, members: list[tarfile.TarInfo], shard: Path) -> Sample:
    found = dict(zip(PARTS, members, strict=True))  # ValueError: the last sample is not whole
    keys = {member.name.removesuffix(f".{part}") for part, member in found.items()}
    if len(keys) != 1:
        raise ValueError("files of different samples, or of another layout")
    contents = {part: archive.extractfile(member).read() for part, member in found.items()}
    image, mask = (np.load(io.BytesIO(contents[part]), allow_pickle=False) for part in PARTS[:2])
    row = json.loads(contents["json"])
    return Sample(int(row["position"]), image, mask, record_of(row), shard)
