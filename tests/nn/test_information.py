import math

import pytest
import torch

from specdm.nn.diffusion import NoiseSchedule, alpha_bar
from specdm.nn.information import information_levels, pointwise_information

RHO = 0.8


def _predicting(x0_of, schedule):
    """A denoiser in the terms of the schedule from x0_of(z, signal, sigma)."""

    def denoise(z, t):
        abar = alpha_bar(schedule)[t].view(-1, 1, 1, 1).float()
        signal, sigma = abar.sqrt(), (1 - abar).sqrt()
        x0 = x0_of(z, signal, sigma)
        noise = (z - signal * x0) / sigma
        return noise if schedule.prediction == "epsilon" else signal * noise - sigma * x0

    return denoise


def _prior(z, signal, sigma):
    """Posterior mean of x ~ N(0, 1), independent values."""
    return signal * z


def _given(y, rho):
    """Posterior mean of x of which y is known, (x, y) of unit variances with correlation rho."""

    def x0_of(z, signal, sigma):
        left = 1 - rho**2
        return rho * y + left * signal / (left * signal**2 + sigma**2) * (z - signal * rho * y)

    return x0_of


def _pairs(n=4, channels=2, side=5):
    generator = torch.Generator().manual_seed(0)
    x, other = torch.randn(2, n, channels, side, side, generator=generator)
    return x, RHO * x + math.sqrt(1 - RHO**2) * other


def _mean(x, y, schedule, rho=RHO, draws=100, levels=24):
    """Information of y about x, the mean over draws of noise and both signs of each: what is odd in it cancels."""
    many, known = x.repeat(2 * draws, 1, 1, 1), y.repeat(2 * draws, 1, 1, 1)
    generator = torch.Generator().manual_seed(1)

    def noise_of(level):
        noise = torch.randn(draws * len(x), *x.shape[1:], generator=generator)
        return torch.cat([noise, -noise])

    told, untold = _predicting(_given(known, rho), schedule), _predicting(_prior, schedule)
    found = pointwise_information(told, untold, many, noise_of, schedule, levels)
    return found.view(2 * draws, *found[: len(x)].shape).mean(0)


# log p(x|y)/p(x) = -log(1 - rho^2) / 2 - (x - rho y)^2 / (2 (1 - rho^2)) + x^2 / 2
def _log_ratio(x, y):
    left = 1 - RHO**2
    return (-math.log(left) / 2 - (x - RHO * y).square() / (2 * left) + x.square() / 2).sum(1)


@pytest.mark.parametrize(
    "schedule",
    [
        NoiseSchedule(zero_terminal_snr=True),
        NoiseSchedule(prediction="epsilon", kind="linear"),
        NoiseSchedule(snr_scale=0.25),
    ],
    ids=["v", "epsilon", "shifted"],
)
def test_the_information_of_gaussians_is_the_log_ratio_of_their_densities(schedule):
    x, y = _pairs()
    found = _mean(x, y, schedule)
    expected = _log_ratio(x, y)
    assert expected.std() > 0.8
    torch.testing.assert_close(found, expected, atol=0.25, rtol=0.05)
    assert float(found.mean()) == pytest.approx(float(expected.mean()), abs=0.03)


def test_what_is_independent_tells_nothing():
    x, y = _pairs()
    schedule = NoiseSchedule()
    found = _mean(x, y, schedule, rho=0.0, draws=1)
    torch.testing.assert_close(found, torch.zeros_like(found), atol=1e-4, rtol=0)


def test_a_cell_that_contradicts_what_is_told_loses_information_and_no_other_cell():
    x, y = _pairs()
    schedule = NoiseSchedule(zero_terminal_snr=True)
    wrong = x.clone()
    wrong[1, :, 2, 3] = -3 * y[1, :, 2, 3].sign()
    change = _mean(wrong, y, schedule) - _mean(x, y, schedule)
    assert change[1, 2, 3] < -3
    change[1, 2, 3] = 0
    torch.testing.assert_close(change, torch.zeros_like(change))


@pytest.mark.parametrize("schedule", [NoiseSchedule(), NoiseSchedule(zero_terminal_snr=True), NoiseSchedule(n_steps=6)])
def test_levels_are_even_in_log_snr_and_their_widths_fill_the_range(schedule):
    steps, widths = information_levels(schedule, 12)
    logs = torch.logit(alpha_bar(schedule))
    assert (steps.diff() > 0).all() and len(steps) <= 12
    lowest = logs[logs >= -8].min()
    assert float(widths.sum()) == pytest.approx(float(logs[0] - lowest))
    if schedule.n_steps == 1000:
        assert len(steps) == 12
        assert widths.max() < 1.7 * widths.min()
