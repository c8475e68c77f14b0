from pathlib import Path

import numpy as np
import pandas as pd

from specdm import files

FACTS = dict(dataset="d", seed=0, patch_px=32, streams="two", sad_weight=0.1, n=9, n_real=8, n_val=7)
FACTS |= dict(features=[{"name": "teacher", "id": "teacher abc"}], not_computable={})


def test_the_synthesis_table_has_one_row_a_metric_file(tmp_path, verb):
    for method, distance in (("specdm", 1.5), ("ldm", None)):
        files.write_json(
            tmp_path / f"{method}.json",
            FACTS | dict(method=method, scores={"fd_image1": distance}, not_computable={"fd_image1": "no floor"}),
        )
    assert verb("tabulate", tmp_path / "specdm.json", tmp_path / "ldm.json", out=tmp_path / "synthesis.csv") == 0
    table = pd.read_csv(tmp_path / "synthesis.csv").set_index("method")
    assert table.loc["specdm", "fd_image1"] == 1.5
    assert np.isnan(table.loc["ldm", "fd_image1"])
    assert table.columns[-1] == "not_computable" and table.loc["ldm", "not_computable"] == "fd_image1: because no floor"
    assert table.loc["ldm", ["n", "features"]].tolist() == [9, "teacher abc"]


def test_tables_1_and_2_stand_beside_methods_of_two_streams_and_of_one(tmp_path, verb):
    runs = [("specdm", "two", 0.1, 128), ("specdm-no-sad", "two", 0.0, 128), ("ldm", "single", 0.1, 128)]
    for method, streams, sad_weight, patch_px in [*runs, ("small", "two", 0.1, 32)]:
        row = FACTS | dict(dataset="segmunich", method=method, streams=streams, sad_weight=sad_weight)
        files.write_json(tmp_path / f"{method}.json", row | dict(patch_px=patch_px, scores={}))
    paths = [tmp_path / f"{method}.json" for method in ("specdm", "specdm-no-sad", "ldm", "small")]
    assert verb("tabulate", *paths, out=tmp_path / "s.csv") == 0
    table = pd.read_csv(tmp_path / "s.csv").set_index("method")
    columns = ["paper_fid_image1", "paper_fid_mask", "paper_msad_rad"]
    assert table.loc["specdm", columns].tolist() == [5.19, 10.79, 0.03]
    assert table.loc["ldm", columns].tolist() == [70.44, 50.01, 0.13]
    assert table.loc[["specdm-no-sad", "small"], columns].isna().all(axis=None)


def test_what_checks_found_becomes_a_row_each_with_scores_by_shift_as_columns(tmp_path, verb):
    rows = [{"scorer": "a", "synthetic": 0.5, "because": "", "curve": {"0": 0.5, "4": 0.3}, "real_curve": {"4": 0.2}}]
    rows.append({"scorer": "b", "synthetic": None, "because": "too few", "curve": {}, "real_curve": {}})
    files.write_json(
        tmp_path / "a.json", dict(dataset="d", method="m", seed=1, judges=3, rows=rows, provenance={"a": 1})
    )
    files.write_json(tmp_path / "c.json", dict(dataset="d", method="m", seed=1, rows=[{"kind": "masks", "n": 3}]))
    files.write_json(tmp_path / "s.json", FACTS | dict(method="m", scores={}))
    options = dict(alignment=tmp_path / "a.json", out_alignment=tmp_path / "a.csv")
    options |= dict(copies=tmp_path / "c.json", out_copies=tmp_path / "c.csv")
    assert verb("tabulate", tmp_path / "s.json", out=tmp_path / "s.csv", **options) == 0
    table = pd.read_csv(tmp_path / "a.csv").set_index("scorer")
    assert table.loc["a", ["dataset", "method", "judges", "at_4px", "real_at_4px"]].tolist() == ["d", "m", 3, 0.3, 0.2]
    assert "provenance" not in table
    assert table.loc["b", "because"] == "too few" and np.isnan(table.loc["b", "synthetic"])
    assert "at_0px" not in table
    assert pd.read_csv(tmp_path / "c.csv")[["kind", "n"]].values.tolist() == [["masks", 3]]


def test_table_4_stands_beside_methods_of_two_streams_with_and_without_the_angle(tmp_path, verb):
    paper = tmp_path / "paper.csv"
    head = "dataset,patch_px,sad,rmse,sad_rad,cross_entropy,fid_mask"
    paper.write_text(f"{head}\nd,128,False,0.072,0.217,0.031,15\nd,128,True,0.025,0.103,0.051,10\n")
    runs = {"specdm": ("two", 0.1), "specdm-no-sad": ("two", 0), "ldm": ("single", 0.1), "specdm-small": ("two", 0.1)}
    for method, (streams, sad_weight) in runs.items():
        scores = {"reconstruction_rmse": 0.01, "reconstruction_sad_rad": sad_weight, "fd_mask": None, "msad_rad": 1.0}
        row = FACTS | dict(method=method, streams=streams, sad_weight=sad_weight, scores=scores)
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
