import csv
import json

import numpy as np
import pytest
import torch

from specdm.labels import SEGMUNICH
from specdm.patches import Normaliser, open_patches, to_reflectance
from specdm.stages.batches import Mixture, stratified_subset
from specdm.stages.train_teacher import load_teacher


@pytest.fixture(params=["segmentation_patches", "change_patches"])
def patches(request):
    return open_patches(request.getfixturevalue(request.param))


def test_the_kept_weights_are_those_that_read_validation_masks_best(patches, teachers):
    folder = teachers[patches.folder]
    teacher, normaliser, config = load_teacher(folder, torch.device("cpu"))
    assert normaliser == Normaliser.fit(patches)
    assert config["data_hash"] == patches.hash
    rows = patches.ids("val")
    images = normaliser.apply(to_reflectance(patches.images[rows], patches.meta))
    with torch.no_grad():
        predicted = teacher.predict_mask(torch.from_numpy(images)).argmax(1).numpy()
    masks = patches.masks[rows]
    known, ious = masks != 255, []
    for k in range(len(patches.meta.labels)):
        either = ((predicted == k) | (masks == k)) & known
        if either.any():
            ious.append(((predicted == k) & (masks == k) & known).sum() / either.sum())
    history = list(csv.DictReader((folder / "history.csv").open()))
    assert np.mean(ious) == pytest.approx(max(float(row["score"]) for row in history), abs=1e-6)


def test_config_rebuilds_the_network(patches, teachers):
    config = json.loads((teachers[patches.folder] / "config.json").read_text())
    dates, bands = patches.images.shape[1:3]
    assert config["spec"] == {"bands": bands, "classes": len(patches.meta.labels), "dates": dates, "width": 8}


def test_rare_classes_weigh_more_and_the_mean_weight_of_a_pixel_is_one(patches):
    train = patches.ids("train")
    weights = Mixture([(patches, train)]).root_class_weights().double().numpy()
    counts = np.bincount(patches.masks[train].ravel(), minlength=256)[: len(weights)]
    assert np.average(weights, weights=counts) == pytest.approx(1)
    present = counts > 0
    order = np.argsort(counts[present])
    assert (np.diff(weights[present][order]) <= 0).all()


def test_a_judge_leaves_out_whole_groups_and_says_which(patches, judges):
    train = patches.ids("train")
    groups = patches.index["group"].to_numpy()[train]
    configs = [json.loads((folder / "config.json").read_text()) for folder in judges[patches.folder]]
    assert [config["fold"] for config in configs] == [[0, 2], [1, 2]]
    assert sorted(configs[0]["held_out"] + configs[1]["held_out"]) == sorted(set(groups))
    assert configs[0]["id"] != configs[1]["id"] and configs[0]["subset"] is None


def test_what_is_left_out_does_not_teach(tmp_path, verb, settings, write_patches):
    """Groups that are held out may hold anything: the weights stay the same."""
    groups = {"a": ("train", 6), "b": ("train", 4), "v": ("val", 3), "t": ("test", 2)}
    weights = []
    for changed in (False, True):
        folder = write_patches(tmp_path / f"{changed}", 1, SEGMUNICH, groups)
        made = open_patches(folder)
        held_out = made.index["group"].to_numpy() == "a"
        if changed:
            masks = np.load(folder / "masks.npy")
            masks[held_out] = 3
            np.save(folder / "masks.npy", masks)
        out = tmp_path / f"judge-{changed}"
        given = dict(patches=folder, out=out, state=tmp_path / "state", settings=settings.teacher)
        assert verb("train-teacher", **given, fold="1/2") == 0
        assert json.loads((out / "config.json").read_text())["held_out"] == ["a"]
        weights.append((out / "weights.safetensors").read_bytes())
    assert weights[0] == weights[1]


def test_a_judge_of_a_subset_sees_no_other_labels(make_teacher, segmentation_patches):
    folder = make_teacher(segmentation_patches, {"fold": "1/2", "n_real": 8, "subset_seed": 3})
    config = json.loads((folder / "config.json").read_text())
    assert config["subset"] == [8, 3] and config["fold"] == [0, 2]
    patches = open_patches(segmentation_patches)
    chosen = stratified_subset(patches, 8, 3)
    assert set(config["held_out"]) < set(patches.index["group"].to_numpy()[chosen])
