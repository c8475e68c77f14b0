"""The data card (README.md) of an export: what made the patches, on which data, under which licences, known limits."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from specdm.errors import UserError
from specdm.exports.selection import Selection
from specdm.patches import SPLITS, PatchMeta
from specdm.patches.overlap import on_shared_ground

RARE = 0.01  # a class with a smaller share of the labelled pixels is named among the limits
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
_HUB_SPLITS = {"train": "train", "val": "validation", "test": "test"}  # as Hugging Face calls them


def licences(table: Path, data_set: str) -> list[str]:
    """The licences of a data set in config/datasets.csv, each once; none where it is not listed.

    Raises:
        UserError: when the table is missing.
    """
    if not table.is_file():
        raise UserError(f"{table} does not exist: it lists the licences of the data sets, see config/datasets.csv.")
    with table.open(newline="") as stream:
        return list(dict.fromkeys(row["licence"] for row in csv.DictReader(stream) if row["name"] == data_set))


def card(selection: Selection, layout: str, notes: Sequence[str], table: Path) -> str:
    """The data card of exported patches in Markdown, with the YAML header of Hugging Face.

    Args:
        selection: the patches.
        layout: geotiff, segmunich, oscd or webdataset.
        notes: sentences on what the layout does not carry.
        table: licences by name of the data set (config/datasets.csv).

    Raises:
        UserError: when the table is missing.
    """
    meta = selection.patches.meta
    known = licences(table, meta.labels.name)
    parts = {
        "What made it": _origin(meta),
        "On which data": _sources(selection, known),
        "Images": _images(selection),
        "Classes": _classes(selection),
        "Splits": _splits(selection),
        "Warnings": [f"- {text}" for text in meta.warnings] or ["The set carries none."],
        "Known limits": [f"- {t}" for t in (*limits(selection), *notes)] or ["The set itself shows none."],
        "Layout": _layout(layout),
    }
    lines = [*_header(selection, layout, known), f"# {meta.name}", ""]
    kind = "Synthetic" if meta.synthetic else "Real"
    task = "change detection" if selection.dates == 2 else "semantic segmentation"
    lines += [f"{kind} labelled multispectral patches for {task}: {len(selection)} images with masks.", ""]
    for title, body in parts.items():
        lines += [f"## {title}", "", *body, ""]
    return "\n".join(lines)


def _header(selection: Selection, layout: str, known: Sequence[str]) -> list[str]:
    import yaml

    meta = selection.patches.meta
    header = {
        "pretty_name": meta.name,
        "license": "other",
        "license_name": "; ".join(known) or "not recorded",
        "task_categories": ["image-segmentation"],
        "size_categories": [next((name for limit, name in _SIZES if len(selection) < limit), "n>1M")],
        "tags": ["remote-sensing", "multispectral", "synthetic" if meta.synthetic else "real"],
    }
    if layout == "webdataset":
        header["tags"].append("webdataset")
        parts = [
            {"split": _HUB_SPLITS[split], "path": f"{split}-*.tar"} for split, n in selection.splits().items() if n
        ]
        header["configs"] = [{"config_name": "default", "data_files": parts}]
    return ["---", yaml.safe_dump(header, sort_keys=False, allow_unicode=True).rstrip(), "---", ""]


def _origin(meta: PatchMeta) -> list[str]:
    told = meta.provenance
    if not meta.synthetic:
        how = told.get("source")
        lines = [
            f"Real images and masks, made a patch set by SpecDM's reader {how}." if how else "Real images and masks."
        ]
        # Counts by scene are long, and paths mean something on one machine only.
        plain = {k: v for k, v in told.items() if isinstance(v, str | int | float) and k not in ("source", "root")}
        return [*lines, "", *([f"- {key}: {value}" for key, value in plain.items()] or ["- settings: not recorded"])]
    models = told.get("models") or {}
    named = ", ".join(f"{part} {models[part]}" for part in sorted(models)) or "not recorded"
    lines = [
        "Drawn by SpecDM, a joint latent diffusion model of image and mask: both are made together, and no annotator "
        "saw either.",
        "",
        f"- generator: {named}",
    ]
    keys = {"seed": "seed", "commit": "commit", "specdm_version": "version of SpecDM", "stage_version": "stage version"}
    told_of = [f"- {words}: {told[key]}" for key, words in keys.items() if told.get(key) is not None]
    if "settings" in told:
        told_of.append(f"- settings: `{json.dumps(told['settings'], sort_keys=True)}`")
    if not told_of:
        told_of = ["- seed, commit and settings: not recorded"]
    return [*lines, *told_of]


def _sources(selection: Selection, known: Sequence[str]) -> list[str]:
    meta = selection.patches.meta
    name = meta.labels.name
    if meta.synthetic:
        lines = [f"The generator learnt from the data set {name} ({meta.sensor}, {meta.level})."]
    else:
        index = selection.patches.index.iloc[selection.positions]
        dates = sorted({day for text in index["dates"].unique() for day in text.split(",") if day})
        span = f"dates from {dates[0]} to {dates[-1]}" if dates else "dates not recorded"
        lines = [f"The data set {name}: {index['source'].nunique()} raw file(s) or scene(s), {span}."]
    lines += ["", "Licence of the source:", "", *(f"- {text}" for text in known or ["not recorded: ask its authors"])]
    if meta.synthetic:
        lines += ["", "Whether it also binds patches drawn by a model is for their publisher to judge."]
    return lines


def _images(selection: Selection) -> list[str]:
    meta, (_, t, c, h, w) = selection.patches.meta, selection.patches.images.shape
    quantity = "value" if meta.level == "unitless" else f"{meta.level} reflectance"
    nodata = "every pixel holds data" if meta.nodata is None else f"{meta.nodata:g} in all bands means no data"
    rows = ["| band | wavelength (nm) |", "|---|---|"]
    nm = meta.wavelengths_nm or (None,) * c
    words = ["not recorded" if v is None else f"{v:g}" for v in nm]
    rows += [f"| {band} | {text} |" for band, text in zip(meta.bands, words, strict=True)]
    return [
        f"{t} date(s), {c} bands, {h} x {w} pixels, {selection.patches.images.dtype}; {meta.sensor}.",
        f"{quantity} = stored number * {meta.scale:g} + {meta.offset:g}; {nodata}.",
        "",
        *rows,
    ]


def _counts(selection: Selection) -> np.ndarray:
    """Labelled pixels of each class (K,)."""
    rows = selection.patches.index["class_counts"].to_numpy()[selection.positions]
    return np.sum(np.stack(rows), axis=0)


def _classes(selection: Selection) -> list[str]:
    labels, counts = selection.patches.meta.labels, _counts(selection)
    shares = counts / max(counts.sum(), 1)
    rows = [f"| {c.id} | {c.name} | {shares[c.id]:.3%} |" for c in labels.classes]
    ignored = 1 - counts.sum() / (len(selection) * selection.patches.masks[0].size)
    title = ["| id | class | share of the labelled pixels |", "|---|---|---|"]
    return [*title, *rows, "", f"Pixels without a label (255): {ignored:.3%}."]


def _splits(selection: Selection) -> list[str]:
    index = selection.patches.index.iloc[selection.positions]
    rows = [
        f"| {split} | {n} | {index['group'][index['split'] == split].nunique()} |"
        for split, n in selection.splits().items()
    ]
    return ["| split | patches | groups |", "|---|---|---|", *rows]


def limits(selection: Selection) -> list[str]:
    """What a user of the patches should know, found in the set itself."""
    meta, index = selection.patches.meta, selection.patches.index.iloc[selection.positions]
    counts, splits, found = _counts(selection), selection.splits(), []
    if meta.synthetic:
        found += [
            "Synthetic patches show no place: they have no location and no date.",
            "The masks are the generator's own, not an annotator's; `specdm check-alignment` measures how they fit.",
            "A generator can repeat its training patches; `specdm check-copies` looks for such copies.",
        ]
    else:
        bare = int((index["crs"] == "").sum())
        found += [f"{bare} of {len(index)} patches have no location."] if bare else []
        found += _leaks(selection)
    absent = [c.name for c in meta.labels.classes if not counts[c.id]]
    rare = [c.name for c in meta.labels.classes if 0 < counts[c.id] < RARE * counts.sum()]
    if absent:
        found.append(f"No pixel shows {', '.join(absent)}.")
    if rare:
        found.append(f"Less than {RARE:.0%} of the labelled pixels show {', '.join(rare)}.")
    empty = [split for split, n in splits.items() if not n]
    if empty:
        found.append(f"No patch stands in {' or '.join(empty)}.")
    across = index.groupby("group")["split"].nunique()
    if (across > 1).any():
        found.append(f"{int((across > 1).sum())} groups stand in more than one split: scores on them flatter.")
    if not meta.wavelengths_nm:
        found.append("The wavelengths of the bands are not recorded.")
    if meta.level == "unitless":
        found.append("The numbers are no reflectance.")
    if selection.split != "all":
        found.append(f"Only the split {selection.split} was exported.")
    return found


def _leaks(selection: Selection) -> list[str]:
    """How many patches of the other exported splits show ground of the training split."""
    patches, splits = selection.patches, selection.splits()
    if not splits["train"]:
        return []
    counted = patches.meta.provenance.get("shared")
    if not isinstance(counted, dict):
        shared = {s: on_shared_ground(patches.index, *patches.masks.shape[1:], s) for s in SPLITS[1:] if splits[s]}
        counted = {s: int(which.sum()) for s, which in shared.items()}
    return [
        f"{n} of {splits[s]} {s} patches show ground of a training patch: scores on them flatter."
        for s, n in counted.items()
        if n and splits[s]
    ]


def _layout(layout: str) -> list[str]:
    told = {
        "geotiff": "`images/<id>.tif` (of two dates `_1` and `_2`), `masks/<id>.tif`; bands, scaling, nodata, classes "
        "and colours stand in the files. `specdm import` reads the folder back, bit for bit.",
        "webdataset": "`<split>-000000.tar` and so on; a sample is `<key>.image.npy` (date, band, row, column), "
        "`<key>.mask.npy` (row, column) and `<key>.json`. `specdm import` reads the folder back, bit for bit.",
        "segmunich": "As SegMunich: `{train,test}/{img,label}/<id>.tif` and `dataset/{train,test}.txt`.",
        "oscd": "As the Onera data set: `imgs_{1,2}_rect` of each city, change maps, `train.txt` and `test.txt`.",
    }
    return [told[layout]]
