"""Collect metric files into tables; no number in a table is typed."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from specdm import files

STAGE_VERSION = 1
ROW = ["dataset", "network", "regime", "method", "n_real", "n_synthetic", "n_test", "steps"]
# Paper convention first: means over all classes. Then the convention without class 0, and the change class by itself.
HEADLINE = ["miou_macro", "mf1_macro", "miou_fg", "mf1_fg", "oa", "kappa"]


def downstream_tables(metric_files: Sequence[Path], paper: Path, out: Path, out_seeds: Path) -> None:
    """One row a data set x network x regime (mean and standard deviation over seeds), and the raw rows per seed.

    Args:
        metric_files: metrics.json of the downstream trainings.
        paper: CSV of the paper's figures; its columns miou and mf1 stand beside ours where it has the same row.
        out, out_seeds: the two CSV files to write.
    """
    rows = [json.loads(path.read_text()) for path in metric_files]
    raw = pd.DataFrame([{key: row[key] for key in [*ROW, "seed"]} | _numbers(row["scores"]) for row in rows])
    counts = [c for c in raw.columns if c.startswith("classes_")]
    scores = [*HEADLINE, *(c for c in raw.columns if c not in {*ROW, "seed", *HEADLINE, *counts})]
    # A sample standard deviation: NaN for a single seed, which says nothing about spread.
    groups = raw.groupby(ROW, sort=False, dropna=False)[scores]
    table = groups.mean().add_suffix("_mean").join(groups.std(ddof=1).add_suffix("_std"))
    table.insert(0, "n_seeds", raw.groupby(ROW, sort=False, dropna=False)["seed"].nunique())
    table = table.reset_index()
    published = pd.read_csv(paper).rename(columns={"miou": "paper_miou", "mf1": "paper_mf1"})
    table = table.merge(
        published[["dataset", "network", "regime", "paper_miou", "paper_mf1"]],
        on=["dataset", "network", "regime"],
        how="left",
    )
    ordered = [f"{score}_{kind}" for score in scores for kind in ("mean", "std")]
    _write(table[[*ROW, "n_seeds", *ordered[:4], "paper_miou", "paper_mf1", *ordered[4:]]], out)
    _write(raw[[*ROW, "seed", *scores, *counts]], out_seeds)


def synthesis_table(metric_files: Sequence[Path], out: Path) -> None:
    """One row a data set x method: distances with N and floor, spectra, alignment, reconstruction."""
    rows = [json.loads(path.read_text()) for path in metric_files]
    _write(
        pd.DataFrame([{key: row[key] for key in ("dataset", "method", "seed")} | row["scores"] for row in rows]), out
    )


def _numbers(scores: dict[str, float | None]) -> dict[str, float]:
    return {name: math.nan if value is None else value for name, value in scores.items()}


def _write(table: pd.DataFrame, path: Path) -> None:
    with files.new_file(path) as temporary:
        table.to_csv(temporary, index=False, float_format="%.5g")
