from __future__ import annotations

import itertools

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler

from specdm.errors import UserError
from specdm.nn.diffusion import (
    LossForm,
    NoiseSchedule,
    add_noise,
    alpha_bar,
    guided,
    loss_weights,
    sample_latents,
    sample_losses,
    sample_noise,
    sampling_steps,
    snr_scale_for,
    target,
    to_x0,
)

SCHEDULES = [
    NoiseSchedule(prediction="v"),
    NoiseSchedule(prediction="epsilon"),
    NoiseSchedule(prediction="v", zero_terminal_snr=True),
    NoiseSchedule(prediction="v", kind="linear"),
]
SCALED = [NoiseSchedule(zero_terminal_snr=True, snr_scale=scale) for scale in (4.0, 0.25)]
MEAN, STD = 0.8, 0.6


def _oracle(schedule: NoiseSchedule):
    """The best denoiser there is for latents from N(MEAN, STD^2): E[target | z_t] in closed form."""
    abar = alpha_bar(schedule)

    def denoise(z_t, t):
        a = abar[t].view(-1, 1, 1, 1).float()
        x0 = MEAN + STD**2 * a.sqrt() / (STD**2 * a + 1 - a) * (z_t - a.sqrt() * MEAN)
        noise = (z_t - a.sqrt() * x0) / (1 - a).sqrt()
        return noise if schedule.prediction == "epsilon" else a.sqrt() * noise - (1 - a).sqrt() * x0

    return denoise


def _step_noise(shape):
    return lambda i: torch.randn(shape, generator=torch.Generator().manual_seed(i))


def test_alpha_bar_is_linear_in_the_root_of_beta():
    product, expected = 1.0, []
    for t in range(1000):
        root = 0.0015**0.5 + t / 999 * (0.0155**0.5 - 0.0015**0.5)
        product *= 1 - root**2
        expected.append(product)
    abar = alpha_bar(NoiseSchedule())
    assert abar.dtype == torch.float64 and abar.shape == (1000,)
    torch.testing.assert_close(abar, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=0)
    assert abar[-1].item() == pytest.approx(6.7e-4, rel=0.01)  # a plain ramp would end at 1.9e-4
    assert alpha_bar(NoiseSchedule(kind="linear"))[-1].item() == pytest.approx(1.9e-4, rel=0.05)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_alpha_bar_is_that_of_diffusers(schedule):
    theirs = DDPMScheduler(
        1000, 0.0015, 0.0155, schedule.kind, rescale_betas_zero_snr=schedule.zero_terminal_snr
    ).alphas_cumprod
    torch.testing.assert_close(alpha_bar(schedule).float(), theirs, rtol=1e-3, atol=1e-6)


def test_zero_terminal_snr_ends_at_zero_keeps_the_start_and_falls():
    plain, rescaled = alpha_bar(SCHEDULES[0]), alpha_bar(SCHEDULES[2])
    assert rescaled[-1] == 0 and rescaled[0].item() == pytest.approx(plain[0].item(), rel=1e-12)
    assert (rescaled.diff() < 0).all()
    with pytest.raises(UserError, match="zero_terminal_snr"):
        NoiseSchedule(zero_terminal_snr=True, prediction="epsilon")


@pytest.mark.parametrize("zero_terminal_snr", [False, True])
@pytest.mark.parametrize("scale", [4.0, 0.25])
def test_the_signal_to_noise_ratio_of_every_step_is_multiplied(scale, zero_terminal_snr):
    plain = alpha_bar(NoiseSchedule(zero_terminal_snr=zero_terminal_snr))
    scaled = alpha_bar(NoiseSchedule(zero_terminal_snr=zero_terminal_snr, snr_scale=scale))
    torch.testing.assert_close(scaled / (1 - scaled), scale * plain / (1 - plain), rtol=1e-9, atol=0)
    assert (scaled.diff() < 0).all()
    assert (scaled[-1] == 0) == zero_terminal_snr


def test_the_scale_is_the_square_of_the_ratio_of_sides_and_never_less_noise():
    assert [snr_scale_for(side, 32) for side in (32, 64, 128, 16)] == [1, 0.25, 0.0625, 1]
    assert snr_scale_for(64, None) == 1


@pytest.mark.parametrize("shift_size", [32, None])
def test_with_the_shift_noise_hides_the_mean_of_large_latents_like_that_of_small_ones(shift_size):
    t, level, ratios = torch.tensor(600), torch.randn(400, generator=torch.Generator().manual_seed(0)), []
    for side in (32, 64):
        schedule = NoiseSchedule(snr_scale=snr_scale_for(side, shift_size))
        clean = level.view(-1, 1, 1, 1).expand(-1, 1, side, side)
        noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(side))
        means = add_noise(clean, t.expand(400), noise, schedule).mean((1, 2, 3))
        signal = alpha_bar(schedule)[t].sqrt().item() * level
        ratios.append(float(signal.var() / (means - signal).var()))
    assert ratios[1] / ratios[0] == pytest.approx(4 if shift_size is None else 1, rel=0.25)


@pytest.mark.parametrize("schedule", SCHEDULES[:3] + SCALED)
def test_the_target_recovers_the_clean_latent(schedule):
    z0, noise, t = torch.randn(4, 3, 2, 2), torch.randn(4, 3, 2, 2), torch.tensor([0, 300, 700, 998])
    z_t = add_noise(z0, t, noise, schedule)
    back = to_x0(target(z0, t, noise, schedule), z_t, t, schedule)
    torch.testing.assert_close(back, z0, atol=1e-2 if schedule.prediction == "epsilon" else 1e-5, rtol=0)


def test_noise_is_added_by_the_closed_form():
    schedule, t = NoiseSchedule(), torch.tensor([10, 900])
    z0, noise = torch.randn(2, 3, 2, 2), torch.randn(2, 3, 2, 2)
    a = alpha_bar(schedule)[t].view(2, 1, 1, 1)
    expected = a.sqrt() * z0 + (1 - a).sqrt() * noise
    torch.testing.assert_close(add_noise(z0, t, noise, schedule).double(), expected, atol=1e-6, rtol=0)


def test_min_snr_weighs_the_clean_latent_alike_in_both_forms():
    v, epsilon = (loss_weights(NoiseSchedule(prediction=p), LossForm("min_snr")) for p in ("v", "epsilon"))
    abar = alpha_bar(NoiseSchedule())
    snr = abar / (1 - abar)
    # |v - v^|^2 = (SNR + 1) |x - x^|^2  and  |e - e^|^2 = SNR |x - x^|^2
    torch.testing.assert_close(v * (snr + 1), snr.clamp_max(5))
    torch.testing.assert_close(epsilon * snr, snr.clamp_max(5))
    assert (loss_weights(NoiseSchedule(), LossForm()) == 1).all()
    with pytest.raises(UserError, match="weighting"):
        LossForm("snr")


@pytest.mark.parametrize("schedule", [SCHEDULES[2], SCALED[1]])
def test_no_step_weighs_less_than_the_least_weight_and_no_other_changes(schedule):
    plain = loss_weights(schedule, LossForm("min_snr"))
    raised = loss_weights(schedule, LossForm("min_snr", min_weight=0.05))
    assert plain[-1] == 0 and raised[-1].item() == pytest.approx(0.05)
    torch.testing.assert_close(raised, torch.maximum(plain, torch.tensor(0.05, dtype=torch.float64)))
    assert (loss_weights(schedule, LossForm(min_weight=0.05)) == 1).all()


def test_loss_is_the_weighted_mean_error_and_zero_for_the_truth():
    schedule, t = NoiseSchedule(), torch.tensor([5, 500])
    z0, noise = torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
    truth = target(z0, t, noise, schedule)
    args = (z0, t, noise, schedule)
    assert (sample_losses(lambda z, t: truth, *args, LossForm()) == 0).all()
    off = truth + torch.tensor([1.0, 3.0]).view(2, 1, 1, 1)
    torch.testing.assert_close(sample_losses(lambda z, t: off, *args, LossForm(norm="l1")), torch.tensor([1.0, 3.0]))
    torch.testing.assert_close(sample_losses(lambda z, t: off, *args, LossForm(norm="l2")), torch.tensor([1.0, 9.0]))
    weights = loss_weights(schedule, LossForm("min_snr"))[t].float()
    expected = (weights * torch.tensor([1.0, 9.0])).mean()
    loss = sample_losses(lambda z, t: off.bfloat16(), *args, LossForm("min_snr")).mean()
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, expected, rtol=1e-2, atol=0)
    with pytest.raises(UserError, match="norm"):
        sample_losses(lambda z, t: off, *args, LossForm(norm="l3"))


@pytest.mark.parametrize("n", [7, 25, 30, 60, 600, 999, 1000])
def test_sampling_goes_from_the_last_step_to_the_first_in_strides_that_shorten(n):
    steps = sampling_steps(1000, n)
    assert len(steps) == n and steps[0] == 999 and steps[-1] == 0
    strides = [a - b for a, b in itertools.pairwise(steps)]
    assert min(strides) >= 1
    assert all(a >= b - 1 for a, b in itertools.pairwise(strides))  # but for rounding
    assert n > 600 or strides[0] > 1.2 * 999 / n > 1.2 * strides[-1]


def test_a_single_step_is_the_last_one_and_a_thousand_are_all():
    assert sampling_steps(1000, 1) == [999] and sampling_steps(1000, 1000) == list(range(999, -1, -1))


@pytest.mark.parametrize("sampler", ["ddpm", "ddim", "dpm++"])
@pytest.mark.parametrize("schedule", SCHEDULES + SCALED)
def test_an_oracle_yields_the_data_distribution(sampler, schedule):
    noise = sample_noise(0, range(64), (1, 16, 16))
    n_steps = 100 if sampler == "dpm++" else 500  # of second and of first order
    z = sample_latents(_oracle(schedule), noise, schedule, sampler, n_steps, _step_noise(noise.shape))
    assert z.mean().item() == pytest.approx(MEAN, abs=0.03)
    assert z.std().item() == pytest.approx(STD, abs=0.03)


@pytest.mark.parametrize("sampler", ["ddpm", "ddim", "dpm++"])
@pytest.mark.parametrize("schedule", [SCHEDULES[2], *SCALED])
def test_every_trained_step_can_be_visited_where_hardly_any_signal_is_left(sampler, schedule):
    noise = sample_noise(0, range(16), (1, 8, 8))
    z = sample_latents(_oracle(schedule), noise, schedule, sampler, 1000, _step_noise(noise.shape))
    assert z.mean().item() == pytest.approx(MEAN, abs=0.06)


@pytest.mark.parametrize("sampler", ["ddpm", "ddim", "dpm++"])
def test_samples_are_never_clipped(sampler):
    schedule = NoiseSchedule(zero_terminal_snr=True)
    noise = sample_noise(0, range(2), (1, 4, 4))
    abar = alpha_bar(schedule)

    def far(z_t, t):  # v of a world in which every latent is 40
        a = abar[t].view(-1, 1, 1, 1).float()
        return (a.sqrt() * z_t - 40) / (1 - a).sqrt()

    z = sample_latents(far, noise, schedule, sampler, 20, _step_noise(noise.shape))
    torch.testing.assert_close(z, torch.full_like(z, 40.0), rtol=1e-3, atol=0)


@pytest.mark.parametrize("sampler", ["ddpm", "ddim", "dpm++"])
def test_no_signal_is_read_from_the_start_at_zero_terminal_snr(sampler):
    noise = torch.randn(2, 1, 4, 4)
    arguments = (lambda z, t: torch.full_like(z, -2.0), noise)
    z = sample_latents(*arguments, NoiseSchedule(zero_terminal_snr=True), sampler, 1, _step_noise(noise.shape))
    torch.testing.assert_close(z, torch.full_like(z, 2.0), atol=2e-3, rtol=0)
    leaky = sample_latents(*arguments, NoiseSchedule(), sampler, 1, _step_noise(noise.shape))
    assert (leaky - 2).abs().max() > 0.01


def _denoise_with_step(schedule):
    return lambda z, t: 0.3 * z + 0.1 * torch.sin(t / 100).view(-1, 1, 1, 1)


@pytest.mark.parametrize("prediction", ["v", "epsilon"])
def test_ddim_over_all_steps_is_that_of_diffusers(prediction):
    schedule = NoiseSchedule(prediction=prediction)
    noise, denoise = torch.randn(2, 3, 4, 4), _denoise_with_step(schedule)
    theirs = DDIMScheduler(
        1000,
        0.0015,
        0.0155,
        "scaled_linear",
        clip_sample=False,
        timestep_spacing="trailing",
        prediction_type="v_prediction" if prediction == "v" else "epsilon",
    )
    theirs.set_timesteps(1000)
    z = noise
    for t in theirs.timesteps:
        z = theirs.step(denoise(z, t.expand(2)), t, z).prev_sample
    torch.testing.assert_close(sample_latents(denoise, noise, schedule, "ddim", 1000), z, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("prediction", ["v", "epsilon"])
def test_ddim_takes_the_noise_of_one_level_to_the_next(prediction):
    schedule, steps = NoiseSchedule(prediction=prediction), sampling_steps(1000, 30)
    noise, denoise = torch.randn(2, 3, 4, 4), _denoise_with_step(schedule)
    abar, z = alpha_bar(schedule), noise.double()
    for t, s in zip(steps, [*steps[1:], None], strict=True):
        a, b = abar[t], abar[s] if s is not None else torch.tensor(1.0, dtype=torch.float64)
        out = denoise(z, torch.full((2,), t))
        x0 = (z - (1 - a).sqrt() * out) / a.sqrt() if prediction == "epsilon" else a.sqrt() * z - (1 - a).sqrt() * out
        z = b.sqrt() * x0 + (1 - b).sqrt() * (z - a.sqrt() * x0) / (1 - a).sqrt()
    torch.testing.assert_close(sample_latents(denoise, noise, schedule, "ddim", 30).double(), z, rtol=1e-3, atol=1e-3)


def test_ddpm_draws_from_the_posterior_of_ddpm():
    schedule, n = NoiseSchedule(), 20
    noise, denoise = torch.randn(2, 3, 4, 4), _denoise_with_step(schedule)
    draw, abar, steps, z = _step_noise(noise.shape), alpha_bar(schedule), sampling_steps(1000, 20), noise.double()
    for i, t in enumerate(steps):
        a, b = abar[t], abar[steps[i + 1]] if i + 1 < n else torch.tensor(1.0)
        x0 = a.sqrt() * z - (1 - a).sqrt() * denoise(z, torch.full((2,), t))
        beta = 1 - a / b
        mean = b.sqrt() * beta / (1 - a) * x0 + (a / b).sqrt() * (1 - b) / (1 - a) * z
        z = mean + ((1 - b) / (1 - a) * beta).sqrt() * (draw(i).double() if i + 1 < n else 0)
    ours = sample_latents(denoise, noise, schedule, "ddpm", n, draw)
    torch.testing.assert_close(ours.double(), z, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("sampler", ["ddpm", "ddim", "dpm++"])
def test_a_sample_does_not_depend_on_its_batch(sampler):
    schedule = NoiseSchedule()

    def draw(indices):
        shape = (2, 4, 4)
        start = sample_noise(7, indices, shape)
        fresh = (lambda i: sample_noise(7, indices, shape, i + 1)) if sampler == "ddpm" else None
        return sample_latents(_oracle(schedule), start, schedule, sampler, 8, fresh)

    whole = draw(range(6))
    torch.testing.assert_close(torch.cat([draw([0, 1]), draw([2]), draw([3, 4, 5])]), whole, atol=1e-6, rtol=0)
    assert torch.equal(draw(range(6)), whole)


def test_noise_is_keyed_by_seed_index_and_draw():
    a = sample_noise(3, [17, 5], (2, 4, 4))
    assert torch.equal(a[0], sample_noise(3, [17], (2, 4, 4))[0]) and a.shape == (2, 2, 4, 4)
    others = [a[1], *sample_noise(4, [17], (2, 4, 4)), *sample_noise(3, [17], (2, 4, 4), draw=1)]
    assert all((a[0] - o).abs().max() > 0.1 for o in others)


@pytest.mark.parametrize("guidance", [0, 0.0, 0.5, 1, 1.0, 3.0])
def test_guidance_goes_from_what_is_untold_towards_what_is_told_and_beyond(guidance):
    calls = []

    def network(factor):
        def denoise(z, t):
            calls.append(factor)
            return factor * z + t.view(-1, 1, 1, 1)

        return denoise

    z, t, told, untold = torch.randn(3, 2, 4, 4), torch.tensor([1, 5, 9]), network(2.5), network(-0.7)
    prediction = guided(told, untold, guidance)(z, t)
    assert sorted(calls) == {0: [-0.7], 1: [2.5]}.get(guidance, [-0.7, 2.5])
    asked, without = told(z, t), untold(z, t)
    torch.testing.assert_close(prediction, (1 - guidance) * without + guidance * asked, atol=1e-5, rtol=1e-5)


# lambda = ln(alpha / sigma),  h_i = lambda_i - lambda_{i-1},  r_i = h_{i-1} / h_i
# D_i = (1 + 1 / 2 r_i) x0_{i-1} - x0_{i-2} / 2 r_i
# z_i = sigma_i / sigma_{i-1} z_{i-1} - alpha_i (exp(-h_i) - 1) D_i,   z_last = x0_last
@pytest.mark.parametrize("n_steps", [8, 21])
@pytest.mark.parametrize("schedule", [SCHEDULES[0], SCHEDULES[1], SCALED[1]])
def test_the_multistep_solver_is_that_of_its_paper(schedule, n_steps):
    """DPM-Solver++(2M), arXiv 2211.01095, algorithm 2; its last step, to no noise at all, is of first order."""
    noise, denoise = torch.randn(2, 3, 4, 4), _denoise_with_step(schedule)
    steps = sampling_steps(1000, n_steps)
    abar = alpha_bar(schedule).clamp_min(2.0**-24)
    alpha, sigma = abar[steps].sqrt(), (1 - abar[steps]).sqrt()
    lam, z, x0 = (alpha / sigma).log(), noise.double(), []
    for i, step in enumerate(steps):
        t = torch.full((2,), step)
        prediction = denoise(z, t)
        if schedule.prediction == "epsilon":
            x0.append((z - sigma[i] * prediction) / alpha[i])
        else:
            x0.append(alpha[i] * z - sigma[i] * prediction)
        if i + 1 == n_steps:
            break
        h = lam[i + 1] - lam[i]
        r = (lam[i] - lam[i - 1]) / h
        slope = x0[-1] if i == 0 else (1 + 1 / (2 * r)) * x0[-1] - 1 / (2 * r) * x0[-2]
        z = sigma[i + 1] / sigma[i] * z - alpha[i + 1] * torch.expm1(-h) * slope
    ours = sample_latents(denoise, noise, schedule, "dpm++", n_steps)
    torch.testing.assert_close(ours.double(), x0[-1], rtol=2e-3, atol=2e-3)


def test_sampling_refuses_what_it_cannot_do():
    schedule, noise = NoiseSchedule(), torch.zeros(1, 1, 2, 2)
    with pytest.raises(UserError, match="unknown sampler"):
        sample_latents(_oracle(schedule), noise, schedule, "euler")
    with pytest.raises(UserError, match="step_noise"):
        sample_latents(_oracle(schedule), noise, schedule, "ddpm")
    with pytest.raises(UserError, match="1 to 1000"):
        sample_latents(_oracle(schedule), noise, schedule, "ddim", 1001)
    with pytest.raises(UserError, match="kind"):
        NoiseSchedule(kind="cosine")
    with pytest.raises(UserError, match="prediction"):
        NoiseSchedule(prediction="x0")
