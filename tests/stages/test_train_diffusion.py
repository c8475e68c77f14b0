import csv
import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from specdm.model import SpecDM
from specdm.nn.conditions import condition_width, encode_condition
from specdm.nn.streams import Streams
from specdm.stages.encode import open_latents
from specdm.stages.noisy_latents import noisy


def test_the_config_says_what_sampling_needs(chain):
    config = json.loads((chain.denoiser / "config.json").read_text())
    latents = open_latents(chain.latents).meta
    assert config["schedule"] == {
        "n_steps": 50,
        "beta_start": 0.0015,
        "beta_end": 0.0155,
        "kind": "scaled_linear",
        "zero_terminal_snr": False,
        "snr_scale": 1.0,
        "prediction": "v",
    }
    assert config["latents"] == {key: latents[key] for key in ("mean", "std", "shape", "streams")}
    assert config["autoencoder"] == latents["autoencoder"]
    assert config["spec"]["attention_levels"] == [False, True]  # 16 and 8 pixels, attention from 8 down


def test_the_history_holds_the_loss_of_validation_latents(chain):
    rows = list(csv.DictReader((chain.denoiser / "history.csv").open()))
    assert [int(row["step"]) for row in rows] == [1, 2, 3, 4, 5, 6]
    held_out = [float(row["held_out"]) for row in rows]
    assert len(set(held_out)) == 6
    assert held_out[-1] < held_out[0]


def test_a_paused_training_ends_like_an_uninterrupted_one(tmp_path, verb, settings, segmentation_chain):
    options = dict(
        latents=segmentation_chain.latents, out=tmp_path / "out", state=tmp_path / "state", settings=settings.diffusion
    )
    assert verb("train-diffusion", **options, max_minutes=1e-9) == 75
    assert not (tmp_path / "out").exists()
    assert verb("train-diffusion", **options) == 0
    first = load_file(segmentation_chain.denoiser / "weights.safetensors")
    again = load_file(tmp_path / "out" / "weights.safetensors")
    assert first.keys() == again.keys()
    assert all(torch.equal(first[key], again[key]) for key in first)


@pytest.fixture
def train(tmp_path, verb, settings, change_chain):
    """Trains a denoiser with some settings changed: train(name, latents, {...}, **options) -> its folder."""

    def run(name, latents, changed, **options):
        section = settings.diffusion | {"batch": 8, "steps": 2, "validations": 1} | changed
        folders = dict(latents=latents, out=tmp_path / name, state=tmp_path / "state")
        assert verb("train-diffusion", **folders, settings=section, **options) == 0
        return tmp_path / name

    return run


def _history(folder):
    return [{k: float(v) for k, v in row.items()} for row in csv.DictReader((folder / "history.csv").open())]


def _same(one, other):
    one, other = (load_file(folder / "weights.safetensors") for folder in (one, other))
    return all(torch.equal(one[key], other[key]) for key in one)


def _with_other_fractions(latents):
    np.save(latents / "fractions.npy", np.load(latents / "fractions.npy")[:, ::-1].copy())
    return latents


def test_a_picture_is_drawn_at_every_validation_and_shows_the_progress(conditioned_chain):
    paths = sorted(conditioned_chain.pictures.iterdir())
    assert [path.name for path in paths] == ["denoiser-0000002.png", "denoiser-0000004.png"]
    early, late = (np.asarray(Image.open(path)).astype(int) for path in paths)
    left, right = np.array_split(np.abs(early - late).max((0, 2)), 2)
    assert left.max() == 0  # decoded validation patches
    assert right.max() > 0  # samples


def test_the_last_picture_shows_samples_of_the_model_that_is_written(train, change_chain, tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr("specdm.figures.blocks", lambda blocks, meta, path: shown.append(blocks))
    options = dict(autoencoder=change_chain.autoencoder, pictures=tmp_path / "pictures")
    train("denoiser", change_chain.latents, {"learning_rate": 0.01, "steps": 4}, **options)
    shutil.copytree(change_chain.autoencoder, tmp_path / "autoencoder")
    drawn = SpecDM.from_pretrained(tmp_path, "cpu").sample(6)
    np.testing.assert_allclose(shown[-1][1].refl, drawn.images, atol=1e-4)
    np.testing.assert_array_equal(shown[-1][1].masks, drawn.masks)


def test_pictures_are_drawn_whatever_the_number_of_diffusion_steps(train, change_chain, tmp_path):
    options = dict(autoencoder=change_chain.autoencoder, pictures=tmp_path / "pictures")
    train("out", change_chain.latents, {"n_steps": 10}, **options)
    assert len(list((tmp_path / "pictures").iterdir())) == 1


def test_an_autoencoder_that_did_not_encode_is_refused(tmp_path, verb, settings, segmentation_chain, change_chain):
    folders = dict(latents=change_chain.latents, out=tmp_path / "out", state=tmp_path / "state")
    foreign = dict(autoencoder=segmentation_chain.autoencoder, pictures=tmp_path / "pictures")
    assert verb("train-diffusion", **folders, **foreign, settings=settings.diffusion) == (
        f"error: {segmentation_chain.autoencoder} did not encode {change_chain.latents}: give the one that did."
    )
    assert list(tmp_path.iterdir()) == []


def test_the_model_keeps_the_fractions_of_the_training_patches_only(conditioned_chain, change_chain):
    for chain, conditioned in ((conditioned_chain, True), (change_chain, False)):
        fractions = np.load(chain.denoiser / "fractions.npy")
        np.testing.assert_array_equal(fractions, np.load(chain.latents / "fractions.npy")[:24])
        config = json.loads((chain.denoiser / "config.json").read_text())
        assert config["conditioning"] is conditioned
        assert config["spec"]["condition"] == (condition_width(2) if conditioned else 0)


def test_a_denoiser_of_both_orders_is_told_the_order_alone_without_conditioning(train, conditioned_chain):
    out = train("out", conditioned_chain.latents, {"swap_dates": True})
    config = json.loads((out / "config.json").read_text())
    assert config["conditioning"] is False and config["spec"]["condition"] == condition_width(2)
    other = train("other", conditioned_chain.latents, {"swap_dates": True, "condition_dropout": 0.9})
    assert _same(out, other)


def test_the_denoiser_is_told_the_fractions_and_the_order_of_its_own_patches(conditioned_chain):
    latents = open_latents(conditioned_chain.latents)
    rows, views, tells = np.array([3, 0, 30, 3]), np.array([0, 5, 3, 4]), np.array([True, True, True, False])
    fractions = latents.fractions[rows]
    fractions[3] = torch.nan
    expected = encode_condition(fractions, torch.tensor([False, True, False, True]))
    noises, streams = torch.zeros((4, 2, *latents.meta["shape"])), Streams.of(latents.meta["streams"])
    batch = noisy(latents, streams, rows, views, np.zeros(4, np.int64), noises, tells)
    assert torch.equal(batch.condition, expected)


@pytest.mark.parametrize(("dropout", "same"), [(1, True), (0, False)])
def test_a_dropped_condition_tells_nothing(train, conditioned_chain, copied_latents, dropout, same):
    """Training on other fractions gives the same weights only where they are never told."""
    changed = {"conditioning": True, "condition_dropout": dropout}
    one = train("one", conditioned_chain.latents, changed)
    other = train("other", _with_other_fractions(copied_latents(conditioned_chain.latents)), changed)
    assert _same(one, other) == same


def test_the_held_out_loss_depends_neither_on_the_batch_nor_on_its_parts(train, conditioned_chain):
    still = {"learning_rate": 1e-30, "steps": 1, "conditioning": True}
    losses = [
        _history(train(f"{batch}-{parts}", conditioned_chain.latents, still | {"batch": batch, "accumulate": parts}))
        for batch, parts in ((8, 1), (12, 1), (12, 3))
    ]
    first, second, third = (history[-1]["held_out"] for history in losses)
    assert first == pytest.approx(second, rel=1e-5) and first == pytest.approx(third, rel=1e-5)
    assert losses[0][-1]["total"] != pytest.approx(losses[1][-1]["total"], rel=1e-3)


def test_the_held_out_loss_is_told_the_fractions(train, conditioned_chain, copied_latents):
    still = {"learning_rate": 1e-30, "steps": 1, "conditioning": True, "condition_dropout": 1}
    latents = _with_other_fractions(copied_latents(conditioned_chain.latents))
    one, other = (
        train(name, folder, still) for name, folder in (("one", conditioned_chain.latents), ("other", latents))
    )
    assert _history(one)[-1]["total"] == _history(other)[-1]["total"]
    assert _history(one)[-1]["held_out"] != _history(other)[-1]["held_out"]


def test_training_stops_when_the_held_out_loss_no_longer_falls(train, change_chain, capsys):
    # Weights that stand still: the first validation is never bettered.
    still = {"learning_rate": 1e-30, "steps": 9, "validations": 9, "patience": 2}
    out = train("out", change_chain.latents, still)
    assert [row["step"] for row in _history(out)] == [1, 2, 3]
    assert f"3 steps in {out}" in capsys.readouterr().out.splitlines()[-1]


def test_without_patience_training_goes_on(train, change_chain):
    out = train("out", change_chain.latents, {"learning_rate": 1e-30, "steps": 4, "validations": 4})
    assert [row["step"] for row in _history(out)] == [1, 2, 3, 4]


def test_the_schedule_is_shifted_by_the_side_of_the_latent(train, change_chain):
    out = train("out", change_chain.latents, {"shift_size": 8, "steps": 1})
    assert json.loads((out / "config.json").read_text())["schedule"]["snr_scale"] == 0.25  # latents of 16 pixels
