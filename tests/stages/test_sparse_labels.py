"""Real labels are often sparse: holes in masks, classes that do not occur, splits of a patch or two."""

import json
import re
import shutil
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from specdm.features import TeacherFeatures
from specdm.labels import IGNORE, SEGMUNICH
from specdm.metrics.frechet import frechet_distance
from specdm.patches import PatchMeta, PatchRecord, PatchWriter, open_patches
from specdm.stages.batches import Mixture, some_of
from specdm.stages.evaluate import _holes
from specdm.stages.feature_distances import extract
from specdm.stages.train_teacher import load_teacher

BANDS, SIDE, CPU = ("B02", "B03", "B04", "B8A"), 32, torch.device("cpu")


def _write(folder, splits, holes, synthetic=False, seed=0):
    """Patches of the classes 1 to 3: splits as (split, group) a patch, holes(number of the patch) -> (H,W) bool."""
    rng = np.random.default_rng(seed)
    meta = PatchMeta(folder.name, "Sentinel-2 MSI", "BOA", BANDS, 1e-4, 0.0, 0, SEGMUNICH, synthetic=synthetic)
    spectra = np.random.default_rng(9).uniform(300, 4000, (len(SEGMUNICH), len(BANDS)))
    with PatchWriter(folder, meta, (1, len(BANDS), SIDE, SIDE), "uint16") as writer:
        for i, (split, group) in enumerate(splits):
            ids = rng.integers(1, 4, (4, 4)).repeat(8, 0).repeat(8, 1).astype(np.uint8)
            image = np.moveaxis(spectra[ids], -1, 0) + rng.normal(0, 60, (len(BANDS), SIDE, SIDE))
            ids[holes(i)] = IGNORE
            image = np.clip(image, 1, 9999).astype(np.uint16)[None, None]
            writer.append(image, ids[None], [PatchRecord(f"{folder.name}{i}", split, group, f"{folder.name}{i}")])
    return folder


def _stripe(i: int) -> np.ndarray:
    """The labels of patch i stand in a stripe; patch 2 has none at all."""
    hole = np.ones((SIDE, SIDE), bool)
    if i != 2:
        hole[:, 4 * i % 24 : 4 * i % 24 + 8] = False
    return hole


def _nowhere(_: int) -> np.ndarray:
    return np.zeros((SIDE, SIDE), bool)


@pytest.fixture(scope="module")
def sparse(tmp_path_factory, verb, settings) -> SimpleNamespace:
    """A sparsely labelled set of two lopsided groups, one patch for validation and one for the test, and its models."""
    root = tmp_path_factory.mktemp("sparse")
    splits = [("train", "a")] * 5 + [("train", "b"), ("val", "c"), ("test", "d")]
    folders = SimpleNamespace(
        root=root,
        patches=_write(root / "patches", splits, _stripe),
        samples=_write(root / "samples", [("train", str(i)) for i in range(6)], _nowhere, synthetic=True, seed=1),
        teacher=root / "teacher",
        model=root / "model",
        out=root / "data" / "method",
    )
    parts = dict(patches=folders.patches, state=root / "state")
    assert verb("train-teacher", **parts, out=folders.teacher, settings=settings.teacher) == 0
    one = settings.autoencoder | {"steps": 1}
    assert verb("train-autoencoder", **parts, out=folders.model / "autoencoder", settings=one) == 0
    status = verb(
        "evaluate",
        patches=folders.patches,
        samples=folders.samples,
        model=folders.model,
        teacher=folders.teacher,
        out=folders.out / "synthesis.json",
        pictures=folders.out,
        dataset="data",
        method="method",
        settings=settings.evaluation,
    )
    assert status == 0
    return folders


def _refuse_constant(text: str):
    raise AssertionError(f"{text} is no JSON")


@pytest.fixture(scope="module")
def metrics(sparse) -> dict:
    return json.loads((sparse.out / "synthesis.json").read_text(), parse_constant=_refuse_constant)


def test_what_too_few_patches_cannot_say_is_null(metrics):
    scores = metrics["scores"]
    for kind in ("image1", "mask"):
        # The smaller of the two halves has a single patch; the distance itself needs no halves: 6 against 6.
        assert scores[f"fd_{kind}_floor"] is None
        assert scores[f"fd_{kind}"] > 0
        assert scores[f"fd_{kind}_n"] == 6
        assert scores[f"fd_{kind}_val"] is None
        assert scores[f"fd_{kind}_val_n"] is None
        assert "at least 2 samples" in metrics["not_computable"][f"fd_{kind}_val"]
    undefined = {name for name, value in scores.items() if value is None}
    told = {name for name in undefined if name in metrics["not_computable"]}
    assert undefined - told == {name for name in undefined if name.startswith("share_")} == set()
    assert scores["reconstruction_cross_entropy"] > 0


def test_shares_are_of_the_labelled_pixels_and_synthetic_masks_stay_whole(sparse, metrics):
    patches, samples = open_patches(sparse.patches), open_patches(sparse.samples)
    for kind, masks in (("real", patches.masks[:6]), ("synthetic", samples.masks)):
        labelled = masks[masks != IGNORE]
        for name, k in (("arable_land", 1), ("pastures", 3), ("wetlands", 8)):
            assert metrics["scores"][f"share_{kind}_{name}"] == pytest.approx((labelled == k).mean())
    assert metrics["scores"]["share_real_wetlands"] == 0


def test_the_ignored_pixels_are_counted_and_told(metrics):
    holes = np.mean([_stripe(i) for i in range(6)])
    assert metrics["ignored_percent"] == pytest.approx(100 * holes, abs=1e-3)


def test_holes_of_synthetic_masks_are_those_of_real_training_patches(sparse):
    patches = open_patches(sparse.patches)
    holes = _holes(patches, patches.ids("train"), 20, seed=0)
    known = {_stripe(i).tobytes() for i in range(6)}
    assert {hole.tobytes() for hole in holes} <= known
    assert len({hole.tobytes() for hole in holes}) > 2
    np.testing.assert_array_equal(_holes(patches, patches.ids("train"), 20, seed=0), holes)
    whole = open_patches(sparse.samples)
    assert not _holes(whole, whole.ids("train"), 3, seed=0).any()


def test_holes_change_the_features_of_masks_and_nothing_else(sparse, tmp_path):
    """Judging whole masks with holes gives the features of the masks that have them."""
    teacher, normaliser, _ = load_teacher(sparse.teacher, CPU)
    splits = [("train", "a")] * 4
    whole = open_patches(_write(tmp_path / "whole", splits, _nowhere))
    holed = open_patches(_write(tmp_path / "holed", splits, _stripe))
    rows = np.arange(4)
    extractors = [TeacherFeatures(teacher, normaliser, "judge", len(SEGMUNICH), CPU)]
    (plain,) = extract(extractors, whole, rows)
    (masked,) = extract(extractors, whole, rows, np.stack([_stripe(i) for i in rows]))
    (real,) = extract(extractors, holed, rows)
    np.testing.assert_array_equal(masked["mask"], real["mask"])
    assert not np.allclose(masked["mask"], plain["mask"])
    np.testing.assert_array_equal(masked["image1"], plain["image1"])


def test_the_distance_of_masks_is_that_of_masks_with_holes(sparse, metrics):
    teacher, normaliser, config = load_teacher(sparse.teacher, CPU)
    extractors = [TeacherFeatures(teacher, normaliser, config["id"], len(SEGMUNICH), CPU)]
    patches, samples = open_patches(sparse.patches), open_patches(sparse.samples)
    real, drawn = some_of(patches.ids("train"), 14, 0, "evaluate"), np.arange(6)
    (of_real,), (whole,) = extract(extractors, patches, real), extract(extractors, samples, drawn)
    (holed,) = extract(extractors, samples, drawn, _holes(patches, real, 6, 0))
    distance = frechet_distance(holed["mask"], of_real["mask"])
    assert metrics["scores"]["fd_mask"] == pytest.approx(distance, rel=1e-6)
    assert frechet_distance(whole["mask"], of_real["mask"]) != pytest.approx(distance, rel=0.05)


def test_undefined_scores_are_empty_cells_of_the_table_and_the_page(sparse, verb, tmp_path, trained_downstream):
    tables = SimpleNamespace(synthesis=tmp_path / "synthesis.csv", downstream=tmp_path / "downstream.csv")
    assert verb("tabulate", sparse.out / "synthesis.json", out=tables.synthesis) == 0
    runs = [folder / "metrics.json" for folder in trained_downstream.values()]
    more = {"out_seeds": tmp_path / "seeds.csv", "out_groups": tmp_path / "groups.csv"}
    assert verb("tabulate-downstream", *runs, out=tables.downstream, **more) == 0
    row = pd.read_csv(tables.synthesis).iloc[0]
    assert np.isnan(row["fd_mask_floor"])
    status = verb(
        "report",
        **vars(tables),
        out=tmp_path / "report.html",
        pictures=sparse.out,
        patches=_renamed(sparse.patches, tmp_path / "data"),
    )
    assert status == 0
    text = re.sub(r"base64,[A-Za-z0-9+/=]*", "", (tmp_path / "report.html").read_text())
    assert not re.search(r">\s*nan\b", text, re.IGNORECASE)
    assert f'<td data-value="{float(row["fd_mask"])!r}">{row["fd_mask"]:.3f}</td>' in text
    assert "fd_mask_floor: because frechet distance: needs at least 2 samples" in text
    assert verb("summarise", tables.downstream, synthesis=tables.synthesis) == 0


def _renamed(folder, name):
    shutil.copytree(folder, name)
    return name


def test_a_class_without_pixels_has_a_finite_weight_and_changes_no_other(sparse):
    patches = open_patches(sparse.patches)
    rows = patches.ids("train")
    weights = Mixture([(patches, rows)]).root_class_weights().numpy()
    assert np.isfinite(weights).all() and (weights > 0).all()
    masks = patches.masks[rows]
    counts = np.bincount(masks[masks != IGNORE], minlength=len(SEGMUNICH))
    expected = 1 / np.sqrt(counts[1:4])
    np.testing.assert_allclose(weights[1:4] / weights[1], expected / expected[0], rtol=1e-5)
    assert (weights * counts).sum() / counts.sum() == pytest.approx(1, rel=1e-5)


def test_without_any_label_all_classes_weigh_alike(sparse):
    patches = open_patches(sparse.patches)
    weights = Mixture([(patches, np.array([2]))]).root_class_weights()
    assert weights.tolist() == [1.0] * len(SEGMUNICH)


def test_training_goes_on_where_validation_and_test_hold_no_label(tmp_path, verb, settings):
    def holes(i):
        return np.full((SIDE, SIDE), i >= 4)

    patches = _write(tmp_path / "set", [("train", "a")] * 4 + [("val", "b"), ("test", "c")], holes)
    parts = dict(patches=patches, state=tmp_path / "state")
    assert verb("train-teacher", **parts, out=tmp_path / "teacher", settings=settings.teacher) == 0
    status = verb(
        "train-downstream",
        **parts,
        out=tmp_path / "network",
        network="segformer-b0",
        regime={"real": 1, "synthetic": 0},
        n_real=3,
        settings=settings.downstream | {"class_weights": "sqrt"},
    )
    assert status == 0
    scores = json.loads((tmp_path / "network" / "metrics.json").read_text(), parse_constant=_refuse_constant)["scores"]
    assert scores["miou_macro"] is None
    assert scores["pixels"] == 0


def test_the_judge_is_not_asked_for_pixels_without_data(tmp_path, verb, settings):
    """Half of each image holds 65535, sixty standard deviations away: as a target that would be an error of thirty."""
    meta = PatchMeta("set", "Sentinel-2 MSI", "BOA", BANDS, 1e-4, 0.0, 65535, SEGMUNICH)
    rng = np.random.default_rng(0)
    with PatchWriter(tmp_path / "set", meta, (1, len(BANDS), SIDE, SIDE), "uint16") as writer:
        for i, split in enumerate(["train"] * 4 + ["val"]):
            image = rng.integers(300, 4000, (1, 1, len(BANDS), SIDE, SIDE)).astype(np.uint16)
            image[..., : SIDE // 2] = 65535
            ids = rng.integers(0, 3, (1, SIDE, SIDE)).astype(np.uint8)
            writer.append(image, ids, [PatchRecord(str(i), split, split, "s")])
    out = tmp_path / "teacher"
    status = verb(
        "train-teacher", patches=tmp_path / "set", state=tmp_path / "state", out=out, settings=settings.teacher
    )
    assert status == 0
    assert pd.read_csv(out / "history.csv")["l1"].max() < 3
