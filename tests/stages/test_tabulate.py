from pathlib import Path

import numpy as np
import pandas as pd

from specdm import files


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
