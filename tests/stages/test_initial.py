"""Trainings that start from a model of other data."""

import json
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from specdm.labels import OSCD, SEGMUNICH
from specdm.weights import load_weights

# One step of this rate changes no weight: what is written is what the training started from.
STILL = {"steps": 1, "learning_rate": 1e-30, "validations": 1}
FEW = {"a": ("train", 4), "b": ("val", 2)}


def _weights(folder):
    return load_file(folder / "weights.safetensors")


def _fitting(source, target):
    return [name for name in target if name in source and source[name].shape == target[name].shape]


@pytest.fixture
def train(tmp_path, verb, settings):
    """Starts an autoencoder and stops it at once: train(name, patches, ...) -> exit status."""

    def run(name, patches, **options):
        options = {"settings": settings.autoencoder | STILL} | options
        return verb("train-autoencoder", patches=patches, out=tmp_path / name, state=tmp_path / "state", **options)

    return run


@pytest.fixture
def train_denoiser(tmp_path, verb, settings):
    """The same for a denoiser: train_denoiser(name, latents, ...)."""

    def run(name, latents, **options):
        options = {"settings": settings.diffusion | STILL | {"batch": 8}} | options
        return verb("train-diffusion", latents=latents, out=tmp_path / name, state=tmp_path / "state", **options)

    return run


@pytest.fixture(scope="module")
def other(tmp_path_factory, write_patches) -> SimpleNamespace:
    """Patch sets of one date that differ from that of the segmentation chain in one thing each."""
    root = tmp_path_factory.mktemp("sets")
    return SimpleNamespace(
        classes=write_patches(root / "classes", 1, OSCD, FEW, seed=3),
        bands=write_patches(root / "bands", 1, SEGMUNICH, FEW, bands=("B02", "B03", "B04", "B11")),
        order=write_patches(root / "order", 1, SEGMUNICH, FEW, bands=("B03", "B02", "B04", "B8A")),
        level=write_patches(root / "level", 1, SEGMUNICH, FEW, level="TOA"),
    )


def test_an_autoencoder_starts_with_the_fitting_weights_and_new_others(
    tmp_path, train, other, segmentation_chain, capsys
):
    source = _weights(segmentation_chain.autoencoder)
    assert train("new", other.classes) == 0
    capsys.readouterr()
    assert train("started", other.classes, init_from=segmentation_chain.autoencoder) == 0
    started, new = _weights(tmp_path / "started"), _weights(tmp_path / "new")
    fitting = _fitting(source, started)
    assert {name for name in started if name.startswith("image.")} < set(fitting)
    assert {name for name in started if name not in fitting} == {
        f"mask.{part}" for part in ("encoder.conv_in.weight", "decoder.conv_out.weight", "decoder.conv_out.bias")
    }
    for name, value in started.items():
        assert torch.equal(value, source[name] if name in fitting else new[name]), name
    told = f"started from {segmentation_chain.autoencoder}: {len(fitting)} of {len(started)} tensors fit, the others"
    assert told in capsys.readouterr().out


def test_the_model_names_what_it_started_from(tmp_path, train, other, segmentation_chain):
    assert train("new", other.classes) == 0
    assert train("started", other.classes, init_from=segmentation_chain.autoencoder) == 0
    _, source = load_weights(segmentation_chain.autoencoder, "autoencoder")
    _, new = load_weights(tmp_path / "new", "autoencoder")
    _, started = load_weights(tmp_path / "started", "autoencoder")
    assert (new["init_from"], started["init_from"]) == (None, source["id"])
    assert len({source["id"], new["id"], started["id"]}) == 3


def test_a_state_is_not_resumed_from_another_start(tmp_path, verb, settings, other, segmentation_chain):
    options = dict(patches=other.classes, out=tmp_path / "out", state=tmp_path / "state")
    options["settings"] = settings.autoencoder | STILL | {"steps": 2}
    assert verb("train-autoencoder", **options, init_from=segmentation_chain.autoencoder, max_minutes=1e-9) == 75
    refusal = verb("train-autoencoder", "--resume-only", **options)
    assert "belongs to another run, init_from differs" in refusal


def test_a_denoiser_starts_with_the_fitting_weights_and_new_others(
    tmp_path, train_denoiser, segmentation_chain, change_chain, capsys
):
    source = _weights(segmentation_chain.denoiser)
    assert train_denoiser("new", change_chain.latents) == 0
    capsys.readouterr()
    assert train_denoiser("started", change_chain.latents, init_from=segmentation_chain.denoiser) == 0
    started, new = _weights(tmp_path / "started"), _weights(tmp_path / "new")
    fitting = _fitting(source, started)
    assert {name for name in started if name not in fitting} == {
        f"unet.{part}" for part in ("conv_in.weight", "conv_out.weight", "conv_out.bias")
    }
    for name, value in started.items():
        assert torch.equal(value, source[name] if name in fitting else new[name]), name
    told = f"started from {segmentation_chain.denoiser}: {len(fitting)} of {len(started)} tensors fit"
    assert told in capsys.readouterr().out
    _, config = load_weights(tmp_path / "started", "denoiser")
    assert config["init_from"] == load_weights(segmentation_chain.denoiser, "denoiser")[1]["id"]


@pytest.mark.parametrize(
    ("what", "theirs", "ours"),
    [
        ("bands", "B02, B03, B04, B8A", "B02, B03, B04, B11"),
        ("order", "B02, B03, B04, B8A", "B03, B02, B04, B8A"),
        ("level", "BOA", "TOA"),
    ],
)
def test_a_model_of_other_bands_or_level_is_refused(tmp_path, train, other, segmentation_chain, what, theirs, ours):
    refusal = train("out", getattr(other, what), init_from=segmentation_chain.autoencoder)
    kind = "level" if what == "level" else "bands"
    assert refusal == (
        f"error: init_from: {segmentation_chain.autoencoder} was trained on the {kind} {theirs}, {what} has {ours}: "
        f"start from a model of the same {kind}."
    )
    assert list(tmp_path.iterdir()) == []


def test_a_denoiser_of_another_level_is_refused(tmp_path, train_denoiser, segmentation_chain, copied_latents):
    latents = copied_latents(segmentation_chain.latents)
    meta = json.loads((latents / "meta.json").read_text())
    meta["meta"]["level"] = "TOA"
    (latents / "meta.json").write_text(json.dumps(meta))
    refusal = train_denoiser("out", latents, init_from=segmentation_chain.denoiser)
    assert "was trained on the level BOA, fields has TOA: start from a model of the same level." in refusal


def test_a_model_of_which_nothing_fits_is_refused(train, segmentation_chain, single_chain):
    refusal = train("out", segmentation_chain.patches, init_from=single_chain.autoencoder)
    expected = f"error: init_from: no weight of {single_chain.autoencoder} fits this network: give both the same sizes."
    assert refusal == expected


def test_a_folder_that_is_no_autoencoder_is_refused(tmp_path, train, segmentation_chain):
    refusal = train("out", segmentation_chain.patches, init_from=segmentation_chain.denoiser)
    assert "holds a model of the kind denoiser, not autoencoder" in refusal
    refusal = train("out", segmentation_chain.patches, init_from=tmp_path / "nowhere")
    assert "is not a complete model folder" in refusal
