"""Sampling with streams given, against the exact conditionals of a Gaussian world with its best denoiser."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from specdm.given import given
from specdm.labels import LabelClass, LabelSet
from specdm.model import Drawing, SpecDM, TrainedAutoencoder
from specdm.nn.diffusion import LARGEST_LOG_SNR, NoiseSchedule, log_snr, sampling_steps
from specdm.nn.streams import Streams
from specdm.patches import Normaliser, PatchMeta

SIDE, N = 4, 300  # each of the 4800 pixels is a draw of its own
STREAMS = Streams(("image1", "image2", "mask"), (1, 1, 1))
# Of one pixel's normalised latent (image1, image2, mask).
MEAN = torch.tensor([0.4, -0.3, 0.2], dtype=torch.float64)
COVARIANCE = torch.tensor([[1.0, 0.6, 0.5], [0.6, 0.8, -0.2], [0.5, -0.2, 0.9]], dtype=torch.float64)
LATENT_MEAN, LATENT_STD = torch.tensor([0.5, -0.2, 0.3]), torch.tensor([2.0, 1.5, 0.7])
NORMALISER = Normaliser((0.2,), (0.1,))
TOLERANCE = 0.05


class _Identity:
    """An autoencoder whose latent is the standardised image and +1 or -1 for the class; it notes what it decodes."""

    spec = SimpleNamespace(dates=2, bands=1, classes=2)

    def __init__(self):
        self.decoded = []

    def encode_given(self, images, onehot):
        first = onehot if images is None else images
        mean = torch.zeros(len(first), 3, *first.shape[-2:])
        if images is not None:
            mean[:, : images.shape[1]] = images[:, :, 0]
        if onehot is not None:
            mean[:, 2] = onehot[:, 1] - onehot[:, 0]
        return mean

    def decode(self, z, known=()):
        self.decoded.append((z - LATENT_MEAN.view(-1, 1, 1)) / LATENT_STD.view(-1, 1, 1))
        return z[:, :2, None], torch.cat([-z[:, 2:], z[:, 2:]], dim=1)


class _Best:
    """E[v | z] where z_s = a_s x_s + b_s e_s for each stream s, with x from the Gaussian."""

    spec = SimpleNamespace(streams=3, condition=0)

    def __call__(self, z, log_snr, condition):
        signal = torch.sigmoid(log_snr.double())
        signal = torch.where(log_snr >= LARGEST_LOG_SNR, 1.0, torch.where(log_snr <= -LARGEST_LOG_SNR, 0.0, signal))
        a, b = signal.sqrt(), (1 - signal).sqrt()
        pixels = z.double().permute(0, 2, 3, 1)  # n h w s
        seen = COVARIANCE * a[:, :, None] * a[:, None] + torch.diag_embed(b.square())
        gain = COVARIANCE * a[:, None] @ torch.linalg.inv(seen)  # n s s
        x = MEAN + torch.einsum("nij,nhwj->nhwi", gain, pixels - (a * MEAN)[:, None, None])
        e = (pixels - a[:, None, None] * x) / b.clamp_min(1e-9)[:, None, None]
        v = a[:, None, None] * e - b[:, None, None] * x
        return v.permute(0, 3, 1, 2).float()


@pytest.fixture
def world():
    """A generator of the Gaussian world."""
    labels = LabelSet("two", (LabelClass(0, "low", (0, 0, 0), (0,)), LabelClass(1, "high", (9, 9, 9), (1,))))
    meta = PatchMeta("world", "none", "unitless", ("B04",), 1.0, 0.0, None, labels)
    autoencoder = TrainedAutoencoder(_Identity(), NORMALISER, meta, np.dtype("float32"), (2, 1, SIDE, SIDE), {})
    mean, std = (x.view(-1, 1, 1) for x in (LATENT_MEAN, LATENT_STD))
    schedule, fractions = NoiseSchedule(zero_terminal_snr=True), torch.full((3, 2), 0.5)
    shape, device = (3, SIDE, SIDE), torch.device("cpu")
    return SpecDM(autoencoder, _Best(), schedule, mean, std, shape, fractions, False, STREAMS, device)


def _given(rng, *names):
    """Random arrays, and their normalised latents by stream."""
    arrays, latents = {}, {}
    if "mask" in names:
        arrays["mask"] = rng.integers(0, 2, (N, SIDE, SIDE))
        latents[2] = (2.0 * arrays["mask"] - 1 - 0.3) / 0.7
    dates = {"image": (0, 1), "date1": (0,)}.get(names[0], ())
    if dates:
        standardised = rng.normal(0.5, 2, (N, len(dates), 1, SIDE, SIDE)).astype(np.float32)
        arrays[names[0]] = standardised * np.float32(0.1) + np.float32(0.2)
        for date in dates:
            latents[date] = (standardised[:, date, 0] - LATENT_MEAN[date].item()) / LATENT_STD[date].item()
    return arrays, {s: torch.from_numpy(np.asarray(x, np.float64)) for s, x in latents.items()}


def _conditional(known: dict[int, torch.Tensor]):
    """Mean (n,h,w,D) and covariance (D,D) of the streams that are not known, by the textbook, and their numbers."""
    k, d = list(known), [s for s in range(3) if s not in known]
    if not k:
        return MEAN.expand(N, SIDE, SIDE, 3), COVARIANCE, d
    gain = COVARIANCE[d][:, k] @ torch.linalg.inv(COVARIANCE[k][:, k])
    values = torch.stack([known[s] for s in k], dim=-1)
    return MEAN[d] + (values - MEAN[k]) @ gain.T, COVARIANCE[d][:, d] - gain @ COVARIANCE[k][:, d], d


def _require_law(latents, known, tolerance=TOLERANCE):
    """The drawn streams have the conditional's mean and covariance, whatever is given."""
    mean, covariance, drawn = _conditional(known)
    rest = (latents.double()[:, drawn].permute(0, 2, 3, 1) - mean).flatten(0, 2)
    assert rest.mean(0).abs().max() < tolerance
    assert (torch.cov(rest.T).view(len(drawn), -1) - covariance).abs().max() < tolerance
    for values in known.values():
        assert abs(np.polyfit(values.flatten().numpy(), rest.numpy(), 1)[0]).max() < tolerance


@pytest.mark.parametrize("names", [("mask",), ("image",), ("date1",), ("date1", "mask")])
def test_what_is_drawn_for_given_streams_has_their_conditional_distribution(world, names):
    arrays, known = _given(np.random.default_rng(0), *names)
    world.sample(given=arrays, n_steps=50, batch=N)
    _require_law(world.autoencoder.network.decoded[-1], known)


def test_without_anything_given_all_streams_have_their_joint_distribution(world):
    samples = world.sample(N, n_steps=50, batch=N)
    _require_law(world.autoencoder.network.decoded[-1], {})
    latents = world.autoencoder.network.decoded[-1]
    raw = (latents * LATENT_STD.view(-1, 1, 1) + LATENT_MEAN.view(-1, 1, 1)).numpy()
    np.testing.assert_allclose(samples.images[:, :, 0], raw[:, :2] * 0.1 + 0.2, atol=1e-5)
    np.testing.assert_array_equal(samples.masks, raw[:, 2] > 0)


@pytest.mark.parametrize("sampler", ["ddim", "ddpm"])
def test_the_solvers_of_first_order_draw_from_the_conditional_too(world, sampler):
    arrays, known = _given(np.random.default_rng(1), "mask")
    world.sample(given=arrays, sampler=sampler, n_steps=100, batch=N)
    _require_law(world.autoencoder.network.decoded[-1], known, 0.08)


def test_mask_first_draws_the_mask_alone_and_then_the_images_for_it(world):
    samples = world.sample(N, n_steps=50, batch=N, order="mask-first")
    alone, painted = world.autoencoder.network.decoded
    mask = alone[:, 2].double().flatten()
    assert abs(mask.mean() - MEAN[2]) < TOLERANCE and abs(mask.var() - COVARIANCE[2, 2]) < TOLERANCE
    np.testing.assert_array_equal(samples.masks, (alone[:, 2] * 0.7 + 0.3).numpy() > 0)
    _require_law(painted, {2: torch.from_numpy((2.0 * samples.masks - 1 - 0.3) / 0.7)})


def test_what_is_given_enters_as_it_is_and_what_is_left_out_as_noise(world, monkeypatch):
    calls, best = [], _Best.__call__

    def noted(self, z, log_snr, condition):
        calls.append((z.clone(), log_snr.clone()))
        return best(self, z, log_snr, condition)

    monkeypatch.setattr(_Best, "__call__", noted)
    arrays, known = _given(np.random.default_rng(2), "date1", "mask")
    world.sample(given=arrays, guidance=2.0, n_steps=3, batch=N)
    assert len(calls) == 6
    noise = calls[0][0][:, 2]
    for untold, told in zip(calls[::2], calls[1::2], strict=True):
        torch.testing.assert_close(untold[0][:, 0].double(), known[0], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(told[0][:, 0].double(), known[0], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(told[0][:, 2].double(), known[2], atol=1e-5, rtol=1e-5)
        assert torch.equal(untold[0][:, 2], noise) and abs(noise.std() - 1) < 0.05 and abs(noise.mean()) < 0.05
        assert torch.equal(untold[0][:, 1], told[0][:, 1])
        assert (told[1][:, [0, 2]] == LARGEST_LOG_SNR).all()
        assert (untold[1][:, 0] == LARGEST_LOG_SNR).all() and (untold[1][:, 2] == -LARGEST_LOG_SNR).all()
        assert torch.equal(told[1][:, 1], untold[1][:, 1])
    visited = torch.tensor(sampling_steps(1000, 3))
    assert torch.equal(torch.stack([told[1][0, 1] for told in calls[1::2]]), log_snr(visited, world.schedule))


def test_guidance_away_from_the_marginal_moves_the_mean_as_far_as_it_says(world):
    arrays, known = _given(np.random.default_rng(3), "mask")
    drawing = Drawing(guidance=3.0, n_steps=1)
    world.draw(range(N), 0, drawing, given(arrays, (2, 1, SIDE, SIDE), 2))
    drawn = world.autoencoder.network.decoded[-1][:, :2].double().permute(0, 2, 3, 1)
    told, _, _ = _conditional(known)
    # From pure noise v is -E[x]: one step lands on E[x | mask] + 2 (E[x | mask] - E[x]).
    torch.testing.assert_close(drawn, 3 * told - 2 * MEAN[:2], atol=5e-3, rtol=0)


def test_each_patch_is_drawn_from_noise_of_its_own(world):
    arrays, _ = _given(np.random.default_rng(4), "image")
    same = {"image": np.repeat(arrays["image"][:1], 3, axis=0)}
    world.sample(given=same, n_steps=5)
    latents = world.autoencoder.network.decoded[-1][:, 2]
    assert (latents[0] - latents[1]).abs().max() > 0.1 and (latents[1] - latents[2]).abs().max() > 0.1
