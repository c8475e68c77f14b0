"""Quality against the number of sampling steps: how few are enough, as a table and as a picture."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from specdm import set_figures
from specdm.errors import UserError
from specdm.set_figures import StepScore
from specdm.stages.tabulate import numbers, write

STAGE_VERSION = 1
# Name in the metrics, label of the axis. Scores with an interval, so that a difference can be told from chance.
SCORES = {
    "kid_image1": "kernel distance of images",
    "kid_mask": "kernel distance of masks",
    "msad_rad": "mSAD (rad)",
}
AGREEMENT = "agreement with judges (mIoU)"


def tabulate_steps(metric_files: Sequence[Path], alignment_files: Sequence[Path], out: Path, picture: Path) -> str:
    """Write a row a number of steps to the CSV file `out`, and curves beside floors as `picture` .png and .pdf.

    Args:
        metric_files, alignment_files: of evaluate and check-alignment, in folders named steps<n>, of one generator.
        out: the table.
        picture: path without a suffix.

    Returns:
        What was made, in words.

    Raises:
        UserError: for files of several generators or of folders with other names.
    """
    rows, points, floors = [], [], {}
    alignments = {_steps(path): json.loads(path.read_text()) for path in alignment_files}
    for path in sorted(metric_files, key=_steps):
        steps, found = _steps(path), json.loads(path.read_text())
        scores = numbers(found["scores"])
        row = {"dataset": found["dataset"], "method": found["method"], "steps": steps, "n": found["n"]}
        for name, label in SCORES.items():
            value, low, high = (scores.get(key, math.nan) for key in (name, f"{name}_low", f"{name}_high"))
            row |= {name: value, f"{name}_low": low, f"{name}_high": high, f"{name}_floor": scores[f"{name}_floor"]}
            points.append(StepScore(label, found["method"], steps, value, low, high))
            floors[label] = scores[f"{name}_floor"]
        network = next((r for r in alignments.get(steps, {"rows": []})["rows"] if r["scorer"] == "network"), None)
        if network:
            keys = ("synthetic", "synthetic_low", "synthetic_high", "real")
            value, low, high, real = (numbers(network)[key] for key in keys)
            row |= {"agreement": value, "agreement_low": low, "agreement_high": high, "agreement_real": real}
            points.append(StepScore(AGREEMENT, found["method"], steps, value, low, high))
            floors[AGREEMENT] = real
        rows.append(row)
    table = pd.DataFrame(rows)
    if len(table[["dataset", "method"]].drop_duplicates()) != 1:
        raise UserError(f"{out}: the metrics are of several generators; give those of one.")
    title = f"{rows[0]['dataset']}: {rows[0]['method']}, {rows[0]['n']} samples"
    set_figures.steps_curve(points, floors, title, picture)
    write(table, out)
    return f"{len(rows)} numbers of sampling steps in {out}"


def _steps(path: Path) -> int:
    name = path.parent.name
    if not (name.startswith("steps") and name[5:].isdecimal()):
        raise UserError(f"{path}: its folder does not say the number of steps; name it steps25, for example.")
    return int(name[5:])
