import json

import numpy as np
import pytest
import torch

from specdm.errors import UserError
from specdm.labels import OSCD
from specdm.model import SpecDM, TrainedAutoencoder
from specdm.nn.autoencoder import AutoencoderSpec, JointAutoencoder, StreamSpec
from specdm.nn.denoiser import Denoiser, DenoiserSpec
from specdm.patches import PatchMeta
from specdm.weights import load_weights, save_weights

WEIGHTS = {"a": torch.arange(3.0), "b": torch.ones(2, 2)}


def _nothing(folder):
    """Writes no further files."""


def _fractions(folder):
    np.save(folder / "fractions.npy", np.full((3, 2), 0.5, np.float32))


@pytest.fixture
def folder(tmp_path):
    save_weights(tmp_path / "m", WEIGHTS, {"kind": "teacher", "id": "1"}, lambda f: (f / "history.csv").write_text("h"))
    return tmp_path / "m"


@pytest.fixture
def model(tmp_path):
    """An untrained generator of change pairs in float32, written by hand from what config.json promises."""
    torch.manual_seed(0)
    stream = StreamSpec(2, 8, (1, 2), 1, 4, False)
    spec = AutoencoderSpec(bands=2, classes=2, dates=2, streams="two", image=stream, mask=stream)
    meta = PatchMeta("towns", "Sentinel-2 MSI", "TOA", ("B04", "B8A"), 1.0, 0.0, None, OSCD)
    data = {
        "meta": meta.to_dict(),
        "dtype": "float32",
        "shape": [2, 2, 16, 16],
        "normaliser": {"mean": [0.1, 0.3], "std": [0.05, 0.1]},
    }
    config = {"kind": "autoencoder", "id": "first", "spec": spec.to_dict(), "data": data}
    save_weights(tmp_path / "autoencoder", JointAutoencoder(spec).state_dict(), config, _nothing)
    spec = DenoiserSpec(6, 8, 8, (1, 2), (False, True), 1, 8, 4)
    latents = {"mean": [0.0] * 6, "std": [1.0] * 6, "shape": [6, 8, 8]}
    config = {"kind": "denoiser", "spec": spec.to_dict(), "schedule": {"n_steps": 20}, "latents": latents}
    config |= {"autoencoder": "first", "conditioning": False}
    save_weights(tmp_path / "denoiser", Denoiser(spec).state_dict(), config, _fractions)
    return tmp_path


def test_weights_and_config_survive_the_disk(folder):
    weights, config = load_weights(folder, "teacher")
    assert all(torch.equal(weights[key], WEIGHTS[key]) for key in WEIGHTS)
    assert config == {"kind": "teacher", "id": "1"}
    assert {p.name for p in folder.iterdir()} == {"weights.safetensors", "config.json", "history.csv"}


def test_a_folder_is_complete_or_absent(tmp_path):
    def fail(folder):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        save_weights(tmp_path / "m", WEIGHTS, {"kind": "teacher"}, fail)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["weights.safetensors", "config.json"])
def test_an_incomplete_folder_is_refused(folder, name):
    (folder / name).unlink()
    with pytest.raises(UserError, match=f"is not a complete model folder, {name} missing: train it anew"):
        load_weights(folder, "teacher")


@pytest.mark.parametrize("name", ["weights.safetensors", "config.json"])
def test_a_damaged_file_is_refused(folder, name):
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match=f"is not a complete model folder, {name} is damaged"):
        load_weights(folder, "teacher")


def test_a_model_of_another_kind_is_refused(folder):
    with pytest.raises(UserError, match="holds a model of the kind teacher, not denoiser"):
        load_weights(folder, "denoiser")


def test_samples_have_the_type_and_shape_of_the_data(model):
    samples = SpecDM.from_pretrained(model, "cpu").sample(5, seed=1, n_steps=3, batch=2)
    assert samples.images.shape == (5, 2, 2, 16, 16)
    assert samples.images.dtype == np.float32
    assert np.isfinite(samples.images).all()
    assert samples.masks.shape == (5, 16, 16)
    assert set(np.unique(samples.masks)) <= {0, 1}
    assert samples.meta.labels == OSCD


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
