"""What a denoiser whose streams have noise levels of their own is trained and judged on."""

import csv
import json

import numpy as np
import pytest
import torch

from specdm.nn.conditions import encode_condition
from specdm.nn.denoiser import Denoiser, DenoiserSpec
from specdm.nn.diffusion import LossForm, NoiseSchedule, log_snr, sample_losses
from specdm.nn.streams import CLEAN, Streams, by_channel
from specdm.settings import DiffusionSettings
from specdm.stages import noisy_latents
from specdm.stages.encode import open_latents
from specdm.stages.noisy_latents import ONE_IN, NoisyBatch, held_out, noisy

T = 50


@pytest.fixture(scope="module")
def latents(change_chain):
    """Of two dates and two classes, in eight views."""
    return open_latents(change_chain.latents)


@pytest.fixture(scope="module")
def streams(latents):
    return Streams.of(latents.meta["streams"])


def test_what_is_given_is_the_mean_of_its_posterior_and_the_rest_a_draw(latents, streams):
    rows, views = np.array([0, 5, 9]), np.array([0, 3, 7])
    levels = np.array([[CLEAN, 7, T], [4, 4, CLEAN], [3, 3, 3]])
    noises = torch.randn((3, 2, *latents.meta["shape"]), generator=torch.Generator().manual_seed(0))
    batch = noisy(latents, streams, rows, views, levels, noises, None)
    mean, drawn = (latents.draw(rows, views, k * noises[:, 0]) for k in (0, 1))
    clean = by_channel(torch.from_numpy(levels), streams.channels) == CLEAN
    torch.testing.assert_close(batch.clean, torch.where(clean[..., None, None], mean, drawn))
    assert torch.equal(batch.noise, noises[:, 1]) and batch.levels.tolist() == levels.tolist()
    assert batch.condition is None and (mean - drawn).abs().amax((1, 2, 3)).min() > 1e-3


def _looks(latents, streams, told=True, **settings):
    chosen = {"n_steps": T, "levels": "streams", "conditioning": True, "batch": 100} | settings
    return held_out(latents, DiffusionSettings(**chosen), streams, 0, told)


def test_the_held_out_loss_is_looked_at_for_the_joint_draw_and_each_conditional(latents, streams):
    looks = _looks(latents, streams)
    given = {
        "held_out": (),
        "held_out_given_mask": (2,),
        "held_out_given_image1": (0,),
        "held_out_given_image1_image2": (0, 1),
        "held_out_given_image1_mask": (0, 2),
    }
    assert looks.keys() == given.keys()
    untold = {"held_out_given_image1_image2"}
    for name, clean in given.items():
        levels = torch.cat([batch.levels for batch in looks[name]])
        condition = torch.cat([batch.condition for batch in looks[name]])
        assert len(levels) == noisy_latents.N_HELD_OUT // (ONE_IN if clean else 1)
        assert max(len(batch.levels) for batch in looks[name]) <= 100
        free = [s for s in range(3) if s not in clean]
        assert (levels[:, list(clean)] == CLEAN).all()
        assert (levels[:, free] == levels[:, free[:1]]).all()
        assert levels[:, free].min() == 0 and levels[:, free].max() >= 0.85 * T
        assert (condition[:, 4] == 0).all() == (name in untold)  # the flag that fractions are told
    told = torch.cat([batch.condition for batch in looks["held_out_given_mask"]])
    rows = np.resize(np.arange(24, 32), noisy_latents.N_HELD_OUT)[::ONE_IN]
    torch.testing.assert_close(told, encode_condition(latents.fractions[rows]))


def test_with_one_level_for_all_there_is_one_look(latents, streams):
    (name,) = looks = _looks(latents, streams, levels="shared")
    assert name == "held_out" and all(batch.levels.ndim == 1 for batch in looks[name])


def test_looks_are_told_nothing_without_conditioning(latents, streams):
    assert all(b.condition is None for batches in _looks(latents, streams, told=False).values() for b in batches)
    looks = _looks(latents, streams, conditioning=False)  # told the order of dates alone
    assert not torch.cat([b.condition for batches in looks.values() for b in batches]).any()


def test_the_network_is_told_the_level_of_each_stream(streams):
    torch.manual_seed(0)
    model = Denoiser(DenoiserSpec(6, 8, 8, (1, 2), (False, True), 1, 8, 4, streams=3)).eval()
    clean, noise = torch.randn(2, 2, 6, 8, 8)
    levels = torch.tensor([[CLEAN, 20, T], [30, 30, CLEAN]])
    schedule, form, device = NoiseSchedule(n_steps=T), LossForm("min_snr"), torch.device("cpu")
    loss = NoisyBatch(clean, levels, noise, None).loss(model, schedule, form, streams, device)
    t = by_channel(levels, (2, 2, 2))
    expected = sample_losses(lambda z, _: model(z, log_snr(levels, schedule)), clean, t, noise, schedule, form)
    torch.testing.assert_close(loss, expected)
    assert loss.min() > 0


def test_the_history_and_the_config_tell_of_the_streams(streams_chain, latents):
    row = list(csv.DictReader((streams_chain.denoiser / "history.csv").open()))[-1]
    names = ["held_out", *(f"held_out_given_{x}" for x in ("mask", "image1_image2", "image1", "image1_mask"))]
    assert {name for name in row if name.startswith("held_out")} == set(names)
    losses = [float(row[name]) for name in names]
    assert np.isfinite(losses).all() and min(losses) > 0 and len(set(losses)) == 5
    config = json.loads((streams_chain.denoiser / "config.json").read_text())
    assert config["levels"] == "streams" and config["spec"]["streams"] == 3
    assert config["latents"]["streams"] == latents.meta["streams"]


def test_one_stream_for_all_has_one_noise_level(single_chain, tmp_path, verb, settings):
    folders = dict(latents=single_chain.latents, out=tmp_path / "out", state=tmp_path / "state")
    assert verb("train-diffusion", **folders, settings=settings.diffusion | {"levels": "streams"}) == (
        f"error: {single_chain.latents} has one stream for image and mask: diffusion.levels streams needs an "
        "autoencoder of two."
    )


def test_which_levels_training_meets_follows_the_settings(latents, tmp_path, verb, settings, monkeypatch):
    met, original = [], Denoiser.forward

    def noted(self, z, t, condition=None):
        if self.training:
            met.append((t, condition))
        return original(self, z, t, condition)

    monkeypatch.setattr(Denoiser, "forward", noted)
    section = settings.diffusion | {"levels": "streams", "conditioning": True, "condition_dropout": 0, "batch": 64}
    shares = {"joint": (1.0, 0.0), "given": (0.0, 0.0), "absent": (0.0, 1.0)}
    for name, (joint, null) in shares.items():
        met.clear()
        options = section | {"steps": 1, "joint_share": joint, "null_share": null, "learning_rate": 1e-30}
        folders = dict(latents=latents.folder, out=tmp_path / name, state=tmp_path / "state")
        assert verb("train-diffusion", **folders, settings=options) == 0
        levels, condition = (torch.cat(x) for x in zip(*met, strict=True))
        clean, gone, known = (levels == 12).any(1), (levels == -12).any(1), condition[:, 4] == 1
        assert len(levels) == 64
        if name == "joint":
            assert not clean.any() and not gone.any() and known.all()
        else:
            assert (clean | gone).all() and gone.any() == (name == "absent") and 10 < known.sum() < 54
        assert not known[(levels[:, :2] == 12).all(1) | (levels[:, 2] == -12)].any()
