import itertools
import json
import statistics

import numpy as np
import pytest

from specdm import files
from specdm.metrics.paired import miou_macro, paired_difference
from tests.stages.downstream_results import GROUPS, KIND, REAL, TWO, draw_counts, row_of, scores_of


def test_a_row_holds_mean_and_sample_deviation_over_trainings(runs, tabulate):
    counts = [runs.add("real", seed, **REAL) for seed in range(3)]
    table = tabulate(runs.paths).table
    assert len(table) == 1
    row = row_of(table, "real")
    assert row["n_runs"] == row["n_seeds"] == 3 and row["n_subsets"] == 1 and row["n_generators"] == 0
    for name in ("miou_macro", "mf1_macro", "miou_fg", "mf1_fg", "oa", "kappa", "iou_land", "f1_wood", "precision_sea"):
        values = [scores_of(each)[name] for each in counts]
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
    row = row_of(tables.table, "mixed")
    assert row[list(kind | facts)].to_dict() == kind | facts
    assert row[["dataset", "network", "steps_taken_mean"]].tolist() == ["fields", "unet", 123228]
    assert row[["n_runs", "n_seeds", "n_subsets", "n_generators"]].tolist() == [2, 2, 1, 1]
    real = row_of(tables.table, "real")
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
    row = row_of(tables.table, "real")
    assert row["miou_macro_mean"] == pytest.approx(scores_of(counts)["miou_macro"], rel=1e-4)
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
    assert row_of(table, "real")["iou_wood_mean"] == 0.25 and row_of(table, "real")["classes_absent_mean"] == 1
    assert np.isnan(row_of(table, "augmented-x5")[["iou_wood_mean", "iou_wood_std"]].tolist()).all()


def test_an_absent_class_stays_out_of_differences_and_groups(runs, tabulate):
    """Wood is nowhere in the test split: the mean is over two classes, in whichever group."""
    counts = {}
    for regime, facts in (("real", REAL), ("augmented-x5", {})):
        counts[regime] = draw_counts(len(counts))
        counts[regime][:, 0] += counts[regime][:, 2]
        counts[regime][:, :, 0] += counts[regime][:, :, 2]
        counts[regime][:, 2], counts[regime][:, :, 2] = 0, 0
        runs.add(regime, counts=counts[regime], **facts)
    tables = tabulate(runs.paths)
    row = row_of(tables.table, "augmented-x5")
    expected = scores_of(counts["augmented-x5"])["miou_macro"] - scores_of(counts["real"])["miou_macro"]
    assert row["miou_macro_minus_baseline"] == pytest.approx(expected, abs=1e-5)
    assert row["classes_absent_mean"] == 1 and np.isnan(row["iou_wood_mean"])
    group = row_of(tables.groups, "augmented-x5", group="b")
    assert group["miou_macro_mean"] == pytest.approx(scores_of(counts["augmented-x5"][1:2])["miou_macro"], rel=1e-4)
    assert "nan" not in (tables.root / "table.md").read_text() + (tables.root / "table.csv").read_text()


def test_the_difference_is_the_mean_over_pairs_of_the_same_seed(runs, tabulate):
    real = [runs.add("real", seed, **REAL) for seed in (0, 1, 2)]
    mixed = {seed: runs.add("augmented-x5", seed, counts=draw_counts(50 + seed, skill=0.7)) for seed in (2, 0, 1)}
    row = row_of(tabulate(runs.paths).table, "augmented-x5")
    for name in ("miou_macro", "mf1_macro"):
        expected = statistics.mean(scores_of(mixed[s])[name] - scores_of(real[s])[name] for s in range(3))
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
    row = row_of(tables.table, "augmented-x5")
    assert row[["n_runs", "n_seeds", "n_subsets", "n_generators", "n_pairs"]].tolist() == [12, 2, 2, 3, 12]
    expected = [
        scores_of(counts)["miou_macro"] - scores_of(real[key[:2]])["miou_macro"] for key, counts in mixed.items()
    ]
    assert row["miou_macro_minus_baseline"] == pytest.approx(statistics.mean(expected), abs=1e-5)
    stacks = np.stack(list(mixed.values())), np.stack([real[key[:2]] for key in mixed])
    assert row["miou_macro_low"] == pytest.approx(paired_difference(*stacks, miou_macro).low, abs=1e-5)
    again = tabulate(runs.paths[::-1])
    assert row_of(again.table, "augmented-x5").equals(row)


def test_only_what_has_a_counterpart_is_compared(runs, tabulate):
    real = [runs.add("real", seed, **REAL) for seed in (0, 1)]
    mixed = [runs.add("augmented-x5", seed) for seed in (1, 2)]
    runs.add("augmented-x1", 7, n_synthetic=10)
    table = tabulate(runs.paths).table
    row = row_of(table, "augmented-x5")
    assert (row["n_runs"], row["n_pairs"]) == (2, 1)
    expected = scores_of(mixed[0])["miou_macro"] - scores_of(real[1])["miou_macro"]
    assert row["miou_macro_minus_baseline"] == pytest.approx(expected, rel=1e-3)
    alone = row_of(table, "augmented-x1")
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
    row = row_of(tables.table, "augmented-x5", dataset="fields")
    expected = scores_of(mixed, TWO)["f1_change"] - scores_of(real, TWO)["f1_change"]
    assert row["f1_change_minus_baseline"] == pytest.approx(expected, rel=1e-4)
    assert row["f1_change_low"] < row["f1_change_minus_baseline"] < row["f1_change_high"]
    other = row_of(tables.table, "augmented-x5", dataset="land")
    assert other[["f1_change_minus_baseline", "f1_change_low", "f1_change_mean"]].isna().all()
    group = row_of(tables.groups, "augmented-x5", dataset="fields", group="c")
    for name in ("iou_change", "f1_change", "miou_macro", "mf1_macro"):
        assert group[f"{name}_mean"] == pytest.approx(scores_of(mixed[2:], TWO)[name], rel=1e-4)
    assert tables.groups[tables.groups["dataset"] == "land"][["iou_change_mean", "f1_change_std"]].isna().all(axis=None)


def test_each_group_has_its_pixels_and_the_spread_over_trainings(runs, tabulate):
    counts = [runs.add("real", seed, **REAL) for seed in range(3)]
    runs.add("augmented-x5")
    groups = tabulate(runs.paths).groups
    assert groups["regime"].tolist() == ["real"] * 3 + ["augmented-x5"] * 3
    assert groups["group"].tolist() == GROUPS * 2
    for i, name in enumerate(GROUPS):
        row = row_of(groups, "real", group=name)
        values = [scores_of(each[i : i + 1])["mf1_macro"] for each in counts]
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
    np.save(other_counts.with_name("confusion_groups.npy"), draw_counts(0)[:2])
    no_json.write_text("{")
    nothing.unlink()
    for path in runs.paths:
        assert tabulate([path]).startswith(f"error: {path} with confusion_groups.npy beside it is no result of this")
