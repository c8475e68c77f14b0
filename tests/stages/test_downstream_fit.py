import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from specdm.errors import UserError
from specdm.labels import OSCD, SEGMUNICH
from specdm.nn import downstream
from specdm.patches import open_patches
from specdm.settings import DownstreamSettings, Regime
from specdm.stages import downstream_fit
from specdm.stages.downstream_fit import Run
from specdm.stages.training_set import Inputs

REAL = Regime(real=1, synthetic=0)


@pytest.fixture
def experiment(tmp_path, segmentation_chain, settings):
    """experiment(regime=..., settings changed) -> (Experiment, DownstreamSettings) of the chain's data."""

    def make(regime=REAL, n_real=6, network="segformer-b0", inputs=None, **changed):
        wanted = DownstreamSettings(**settings.downstream | changed)
        inputs = inputs or Inputs(segmentation_chain.patches, segmentation_chain.samples)
        run = Run("fields", network, "regime", regime, n_real)
        return downstream_fit.read(run, inputs, wanted, tmp_path / "state"), wanted

    return make


@pytest.fixture
def encoder_file(tmp_path):
    """Weights of the encoder of segformer-b0, drawn at random, with a classifier that has no place in it."""
    torch.manual_seed(7)
    state = downstream.build("segformer-b0", bands=4, classes=2).encoder.state_dict()
    save_file(
        {k: v.contiguous() for k, v in state.items()} | {"head.weight": torch.zeros(3)}, tmp_path / "mit.safetensors"
    )
    return tmp_path / "mit.safetensors"


def test_iterations_give_all_regimes_the_same_steps_and_epochs_the_same_passes(experiment):
    regimes = [REAL, Regime(real=0, synthetic=2), Regime(real=1, synthetic=2), REAL.model_copy(update={"labels": 3})]
    for kind, expected in (("iterations", [10] * 4), ("epochs", [10, 20, 30, 5])):
        steps = []
        for regime in regimes:
            made, wanted = experiment(regime, steps=10, budget=kind)
            steps.append(downstream_fit.budget(wanted, made.training_set, 6))
        assert steps == expected


def test_epochs_are_trained_as_long_as_they_say(tmp_path, experiment):
    made, wanted = experiment(Regime(real=1, synthetic=1), steps=2, budget="epochs", augment="none")
    fitted = downstream_fit.fit(made, wanted, tmp_path / "state", "epochs")
    assert (fitted.steps, fitted.trained.steps) == (4, 4)


def test_the_schedule_starts_anew_with_each_phase():
    recipe = downstream.Recipe("adamw", 1.0, 0.0, schedule="linear")
    one = downstream_fit._learning_rate(recipe, 7, 1)
    np.testing.assert_allclose([one(step) for step in range(7)], 1 - np.arange(7) / 7)
    two = downstream_fit._learning_rate(recipe, 7, 2)
    np.testing.assert_allclose([two(step) for step in range(7)], [1, 3 / 4, 2 / 4, 1 / 4, 1, 2 / 3, 1 / 3])


def test_pretraining_draws_its_batches_from_one_kind_and_then_the_other(tmp_path, experiment, monkeypatch):
    seen, original = [], downstream_fit.Mixture.training_batch

    def recorded(self, part, *rest, **more):
        seen.append((part.step, {i.startswith("synthetic") for i in self.ids()}))
        return original(self, part, *rest, **more)

    monkeypatch.setattr(downstream_fit.Mixture, "training_batch", recorded)
    made, wanted = experiment(Regime(real=1, synthetic=1, order="pretrain"), steps=4)
    downstream_fit.fit(made, wanted, tmp_path / "state", "pretrain")
    assert sorted(seen, key=lambda s: s[0]) == [(0, {True}), (1, {True}), (2, {False}), (3, {False})]


def test_strong_augmentation_reaches_the_batches_of_its_regime_only(tmp_path, experiment, monkeypatch):
    seen, original = [], downstream_fit.Mixture.training_batch

    def recorded(self, *rest, strong=None):
        seen.append(strong)
        return original(self, *rest, strong=strong)

    monkeypatch.setattr(downstream_fit.Mixture, "training_batch", recorded)
    for augmentation in ("basic", "strong"):
        made, wanted = experiment(REAL.model_copy(update={"augmentation": augmentation}), steps=2, strong={"gain": 0.2})
        downstream_fit.fit(made, wanted, tmp_path / augmentation, "strong")
    assert seen[:2] == [None, None] and [s.gain for s in seen[2:]] == [0.2, 0.2]


def test_encoder_weights_are_the_start_and_frozen_ones_the_end(tmp_path, experiment, encoder_file):
    given = load_file(encoder_file)
    made, wanted = experiment(encoder_weights=str(encoder_file), freeze_encoder=True, steps=2, learning_rate=0.01)
    start = downstream_fit.build(made, wanted).state_dict()
    fitted = downstream_fit.fit(made, wanted, tmp_path / "frozen", "frozen")
    loose, same = experiment(encoder_weights=str(encoder_file), steps=2, learning_rate=0.01, select="last")
    free = downstream_fit.fit(loose, same, tmp_path / "free", "free").trained.weights
    name = "encoder.block1.0.mlp.fc1.weight"
    inner = name.removeprefix("encoder.")
    assert torch.equal(start[name], given[inner]) and torch.equal(fitted.trained.weights[name], given[inner])
    assert not torch.equal(free[name], given[inner])
    changed = [k for k, v in fitted.trained.weights.items() if not torch.equal(v, start[k])]
    assert changed and not any(k.startswith("encoder.") for k in changed)


def test_a_frozen_encoder_keeps_its_statistics(segmentation_patches):
    network = downstream.build("smp:unet/resnet18", bands=4, classes=3)
    network.freeze_encoder()
    network.train()
    before = {k: v.clone() for k, v in network.encoder.state_dict().items()}
    network.training_loss(torch.randn(2, 1, 4, 32, 32), torch.zeros(2, 32, 32, dtype=torch.long)).backward()
    assert all(torch.equal(v, before[k]) for k, v in network.encoder.state_dict().items())
    assert network.decoder.training and not network.encoder.training
    assert all(p.grad is None for p in network.encoder.parameters())
    recipe = downstream.recipe("unet")
    trained = [p for group in network.parameter_groups(recipe) for p in group["params"]]
    assert trained and not {id(p) for p in trained} & {id(p) for p in network.encoder.parameters()}


def test_other_encoder_weights_are_another_run(experiment, encoder_file, tmp_path):
    prints = []
    for factor in (1.0, 2.0):
        save_file({k: factor * v for k, v in load_file(encoder_file).items()}, tmp_path / "w.safetensors")
        made, wanted = experiment(encoder_weights=str(tmp_path / "w.safetensors"))
        prints.append(downstream_fit.fingerprint(made, wanted))
    assert prints[0] != prints[1] and prints[0]["encoder"].startswith("w.safetensors ")
    made, wanted = experiment()
    assert downstream_fit.fingerprint(made, wanted)["encoder"] == "none"


def test_weights_of_imagenet_are_asked_for_before_training(experiment, encoder_file, segmentation_chain):
    with pytest.raises(UserError, match="specdm fetch-encoder mit_b0 --out FOLDER"):
        experiment(encoder_weights="imagenet")
    with pytest.raises(UserError, match=r"nowhere.safetensors does not exist"):
        experiment(encoder_weights="nowhere.safetensors")
    inputs = Inputs(segmentation_chain.patches, encoder_weights=encoder_file)
    made, _ = experiment(inputs=inputs, encoder_weights="imagenet")
    assert made.encoder.startswith("imagenet ")


def test_sides_that_networks_cannot_halve_are_refused_before_training(tmp_path, experiment, write_patches):
    groups = {"a": ("train", 6), "b": ("val", 2), "c": ("test", 2)}
    patches = write_patches(tmp_path / "odd", 1, SEGMUNICH, groups)
    for name in ("images", "masks"):
        np.save(patches / f"{name}.npy", np.load(patches / f"{name}.npy")[..., :24])
    with pytest.raises(UserError, match="patches of 32 x 24 pixels; the networks need multiples of 32"):
        experiment(inputs=Inputs(patches))


def test_masks_of_no_class_are_refused_before_training(tmp_path, experiment, write_patches):
    patches = write_patches(tmp_path / "bad", 1, SEGMUNICH, {"a": ("train", 6), "b": ("val", 2), "c": ("test", 2)})
    masks = np.load(patches / "masks.npy")
    masks[1, 2, 3] = 99
    np.save(patches / "masks.npy", masks)
    with pytest.raises(UserError, match="mask id 99 is in no class"):
        experiment(inputs=Inputs(patches))


def test_a_class_that_validation_lacks_is_told_in_a_sentence(tmp_path, experiment, write_patches, capsys):
    patches = write_patches(tmp_path / "rare", 2, OSCD, {"a": ("train", 6), "b": ("val", 2), "c": ("test", 2)})
    index = open_patches(patches).index
    assert downstream_fit.unvalidated(open_patches(patches)) == []
    counts = index["class_counts"].tolist()
    index["class_counts"] = [[1024, 0] if s == "val" else c for s, c in zip(index["split"], counts, strict=True)]
    changed = open_patches(patches)
    changed.__dict__["index"] = index
    assert downstream_fit.unvalidated(changed) == [
        f"the class {OSCD.names[1]} is absent from validation: the best weights are chosen without it"
    ]


def test_training_stops_early_when_validation_does_not_improve(tmp_path, experiment):
    made, wanted = experiment(steps=40, val_every=1, patience=2, learning_rate=1e-12, select="best")
    fitted = downstream_fit.fit(made, wanted, tmp_path / "state", "early")
    assert fitted.steps == 40 and fitted.trained.steps < 40


def test_a_batch_is_taken_in_as_many_parts_as_asked_for(tmp_path, experiment, monkeypatch):
    seen, original = [], downstream_fit.Mixture.training_batch

    def recorded(self, part, *rest, **more):
        batch = original(self, part, *rest, **more)
        seen.append((*part, len(batch.masks)))
        return batch

    monkeypatch.setattr(downstream_fit.Mixture, "training_batch", recorded)
    made, wanted = experiment(steps=2, batch=4, accumulate=2)
    downstream_fit.fit(made, wanted, tmp_path / "state", "parts")
    assert sorted(seen) == [(0, 0, 2, 2), (0, 1, 2, 2), (1, 0, 2, 2), (1, 1, 2, 2)]
