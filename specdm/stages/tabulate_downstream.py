"""Collect downstream trainings into tables: scores with their spread, and paired differences with their intervals."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from specdm import files
from specdm.errors import UserError
from specdm.metrics.paired import LEVEL, Difference, Score, f1, iou, mf1_macro, miou_macro, paired_difference
from specdm.settings import AS_DRAWN
from specdm.stages.tabulate import EXPERIMENT, numbers, write

STAGE_VERSION = 1
KIND = ["augmentation", *AS_DRAWN]
SIZES = ["n_real", "n_synthetic"]
# What all trainings of a regime share; else results of different settings are mixed.
SHARED = ["method", *SIZES, "n_labels", *KIND, "budget", "steps", "learning_rate", "encoder", "n_test"]
SEEDS = ["seed", "subset_seed", "generator_seed"]
FACTS = [*EXPERIMENT, *SHARED, "n_labels_usual", "steps_taken", *SEEDS]
MEANS = {"miou_macro": miou_macro, "mf1_macro": mf1_macro}  # the paper's convention: over all classes
DETAILS = ("miou_fg", "mf1_fg", "oa", "kappa", "iou_", "f1_", "precision_", "recall_", "boundary_f1_", "touched_")
# The paper's tables 5 and 6 repeat these columns of the main one.
OF_SCORE = "{0}_macro_mean {0}_macro_std paper_{0} {0}_macro_minus_baseline {0}_macro_low {0}_macro_high"
BRIEF = ["dataset", "network", "method", "regime", *SIZES, "n_runs", "baseline"]
BRIEF += [column for score in ("miou", "mf1") for column in OF_SCORE.format(score).split()]
# Columns of a Markdown table before those of scores.
SHOWN = [*EXPERIMENT, *SIZES, "n_labels", "steps", "n_runs"]
SHOWN_BRIEF = ["dataset", "network", "method", "regime", *SIZES, "n_runs"]
TITLES = {"n_real": "real", "n_synthetic": "synthetic", "n_labels": "labels", "n_runs": "runs"}
TITLES |= {"miou_macro": "mIoU", "mf1_macro": "F1"}


@dataclass(frozen=True)
class Outputs:
    """CSV files to write: the main table, trainings, test groups, and if wanted the paper's tables 5 and 6.

    The main table and the paper's have a readable version with the suffix .md beside them.
    """

    table: Path
    seeds: Path
    groups: Path
    ldm: Path | None = None
    sizes: Path | None = None


@dataclass(frozen=True)
class Training:
    """One tested training.

    Attributes:
        path: its metrics.json.
        facts: what was trained, by name (FACTS).
        scores: of the whole test split, NaN where undefined.
        groups: (G,) names of the test groups.
        pixels: (G,) int64 labelled pixels of each.
    """

    path: Path
    facts: dict
    scores: dict[str, float]
    groups: list[str]
    pixels: NDArray[np.int64]

    def counts(self) -> NDArray[np.int64]:
        """Pixels (G,K,K) of each group, true class x predicted class; read anew, since all together are large."""
        return np.load(_counts_of(self.path))

    @property
    def name(self) -> str:
        return ", ".join(self.facts[key] for key in EXPERIMENT)

    @property
    def pair(self) -> tuple[int, int]:
        """Seeds of its labels and of its training: what it shares with the one that it is compared with."""
        return self.facts["subset_seed"], self.facts["seed"]

    @property
    def real_alone(self) -> bool:
        return not self.facts["n_synthetic"]

    @property
    def plain(self) -> bool:
        """Whether it is an experiment of the paper's kind: the usual labels, and if mixed, drawn pairs as they are."""
        facts = self.facts
        usual = facts["augmentation"] == "basic" and facts["n_labels"] == facts["n_labels_usual"]
        mixed = facts["n_real"] > 0 and AS_DRAWN.items() <= facts.items()
        return usual and (self.real_alone or mixed)

    def of_second_class(self, **scores: Score) -> dict[str, Score]:
        """Scores of the second of two classes, by name; none where there are more classes."""
        classes = [name.removeprefix("iou_") for name in self.scores if name.startswith("iou_")]
        return {f"{k}_{classes[1]}": partial(score, of=1) for k, score in scores.items()} if len(classes) == 2 else {}

    @property
    def compared(self) -> dict[str, Score]:
        """Scores whose differences are told."""
        return MEANS | self.of_second_class(f1=f1)


def downstream_tables(
    metric_files: Sequence[Path], paper: Path, outputs: Outputs, single_stream: Collection[str] = ()
) -> str:
    """Write the tables of some downstream trainings.

    Args:
        metric_files: metrics.json of the trainings, with confusion_groups.npy beside each.
        paper: CSV of the paper's figures; its columns miou and mf1 stand beside ours where it has the same row.
        outputs: what to write.
        single_stream: methods of one stream, which the paper's table 5 compares with.

    Returns:
        What was made, in words.

    Raises:
        UserError: for files that are no metrics, and trainings that cannot stand in one table.
    """
    experiments = _experiments([_read(path) for path in metric_files])
    trainings = [training for own in experiments for training in own]
    table, raw = _main_table(experiments, paper), _seed_table(trainings)
    note = _note(table)
    _write_both(table.drop(columns="plain"), outputs.table, SHOWN, note)
    write(raw, outputs.seeds)
    write(_group_table(trainings), outputs.groups)
    if outputs.ldm:
        _write_both(_ldm_table(table, single_stream), outputs.ldm, SHOWN_BRIEF, note)
    if outputs.sizes:
        _write_both(_size_table(table), outputs.sizes, SHOWN_BRIEF, note)
    return f"{len(table)} rows in {outputs.table}, {len(raw)} rows in {outputs.seeds}"


def _counts_of(path: Path) -> Path:
    return path.with_name("confusion_groups.npy")


def _read(path: Path) -> Training:
    try:
        metrics = json.loads(path.read_text())
        known = AS_DRAWN | metrics | metrics["kind"]  # older ones do not tell what is given and kept
        facts, groups = {key: known[key] for key in FACTS}, list(metrics["groups"])
        pixels = np.load(_counts_of(path)).sum((1, 2))
        if len(pixels) != len(groups):
            raise ValueError(f"{len(pixels)} matrices of {len(groups)} groups")
        return Training(path, facts, numbers(metrics["scores"]), groups, pixels)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} with {_counts_of(path).name} beside it is no result of this version: make it anew with "
            "`specdm train-downstream`."
        ) from error


def _experiments(trainings: list[Training]) -> list[list[Training]]:
    """The trainings of each data set, network and regime, in the table's order; checked to belong together."""
    places = {place: i for i, place in enumerate(dict.fromkeys(_place(training) for training in trainings))}
    found: dict[tuple, list[Training]] = {}
    first: dict[str, Training] = {}
    for training in sorted(trainings, key=lambda t: (places[_place(t)], *_regime_order(t.facts))):
        found.setdefault(tuple(training.facts[key] for key in EXPERIMENT), []).append(training)
        _require_same_test(training, first.setdefault(training.facts["dataset"], training))
    for own in found.values():
        own.sort(key=_seeds)  # so that the files' order does not change the draws of intervals
        _require_one_kind(own)
    return list(found.values())


def _place(training: Training) -> tuple[str, str]:
    return training.facts["dataset"], training.facts["network"]


def _regime_order(facts: dict) -> tuple[int, int, bool, int]:
    """Real data first, then synthetic alone, then mixtures by their size; without strong augmentation, few labels."""
    kind = 0 if not facts["n_synthetic"] else 1 if not facts["n_real"] else 2
    return kind, facts["n_synthetic"], facts["augmentation"] != "basic", facts["n_labels"]


def _seeds(training: Training) -> tuple[int, int, int]:
    generator = training.facts["generator_seed"]
    return *training.pair, -1 if generator is None else generator


def _require_one_kind(own: list[Training]) -> None:
    for key in [*SHARED, "n_labels_usual"]:
        values = list(dict.fromkeys(str(training.facts[key]) for training in own))
        if len(values) > 1:
            raise UserError(
                f"{own[0].name}: its trainings have different {key} ({', '.join(values)}), run them again with one."
            )
    for one, other in pairwise(own):
        if _seeds(one) == _seeds(other):
            raise UserError(f"{own[0].name}: {one.path} and {other.path} have the same seeds, leave one out.")


def _require_same_test(training: Training, other: Training) -> None:
    if training.groups != other.groups or (training.pixels != other.pixels).any():
        raise UserError(f"{training.path} and {other.path} were tested on different groups or pixels, run them again.")


def _main_table(experiments: list[list[Training]], paper: Path) -> pd.DataFrame:
    """A row an experiment; the column `plain` says which are of the paper's kind."""
    names = dict.fromkeys(name for own in experiments for name in own[0].scores)
    details = [name for name in names if name.startswith(DETAILS)]
    compared = dict.fromkeys(name for own in experiments for name in own[0].compared)
    published = _published(paper)
    rows = []
    for own in experiments:
        row = _facts(own[0], [*EXPERIMENT, *SHARED]) | _numbers_of(own)
        # Only the same experiment has the paper's figure beside it: also the numbers of patches must be the paper's.
        figures = published.get(tuple(row[key] for key in [*EXPERIMENT, *SIZES]), (np.nan, np.nan))
        row |= _spread(own, list(MEANS)) | dict(zip(("paper_miou", "paper_mf1"), figures, strict=True))
        row |= _differences(own, _baseline(own, experiments), list(compared)) | _spread(own, details)
        rows.append(row | {"classes_absent_mean": _spread(own, ["classes_absent"])["classes_absent_mean"]})
    table = pd.DataFrame(rows).assign(plain=[own[0].plain for own in experiments])
    table.insert(table.columns.get_loc("steps") + 1, "steps_taken_mean", table.pop("steps_taken_mean"))
    return table


def _published(paper: Path) -> dict[tuple, tuple[float, float]]:
    """The paper's mIoU and F1, by data set, network, regime and sizes."""
    figures = pd.read_csv(paper)[[*EXPERIMENT, *SIZES, "miou", "mf1"]]
    return {tuple(keys): (miou, mf1) for *keys, miou, mf1 in figures.itertuples(index=False)}


def _facts(training: Training, keys: Sequence[str]) -> dict:
    """What was trained; without synthetic patches nothing is said of them."""
    silent = AS_DRAWN if training.real_alone else ()
    return {key: "" if key in silent else training.facts[key] for key in keys}


def _numbers_of(own: list[Training]) -> dict[str, float]:
    seeds = pd.DataFrame([{key: training.facts[key] for key in SEEDS} for training in own])
    taken = round(np.mean([training.facts["steps_taken"] for training in own]))
    row = {"steps_taken_mean": taken, "n_runs": len(own)}
    return row | {f"n_{key.removesuffix('_seed')}s": seeds[key].nunique() for key in SEEDS}


def _spread(own: list[Training], names: list[str]) -> dict[str, float]:
    """Mean and sample standard deviation of scores over trainings: of one alone NaN, which says nothing of spread."""
    scores = pd.DataFrame([training.scores for training in own]).reindex(columns=names)
    mean, std = scores.mean(), scores.std(ddof=1)
    return {f"{name}_{end}": values[name] for name in names for end, values in (("mean", mean), ("std", std))}


def _baseline(own: list[Training], experiments: list[list[Training]]) -> list[Training]:
    """Trainings on real patches alone, with the same labels and augmentation; of such ones the plain ones."""
    facts = own[0].facts
    wanted = ("basic", facts["n_labels_usual"]) if own[0].real_alone else (facts["augmentation"], facts["n_labels"])
    for other in experiments:
        first = other[0]
        if (
            first.real_alone
            and _place(first) == _place(own[0])
            and (first.facts["augmentation"], first.facts["n_labels"]) == wanted
        ):
            return [] if other is own else other
    return []


def _differences(own: list[Training], base: list[Training], names: list[str]) -> dict[str, str | float]:
    """Differences of pairs with the same labels and seed; several generators pair with the same training."""
    by_seeds = {training.pair: training for training in base}
    pairs = [(training, by_seeds[training.pair]) for training in own if training.pair in by_seeds]
    sides = [np.stack([training.counts() for training in side]) for side in zip(*pairs, strict=True)]
    row = {"baseline": base[0].facts["regime"] if pairs else "", "n_pairs": len(pairs)}
    for name in names:
        score = own[0].compared.get(name)
        found = paired_difference(*sides, score) if pairs and score else Difference(np.nan, np.nan, np.nan)
        row |= {f"{name}_minus_baseline": found.mean, f"{name}_low": found.low, f"{name}_high": found.high}
    return row


def _seed_table(trainings: list[Training]) -> pd.DataFrame:
    """A row a training."""
    keys = [key for key in FACTS if key != "n_labels_usual"]
    table = pd.DataFrame([_facts(training, keys) | training.scores for training in trainings])
    # Whole numbers stay whole where some trainings have none; as floats they would lose digits.
    return table.astype({key: "Int64" for key in table if key == "generator_seed" or key.startswith("objects_")})


def _group_table(trainings: list[Training]) -> pd.DataFrame:
    """A row an experiment and test group, with the spread over trainings."""
    parts = []
    for training in trainings:
        counts = training.counts().astype(np.float64)
        scores = MEANS | training.of_second_class(iou=iou, f1=f1)
        part = {key: training.facts[key] for key in EXPERIMENT} | {"group": training.groups, "pixels": training.pixels}
        parts.append(pd.DataFrame(part | {name: score(counts) for name, score in scores.items()}))
    keys = [*EXPERIMENT, "group", "pixels"]
    spread = pd.concat(parts).groupby(keys, sort=False).agg(["mean", "std"])
    spread.columns = ["_".join(names) for names in spread.columns]
    return spread.reset_index()


def _ldm_table(table: pd.DataFrame, single_stream: Collection[str]) -> pd.DataFrame:
    """The paper's table 5: real patches alone, then generators of one stream, each beside others of as many patches."""
    plain = table[table["plain"]].assign(others=lambda rows: ~rows["method"].isin(single_stream))
    chosen: list[int] = []
    for _, rows in plain.groupby(["dataset", "network"], sort=False):
        mixed = rows[rows["n_synthetic"] > 0]
        sizes = mixed.loc[~mixed["others"], "n_synthetic"].unique()
        if len(sizes):
            chosen += rows.index[rows["n_synthetic"] == 0].tolist()
            beside = mixed[mixed["n_synthetic"].isin(sizes)]
            chosen += beside.sort_values(["n_synthetic", "others"], kind="stable").index.tolist()
    return table.loc[chosen, BRIEF]


def _size_table(table: pd.DataFrame) -> pd.DataFrame:
    """The paper's table 6: for each method with several sizes, real patches alone and then its sizes."""
    chosen: list[int] = []
    methods: list[str] = []
    plain = table[table["plain"]]
    for _, rows in plain.groupby(["dataset", "network"], sort=False):
        mixed = rows[rows["n_synthetic"] > 0]
        for method, of_method in mixed.groupby("method", sort=False):
            if of_method["n_synthetic"].nunique() > 1:
                both = [*rows.index[rows["n_synthetic"] == 0], *of_method.index]  # the main table's order: ascending
                chosen += both
                methods += [method] * len(both)
    return table.loc[chosen, BRIEF].assign(method=methods)


def _note(table: pd.DataFrame) -> str:
    steps = sorted(set(table["steps"]))
    planned = f"{steps[0]}" if len(steps) == 1 else f"{steps[0]} to {steps[-1]}"
    return (
        "mIoU and F1 are unweighted means over all classes, from one confusion matrix of the whole test split; ± is "
        "the standard deviation over trainings. A difference is the mean over pairs of trainings with the same labels "
        f"and seed, one of them the baseline's; in brackets its {100 * LEVEL:g} % interval from a bootstrap over test "
        "groups and pairs, too narrow where there are few of either. "
        f"Budget: {', '.join(dict.fromkeys(table['budget']))}; optimiser steps planned: {planned}."
    )


def _write_both(table: pd.DataFrame, path: Path, shown: list[str], note: str) -> None:
    write(table, path)
    with files.new_file(path.with_suffix(".md")) as temporary:
        temporary.write_text(f"{_markdown(_readable(table, shown))}\n{note}\n")


def _readable(table: pd.DataFrame, shown: list[str]) -> dict[str, list[str]]:
    """What a reader looks for, as texts: title -> cells."""
    rows = table.to_dict("records")
    compared = [c.removesuffix("_minus_baseline") for c in table if c.endswith("_minus_baseline")]
    titles = {score: TITLES.get(score, f"F1 {score.removeprefix('f1_')}") for score in compared}
    columns = {TITLES.get(key, key): [str(row[key]) for row in rows] for key in shown}
    for score, title in titles.items():
        columns[title] = [_number(row[f"{score}_mean"]) + _number(row[f"{score}_std"], " ± {:.3f}") for row in rows]
        paper = f"paper_{score.removesuffix('_macro')}"
        if paper in table:
            columns[f"{title} of the paper"] = [_number(row[paper]) for row in rows]
    columns["baseline"] = [row["baseline"] for row in rows]
    for score, title in titles.items():
        columns[f"{title} − baseline"] = [
            _number(row[f"{score}_minus_baseline"], "{:+.3f}")
            + _number(row[f"{score}_low"], " [{:+.3f}, ")
            + _number(row[f"{score}_high"], "{:+.3f}]")
            for row in rows
        ]
    return columns


def _number(value: float, form: str = "{:.3f}") -> str:
    """A number as text, empty when it is undefined."""
    return form.format(value) if pd.notna(value) else ""


def _markdown(columns: dict[str, list[str]]) -> str:
    """A table with aligned pipes, texts on the left and numbers on the right of their columns."""
    aligned = []
    for title, cells in columns.items():
        left, width = title in (*EXPERIMENT, "method", "baseline"), max(len(text) for text in [title, *cells])
        rule = "-" * width if left else "-" * (width - 1) + ":"
        aligned.append([text.ljust(width) if left else text.rjust(width) for text in [title, rule, *cells]])
    return "".join(f"| {' | '.join(line)} |\n" for line in zip(*aligned, strict=True))
