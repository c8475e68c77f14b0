import csv
import json

import numpy as np
import pytest
import torch

from specdm.patches import Normaliser, open_patches, to_reflectance
from specdm.stages.batches import Mixture
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
