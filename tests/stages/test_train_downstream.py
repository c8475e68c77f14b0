import csv
import json
from collections import Counter

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from specdm.errors import UserError
from specdm.labels import SEGMUNICH
from specdm.nn import downstream
from specdm.patches import Normaliser, open_patches, to_reflectance
from specdm.settings import DownstreamSettings, Regime
from specdm.stages.batches import Mixture
from specdm.stages.train_downstream import compose, stratified_subset, train_downstream


@pytest.fixture(params=["mixed-0", "change"])
def trained(request, trained_downstream, segmentation_chain, change_chain):
    """A trained folder and the patch set it was tested on."""
    chain = change_chain if request.param == "change" else segmentation_chain
    return trained_downstream[request.param], open_patches(chain.patches)


def _confusion(folder, patches) -> np.ndarray:
    """Counts of test pixels, true class x class predicted by the saved weights."""
    config = json.loads((folder / "config.json").read_text())
    dates, bands = patches.images.shape[1:3]
    classes = len(config["data"]["meta"]["labels"]["classes"])
    network = downstream.build(config["network"], bands=bands, classes=classes, dates=dates, **config["options"])
    network.load_state_dict(load_file(folder / "weights.safetensors"))
    normaliser = Normaliser(**{key: tuple(values) for key, values in config["data"]["normaliser"].items()})
    assert normaliser == Normaliser.fit(patches)
    test = patches.ids("test")
    images = normaliser.apply(to_reflectance(patches.images[test], patches.meta))
    with torch.no_grad():
        predicted = network.eval()(torch.from_numpy(images)).argmax(1).numpy()
    matrix = np.zeros((classes, classes), np.int64)
    known = patches.masks[test] != 255
    np.add.at(matrix, (patches.masks[test][known], predicted[known]), 1)
    return matrix


def test_scores_are_those_of_the_saved_weights_on_the_test_split(trained):
    folder, patches = trained
    matrix = _confusion(folder, patches)
    np.testing.assert_array_equal(np.load(folder / "confusion.npy"), matrix)

    metrics = json.loads((folder / "metrics.json").read_text())
    hit, either = np.diag(matrix), matrix.sum(0) + matrix.sum(1) - np.diag(matrix)
    assert metrics["scores"]["miou_macro"] == pytest.approx((hit[either > 0] / either[either > 0]).mean())
    assert metrics["scores"]["oa"] == pytest.approx(hit.sum() / matrix.sum())
    assert metrics["scores"]["pixels"] == (patches.masks[patches.ids("test")] != 255).sum()
    assert (metrics["split"], metrics["n_test"]) == ("test", 8)


def test_metrics_say_what_was_trained(trained_downstream):
    metrics = json.loads((trained_downstream["mixed-1"] / "metrics.json").read_text())
    keys = ("dataset", "network", "regime", "method", "seed", "n_real", "n_synthetic", "steps")
    assert [metrics[key] for key in keys] == ["fields", "segformer-b0", "augmented-x1", "specdm", 1, 12, 12, 3]
    real = json.loads((trained_downstream["change"] / "metrics.json").read_text())
    assert (real["method"], real["n_synthetic"]) == ("", 0)


def test_every_seed_and_regime_sees_the_same_labels(trained_downstream, segmentation_chain):
    patches = open_patches(segmentation_chain.patches)
    ids = {name: json.loads((trained_downstream[name] / "ids.json").read_text()) for name in ("mixed-0", "mixed-1")}
    assert ids["mixed-0"] == ids["mixed-1"]
    real_only = compose(patches, None, Regime(real=1, synthetic=0), 12, subset_seed=0).ids()
    assert ids["mixed-0"] == real_only + [f"synthetic-{i:06d}" for i in range(12)]
    assert set(real_only) <= set(patches.index["id"][patches.ids("train")])


def test_seeds_train_different_weights(trained_downstream):
    zero, one = (load_file(trained_downstream[f"mixed-{seed}"] / "weights.safetensors") for seed in (0, 1))
    assert not all(torch.equal(zero[key], one[key]) for key in zero)


def test_the_subset_holds_each_group_in_proportion(segmentation_patches):
    patches = open_patches(segmentation_patches)
    for seed in range(5):
        chosen = stratified_subset(patches, 12, seed)
        counts = patches.index["group"].iloc[chosen].value_counts()
        for group, size in {"a": 12, "b": 6, "c": 4, "d": 2}.items():
            assert abs(counts.get(group, 0) - size / 2) <= 1
        assert len(set(chosen)) == 12
        assert (np.diff(chosen) > 0).all()
    assert set(stratified_subset(patches, 12, 0)) != set(stratified_subset(patches, 12, 1))


def test_a_larger_subset_contains_the_smaller_one(segmentation_patches):
    patches = open_patches(segmentation_patches)
    assert set(stratified_subset(patches, 6, 0)) < set(stratified_subset(patches, 12, 0))


def test_too_few_patches_are_refused(segmentation_chain):
    patches = open_patches(segmentation_chain.patches)
    with pytest.raises(UserError, match="n_real asks for 25 training patches, the split holds 24: lower n_real"):
        compose(patches, None, Regime(real=1, synthetic=0), 25, 0)
    with pytest.raises(UserError, match="holds 14 patches, the regime needs 15: sample more"):
        compose(patches, segmentation_chain.samples, Regime(real=0, synthetic=5), 3, 0)
    with pytest.raises(UserError, match="give them with --samples"):
        compose(patches, None, Regime(real=0, synthetic=1), 3, 0)


def test_samples_of_another_data_set_are_refused(segmentation_chain, change_chain):
    with pytest.raises(UserError, match="cannot be mixed"):
        compose(open_patches(segmentation_chain.patches), change_chain.samples, Regime(real=1, synthetic=1), 3, 0)


def test_purely_synthetic_training_checks_its_samples_against_the_real_set(
    tmp_path, segmentation_chain, write_patches, settings
):
    """The normaliser and the test split are the real set's, so other samples are as wrong as in a mixture."""
    other = write_patches(tmp_path / "other", 1, SEGMUNICH, {"a": ("train", 4)}, level="TOA")
    with pytest.raises(UserError, match="differ in processing level"):
        train_downstream(
            segmentation_chain.patches,
            other,
            tmp_path / "out",
            tmp_path / "state",
            "fields",
            "segformer-b0",
            "synthetic",
            Regime(real=0, synthetic=1),
            4,
            DownstreamSettings(**settings.downstream),
            0,
            0,
        )


@pytest.fixture
def train(tmp_path, segmentation_patches, settings):
    """Trains on real patches: train(patches=..., out=..., subset_seed=..., max_minutes=..., settings changed)."""

    def run(patches=segmentation_patches, out="out", subset_seed=0, max_minutes=0.0, resume_only=False, **changed):
        train_downstream(
            patches,
            None,
            tmp_path / out,
            tmp_path / "state",
            "fields",
            "segformer-b0",
            "real",
            Regime(real=1, synthetic=0),
            6,
            DownstreamSettings(**settings.downstream | changed),
            0,
            subset_seed,
            max_minutes,
            resume_only,
        )
        return tmp_path / out

    return run


def test_the_test_split_is_read_once_after_training(monkeypatch, segmentation_patches, train):
    seen, original = [], Mixture.batch

    def recorded(self, rows, *rest):
        seen.append(self.positions[rows])
        return original(self, rows, *rest)

    monkeypatch.setattr(Mixture, "batch", recorded)
    train()
    test = set(open_patches(segmentation_patches).ids("test"))
    reads = Counter(position for positions in seen for position in positions if position in test)
    assert reads == dict.fromkeys(test, 1)
    first = next(i for i, positions in enumerate(seen) if test & set(positions))
    assert all(set(positions) <= test for positions in seen[first:])


def test_a_paused_training_ends_like_an_uninterrupted_one(train):
    from specdm.errors import TrainingPaused

    whole = train(out="whole")
    with pytest.raises(TrainingPaused):
        train(max_minutes=1e-9)
    parts = train()
    a, b = (load_file(folder / "weights.safetensors") for folder in (whole, parts))
    assert all(torch.equal(a[key], b[key]) for key in a)
    assert (whole / "metrics.json").read_text() == (parts / "metrics.json").read_text()


def test_another_choice_of_labels_is_another_run(train):
    from specdm.errors import TrainingPaused

    with pytest.raises(TrainingPaused):
        train(max_minutes=1e-9)
    with pytest.raises(UserError, match="belongs to another run, subset_seed differs"):
        train(subset_seed=1, resume_only=True)


def test_empty_validation_or_test_is_refused_before_training(tmp_path, write_patches, train):
    for missing in ("val", "test"):
        groups = {"a": ("train", 6), "b": ({"val": "test", "test": "val"}[missing], 2)}
        patches = write_patches(tmp_path / missing, 1, SEGMUNICH, groups)
        with pytest.raises(UserError, match=f"the split '{missing}' is empty"):
            train(patches=patches)
    assert not (tmp_path / "state").exists()


def test_the_weights_that_validated_best_are_kept_and_tested(train, segmentation_patches):
    options = dict(val_every=1, steps=6, learning_rate=0.05)
    best, last = train(out="best", select="best", **options), train(out="last", select="last", **options)
    scores = [float(row["score"]) for row in csv.DictReader((best / "history.csv").open())]
    assert np.argmax(scores) != 5
    a, b = (load_file(folder / "weights.safetensors") for folder in (best, last))
    assert not all(torch.equal(a[key], b[key]) for key in a)
    for folder in (best, last):
        matrix = _confusion(folder, open_patches(segmentation_patches))
        np.testing.assert_array_equal(np.load(folder / "confusion.npy"), matrix)
