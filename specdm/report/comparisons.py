"""Tables of the downstream networks and of reconstruction, the paper's figures beside ours."""

from __future__ import annotations

from collections.abc import Sequence

from specdm.report.html import Cell, Row, Table, interval, number, word

SCORES = {"mf1": "F1", "miou": "mIoU"}
ERRORS = {"rmse": "RMSE (refl)", "sad_rad": "SAD (rad)", "cross_entropy": "mask cross-entropy"}
FIDS = {"image1": "images, date 1", "image2": "images, date 2", "mask": "masks"}


def downstream(rows: Sequence[Row]) -> Table:
    """Headline scores of every data set, network and regime."""
    titles = ["data set", "network", "regime", "generator", "real", "synthetic", "runs"]
    for title in SCORES.values():
        titles += [title, f"{title} of the paper", f"{title} − baseline"]
    titles += ["F1 of change", "baseline"]
    cells = []
    for row in rows:
        line = [word(row[key]) for key in ("dataset", "network", "regime", "method")]
        line += [number(row[key], ".0f") for key in ("n_real", "n_synthetic", "n_runs")]
        for score in SCORES:
            line += [_with_std(row, f"{score}_macro"), number(row[f"paper_{score}"], ".4f"), _difference(row, score)]
        cells.append([*line, _with_std(row, "f1_change"), word(row["baseline"])])
    return Table(titles, cells)


def of_classes(rows: Sequence[Row]) -> Table:
    """IoU of every class, of the rows of one data set."""
    ends = [key for key in rows[0] if key.startswith("iou_") and key.endswith("_mean")]
    names = [key.removesuffix("_mean") for key in ends if any(row[key] is not None for row in rows)]
    titles = ["network", "regime", *(name.removeprefix("iou_").replace("_", " ") for name in names)]
    return Table(
        titles,
        [[word(row["network"]), word(row["regime"]), *(_with_std(row, name) for name in names)] for row in rows],
    )


def ablation(rows: Sequence[Row]) -> Table:
    """Reconstruction with and without the spectral angle in the loss, the paper's table 4."""
    titles = ["data set", "method", "patch (px)", "streams", "weight of the angle"]
    for title in ERRORS.values():
        titles += [title, f"{title}, paper"]
    for title in FIDS.values():
        titles += [f"FD {title}", f"FID {title}, paper"]
    cells = []
    for row in rows:
        line = [word(row["dataset"]), word(row["method"]), number(row["patch_px"], ".0f"), word(row["streams"])]
        line.append(number(row["sad_weight"], "g"))
        for error in ERRORS:
            line += [number(row.get(f"reconstruction_{error}"), ".4f"), number(row.get(f"paper_{error}"), ".3f")]
        for kind in FIDS:
            line += [number(row.get(f"fd_{kind}")), number(row.get(f"paper_fid_{kind}"), ".2f")]
        cells.append(line)
    return Table(titles, cells)


def everything(rows: Sequence[Row], keys: Sequence[str]) -> Table:
    """Columns of a table that no other part of the page shows, under their own names; `keys` come first."""
    names = [*keys, *(name for name in dict.fromkeys(n for row in rows for n in row) if name not in keys)]
    return Table(names, [[_plain(row.get(name)) for name in names] for row in rows])


def _plain(value: object) -> Cell:
    return number(value, ".5g") if isinstance(value, int | float) and not isinstance(value, bool) else word(value)


def _with_std(row: Row, score: str) -> Cell:
    """Mean and standard deviation over trainings."""
    spread = row.get(f"{score}_std")
    return number(row.get(f"{score}_mean"), more="" if spread is None else f" ± {spread:.3f}")


def _difference(row: Row, score: str) -> Cell:
    mean, low, high = (row[f"{score}_macro_{part}"] for part in ("minus_baseline", "low", "high"))
    return number(mean, "+.3f", interval(low, high, "+.3f"))
