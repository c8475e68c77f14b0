"""Join the shards of a synthetic patch set, drawn by several jobs, to the set that one job would have drawn."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from specdm.errors import UserError
from specdm.patches import PatchSet, PatchWriter, open_patches
from specdm.progress import Progress

STAGE_VERSION = 1
CHUNK = 64  # patches copied at once


def join_samples(shards: list[Path], out: Path) -> str:
    """Write the patches of all shards, in their order, as one set; equal to one drawn at once, byte for byte.

    Args:
        shards: folders written by specdm.stages.sample with `shard`, all of one set, in any order.
        out: folder of the patch set.

    Returns:
        What was made, in words.

    Raises:
        UserError: when a shard is missing, or they belong to different sets.
    """
    parts = [open_patches(folder) for folder in shards]
    parts.sort(key=lambda part: _place(part)["k"])
    whole = {(_place(part)["key"], _place(part)["n"], _place(part)["m"]) for part in parts}
    if len(whole) > 1:
        raise UserError(
            f"{out}: the shards are of different sets: draw all of them with one model, n, seed and settings."
        )
    ((_, n, m),) = whole
    missing = sorted(set(range(1, m + 1)) - {_place(part)["k"] for part in parts})
    if missing or len(parts) > m:
        lack = f"shard {missing[0]} of {m} is missing" if missing else "a shard is given twice"
        raise UserError(f"{out}: {lack}: give the folder of each shard once.")
    origin = {key: value for key, value in parts[0].meta.provenance.items() if key != "shard"}
    meta = dataclasses.replace(parts[0].meta, provenance=origin)
    progress, asked = Progress(f"joining {meta.name}", n), []
    with PatchWriter(out, meta, parts[0].images.shape[1:], parts[0].images.dtype) as writer:
        for part in parts:
            records = part.records(np.arange(len(part)))
            for start in range(0, len(part), CHUNK):
                chunk = slice(start, start + CHUNK)
                writer.append(part.images[chunk], part.masks[chunk], records[chunk])
                progress.update(len(writer))
            asked.append(np.load(part.folder / "asked.npy"))
        writer.attach("asked", np.concatenate(asked))
    return f"{n} patches of {m} shards in {out}"


def _place(part: PatchSet) -> dict:
    """Which shard of what a set is."""
    place = part.meta.provenance.get("shard")
    if place is None:
        raise UserError(f"{part.folder} is no shard: draw it with `specdm sample --shard k/m`.")
    return place
