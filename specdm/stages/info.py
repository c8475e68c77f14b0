"""Say in words what a patch set is, and whether its files are still those that were written."""

from __future__ import annotations

import hashlib
import textwrap
from pathlib import Path

import numpy as np

from specdm import bands, files
from specdm.errors import UserError
from specdm.figures import named_band
from specdm.patches import FILES, SPLITS, PatchMeta, PatchSet, open_patches
from specdm.patches.overlap import on_shared_ground
from specdm.progress import Progress

LISTED = 16  # longer lists show their ends only
CHUNK = 64  # patches read at once
WIDTH = 100  # of a line, without the word before it


def info(patches_folder: Path, verify: bool = True) -> str:
    """What a patch set is, in lines of text: arrays, bands, classes, splits, places, leaks, origin and checksums.

    Args:
        patches_folder: the patch set.
        verify: read all arrays and compare them with the checksums of meta.json.

    Raises:
        UserError: when the folder is no patch set, or one of its files is cut short.
    """
    try:
        patches = open_patches(patches_folder)
    except ValueError as error:
        raise UserError(f"{patches_folder}: a file is cut short or damaged: prepare the set anew.") from error
    meta = patches.meta
    parts = {
        "name": [f"{meta.name}: {sizes(patches)}, {'synthetic' if meta.synthetic else 'real'}"],
        "sensor": [f"{meta.sensor}, {meta.level}"],
        "images": [_arrays(patches)],
        "bands": textwrap.wrap(_bands(meta), WIDTH),
        "values": [_scaling(meta)],
        "no data": [_nodata(patches)],
        "splits": _splits(patches),
        "groups": [_groups(patches)],
        "leaks": _leaks(patches),
        "sources": _sources(patches),
        "made by": [_origin(meta)],
        "checksums": _checksums(patches) if verify else ["not compared"],
        "warnings": [line for text in meta.warnings or ["none"] for line in textwrap.wrap(text, WIDTH)],
    }
    return "\n".join(
        f"{name if i == 0 else '':11} {line}" for name, lines in parts.items() for i, line in enumerate(lines)
    )


def sizes(patches: PatchSet) -> str:
    """How many patches there are: "1234 patches (1000 train, 100 val, 134 test)"."""
    return f"{len(patches)} patches ({', '.join(f'{len(patches.ids(s))} {s}' for s in SPLITS)})"


def _arrays(patches: PatchSet) -> str:
    n, t, c, h, w = patches.images.shape
    size = sum((patches.folder / name).stat().st_size for name in FILES)
    text = f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
    dates, channels = (f"{k} {word}{'s' * (k > 1)}" for k, word in ((t, "date"), (c, "band")))
    return f"{n} patches x {dates} x {channels} x {h} x {w} px, {patches.images.dtype}; {text} on disk"


def _bands(meta: PatchMeta) -> str:
    wavelengths = meta.wavelengths_nm or bands.wavelengths(meta.bands)
    names = list(meta.bands)
    if not wavelengths:
        return f"{_ends(names)}; wavelengths unknown"
    listed = _ends([named_band(name, nm) for name, nm in zip(names, wavelengths, strict=True)])
    return listed if len(names) <= LISTED else f"{listed}; {min(wavelengths):.0f} to {max(wavelengths):.0f} nm"


def _ends(values: list[str]) -> str:
    """A list in one line; of a long one the first and last three, and how many there are."""
    if len(values) <= LISTED:
        return ", ".join(values)
    return f"{', '.join(values[:3])}, ..., {', '.join(values[-3:])} ({len(values)} in all)"


def _scaling(meta: PatchMeta) -> str:
    quantity = "value" if meta.level == "unitless" else "reflectance"
    shift = f" {'-' if meta.offset < 0 else '+'} {abs(meta.offset):g}" if meta.offset else ""
    return f"{quantity} = stored number * {meta.scale:g}{shift}"


def _nodata(patches: PatchSet) -> str:
    if patches.meta.nodata is None:
        return "every pixel holds data"
    share = patches.index["valid_fraction"].mean()
    return f"{patches.meta.nodata:g} in all bands means no data; {_percent(share)} of the pixels hold data"


def _splits(patches: PatchSet) -> list[str]:
    """A table with a column a split: patches, groups, share of each class in the labelled pixels, ignored pixels."""
    height, width = patches.masks.shape[1:]
    columns = {}
    for split in SPLITS:
        rows = patches.index.iloc[patches.ids(split)]
        counts = np.sum([np.zeros(len(patches.meta.labels)), *rows["class_counts"]], axis=0)
        labelled, pixels = counts.sum(), len(rows) * height * width
        columns[split] = [
            str(len(rows)),
            str(rows["group"].nunique()),
            *(_percent(count / labelled) if labelled else "-" for count in counts),
            _percent(1 - labelled / pixels) if pixels else "-",
        ]
    classes = [f"{c.id:3} {c.name}" for c in patches.meta.labels.classes]
    titles = ["patches", "groups", *classes, "ignored (of all pixels)"]
    wide = max(map(len, titles)) + 2
    table = [f"{title:{wide}}" + "".join(f"{columns[s][i]:>10}" for s in SPLITS) for i, title in enumerate(titles)]
    return [f"{'':{wide}}" + "".join(f"{split:>10}" for split in SPLITS), *table]


def _groups(patches: PatchSet) -> str:
    splits = patches.index.groupby("group")["split"].nunique()
    several = splits.index[splits > 1].tolist()
    if not several:
        return f"{len(splits)}; none stands in two splits"
    return f"{len(splits)}; {len(several)} OF THEM STAND IN TWO SPLITS: {_ends(several)}"


def _leaks(patches: PatchSet) -> list[str]:
    """How many patches of the other splits show ground of the training split, and how that is known."""
    counted, index = patches.meta.provenance.get("shared"), patches.index
    if patches.meta.synthetic:
        return ["none: synthetic patches show no ground"]
    others = [s for s in SPLITS[1:] if len(patches.ids(s))]
    if not others or not len(patches.ids("train")):
        return ["none: there are not both training and other patches"]
    if isinstance(counted, dict):
        how, shared = "counted when it was prepared", {s: int(counted.get(s, 0)) for s in others}
    else:
        shared = {s: int(on_shared_ground(index, *patches.masks.shape[1:], s).sum()) for s in others}
        placed = (index["crs"] != "").mean()
        how = "by their outlines on the ground" if placed == 1 else "by rows and columns within each source"
        if 0 < placed < 1:
            how = "by their outlines on the ground, or by rows and columns within each source"
    sums = [f"{n} of {len(patches.ids(s))} {s}" for s, n in shared.items()]
    return [f"{' and '.join(sums)} patches share ground with a training patch ({how})"]


def _sources(patches: PatchSet) -> list[str]:
    index = patches.index
    dates = sorted({date for text in index["dates"].unique() for date in text.split(",") if date})
    span = (
        f"dates from {dates[0]} to {dates[-1]}" if len(dates) > 1 else f"date {dates[0]}" if dates else "dates unknown"
    )
    places = index["crs"].value_counts()
    listed = _ends([f"{crs or 'no location'} ({n} patches)" for crs, n in places.items()])
    return [f"{index['source'].nunique()} raw file(s) or scene(s); {span}", listed]


def _origin(meta: PatchMeta) -> str:
    keys = ("source", "root", "stage", "seed", "specdm_version", "commit")
    known = [f"{key} {meta.provenance[key]}" for key in keys if meta.provenance.get(key) is not None]
    return ", ".join(known) or "not recorded"


def _checksums(patches: PatchSet) -> list[str]:
    """Compare the arrays and the index with the checksums that the writer left in meta.json."""
    index = patches.index[["id", "split", "group"]]
    found = {"index": files.digest(index.to_numpy().tolist())}
    for name in ("images", "masks"):
        array, running = getattr(patches, name), hashlib.sha256()
        progress = Progress(f"checking the {name} of {patches.meta.name}", len(array))
        for start in range(0, len(array), CHUNK):
            running.update(memoryview(np.ascontiguousarray(array[start : start + CHUNK])).cast("B"))
            progress.update(min(start + CHUNK, len(array)))
        found[name] = running.hexdigest()
    written = patches.meta.checksums
    return [
        f"{name} ok"
        if found[name] == written.get(name)
        else f"{name} DIFFERS from meta.json: the file was changed or damaged"
        for name in ("images", "masks", "index")
    ]


def _percent(share: float) -> str:
    return f"{share:.1%}" if share == 0 or 0.001 <= share <= 0.999 or share == 1 else f"{share:.3%}"
