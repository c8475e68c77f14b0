import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from specdm import files
from specdm.stages.tabulate import downstream_tables

PAPER = """dataset,network,regime,n_real,n_synthetic,miou,mf1,where
fields,segformer-b5,real,12,0,0.3574,0.4852,table 5
fields,segformer-b5,augmented-x5,2000,10000,0.3772,0.5092,table 5
"""
SCORES = ("miou_macro", "mf1_macro", "miou_fg", "mf1_fg", "oa", "kappa")
MIOU = {"real": [0.30, 0.34, 0.41], "augmented-x5": [0.5]}


@pytest.fixture
def tables(tmp_path, verb):
    """The table over seeds and the one a seed, of hand-made metric files."""
    metric_files = []
    for regime, values in MIOU.items():
        for seed, miou in enumerate(values):
            scores = dict.fromkeys(SCORES, 0.5) | {"miou_macro": miou, "iou_mine_dump": None, "classes_absent": seed}
            if seed == 1:
                scores["iou_mine_dump"] = 0.25
            path = tmp_path / f"{regime}-{seed}.json"
            files.write_json(
                path,
                dict(dataset="fields", network="segformer-b5", regime=regime, seed=seed, steps=10, n_test=8, n_real=12)
                | dict(method="" if regime == "real" else "specdm", n_synthetic=60 * (regime != "real"), scores=scores),
            )
            metric_files.append(path)
    (tmp_path / "paper.csv").write_text(PAPER)
    status = verb(
        "tabulate",
        *metric_files,
        out=tmp_path / "tables" / "t.csv",
        out_seeds=tmp_path / "tables" / "s.csv",
        paper=tmp_path / "paper.csv",
    )
    assert status == 0
    return pd.read_csv(tmp_path / "tables" / "t.csv"), pd.read_csv(tmp_path / "tables" / "s.csv")


def test_a_row_holds_mean_and_sample_deviation_over_seeds(tables):
    table = tables[0].set_index("regime")
    assert list(table.index) == ["real", "augmented-x5"]
    assert table.loc["real", "n_seeds"] == 3
    assert table.loc["real", "miou_macro_mean"] == pytest.approx(0.35, abs=1e-5)
    deviation = math.sqrt((0.05**2 + 0.01**2 + 0.06**2) / 2)
    assert table.loc["real", "miou_macro_std"] == pytest.approx(deviation, rel=1e-4)


def test_a_single_seed_has_no_deviation(tables):
    table = tables[0].set_index("regime")
    assert table.loc["augmented-x5", "miou_macro_mean"] == 0.5
    assert np.isnan(table.loc["augmented-x5", "miou_macro_std"])


def test_the_papers_figures_stand_beside_a_row_of_the_same_sizes_only(tables):
    table = tables[0].set_index("regime")
    assert table.loc["real", ["paper_miou", "paper_mf1"]].tolist() == [0.3574, 0.4852]
    assert table.loc["augmented-x5", ["paper_miou", "paper_mf1"]].isna().all()


def test_an_undefined_score_is_left_out_of_the_mean(tables):
    table = tables[0].set_index("regime")
    assert table.loc["real", "iou_mine_dump_mean"] == 0.25
    assert np.isnan(table.loc["augmented-x5", "iou_mine_dump_mean"])


def test_the_seed_table_has_one_row_a_training(tables):
    seeds = tables[1]
    assert seeds[["regime", "seed", "miou_macro"]].values.tolist() == [
        [regime, seed, miou] for regime, values in MIOU.items() for seed, miou in enumerate(values)
    ]
    assert "classes_absent" in seeds
    assert "classes_absent_mean" not in tables[0]


def test_the_synthesis_table_has_one_row_a_metric_file(tmp_path, verb):
    for method, distance in (("specdm", 1.5), ("ldm", None)):
        files.write_json(
            tmp_path / f"{method}.json", dict(dataset="d", method=method, seed=0, scores={"fd_image1": distance})
        )
    assert verb("tabulate", tmp_path / "specdm.json", tmp_path / "ldm.json", out=tmp_path / "synthesis.csv") == 0
    table = pd.read_csv(tmp_path / "synthesis.csv").set_index("method")
    assert table.loc["specdm", "fd_image1"] == 1.5
    assert np.isnan(table.loc["ldm", "fd_image1"])


def test_table_4_stands_beside_methods_of_two_streams_with_and_without_the_angle(tmp_path, verb):
    paper = tmp_path / "paper.csv"
    head = "dataset,patch_px,sad,rmse,sad_rad,cross_entropy,fid_mask"
    paper.write_text(f"{head}\nd,128,False,0.072,0.217,0.031,15\nd,128,True,0.025,0.103,0.051,10\n")
    runs = {"specdm": ("two", 0.1), "specdm-no-sad": ("two", 0), "ldm": ("single", 0.1), "specdm-small": ("two", 0.1)}
    for method, (streams, sad_weight) in runs.items():
        scores = {"reconstruction_rmse": 0.01, "reconstruction_sad_rad": sad_weight, "fd_mask": None, "msad_rad": 1.0}
        row = dict(dataset="d", method=method, seed=0, streams=streams, sad_weight=sad_weight, scores=scores)
        row["patch_px"] = 32 if method == "specdm-small" else 128
        files.write_json(tmp_path / f"{method}.json", row)
    paths = [tmp_path / f"{method}.json" for method in runs]
    options = dict(out=tmp_path / "s.csv", out_reconstruction=tmp_path / "r.csv", paper_reconstruction=paper)
    assert verb("tabulate", *paths, **options) == 0
    table = pd.read_csv(tmp_path / "r.csv").set_index("method")
    assert list(table.index) == list(runs)
    assert table.loc["specdm", ["paper_rmse", "paper_fid_mask", "reconstruction_sad_rad"]].tolist() == [0.025, 10, 0.1]
    assert table.loc["specdm-no-sad", "paper_sad_rad"] == 0.217
    assert table.loc["ldm", ["paper_rmse", "paper_sad_rad"]].isna().all() and table["fd_mask"].isna().all()
    assert table.loc["specdm-small", ["paper_rmse", "paper_sad_rad"]].isna().all()
    assert "msad_rad" not in table and pd.read_csv(tmp_path / "s.csv")["msad_rad"].tolist() == [1, 1, 1, 1]


def test_the_papers_table_4_is_copied_right():
    table = pd.read_csv(Path(__file__).parents[2] / "config" / "paper_reconstruction.csv").set_index(["dataset", "sad"])
    assert table.loc[("segmunich", True), ["rmse", "sad_rad", "cross_entropy"]].tolist() == [0.025, 0.103, 0.051]
    assert table.loc[("oscd", False), ["fid_image1", "fid_image2", "fid_mask"]].tolist() == [31.30, 32.49, 0.26]
    assert np.isnan(table.loc[("segmunich", False), "fid_image2"])


def test_regimes_stand_in_the_order_real_synthetic_mixed_whatever_the_order_of_files(tmp_path):
    kinds = {"augmented-x5": (4, 20), "synthetic": (0, 20), "augmented-x1": (4, 4), "real": (4, 0)}
    paths = []
    for name, (n_real, n_synthetic) in kinds.items():
        row = {"dataset": "d", "network": "n", "regime": name, "method": "", "n_real": n_real, "seed": 0}
        row |= {"n_synthetic": n_synthetic, "n_test": 1, "steps": 1}
        scores = dict.fromkeys(SCORES, 0.5)
        paths.append(tmp_path / f"{name}.json")
        files.write_json(paths[-1], row | {"scores": scores})
    paper = tmp_path / "paper.csv"
    paper.write_text("dataset,network,regime,n_real,n_synthetic,miou,mf1,where\nx,n,real,1,0,0.1,0.2,t\n")
    downstream_tables(paths, paper, tmp_path / "table.csv", tmp_path / "seeds.csv")
    order = [line.split(",")[2] for line in (tmp_path / "table.csv").read_text().splitlines()[1:]]
    assert order == ["real", "synthetic", "augmented-x1", "augmented-x5"]
