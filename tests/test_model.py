import dataclasses
import json
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import specdm
from specdm.errors import UserError
from specdm.labels import LabelClass, LabelSet
from specdm.model import Drawing, SpecDM, TrainedAutoencoder
from specdm.nn.autoencoder import AutoencoderSpec, JointAutoencoder, StreamSpec
from specdm.nn.conditions import condition_width
from specdm.nn.denoiser import Denoiser, DenoiserSpec
from specdm.patches import PatchMeta
from specdm.weights import save_weights

ROOT = Path(__file__).parents[1]
COLOURS = ((0, 0, 250), (0, 200, 0), (250, 0, 0))
LABELS = LabelSet("lake", tuple(LabelClass(k, n, COLOURS[k], (k,)) for k, n in enumerate(("water", "reed", "town"))))
FRACTIONS = np.array([[0.5, 0.5, 0.0], [0.2, 0.2, 0.6], [np.nan] * 3, [1.0, 0.0, 0.0]], np.float32)


def _write_model(folder, conditioned):
    """An untrained generator of change pairs in float32, written by hand from what config.json promises."""
    torch.manual_seed(0)
    stream = StreamSpec(2, 8, (1, 2), 1, 4, False)
    spec = AutoencoderSpec(bands=2, classes=3, dates=2, streams="two", image=stream, mask=stream)
    meta = PatchMeta("towns", "Sentinel-2 MSI", "TOA", ("B04", "B8A"), 1.0, 0.0, None, LABELS)
    data = {
        "meta": meta.to_dict(),
        "dtype": "float32",
        "shape": [2, 2, 16, 16],
        "normaliser": {"mean": [0.1, 0.3], "std": [0.05, 0.1]},
    }
    config = {"kind": "autoencoder", "id": "first", "spec": spec.to_dict(), "data": data}
    save_weights(folder / "autoencoder", JointAutoencoder(spec).state_dict(), config, lambda f: None)
    spec = DenoiserSpec(6, 8, 8, (1, 2), (False, True), 1, 8, 4, condition=condition_width(3) if conditioned else 0)
    latents = {"mean": [0.0] * 6, "std": [1.0] * 6, "shape": [6, 8, 8]}
    config = {"kind": "denoiser", "spec": spec.to_dict(), "schedule": {"n_steps": 20}, "latents": latents}
    config |= {"autoencoder": "first", "conditioning": conditioned}
    weights = Denoiser(spec).state_dict()
    save_weights(folder / "denoiser", weights, config, lambda f: np.save(f / "fractions.npy", FRACTIONS))
    return folder


@pytest.fixture
def model(tmp_path):
    """Folder of a generator that can be asked for nothing."""
    return _write_model(tmp_path, conditioned=False)


@pytest.fixture(scope="module")
def asking(tmp_path_factory):
    """A generator that can be asked for class fractions."""
    return SpecDM.from_pretrained(_write_model(tmp_path_factory.mktemp("asking"), conditioned=True), "cpu")


def test_samples_have_the_type_and_shape_of_the_data(model):
    samples = SpecDM.from_pretrained(model, "cpu").sample(5, seed=1, n_steps=3, batch=2)
    assert samples.images.shape == (5, 2, 2, 16, 16)
    assert samples.images.dtype == np.float32
    assert np.isfinite(samples.images).all()
    assert samples.masks.shape == (5, 16, 16)
    assert set(np.unique(samples.masks)) <= {0, 1, 2}
    assert samples.meta.labels == LABELS


def test_decoding_undoes_the_normalisation(model):
    trained = TrainedAutoencoder.load(model / "autoencoder")
    latents = torch.randn(1, 6, 8, 8)
    with torch.no_grad():
        standardised, logits = trained.network.decode(latents)
        images, masks = trained.decode(latents)
    expected = standardised.numpy() * np.array([0.05, 0.1])[:, None, None] + np.array([0.1, 0.3])[:, None, None]
    np.testing.assert_allclose(images, expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(masks, logits.argmax(1))


def test_latents_are_scaled_back_before_decoding(model):
    plain = SpecDM.from_pretrained(model, "cpu").sample(1, n_steps=2)
    config = json.loads((model / "denoiser" / "config.json").read_text())
    config["latents"] |= {"mean": [1.0] * 6, "std": [3.0] * 6}
    (model / "denoiser" / "config.json").write_text(json.dumps(config))
    scaled = SpecDM.from_pretrained(model, "cpu")
    assert not np.allclose(scaled.sample(1, n_steps=2).images, plain.images)
    scaled.latent_mean.zero_(), scaled.latent_std.fill_(1)
    np.testing.assert_array_equal(scaled.sample(1, n_steps=2).images, plain.images)


def test_a_denoiser_of_another_autoencoder_is_refused(model):
    path = model / "autoencoder" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"id": "second"}))
    with pytest.raises(UserError, match="belongs to another autoencoder: train the denoiser anew"):
        SpecDM.from_pretrained(model)


def test_a_missing_part_is_named(tmp_path):
    with pytest.raises(UserError, match=r"lacks autoencoder/weights\.safetensors, autoencoder/config\.json, denoiser/"):
        SpecDM.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        "autoencoder/weights.safetensors",
        "autoencoder/config.json",
        "denoiser/weights.safetensors",
        "denoiser/config.json",
        "denoiser/fractions.npy",
    ],
)
def test_each_missing_file_is_named(model, name):
    (model / name).unlink()
    with pytest.raises(UserError, match=rf"is not a complete generator, it lacks {name}: train it anew\.$"):
        SpecDM.from_pretrained(model)


def test_the_package_gives_the_model_without_loading_torch_before():
    assert specdm.SpecDM is SpecDM
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = specdm.Nothing
    script = "import sys, specdm; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT)


def test_a_model_is_loaded_and_drawn_from_without_a_network(model, monkeypatch):
    def no_network(*_, **__):
        raise AssertionError("a model reached for the network")

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(socket, "socket", no_network)
    monkeypatch.setattr(socket, "create_connection", no_network)
    assert len(SpecDM.from_pretrained(model, "cpu").sample(1, n_steps=1).masks) == 1


def test_samples_say_what_their_numbers_mean(asking):
    samples = asking.sample(3, n_steps=1)
    assert samples.bands == ("B04", "B8A")
    assert samples.classes == ("water", "reed", "town")
    assert samples.colours.tolist() == [list(c) for c in COLOURS] and samples.colours.dtype == np.uint8
    expected = [[(mask == k).mean() for k in range(3)] for mask in samples.masks]
    np.testing.assert_allclose(samples.fractions, expected, atol=1e-6)
    assert samples.fractions.dtype == np.float32


@pytest.mark.parametrize(
    ("want", "message"),
    [
        ({"wat": 0.3}, "there is no class 'wat', choose among water, reed, town"),
        ({"water": 1.5}, "the fraction of water must be 0 to 1, not 1.5"),
        ({"water": -0.1}, "the fraction of water must be 0 to 1, not -0.1"),
        ({"water": float("nan")}, "the fraction of water must be 0 to 1, not nan"),
        ({"water": 0.7, "reed": 0.5}, "the fractions of water, reed add up to 1.2: give at most 1, all classes 1"),
        ({"water": 0.2, "reed": 0.3, "town": 0.1}, "water, reed, town add up to 0.6: give at most 1, all classes 1"),
    ],
)
def test_what_cannot_be_is_not_asked_for(asking, want, message):
    with pytest.raises(UserError, match=message):
        asking.sample(1, want=want, n_steps=1)


def test_a_model_that_cannot_be_asked_says_so(model, asking):
    untold = SpecDM.from_pretrained(model, "cpu")
    assert np.isnan(untold.sample(2, n_steps=1).asked).all()
    for generator, guidance in ((untold, 1.0), (asking, 0.0)):
        with pytest.raises(UserError, match="want: this model was trained without conditioning, or guidance is 0"):
            generator.sample(1, want={"water": 0.5}, guidance=guidance, n_steps=1)


@pytest.mark.parametrize("want", [{"water": 0.25, "reed": 0.25, "town": 0.5}, {"town": 1.0}, {"reed": 0.0}])
def test_samples_tell_what_was_asked_for(asking, want):
    asked = asking.sample(4, want=want, n_steps=1, batch=3).asked
    for name, fraction in want.items():
        np.testing.assert_allclose(asked[:, LABELS.names.index(name)], fraction)
    np.testing.assert_allclose(asked.sum(1), 1, atol=1e-6)


@pytest.mark.parametrize("want", [None, {"reed": 0.3}])
def test_what_a_sample_is_asked_for_depends_on_its_number_and_the_seed_alone(asking, want):
    drawing = Drawing(want=want)
    together = asking.asked(range(40), 0, drawing)
    assert torch.equal(torch.cat([asking.asked([i], 0, drawing) for i in range(40)]), together)
    assert torch.equal(asking.asked([30, 17], 0, drawing), together[[30, 17]])
    assert not torch.equal(asking.asked(range(40), 1, drawing), together)


def test_without_a_wish_samples_follow_the_training_patches(asking):
    for n in (30, 300):
        asked = asking.asked(range(n), 0, Drawing()).numpy()
        for row in FRACTIONS[[0, 1, 3]]:
            assert (asked == row).all(1).sum() == pytest.approx(n / 3, abs=3)  # at random: by 2.6 and 8 off
        assert not np.isnan(asked).any()


def test_what_is_asked_for_changes_the_samples(asking):
    wet, dry = (asking.sample(2, want={"water": f}, n_steps=2).images for f in (0.9, 0.0))
    assert np.abs(wet - dry).max() > 1e-4


def test_guidance_of_one_is_the_limit_of_the_guided_formula(asking):
    one, beyond, far = (asking.sample(2, guidance=g, n_steps=3).images for g in (1.0, 1.0001, 4.0))
    assert np.abs(one - beyond).max() < 1e-4
    assert np.abs(one - far).max() > 10 * np.abs(one - beyond).max()


def test_without_guidance_the_fractions_of_the_training_patches_do_not_matter(asking):
    plain = asking.sample(2, guidance=0, n_steps=2)
    other = dataclasses.replace(asking, fractions=torch.full((4, 3), 1 / 3)).sample(2, guidance=0, n_steps=2)
    np.testing.assert_array_equal(plain.images, other.images)
    assert np.isnan(plain.asked).all()
    assert np.abs(asking.sample(2, n_steps=2).images - plain.images).max() > 1e-5


def test_the_network_is_told_what_it_was_told_in_training(asking, monkeypatch):
    conditions, forward = [], Denoiser.forward

    def noted(self, z, t, condition):
        conditions.append(condition)
        return forward(self, z, t, condition)

    monkeypatch.setattr(Denoiser, "forward", noted)
    for guidance, want in ((0, {}), (1, {"town": 1.0}), (2, {"town": 1.0})):
        asking.draw([0, 1], 0, Drawing(n_steps=1, guidance=guidance, want=want))
    nothing, town = [0.0] * 8, [0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.0]
    assert [c.tolist() for c in conditions] == [[nothing] * 2, [town] * 2, [nothing] * 2, [town] * 2]


def test_half_precision_stays_near_the_full_one(asking):
    full, half = (asking.draw(range(4), 0, Drawing(n_steps=4, half=h))[0] for h in (False, True))
    difference = np.abs(full - half)
    assert half.dtype == np.float32
    assert 1e-6 < difference.mean() < 0.05 * full.std()


def test_only_the_denoiser_is_evaluated_in_half_precision(asking, monkeypatch):
    seen = []
    monkeypatch.setattr(Denoiser, "forward", _noting(Denoiser.forward, seen))
    monkeypatch.setattr(JointAutoencoder, "decode", _noting(JointAutoencoder.decode, seen))
    asking.draw([0], 0, Drawing(n_steps=2, half=True))
    assert seen == [True, True, False]


def _noting(method, seen):
    def noted(*arguments):
        seen.append(torch.is_autocast_enabled("cpu"))
        return method(*arguments)

    return noted


@pytest.mark.parametrize("sampler", ["dpm++", "ddim", "ddpm"])
def test_a_told_sample_does_not_depend_on_its_batch(asking, sampler):
    options = dict(seed=3, want={"town": 0.4}, guidance=2.0, sampler=sampler, n_steps=3)
    one, three = (asking.sample(3, batch=batch, **options) for batch in (1, 3))
    np.testing.assert_allclose(one.images, three.images, atol=1e-5)
    np.testing.assert_array_equal(one.asked, three.asked)
