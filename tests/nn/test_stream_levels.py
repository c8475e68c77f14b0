"""Diffusion in which every channel has a noise level of its own."""

from __future__ import annotations

import math

import pytest
import torch

from specdm.nn.diffusion import (
    LARGEST_LOG_SNR,
    LossForm,
    NoiseSchedule,
    add_noise,
    alpha_bar,
    log_snr,
    sample_losses,
    target,
    to_x0,
)
from specdm.nn.streams import CLEAN, by_channel

T = 1000
V = NoiseSchedule()
SCHEDULES = [V, NoiseSchedule(zero_terminal_snr=True), NoiseSchedule(prediction="epsilon"), NoiseSchedule(snr_scale=4)]
FORMS = [LossForm(), LossForm("min_snr"), LossForm("min_snr", "l1", 3.0, 0.05)]
CHANNELS = (2, 1, 3)


def _latents(n=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn((n, sum(CHANNELS), 3, 5), generator=generator) for _ in range(3))


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("function", [add_noise, target, to_x0])
def test_every_channel_is_treated_as_if_all_had_its_level(function, schedule):
    z0, noise, _ = _latents()
    t = torch.randint(0, T, (4, 6), generator=torch.Generator().manual_seed(1))
    whole = function(z0, t, noise, schedule) if function is not to_x0 else function(noise, z0, t, schedule)
    for channel in range(6):
        one = t[:, channel]
        alone = function(z0, one, noise, schedule) if function is not to_x0 else function(noise, z0, one, schedule)
        torch.testing.assert_close(whole[:, channel], alone[:, channel], rtol=0, atol=0)
    noise_itself = function is target and schedule.prediction == "epsilon"  # that does not depend on the level
    assert ((whole - alone).abs().max() > 0.01) != noise_itself


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_what_is_clean_is_the_latent_and_what_is_absent_is_the_noise(schedule):
    z0, noise, _ = _latents(1)
    levels = torch.tensor([[CLEAN, T, 3, CLEAN, T, 999]])
    z = add_noise(z0, levels, noise, schedule)
    assert torch.equal(z[:, [0, 3]], z0[:, [0, 3]]) and torch.equal(z[:, [1, 4]], noise[:, [1, 4]])
    for level, expected in ((CLEAN, z0), (T, noise)):
        assert torch.equal(add_noise(z0, torch.tensor([level]), noise, schedule), expected)


def test_v_leads_back_to_the_clean_latent_at_every_level():
    z0, noise, _ = _latents()
    t = torch.tensor([[CLEAN, 0, 300, 999, T, 7]] * 4)
    for schedule in (V, NoiseSchedule(zero_terminal_snr=True)):
        back = to_x0(target(z0, t, noise, schedule), add_noise(z0, t, noise, schedule), t, schedule)
        torch.testing.assert_close(back, z0, atol=1e-5, rtol=0)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_log_snr_is_that_of_the_schedule_within_its_bounds(schedule):
    levels = torch.arange(CLEAN, T + 1)
    found = log_snr(levels, schedule)
    assert found.dtype == torch.float32 and found.isfinite().all()
    assert found[0] == LARGEST_LOG_SNR and found[-1] == -LARGEST_LOG_SNR
    for step in (0, 10, 500, 998, 999):
        abar = float(alpha_bar(schedule)[step])
        exact = math.log(abar / (1 - abar)) if abar else -math.inf
        assert float(found[step + 1]) == pytest.approx(max(exact, -LARGEST_LOG_SNR), rel=1e-5)
    inside = found[found.abs() < LARGEST_LOG_SNR]
    assert (found.diff() <= 0).all() and (inside.diff() < 0).all() and len(inside) >= 980
    rows = torch.tensor([[CLEAN, 5, T], [9, 9, 9]])
    assert torch.equal(log_snr(rows, schedule), found[rows + 1])


def _by_hand(z0, t, noise, prediction, schedule, form):
    """The loss of each sample, channel by channel in float64."""
    abar, losses = alpha_bar(schedule), []
    for i in range(len(z0)):
        terms = []
        for c in range(z0.shape[1]):
            step = int(t[i, c])
            if step in (CLEAN, T):
                continue
            a = float(abar[step])
            z, e = z0[i, c].double(), noise[i, c].double()
            truth = math.sqrt(a) * e - math.sqrt(1 - a) * z if schedule.prediction == "v" else e
            error = prediction[i, c].double() - truth
            weight = 1.0
            if form.weighting == "min_snr":
                snr = a / (1 - a)
                weight = max(min(snr, form.gamma) / (snr + 1 if schedule.prediction == "v" else snr), form.min_weight)
            terms.append(weight * float((error.abs() if form.norm == "l1" else error**2).mean()))
        losses.append(sum(terms) / len(terms) if terms else 0.0)
    return torch.tensor(losses)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("schedule", [V, SCHEDULES[2]])
def test_the_loss_weighs_every_stream_by_its_own_level_and_counts_only_what_is_drawn(schedule, form):
    z0, noise, prediction = _latents(5)
    streams = torch.tensor([[3, 700, 40], [CLEAN, 500, 500], [T, 900, CLEAN], [CLEAN, CLEAN, 0], [T, CLEAN, T]])
    t = by_channel(streams, CHANNELS)
    losses = sample_losses(lambda z, _: prediction, z0, t, noise, schedule, form)
    torch.testing.assert_close(losses, _by_hand(z0, t, noise, prediction, schedule, form), rtol=1e-4, atol=1e-6)
    assert losses[4] == 0


@pytest.mark.parametrize("form", FORMS)
def test_with_one_level_for_all_the_loss_is_the_shared_one(form):
    z0, noise, prediction = _latents()
    steps = torch.tensor([0, 20, 400, 999])
    shared = sample_losses(lambda z, _: prediction, z0, steps, noise, V, form)
    each = sample_losses(lambda z, _: prediction, z0, steps[:, None].expand(-1, 6), noise, V, form)
    torch.testing.assert_close(each, shared, rtol=1e-6, atol=0)


def test_predictions_and_noise_of_clean_and_absent_streams_do_not_matter():
    z0, noise, prediction = _latents()
    t = by_channel(torch.tensor([[CLEAN, 300, T]] * 4), CHANNELS)
    args = (t, noise, V, LossForm("min_snr"))
    before = sample_losses(lambda z, _: prediction, z0, *args)
    elsewhere, other = prediction.clone(), z0.clone()
    elsewhere[:, [0, 1, 3, 4, 5]] += 100
    other[:, [0, 1, 3, 4, 5]] -= 7
    assert torch.equal(sample_losses(lambda z, _: elsewhere, other, *args), before)
    elsewhere[:, 2] += 1
    assert (sample_losses(lambda z, _: elsewhere, other, *args) != before).all()


def test_where_nothing_is_drawn_there_is_neither_loss_nor_gradient():
    z0, noise, prediction = _latents(2)
    t = by_channel(torch.tensor([[CLEAN, T, CLEAN], [CLEAN, 8, T]]), CHANNELS)
    prediction.requires_grad_()
    losses = sample_losses(lambda z, _: prediction, z0, t, noise, V, LossForm())
    losses.sum().backward()
    assert losses[0] == 0 and losses[1] > 0
    assert not prediction.grad[0].any()
    assert not prediction.grad[1, [0, 1, 3, 4, 5]].any() and prediction.grad[1, 2].any()


def test_the_network_sees_every_stream_at_its_own_level():
    z0, noise, _ = _latents(2)
    t, seen = by_channel(torch.tensor([[CLEAN, T, 4], [6, 6, CLEAN]]), CHANNELS), []

    def network(z, levels):
        seen.append((z, levels))
        return z

    sample_losses(network, z0, t, noise, V, LossForm())
    assert torch.equal(seen[0][0], add_noise(z0, t, noise, V)) and torch.equal(seen[0][1], t)
