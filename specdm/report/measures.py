"""Tables of what was measured of the synthetic sets: each column has a place, and those unknown here go last."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from specdm.report.html import Cell, Row, Table, number, with_interval, word
from specdm.report.quality import class_shares, kind_in_words

KEYS = ("dataset", "method")
# Distances and the like stand in long tables: a row a data set, method and kind of feature.
MEASURES = {"fd": "Fréchet distance", "kid": "KID", "paper_fid": "FID of the paper", "paper_fd": "FID of the paper"}
MEASURES |= {name: name for name in ("precision", "recall", "density", "coverage")}
ENDS = {
    "": "{}",
    "floor": "floor of {}",
    "n": "N",
    "low": "{} from",
    "high": "to",
    "val": "{} to held-out",
    "val_n": "N held out",
}
OF_KIND = re.compile(rf"({'|'.join(MEASURES)})_(.+?)(?:_({'|'.join(filter(None, ENDS))}))?")


@dataclass(frozen=True)
class Known:
    """A column that has a heading: its title, and how its numbers are written."""

    name: str
    title: str
    form: str = ".3f"


def _beside_floor(*columns: tuple[str, str, str]) -> tuple[Known, ...]:
    """Columns of scores (name, title, form), each followed by the same between two real halves."""
    return tuple(
        known
        for name, title, form in columns
        for known in (Known(name, title, form), Known(f"{name}_floor", "floor", form))
    )


GROUPS = {
    "Mean spectra of the classes": (
        Known("msad_rad", "mSAD (rad)"),
        Known("msad_rad_low", "from"),
        Known("msad_rad_high", "to"),
        Known("msad_rad_floor", "floor"),
        Known("paper_msad_rad", "mSAD of the paper (rad)"),
        Known("msad_classes", "classes compared", ".0f"),
    ),
    "Bands: how their values are distributed, go together and change": (
        *_beside_floor(
            ("wasserstein_refl", "Wasserstein distance (refl)", ".4f"),
            ("band_correlation_difference", "difference of correlations", ".3f"),
            ("change_wasserstein_refl", "Wasserstein distance of the change (refl)", ".4f"),
            ("change_band_correlation_difference", "difference of correlations of the change", ".3f"),
        ),
        Known("impossible_negative_synthetic", "values below 0, synthetic (share)", ".2g"),
        Known("impossible_negative_real", "real", ".2g"),
        Known("impossible_above_one_synthetic", "values above 1, synthetic (share)", ".2g"),
        Known("impossible_above_one_real", "real", ".2g"),
    ),
    "Detail: power spectra, median over the bands": _beside_floor(
        ("power_distance_db", "difference of power (dB)", ".2f"),
        ("fine_detail_ratio", "detail finer than 4 px, synthetic / real", ".3f"),
    ),
    "Masks: classes, areas and boundaries": _beside_floor(
        ("class_total_variation", "total variation of class shares", ".4f"),
        ("class_jensen_shannon", "Jensen-Shannon distance of class shares", ".4f"),
        ("presence_difference", "difference of presence in patches", ".3f"),
        ("area_size_distance_log2px", "distance of area sizes (doublings)", ".2f"),
        ("area_number_distance", "distance of areas a patch", ".2f"),
        ("boundary_distance_px", "distance of boundary lengths (px)", ".1f"),
    ),
    "Classes lost, and fractions got against those asked for (shares of the pixels)": (
        Known("classes_lost", "classes above 1 % lost", ".0f"),
        Known("asked_error", "got − asked", ".4f"),
        Known("asked_error_shuffled", "the same by chance", ".4f"),
    ),
    "Reconstruction of held-out patches by the autoencoder": (
        Known("reconstruction_rmse", "RMSE (refl)", ".4f"),
        Known("reconstruction_sad_rad", "SAD (rad)", ".4f"),
        Known("reconstruction_cross_entropy", "mask cross-entropy", ".4f"),
    ),
}
# What was compared with what: texts and sizes.
COMPARED = ("features", "n", "n_real", "n_val", "patch_px", "streams", "seed")


def distances(rows: Sequence[Row]) -> Table:
    """Distances of images and masks beside their floors, with N: a row a data set, method and kind."""
    found: dict[tuple, dict[tuple[str, str], object]] = {}
    for row in rows:
        for name, value in row.items():
            match = _of_kind(name)
            if match and value is not None:
                measure, kind, end = match
                key = (row["dataset"], row["method"], kind_in_words(kind, row))
                found.setdefault(key, {})[measure, end] = value
    columns = [(m, e) for m in MEASURES for e in ENDS if any((m, e) in values for values in found.values())]
    titles = ["data set", "method", "of", *(ENDS[end].format(MEASURES[measure]) for measure, end in columns)]
    titles.append("distance / floor")
    cells = []
    for (dataset, method, kind), values in found.items():
        line = [word(dataset), word(method), word(kind)]
        line += [number(values.get(c), ".0f" if c[1].endswith("n") else ".3f") for c in columns]
        own, floor = values.get(("fd", "")), values.get(("fd", "floor"))
        cells.append([*line, Cell() if own is None or not floor else number(own / floor, ".2f")])
    return Table(titles, cells)


def _of_kind(name: str) -> tuple[str, str, str] | None:
    """Measure, kind and end of a column: "fd_image1_floor" -> fd, image1, floor."""
    match = OF_KIND.fullmatch(name)
    return (match[1], match[2], match[3] or "") if match else None


def group(rows: Sequence[Row], title: str) -> Table:
    """The columns of one of GROUPS."""
    known = GROUPS[title]
    cells = [[*(word(row[k]) for k in KEYS), *(number(row.get(c.name), c.form) for c in known)] for row in rows]
    return Table(["data set", "method", *(column.title for column in known)], cells)


def shares(rows: Sequence[Row]) -> Table:
    """How often each class occurs: a row a data set, method and class."""
    titles = ["data set", "method", "class", "real pixels (%)", "synthetic pixels (%)", "real patches with it (%)"]
    titles.append("synthetic patches with it (%)")
    cells = []
    for row in rows:
        for name, real, fake in class_shares(row):
            seen = [row.get(f"presence_{kind}_{name.replace(' ', '_')}") for kind in ("real", "synthetic")]
            percents = [None if share is None else 100 * share for share in (real, fake, *seen)]
            line = [word(row[key]) for key in KEYS] + [word(name)]
            cells.append([*line, *(number(p, ".2f") for p in percents[:2]), *(number(p, ".0f") for p in percents[2:])])
    return Table(titles, cells)


def is_shown(name: str) -> bool:
    """Whether a column of the table of synthetic sets has its place in one of these tables."""
    of_class = re.match("(share|presence)_(real|synthetic)_", name)
    grouped = {column.name for columns in GROUPS.values() for column in columns}
    return (
        name in (*KEYS, *COMPARED, "not_computable") or name in grouped or bool(of_class) or _of_kind(name) is not None
    )


def alignment(rows: Sequence[Row]) -> Table:
    """How masks fit by every scorer."""
    titles = ["data set", "method", "scorer", "scaled: 0 exchanged, 1 real [95 %]", "synthetic [95 %]"]
    titles += ["real, unseen by the judge [95 %]", "real, seen", "masks exchanged", "best when moved by (px)"]
    titles += ["towards", "classes lost", "what it is", "not computable, because"]
    cells = []
    for row in rows:
        line = [word(row[key]) for key in (*KEYS, "scorer")]
        line.append(with_interval(row, "scaled", ".2f"))
        line += [with_interval(row, key) for key in ("synthetic", "real")]
        line += [number(row["seen"]), number(row["exchanged"]), number(row.get("peak_px"), ".0f")]
        line += [word(row.get("peak_direction")), number(row.get("classes_lost"), ".0f")]
        cells.append([*line, word(row["title"]), word(row["because"])])
    return Table(titles, cells)


def curves(rows: Sequence[Row]) -> Table:
    """Scores of alignment by how far the masks were moved: a row a scorer, for synthetic and for real pairs."""
    ends = [name for name in dict.fromkeys(n for row in rows for n in row) if re.fullmatch(r"at_\d+px", name)]
    titles = ["data set", "method", "scorer", "pairs", "0 px", *(f"{end[3:-2]} px" for end in ends)]
    cells = []
    for row in rows:
        for pairs, start in (("synthetic", ""), ("real", "real_")):
            line = [word(row[key]) for key in (*KEYS, "scorer")] + [word(pairs), number(row[pairs])]
            cells.append([*line, *(number(row.get(start + end)) for end in ends)])
    return Table(titles, cells)


def copies(rows: Sequence[Row]) -> Table:
    """What was found of copies, by kind."""
    titles = ["data set", "method", "kind", "verdict", "closer than the threshold (%)", "from (%)", "to (%)"]
    titles += ["expected (%)", "held-out real (%)", "N", "excluded", "held out", "training patches", "threshold"]
    titles.append("because")
    cells = []
    for row in rows:
        line = [word(row[key]) for key in (*KEYS, "kind", "verdict")]
        for key in ("share_closer", "low", "high", "expected_share", "held_out_share"):
            line.append(number(None if row[key] is None else 100 * row[key], ".2f"))
        line += [number(row[key], ".0f") for key in ("n", "n_excluded", "held_out_n", "reference_n")]
        cells.append([*line, number(row["threshold"], ".4g"), word(row["because"])])
    return Table(titles, cells)
