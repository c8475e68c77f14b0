"""Collect the metrics of synthetic sets into tables, and show tables on a terminal; no number in them is typed."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from specdm import files
from specdm.errors import UserError

STAGE_VERSION = 3
EXPERIMENT = ["dataset", "network", "regime"]
SAME = ["dataset", "patch_px", "sad"]  # what makes an experiment the paper's
DISTANCES = ["fd_image1", "fd_image2", "fd_mask"]


def synthesis_table(metric_files: Sequence[Path], paper: Path, out: Path) -> str:
    """One row a data set x method: distances with N and floor, spectra, masks, reconstruction (tables 1 and 2).

    Args:
        metric_files: metrics of the synthetic sets.
        paper: CSV of the paper's figures. They stand beside methods of two streams with the angle, and of one, where
            also the patches have the paper's size; its FIDs use other features and no floor.
        out: the CSV file to write. Its last column names the scores that are empty, and says why.

    Returns:
        What was made, in words.
    """
    rows = [json.loads(path.read_text()) for path in metric_files]
    table = pd.DataFrame(
        [
            {key: row[key] for key in ("dataset", "method", "seed", "patch_px", "n", "n_real", "n_val")}
            | {"features": "; ".join(feature["id"] for feature in row["features"])}
            | {"streams": row["streams"] if row["streams"] == "single" or row["sad_weight"] > 0 else "two, no angle"}
            | numbers(row["scores"])
            | {"not_computable": "; ".join(f"{name}: because {why}" for name, why in row["not_computable"].items())}
            for row in rows
        ]
    )
    keys = ["dataset", "patch_px", "streams"]
    published = pd.read_csv(paper)
    published = published.rename(columns=lambda c: c if c in keys else f"paper_{c}")
    table = table.merge(published, on=keys, how="left")
    last = table.pop("not_computable")
    write(table.assign(not_computable=last), out)
    return f"{len(rows)} rows in {out}"


def reconstruction_table(metric_files: Sequence[Path], paper: Path, out: Path) -> str:
    """What the spectral angle in the loss does, as the paper's table 4: reconstruction and distances of every method.

    Args:
        metric_files: metrics of the synthetic sets.
        paper: CSV of the paper's figures. They stand beside methods of two streams with and without the angle, where
            also the patches have the paper's size. Its FIDs use other features than our Fréchet distances: compare
            them within a column only.
        out: the CSV file to write.

    Returns:
        What was made, in words.
    """
    rows = [json.loads(path.read_text()) for path in metric_files]
    errors = ["reconstruction_rmse", "reconstruction_sad_rad", "reconstruction_cross_entropy"]
    table = pd.DataFrame(
        [
            {key: row[key] for key in ("dataset", "patch_px", "method", "streams", "sad_weight")}
            | {"sad": row["sad_weight"] > 0 if row["streams"] == "two" else None}
            | {key: v for key, v in numbers(row["scores"]).items() if key in [*errors, *DISTANCES]}
            for row in rows
        ]
    )
    published = pd.read_csv(paper)
    published = published.rename(columns=lambda c: c if c in SAME else f"paper_{c}")
    table["sad"], published["sad"] = table["sad"].astype(object), published["sad"].astype(object)
    table = table.merge(published, on=SAME, how="left").drop(columns="sad")
    write(table, out)
    return f"{len(table)} rows in {out}"


def rows_table(metric_files: Sequence[Path], out: Path) -> str:
    """One row a row of the metric files, with what is said once a file: what a check found by scorer or kind of copy.

    Scores by shift become columns, at_1px and real_at_1px. Returns what was made, in words.
    """
    rows = []
    for path in metric_files:
        found = json.loads(path.read_text())
        for row in found["rows"]:
            flat = {key: value for key, value in row.items() if not isinstance(value, dict)}
            for name, start in (("curve", "at"), ("real_curve", "real_at")):
                flat |= {f"{start}_{px}px": score for px, score in row.get(name, {}).items() if px != "0"}
            rows.append({key: value for key, value in found.items() if not isinstance(value, dict | list)} | flat)
    write(pd.DataFrame(rows), out)
    return f"{len(rows)} rows in {out}"


def summary(downstream: Path, synthesis: Path | None, alignment: Path | None = None) -> str:
    """The headline columns of the tables as text for a terminal."""
    columns = [*EXPERIMENT, "n_real", "n_synthetic", "n_seeds", "miou_macro_mean", "mf1_macro_mean", "iou_change_mean"]
    parts = [_text(downstream, columns, "Downstream networks, tested on real patches (means over all classes)")]
    if synthesis:
        columns = ["dataset", "method", "features", "fd_image1_n", "fd_image1", "fd_image1_floor", "fd_mask"]
        columns += ["fd_mask_floor", "msad_rad", "msad_rad_floor", "fine_detail_ratio"]
        title = "Synthetic patches against the real training split (floor: between two real halves, at the same N)"
        parts.append(_text(synthesis, columns, title))
    if alignment:
        columns = [
            "dataset",
            "method",
            "scorer",
            "exchanged",
            "synthetic",
            "real",
            "scaled",
            "scaled_low",
            "scaled_high",
        ]
        title = "Do masks fit images? scaled: 0 like exchanged masks, 1 like real pairs unknown to the judges"
        parts.append(_text(alignment, columns, title))
    if synthesis:
        columns = ["dataset", "method", "classes_lost", "asked_error", "asked_error_shuffled"]
        parts.append(_text(synthesis, columns, "Classes above 1 % that were lost; class fractions, got against asked"))
    return "\n".join(parts)


def numbers(scores: dict[str, float | None]) -> dict[str, float]:
    """Scores of a metric file, NaN for null."""
    return {name: math.nan if value is None else value for name, value in scores.items()}


def write(table: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV with five digits, complete or not at all; what is undefined stays empty."""
    with files.new_file(path) as temporary:
        table.to_csv(temporary, index=False, float_format="%.5g")


def _text(path: Path, columns: list[str], title: str) -> str:
    if not path.is_file():
        raise UserError(
            f"{path} does not exist: make it with `snakemake`, `specdm tabulate-downstream` or `specdm tabulate`."
        )
    table = pd.read_csv(path)
    shown = table[[c for c in columns if c in table]].rename(columns=lambda c: c.removesuffix("_mean"))
    return f"{title}\n{shown.to_string(index=False, na_rep='', float_format=lambda v: f'{v:.3f}')}\n"
