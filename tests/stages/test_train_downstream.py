import csv
import json
import math
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
from specdm.stages.downstream_fit import Run
from specdm.stages.train_downstream import train_downstream
from specdm.stages.training_set import Inputs, compose
from specdm.training import devices


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
    assert (metrics["subset_seed"], metrics["generator_seed"], metrics["n_labels"], metrics["n_labels_usual"]) == (
        0,
        0,
        12,
        12,
    )
    assert metrics["kind"] == {
        "real": 1,
        "augmentation": "basic",
        "given": "nothing",
        "images": "drawn",
        "keep": "first",
        "masks": "own",
        "order": "mixed",
    }
    assert (metrics["budget"], metrics["steps_taken"], metrics["encoder"]) == ("iterations", 3, "none")
    assert metrics["learning_rate"] == downstream.recipe("segformer-b0").lr
    real = json.loads((trained_downstream["change"] / "metrics.json").read_text())
    assert (real["method"], real["n_synthetic"], real["generator_seed"]) == ("", 0, None)


def test_groups_and_maps_lie_beside_the_scores(trained):
    folder, patches = trained
    metrics, by_group = json.loads((folder / "metrics.json").read_text()), np.load(folder / "confusion_groups.npy")
    np.testing.assert_array_equal(by_group.sum(0), np.load(folder / "confusion.npy"))
    assert metrics["groups"] == sorted(set(patches.index["group"].iloc[patches.ids("test")]))
    shown, index = np.load(folder / "predictions.npy"), patches.index
    assert len(shown) == len(metrics["shown"]) == 6
    assert set(index["split"][index["id"].isin(metrics["shown"])]) == {"test"}


def test_every_seed_and_regime_sees_the_same_labels(trained_downstream, segmentation_chain):
    patches = open_patches(segmentation_chain.patches)
    ids = {name: json.loads((trained_downstream[name] / "ids.json").read_text()) for name in ("mixed-0", "mixed-1")}
    assert ids["mixed-0"] == ids["mixed-1"]
    inputs = Inputs(segmentation_chain.patches)
    chosen = compose(patches, inputs, Regime(real=1, synthetic=0), 12, 0, segmentation_chain.root / "derived")
    real_only = chosen.everything.ids()
    assert ids["mixed-0"] == real_only + [f"synthetic-{i:06d}" for i in range(12)]
    assert set(real_only) <= set(patches.index["id"][patches.ids("train")])


def test_seeds_train_different_weights(trained_downstream):
    zero, one = (load_file(trained_downstream[f"mixed-{seed}"] / "weights.safetensors") for seed in (0, 1))
    assert not all(torch.equal(zero[key], one[key]) for key in zero)


@pytest.fixture
def train(tmp_path, segmentation_patches, settings):
    """Trains on real patches: train(patches=..., out=..., subset_seed=..., ends=..., settings changed)."""

    def run(
        patches=segmentation_patches,
        out="out",
        subset_seed=0,
        ends=math.inf,
        resume_only=False,
        augmentation="basic",
        **changed,
    ):
        regime = Regime(real=1, synthetic=0, augmentation=augmentation)
        train_downstream(
            Run("fields", "segformer-b0", "real", regime, 6, subset_seed=subset_seed),
            Inputs(patches),
            DownstreamSettings(**settings.downstream | changed),
            tmp_path / out,
            tmp_path / "state",
            ends=ends,
            resume_only=resume_only,
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
    from specdm.errors import Paused

    whole = train(out="whole")
    with pytest.raises(Paused):
        train(ends=0)
    parts = train()
    a, b = (load_file(folder / "weights.safetensors") for folder in (whole, parts))
    assert all(torch.equal(a[key], b[key]) for key in a)
    assert (whole / "metrics.json").read_text() == (parts / "metrics.json").read_text()


@pytest.mark.parametrize("augmentation", ["basic", "strong"])
def test_several_loading_threads_train_the_same_weights(train, monkeypatch, augmentation):
    """A GPU has several; here the network stays on the processor."""
    single = train(out="single", augmentation=augmentation, steps=6)
    monkeypatch.setattr(devices.Processes, "loaders", property(lambda self: 4, lambda self, n: None), raising=False)
    several = train(out="several", augmentation=augmentation, steps=6)
    a, b = (load_file(folder / "weights.safetensors") for folder in (single, several))
    assert all(torch.equal(a[key], b[key]) for key in a)


def test_another_choice_of_labels_is_another_run(train):
    from specdm.errors import Paused

    with pytest.raises(Paused):
        train(ends=0)
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


def test_a_choice_takes_the_place_of_learning_rate_and_steps(tmp_path, segmentation_patches, settings):
    choice = tmp_path / "choice.json"
    choice.write_text(json.dumps({"learning_rate": 0.0123, "steps": 4, "score": 0.5}))
    run = Run("fields", "segformer-b0", "real", Regime(real=1, synthetic=0), 6)
    wanted, out = DownstreamSettings(**settings.downstream), tmp_path / "out"
    train_downstream(run, Inputs(segmentation_patches), wanted, out, tmp_path / "state", choice)
    metrics = json.loads((out / "metrics.json").read_text())
    assert (metrics["learning_rate"], metrics["steps"], metrics["steps_taken"]) == (0.0123, 4, 4)
    assert metrics["provenance"]["settings"]["learning_rate"] == 0.0123
    for text in ("{}", "no json", '{"learning_rate": "high", "steps": 3}'):
        choice.write_text(text)
        with pytest.raises(UserError, match="is no choice of a search"):
            train_downstream(run, Inputs(segmentation_patches), wanted, out, tmp_path / "state", choice)


def test_early_stopping_is_told_in_the_metrics(train):
    out = train(steps=40, val_every=1, patience=2, learning_rate=1e-12)
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["steps"] == 40 and metrics["steps_taken"] < 40


@pytest.mark.parametrize(
    "changed",
    [{"masks": "shuffled"}, {"masks": "predicted"}, {"images": "reconstructed"}, {"order": "pretrain"}],
)
def test_controls_train_on_what_they_say_and_leave_nothing_behind(
    tmp_path, segmentation_chain, trained_downstream, settings, changed
):
    regime = Regime(real=1, synthetic=1, **changed)
    inputs = Inputs(
        segmentation_chain.patches,
        samples=segmentation_chain.samples,
        autoencoder=segmentation_chain.autoencoder,
        teacher=trained_downstream["mixed-0"],
    )
    run = Run("fields", "segformer-b0", "control", regime, 6, generator_seed=3)
    wanted = DownstreamSettings(**settings.downstream)
    train_downstream(run, inputs, wanted, tmp_path / "out", tmp_path / "state")
    ids = json.loads((tmp_path / "out" / "ids.json").read_text())
    synthetic = [i for i in ids if i.startswith("synthetic") or i.endswith("-reconstructed")]
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert len(ids) == 12 and len(synthetic) == metrics["n_synthetic"] == 6
    assert metrics["kind"].items() >= changed.items()
    assert metrics["generator_seed"] == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]
