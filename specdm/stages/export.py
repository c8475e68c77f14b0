"""Patch set -> other people's formats: GeoTIFFs, the benchmarks' own layouts, WebDataset; with a data card."""

from __future__ import annotations

import os
from pathlib import Path

from specdm import exports, files
from specdm.errors import UserError


def export(
    patches_folder: Path,
    to: str,
    out: Path,
    split: str = "all",
    compression: str = "none",
    shard_mb: float = 256,
    table: Path = Path("config/datasets.csv"),
) -> str:
    """Write the patches of a set in another format; memory does not grow with their number.

    Args:
        patches_folder: the patch set.
        to: one of exports.FORMATS.
        out: folder of the export; it may exist but must be empty, so that no file of another export stays among these.
        split: "all", or the one split to export.
        compression: of the images of geotiff, a key of exports.COMPRESSIONS.
        shard_mb: size of the shards of webdataset in MB (10^6 bytes).
        table: licences of the data sets, for the data card.

    Returns:
        What was made, in words.

    Raises:
        UserError: when the set is missing, damaged, has mask ids of no class or does not fit the format, or `out` holds
            files.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} exists and is not an empty folder: remove it, or choose another --out.")
    selection = exports.select(patches_folder, split, to)
    with files.new_folder(out, last="README.md") as folder:
        match to:
            case "geotiff":
                notes = exports.geotiff.write(selection, folder, compression)
            case "segmunich":
                notes = exports.segmunich.write(selection, folder)
            case "oscd":
                notes = exports.oscd.write(selection, folder)
            case "webdataset":
                notes = exports.webdataset.write(selection, folder, round(shard_mb * 1e6))
            case _:
                raise UserError(f"There is no export format {to!r}: choose one of {', '.join(exports.FORMATS)}.")
        (folder / "README.md").write_text(exports.card(selection, to, notes, table))
        size = sum(os.path.getsize(os.path.join(top, name)) for top, _, names in os.walk(folder) for name in names)
    print("".join(f"{note}\n" for note in notes), end="")
    text = f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
    return f"{len(selection)} patches, {text} in {out}"
