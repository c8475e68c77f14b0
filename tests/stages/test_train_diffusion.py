import csv
import json

import torch
from safetensors.torch import load_file

from specdm.stages.encode import open_latents


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
