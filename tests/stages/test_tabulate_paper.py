import json

import numpy as np
import pandas as pd
import pytest

from specdm import config
from tests.stages.downstream_results import REAL, ROOT, TWO, row_of

OTHER_KINDS = {
    "shuffled": {"masks": "shuffled"},
    "pretrain": {"order": "pretrain"},
    "painted": {"given": "masks"},
    "filtered": {"keep": "best"},
}


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
        for name, kind in OTHER_KINDS.items():
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
        assert row_of(ldm, regime)[columns].equals(row_of(tables.table, regime, network="unet")[columns])
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
