import itertools
import json
import statistics
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from specdm import config, files
from specdm.metrics.paired import miou_macro, paired_difference
from specdm.metrics.segmentation import ConfusionMatrix

ROOT = Path(__file__).parents[2]
GROUPS = ["a", "b", "c"]
CLASSES = ("sea", "land", "wood")
TWO = ("no_change", "change")
PAPER = """dataset,network,regime,n_real,n_synthetic,miou,mf1,where
fields,unet,real,10,0,0.3574,0.4852,table 5
fields,unet,augmented-x1,10,10,0.3664,0.4942,table 6
fields,unet,augmented-x5,2000,10000,0.3772,0.5092,table 5
fields,unet,augmented-x5-ldm,10,50,0.3499,0.4803,table 5
"""
REAL = dict(method="", n_synthetic=0)
KIND = dict(real=1, augmentation="basic", images="drawn", masks="own", order="mixed")


def _confusion(seed, classes=CLASSES, skill=0.6) -> np.ndarray:
    """Counts (G,K,K) of the same test split by another network each time."""
    k = len(classes)
    true = np.random.default_rng(k).integers(50, 200, (len(GROUPS), k))
    chances = np.eye(k) * skill + (1 - skill) / k
    return np.random.default_rng(seed).multinomial(true, np.broadcast_to(chances, (len(GROUPS), k, k)))


def _scores(counts, classes=CLASSES) -> dict:
    confusion = ConfusionMatrix(len(classes))
    confusion.matrix = counts.sum(0)
    return confusion.scores(classes)


@pytest.fixture
def runs(tmp_path):
    """Writes results of trainings: runs.add(regime, seed, counts, kind of data, any fact=...) -> its counts."""
    paths, fresh = [], itertools.count()

    def add(regime, seed=0, counts=None, classes=CLASSES, scores=None, groups=None, kind=None, **facts):
        number = next(fresh)
        counts = _confusion(number, classes) if counts is None else counts
        row = dict(dataset="fields", network="unet", regime=regime, method="specdm", seed=seed, subset_seed=0)
        row |= dict(generator_seed=None, n_real=10, n_synthetic=50, n_labels=10, n_labels_usual=10, budget="iterations")
        row |= dict(steps=100, steps_taken=100, learning_rate=1e-4, encoder="none", n_test=8) | facts
        row |= dict(kind=KIND | (kind or {}), groups=groups or GROUPS, scores=_scores(counts, classes) | (scores or {}))
        paths.append(tmp_path / "runs" / str(number) / "metrics.json")
        files.write_json(paths[-1], row)
        np.save(paths[-1].with_name("confusion_groups.npy"), counts)
        return counts

    return SimpleNamespace(add=add, paths=paths)


@pytest.fixture
def tabulate(tmp_path, verb):
    """Writes all tables of some metric files and reads them; or returns the error."""

    def run(paths, **more):
        root = tmp_path / "tables"
        out = {n: root / f"{n}.csv" for n in ("table", "seeds", "groups", "ldm", "sizes")}
        (tmp_path / "paper.csv").write_text(PAPER)
        options = dict(out=out["table"], out_seeds=out["seeds"], out_groups=out["groups"], paper=tmp_path / "paper.csv")
        options |= dict(out_ldm=out["ldm"], out_sizes=out["sizes"], single_stream=["ldm", "old"])
        status = verb("tabulate-downstream", *paths, **options | more)
        if status:
            assert not root.exists()  # complete or absent
            return status
        return SimpleNamespace(root=root, **{name: pd.read_csv(path) for name, path in out.items()})

    return run


def _row(table, regime, **where) -> pd.Series:
    for key, value in where.items():
        table = table[table[key] == value]
    return table.set_index("regime").loc[regime]


def test_a_row_holds_mean_and_sample_deviation_over_trainings(runs, tabulate):
    counts = [runs.add("real", seed, **REAL) for seed in range(3)]
    table = tabulate(runs.paths).table
    assert len(table) == 1
    row = _row(table, "real")
    assert row["n_runs"] == row["n_seeds"] == 3 and row["n_subsets"] == 1 and row["n_generators"] == 0
    for name in ("miou_macro", "mf1_macro", "miou_fg", "mf1_fg", "oa", "kappa", "iou_land", "f1_wood", "precision_sea"):
        values = [_scores(each)[name] for each in counts]
        assert row[f"{name}_mean"] == pytest.approx(statistics.mean(values), rel=1e-4)
        assert row[f"{name}_std"] == pytest.approx(statistics.stdev(values), rel=1e-3)


def test_a_row_says_what_was_trained(runs, tabulate):
    kind = dict(augmentation="strong", images="reconstructed", masks="shuffled", order="pretrain")
    facts = dict(method="old", n_real=12, n_synthetic=13, n_labels=14, budget="epochs", steps=200, learning_rate=0.002)
    facts |= dict(encoder="imagenet 1234", n_test=9)
    for seed, taken in ((0, 123000), (1, 123456)):
        runs.add("mixed", seed, kind=kind, steps_taken=taken, subset_seed=5, generator_seed=1234567, **facts)
    runs.add("real", steps_taken=200, **facts | REAL)
    tables = tabulate(runs.paths)
    row = _row(tables.table, "mixed")
    assert row[list(kind | facts)].to_dict() == kind | facts
    assert row[["dataset", "network", "steps_taken_mean"]].tolist() == ["fields", "unet", 123228]
    assert row[["n_runs", "n_seeds", "n_subsets", "n_generators"]].tolist() == [2, 2, 1, 1]
    real = _row(tables.table, "real")
    assert real["augmentation"] == "basic" and real[["method", "images", "masks", "order"]].isna().all()
    each = tables.seeds
    assert each["regime"].tolist() == ["real", "mixed", "mixed"]
    assert each[["seed", "subset_seed", "steps_taken"]].values.tolist() == [[0, 0, 200], [0, 5, 123000], [1, 5, 123456]]
    assert each["generator_seed"].isna().tolist() == [True, False, False]
    assert each["generator_seed"][1] == 1234567
    assert each[["masks", "budget"]].iloc[1].tolist() == ["shuffled", "epochs"]


def test_columns_come_in_the_order_that_the_table_is_read(runs, tabulate):
    runs.add("real", **REAL, scores={"boundary_f1_macro": 0.5, "boundary_f1_sea": 0.5})
    more = {"objects_below_10": 1234567, "recall_px_below_10": 0.25, "touched_below_10": 0.5}
    runs.add("real", **REAL, dataset="towns", classes=TWO, scores=more)
    tables = tabulate(runs.paths)
    columns = list(tables.table)
    assert columns[:4] == ["dataset", "network", "regime", "method"]
    start = columns.index("n_test")
    assert columns[start : start + 5] == ["n_test", "n_runs", "n_seeds", "n_subsets", "n_generators"]
    assert columns[columns.index("steps") + 1] == "steps_taken_mean"
    means = ["miou_macro_mean", "miou_macro_std", "mf1_macro_mean", "mf1_macro_std", "paper_miou", "paper_mf1"]
    differences = [
        f"{s}_{end}" for s in ("miou_macro", "mf1_macro", "f1_change") for end in ("minus_baseline", "low", "high")
    ]
    expected = [*means, "baseline", "n_pairs", *differences, "miou_fg_mean", "miou_fg_std"]
    assert columns[start + 5 : start + 5 + len(expected)] == expected
    assert {"boundary_f1_sea_mean", "recall_px_below_10_mean", "touched_below_10_std", "recall_change_mean"} <= set(
        columns
    )
    assert not {"pixels_mean", "objects_below_10_mean", "classes_absent_std", "plain", "n_labels_usual"} & set(columns)
    assert columns[-1] == "classes_absent_mean"
    assert {"pixels", "classes_absent"} <= set(tables.seeds)
    assert np.isnan(tables.seeds["objects_below_10"][0]) and tables.seeds["objects_below_10"][1] == 1234567


def test_a_single_training_has_no_deviation(runs, tabulate):
    counts = runs.add("real", **REAL)
    tables = tabulate(runs.paths)
    row = _row(tables.table, "real")
    assert row["miou_macro_mean"] == pytest.approx(_scores(counts)["miou_macro"], rel=1e-4)
    assert np.isnan(row["miou_macro_std"])
    cell = f"| {row['miou_macro_mean']:.3f} |"
    assert cell in (tables.root / "table.md").read_text()


def test_the_papers_figures_stand_beside_a_row_of_the_same_sizes_only(runs, tabulate):
    runs.add("real", **REAL)
    runs.add("real", **REAL, network="segformer-b5")
    runs.add("augmented-x5")
    runs.add("augmented-x1", n_synthetic=10)
    tables = tabulate(runs.paths)
    beside = tables.table.set_index(["network", "regime"])[["paper_miou", "paper_mf1"]]
    assert beside.loc[("unet", "real")].tolist() == [0.3574, 0.4852]
    assert beside.loc[("unet", "augmented-x1")].tolist() == [0.3664, 0.4942]
    assert beside.loc[("unet", "augmented-x5")].isna().all() and beside.loc[("segformer-b5", "real")].isna().all()
    assert tables.sizes["paper_miou"].tolist()[:2] == [0.3574, 0.3664] and np.isnan(tables.sizes["paper_miou"][2])


def test_an_undefined_score_is_left_out_of_the_mean(runs, tabulate):
    for seed, value in enumerate((None, 0.25, None)):
        runs.add("real", seed, **REAL, scores={"iou_wood": value, "classes_absent": seed})
    runs.add("augmented-x5", scores={"iou_wood": None})
    table = tabulate(runs.paths).table
    assert _row(table, "real")["iou_wood_mean"] == 0.25 and _row(table, "real")["classes_absent_mean"] == 1
    assert np.isnan(_row(table, "augmented-x5")[["iou_wood_mean", "iou_wood_std"]].tolist()).all()


def test_an_absent_class_stays_out_of_differences_and_groups(runs, tabulate):
    """Wood is nowhere in the test split: the mean is over two classes, in whichever group."""
    counts = {}
    for regime, facts in (("real", REAL), ("augmented-x5", {})):
        counts[regime] = _confusion(len(counts))
        counts[regime][:, 0] += counts[regime][:, 2]
        counts[regime][:, :, 0] += counts[regime][:, :, 2]
        counts[regime][:, 2], counts[regime][:, :, 2] = 0, 0
        runs.add(regime, counts=counts[regime], **facts)
    tables = tabulate(runs.paths)
    row = _row(tables.table, "augmented-x5")
    expected = _scores(counts["augmented-x5"])["miou_macro"] - _scores(counts["real"])["miou_macro"]
    assert row["miou_macro_minus_baseline"] == pytest.approx(expected, abs=1e-5)
    assert row["classes_absent_mean"] == 1 and np.isnan(row["iou_wood_mean"])
    group = _row(tables.groups, "augmented-x5", group="b")
    assert group["miou_macro_mean"] == pytest.approx(_scores(counts["augmented-x5"][1:2])["miou_macro"], rel=1e-4)
    assert "nan" not in (tables.root / "table.md").read_text() + (tables.root / "table.csv").read_text()


def test_the_difference_is_the_mean_over_pairs_of_the_same_seed(runs, tabulate):
    real = [runs.add("real", seed, **REAL) for seed in (0, 1, 2)]
    mixed = {seed: runs.add("augmented-x5", seed, counts=_confusion(50 + seed, skill=0.7)) for seed in (2, 0, 1)}
    row = _row(tabulate(runs.paths).table, "augmented-x5")
    for name in ("miou_macro", "mf1_macro"):
        expected = statistics.mean(_scores(mixed[s])[name] - _scores(real[s])[name] for s in range(3))
        assert row[f"{name}_minus_baseline"] == pytest.approx(expected, rel=1e-4)
        assert 0 < row[f"{name}_low"] < row[f"{name}_minus_baseline"] < row[f"{name}_high"]
    interval = paired_difference(np.stack([mixed[s] for s in range(3)]), np.stack(real), miou_macro)
    assert row[["miou_macro_low", "miou_macro_high"]].tolist() == pytest.approx([interval.low, interval.high], rel=1e-4)
    assert (row["baseline"], row["n_pairs"]) == ("real", 3)


def test_each_generator_of_the_same_labels_and_seed_pairs_with_the_same_training(runs, tabulate):
    real = {(s, seed): runs.add("real", seed, subset_seed=s, **REAL) for s in (0, 1) for seed in (4, 5)}
    mixed = {}
    for s, seed, generator in itertools.product((0, 1), (4, 5), (0, 1, 2)):
        mixed[s, seed, generator] = runs.add("augmented-x5", seed, subset_seed=s, generator_seed=generator)
    tables = tabulate(runs.paths)
    row = _row(tables.table, "augmented-x5")
    assert row[["n_runs", "n_seeds", "n_subsets", "n_generators", "n_pairs"]].tolist() == [12, 2, 2, 3, 12]
    expected = [_scores(counts)["miou_macro"] - _scores(real[key[:2]])["miou_macro"] for key, counts in mixed.items()]
    assert row["miou_macro_minus_baseline"] == pytest.approx(statistics.mean(expected), abs=1e-5)
    stacks = np.stack(list(mixed.values())), np.stack([real[key[:2]] for key in mixed])
    assert row["miou_macro_low"] == pytest.approx(paired_difference(*stacks, miou_macro).low, abs=1e-5)
    again = tabulate(runs.paths[::-1])
    assert _row(again.table, "augmented-x5").equals(row)


def test_only_what_has_a_counterpart_is_compared(runs, tabulate):
    real = [runs.add("real", seed, **REAL) for seed in (0, 1)]
    mixed = [runs.add("augmented-x5", seed) for seed in (1, 2)]
    runs.add("augmented-x1", 7, n_synthetic=10)
    table = tabulate(runs.paths).table
    row = _row(table, "augmented-x5")
    assert (row["n_runs"], row["n_pairs"]) == (2, 1)
    expected = _scores(mixed[0])["miou_macro"] - _scores(real[1])["miou_macro"]
    assert row["miou_macro_minus_baseline"] == pytest.approx(expected, rel=1e-3)
    alone = _row(table, "augmented-x1")
    assert alone["n_pairs"] == 0 and alone[["baseline", "miou_macro_minus_baseline", "miou_macro_low"]].isna().all()


def test_a_row_is_compared_with_real_patches_of_the_same_labels_and_augmentation(runs, tabulate):
    strong, few = dict(kind={"augmentation": "strong"}), dict(n_labels=5, n_real=5)
    runs.add("real-strong", **REAL, **strong)
    runs.add("real-few", **REAL, **few)
    runs.add("real-all", **REAL, n_labels=40, n_real=40)
    runs.add("real", **REAL)
    runs.add("real-again", **REAL)
    runs.add("synthetic", n_real=0)
    runs.add("augmented-x5")
    runs.add("augmented-x5-shuffled", kind={"masks": "shuffled"})
    runs.add("augmented-x5-strong", **strong)
    runs.add("augmented-x5-few", **few)
    for size in (1, 5):
        runs.add(f"augmented-x{size}-few-strong", **few, **strong)
    runs.add("augmented-x5", network="segformer-b0")
    runs.add("real", **REAL, dataset="towns")
    table = tabulate(runs.paths).table.fillna({"baseline": ""})
    found = {tuple(row[:3]): row[3] for row in table[["dataset", "network", "regime", "baseline"]].values.tolist()}
    expected = {"real": "", "real-again": "real", "real-strong": "real", "real-few": "real", "real-all": "real"}
    expected |= {"synthetic": "real", "augmented-x5": "real", "augmented-x5-shuffled": "real"}
    expected |= {"augmented-x5-strong": "real-strong", "augmented-x5-few": "real-few", "augmented-x1-few-strong": ""}
    expected |= {"augmented-x5-few-strong": ""}
    assert {key[2]: name for key, name in found.items() if key[:2] == ("fields", "unet")} == expected
    assert found["fields", "segformer-b0", "augmented-x5"] == found["towns", "unet", "real"] == ""


def test_of_two_classes_the_second_is_compared_too(runs, tabulate):
    real = runs.add("real", **REAL, classes=TWO)
    mixed = runs.add("augmented-x5", classes=TWO)
    runs.add("real", **REAL, dataset="land")
    runs.add("augmented-x5", dataset="land")
    tables = tabulate(runs.paths)
    row = _row(tables.table, "augmented-x5", dataset="fields")
    expected = _scores(mixed, TWO)["f1_change"] - _scores(real, TWO)["f1_change"]
    assert row["f1_change_minus_baseline"] == pytest.approx(expected, rel=1e-4)
    assert row["f1_change_low"] < row["f1_change_minus_baseline"] < row["f1_change_high"]
    other = _row(tables.table, "augmented-x5", dataset="land")
    assert other[["f1_change_minus_baseline", "f1_change_low", "f1_change_mean"]].isna().all()
    group = _row(tables.groups, "augmented-x5", dataset="fields", group="c")
    for name in ("iou_change", "f1_change", "miou_macro", "mf1_macro"):
        assert group[f"{name}_mean"] == pytest.approx(_scores(mixed[2:], TWO)[name], rel=1e-4)
    assert tables.groups[tables.groups["dataset"] == "land"][["iou_change_mean", "f1_change_std"]].isna().all(axis=None)


def test_each_group_has_its_pixels_and_the_spread_over_trainings(runs, tabulate):
    counts = [runs.add("real", seed, **REAL) for seed in range(3)]
    runs.add("augmented-x5")
    groups = tabulate(runs.paths).groups
    assert groups["regime"].tolist() == ["real"] * 3 + ["augmented-x5"] * 3
    assert groups["group"].tolist() == GROUPS * 2
    for i, name in enumerate(GROUPS):
        row = _row(groups, "real", group=name)
        values = [_scores(each[i : i + 1])["mf1_macro"] for each in counts]
        assert row["pixels"] == counts[0][i].sum()
        assert row["mf1_macro_mean"] == pytest.approx(statistics.mean(values), rel=1e-4)
        assert row["mf1_macro_std"] == pytest.approx(statistics.stdev(values), rel=1e-3)
    assert list(groups)[5:] == ["miou_macro_mean", "miou_macro_std", "mf1_macro_mean", "mf1_macro_std"]


def test_regimes_stand_in_the_order_real_synthetic_mixed_whatever_the_order_of_files(runs, tabulate):
    for network in ("unet", "segformer-b0"):
        runs.add("augmented-x5", network=network)
        runs.add("synthetic", network=network, n_real=0)
        runs.add("augmented-x1", network=network, n_synthetic=10)
        runs.add("real-strong", network=network, kind={"augmentation": "strong"}, **REAL)
        runs.add("real-all", network=network, n_labels=30, **REAL)
        runs.add("real", network=network, **REAL)
    table = tabulate(runs.paths).table
    order = ["real", "real-all", "real-strong", "synthetic", "augmented-x1", "augmented-x5"]
    assert table["regime"].tolist() == order * 2
    assert table["network"].tolist() == ["unet"] * 6 + ["segformer-b0"] * 6


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("steps", (100, 200)),
        ("budget", ("iterations", "epochs")),
        ("encoder", ("none", "imagenet")),
        ("learning_rate", (0.1, 0.2)),
        ("n_synthetic", (50, 60)),
        ("n_labels_usual", (10, 20)),
        ("augmentation", ("basic", "strong")),
        ("masks", ("own", "shuffled")),
    ],
)
def test_results_of_different_settings_are_refused(runs, tabulate, key, values):
    for seed, value in enumerate(values):
        runs.add("mixed", seed, **({"kind": {key: value}} if key in KIND else {key: value}))
    message = f"error: fields, unet, mixed: its trainings have different {key} ({values[0]}, {values[1]}), run them"
    assert tabulate(runs.paths).startswith(message)


def test_the_same_training_twice_is_refused(runs, tabulate):
    for generator in (0, 1, 1):
        runs.add("augmented-x5", generator_seed=generator)
    assert "have the same seeds, leave one out." in tabulate(runs.paths)
    runs.add("real", **REAL)
    assert "have the same seeds" in tabulate([runs.paths[-1]] * 2)


def test_trainings_that_were_tested_differently_are_refused(runs, tabulate):
    counts = runs.add("real", **REAL)
    runs.add("augmented-x5", groups=["a", "b", "d"])
    more = counts.copy()
    more[1, 0, 0] += 1
    runs.add("augmented-x1", counts=more, n_synthetic=10)
    runs.add("augmented-x1", counts=counts[:2], groups=["a", "b"], n_synthetic=10)
    for other in runs.paths[1:]:
        assert f"{runs.paths[0]} were tested on different groups or pixels" in tabulate([runs.paths[0], other])
    runs.add("real", dataset="towns", groups=["x", "y", "z"], **REAL)
    assert len(tabulate([runs.paths[0], runs.paths[-1]]).table) == 2


def test_what_is_no_result_is_refused_in_one_sentence(runs, tabulate):
    for _ in range(5):
        runs.add("real", **REAL)
    no_kind, no_counts, other_counts, no_json, nothing = runs.paths
    metrics = json.loads(no_kind.read_text())
    del metrics["kind"]
    files.write_json(no_kind, metrics)
    no_counts.with_name("confusion_groups.npy").unlink()
    np.save(other_counts.with_name("confusion_groups.npy"), _confusion(0)[:2])
    no_json.write_text("{")
    nothing.unlink()
    for path in runs.paths:
        assert tabulate([path]).startswith(f"error: {path} with confusion_groups.npy beside it is no result of this")


def _add_all(runs):
    """Two networks: one with a method of one stream, real patches alone and mixtures of all kinds and sizes."""
    for network in ("unet", "segformer-b0"):
        for seed in (0, 1):
            runs.add("augmented-x5", seed, network=network, generator_seed=0)
            runs.add("augmented-x1", seed, network=network, n_synthetic=10)
            runs.add("augmented-x5-subset", seed, network=network, method="subset")
            runs.add("real", seed, network=network, **REAL)
            runs.add("synthetic", seed, network=network, n_real=0)
            runs.add("real-strong", seed, network=network, kind={"augmentation": "strong"}, **REAL)
    for seed in (0, 1):
        runs.add("augmented-x5-ldm", seed, method="ldm")
        for name, kind in (("shuffled", {"masks": "shuffled"}), ("pretrain", {"order": "pretrain"})):
            runs.add(name, seed, n_synthetic=20, kind=kind)
        runs.add("reconstructed", seed, n_synthetic=50, method="ldm", kind={"images": "reconstructed"})
        runs.add("ldm-strong", seed, n_synthetic=10, method="ldm", kind={"augmentation": "strong"})
        runs.add("few", seed, n_synthetic=10, n_real=5, n_labels=5, method="ldm")
        runs.add("ldm-alone", seed, n_synthetic=10, n_real=0, method="ldm")


def test_table_5_has_single_streams_beside_others_of_as_many_patches(runs, tabulate):
    _add_all(runs)
    tables = tabulate(runs.paths)
    ldm = tables.ldm
    assert ldm["regime"].tolist() == ["real", "augmented-x5-ldm", "augmented-x5", "augmented-x5-subset"]
    assert set(ldm["network"]) == {"unet"} and ldm["n_runs"].tolist() == [2] * 4
    assert ldm["method"].fillna("").tolist() == ["", "ldm", "specdm", "subset"]
    assert ldm["paper_miou"].fillna(0).tolist() == [0.3574, 0.3499, 0, 0]
    assert ldm["baseline"].fillna("").tolist() == ["", "real", "real", "real"]
    for regime in ldm["regime"]:
        columns = list(ldm)[6:]
        assert _row(ldm, regime)[columns].equals(_row(tables.table, regime, network="unet")[columns])
    assert {f"miou_macro_{end}" for end in ("mean", "std", "minus_baseline", "low", "high")} <= set(ldm)


def test_table_5_takes_each_size_that_a_single_stream_has(runs, tabulate):
    for method, size in (("specdm", 10), ("ldm", 10), ("specdm", 30), ("specdm", 50), ("old", 50)):
        runs.add(f"{method}-{size}", method=method, n_synthetic=size)
    tables = tabulate(runs.paths)
    assert tables.ldm["regime"].tolist() == ["ldm-10", "specdm-10", "old-50", "specdm-50"]  # real alone is not given


def test_without_single_streams_table_5_is_its_header(runs, tabulate):
    _add_all(runs)
    full = tabulate(runs.paths)
    header = (full.root / "ldm.csv").read_text().splitlines()[0]
    tables = tabulate(runs.paths, single_stream=[])
    assert (tables.root / "ldm.csv").read_text().splitlines() == [header]
    assert sum(line.startswith("|") for line in (tables.root / "ldm.md").read_text().splitlines()) == 2


def test_table_6_has_the_sizes_of_each_method_after_real_patches_alone(runs, tabulate):
    _add_all(runs)
    sizes = tabulate(runs.paths).sizes
    assert sizes["regime"].tolist() == ["real", "augmented-x1", "augmented-x5"] * 2
    assert sizes["n_synthetic"].tolist() == [0, 10, 50] * 2
    assert sizes["method"].tolist() == ["specdm"] * 6
    assert sizes["network"].tolist() == ["unet"] * 3 + ["segformer-b0"] * 3


def test_table_6_needs_two_sizes(runs, tabulate):
    runs.add("real", **REAL)
    for method in ("specdm", "ldm"):
        runs.add(f"{method}-x5", method=method)
        runs.add(f"{method}-x5-too", method=method)
    assert tabulate(runs.paths).sizes.empty
    runs.add("ldm-x1", method="ldm", n_synthetic=10)
    sizes = tabulate(runs.paths).sizes
    assert sizes["regime"].tolist() == ["real", "ldm-x1", "ldm-x5", "ldm-x5-too"]
    assert sizes["method"].tolist() == ["ldm"] * 4


def test_other_tables_are_written_when_asked_for_alone(runs, verb, tmp_path):
    runs.add("real", **REAL)
    out = {f"out{name}": tmp_path / "t" / f"t{name}.csv" for name in ("", "_seeds", "_groups")}
    assert verb("tabulate-downstream", *runs.paths, **out) == 0
    assert sorted(p.name for p in (tmp_path / "t").iterdir()) == ["t.csv", "t.md", "t_groups.csv", "t_seeds.csv"]


def _lines(path) -> list[list[str]]:
    lines = [line for line in path.read_text().splitlines() if line.startswith("|")]
    assert len({len(line) for line in lines}) == 1  # aligned
    assert len({tuple(i for i, c in enumerate(line) if c == "|") for line in lines}) == 1
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_readable_table_has_the_rows_of_the_csv(runs, tabulate):
    _add_all(runs)
    for seed in (0, 1):
        runs.add("real", seed, **REAL, dataset="towns", classes=TWO)
        runs.add("augmented-x5", seed, dataset="towns", classes=TWO)
    tables = tabulate(runs.paths)
    for name in ("table", "ldm", "sizes"):
        table = getattr(tables, name).fillna({"baseline": "", "method": ""})
        title, _, *rows = _lines(tables.root / f"{name}.md")
        assert len(rows) == len(table)
        for cells, row in zip(rows, table.to_dict("records"), strict=True):
            shown = dict(zip(title, cells, strict=True))
            assert [shown["dataset"], shown["regime"], shown["baseline"]] == [
                row["dataset"],
                row["regime"],
                row["baseline"],
            ]
            assert [shown[k] for k in ("real", "synthetic", "runs")] == [
                str(row[k]) for k in ("n_real", "n_synthetic", "n_runs")
            ]
            assert shown["mIoU"] == f"{row['miou_macro_mean']:.3f} ± {row['miou_macro_std']:.3f}"
            assert shown["F1"] == f"{row['mf1_macro_mean']:.3f} ± {row['mf1_macro_std']:.3f}"
            assert shown["F1 of the paper"] == ("" if np.isnan(row["paper_mf1"]) else f"{row['paper_mf1']:.3f}")
            expected = ""
            if row["baseline"]:
                expected = "{:+.3f} [{:+.3f}, {:+.3f}]".format(
                    *(row[f"miou_macro_{e}"] for e in ("minus_baseline", "low", "high"))
                )
            assert shown["mIoU − baseline"] == expected
            if name == "table":
                assert (shown["F1 change − baseline"] != "") == (row["dataset"] == "towns" and row["baseline"] != "")
                assert shown["steps"] == "100" and shown["labels"] == str(row["n_labels"])
            else:
                assert shown["method"] == row["method"]


def test_the_readable_table_says_its_conventions_and_budget(runs, tabulate):
    runs.add("real", **REAL)
    runs.add("augmented-x5", steps=600, budget="epochs")
    text = (tabulate(runs.paths).root / "table.md").read_text().splitlines()[-1]
    assert "means over all classes" in text and "95 % interval" in text and "same labels and seed" in text
    assert text.endswith("Budget: iterations, epochs; optimiser steps planned: 100 to 600.")
    text = (tabulate(runs.paths[:1]).root / "sizes.md").read_text().splitlines()[-1]
    assert text.endswith("Budget: iterations; optimiser steps planned: 100.")


def test_real_results_can_be_tabulated(trained_downstream, tabulate):
    tables = tabulate([folder / "metrics.json" for folder in trained_downstream.values()])
    assert tables.table[["dataset", "regime", "n_runs"]].values.tolist() == [
        ["fields", "augmented-x1", 2],
        ["towns", "real", 1],
    ]
    for folder, row in zip(trained_downstream.values(), tables.seeds.to_dict("records"), strict=True):
        metrics = json.loads((folder / "metrics.json").read_text())
        assert row["miou_macro"] == pytest.approx(metrics["scores"]["miou_macro"], rel=1e-4)
    groups = tables.groups[tables.groups["dataset"] == "towns"]
    assert groups["group"].tolist() == ["g", "h"] and groups["iou_change_mean"].notna().all()


def test_every_figure_of_the_paper_has_its_experiment():
    paper = pd.read_csv(ROOT / "config" / "paper_results.csv")
    assert not paper.duplicated(["dataset", "network", "regime"]).any()
    datasets = config.load([ROOT / "config" / "config.yaml"]).datasets
    for row in paper.to_dict("records"):
        dataset = datasets[row["dataset"]]
        regime = dataset.regimes[row["regime"]]
        assert (row["network"], row["regime"]) in dataset.table("downstream")
        assert row["n_real"] == dataset.n_real and row["n_synthetic"] == regime.synthetic * dataset.n_real
    figures = paper.set_index(["dataset", "regime"])
    assert figures.loc[("segmunich", "augmented-x5"), ["miou", "mf1"]].tolist() == [0.3772, 0.5092]
    assert figures.loc[("oscd", "augmented-x5-ldm"), ["miou", "mf1"]].tolist() == [0.5341, 0.5975]
