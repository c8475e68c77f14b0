"""One self-contained page of what a run found: verdicts first, then tables and pictures, what was run and assumed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from specdm import files
from specdm.config import Config
from specdm.costs import costs
from specdm.errors import UserError
from specdm.patches import SPLITS, PatchSet, open_patches
from specdm.report import run_parts
from specdm.report.page import page
from specdm.report.parts import Found, Pictures, parts, top
from specdm.report.sets import DataSet, ShownClass

STAGE_VERSION = 9
# Columns without which a table is of another version; all others are shown where they exist.
NEEDED = {
    "downstream": "dataset network regime method n_real n_synthetic n_runs n_pairs n_seeds n_generators augmentation "
    "budget baseline miou_macro_mean mf1_macro_mean paper_miou paper_mf1 mf1_macro_minus_baseline mf1_macro_low "
    "mf1_macro_high miou_macro_minus_baseline miou_macro_low miou_macro_high",
    "synthesis": "dataset method",
    "alignment": "dataset method scorer title synthetic synthetic_low synthetic_high real real_low real_high seen "
    "exchanged scaled scaled_low scaled_high because",
    "copies": "dataset method kind n n_excluded reference_n threshold expected_share share_closer low high held_out_n "
    "held_out_share verdict because",
    "ablation": "dataset method patch_px streams sad_weight",
}


@dataclass(frozen=True)
class Tables:
    """The CSV tables of a run; those that are None are left out, and the page says so."""

    downstream: Path
    synthesis: Path
    alignment: Path | None = None
    copies: Path | None = None
    ablation: Path | None = None


def report(
    tables: Tables,
    out: Path,
    pictures: Sequence[Path] = (),
    downstream_pictures: Sequence[Path] = (),
    patch_sets: Sequence[Path] = (),
    note: str = "",
    configuration: Config | None = None,
    run: Path | None = None,
    assumptions: Path | None = None,
) -> str:
    """Write the page; return what was made, in words.

    Args:
        tables: what to show.
        out: the HTML file.
        pictures: folders <dataset>/<method>, all of whose PNG files are shown.
        downstream_pictures: the same of the downstream networks, folders <dataset>/downstream.
        patch_sets: the real patch sets, for counts, checksums and legends.
        note: sentences for the top of the page, for example that images are simulated.
        configuration: the configuration of the run.
        run: folder of the run; its times (logs, benchmarks) and provenance (metrics, downstream) are shown
            where they exist.
        assumptions: the document with the table of what was assumed (docs/paper.md).

    Raises:
        UserError: for files that are missing or no tables of this version.
    """
    found = Found(
        **{name: _rows(getattr(tables, name), name) for name in NEEDED},
        sets=[_data_set(open_patches(folder)) for folder in patch_sets],
        pictures=_pictures(pictures, out),
        downstream_pictures=_pictures(downstream_pictures, out),
        note=note,
        configuration=configuration,
    )
    machine = run_parts.Machine.here(_accelerators())
    stamps, spent = ([], []) if run is None else (list(_stamps(run, found)), costs(run))
    document = "" if assumptions is None else _text(assumptions)
    text = page(
        "SpecDM: what this run found",
        top(found),
        [*parts(found), *run_parts.parts(found.sets, stamps, spent, machine, configuration, document)],
    )
    with files.new_file(out) as temporary:
        temporary.write_text(text)
    return f"{len(text.encode()) / 1e6:.1f} MB in {out}"


def _rows(path: Path | None, name: str) -> list[dict]:
    """Rows of a table, None for what is undefined; none where there is no table."""
    if path is None:
        return []
    try:
        table = pd.read_csv(path, keep_default_na=False, na_values=[""])
    except (OSError, pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read as a table: make it anew with `specdm tabulate`.") from error
    missing = [column for column in NEEDED[name].split() if column not in table]
    if missing:
        raise UserError(
            f"{path} has no column {missing[0]}, so it is no table of this version: make it anew with "
            f"`specdm tabulate{'-downstream' if name == 'downstream' else ''}`."
        )
    return table.astype(object).where(table.notna(), None).to_dict("records")


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError as error:
        raise UserError(f"{path} cannot be read: give the document with the table of assumptions.") from error


def _data_set(patches: PatchSet) -> DataSet:
    meta, index = patches.meta, patches.index.groupby("split")["group"].agg(["size", "nunique"])
    return DataSet(
        name=patches.folder.name,
        sensor=meta.sensor,
        level=meta.level,
        bands=meta.bands,
        wavelengths_nm=meta.wavelengths_nm,
        shape=patches.images.shape,
        splits={s: (int(index["size"][s]), int(index["nunique"][s])) for s in SPLITS if s in index.index},
        classes=tuple(ShownClass(c.name, c.colour) for c in meta.labels.classes),
        checksums=meta.checksums,
        warnings=meta.warnings,
    )


def _pictures(folders: Sequence[Path], out: Path) -> list[Pictures]:
    return [
        Pictures(
            dataset=folder.parent.name,
            method=folder.name,
            place=_beside(folder, out),
            pngs={path.stem: path.read_bytes() for path in folder.glob("*.png")},
            pdfs=frozenset(path.stem for path in folder.glob("*.pdf")),
        )
        for folder in folders
    ]


def _beside(folder: Path, out: Path) -> str:
    """A folder's path as seen from the page; by its last parts where it lies elsewhere."""
    inside = folder.resolve().is_relative_to(out.parent.resolve())
    return str(folder.resolve().relative_to(out.parent.resolve())) if inside else "/".join(folder.parts[-2:])


def _stamps(run: Path, found: Found) -> Iterator[dict]:
    """Provenance of the metrics of what the tables hold; other files of the folder are of other configurations."""
    methods = {(row["dataset"], row["method"]) for row in found.synthesis}
    trained = {(row["dataset"], row["network"], row["regime"]) for row in found.downstream}
    for path in sorted([*run.glob("metrics/*/*/*.json"), *run.glob("downstream/*/*/*/*/metrics.json")]):
        metrics = json.loads(path.read_text())
        keys = [metrics.get(key) for key in ("dataset", "method", "network", "regime")]
        if tuple(keys[:2]) in methods or (keys[0], *keys[2:]) in trained:
            yield metrics["provenance"]


def _accelerators() -> list[str]:
    """Names of the GPUs of this machine."""
    import torch

    return [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
