"""The generators of the paper's configuration can be built; no weights are allocated."""

import functools
from pathlib import Path

import pytest
import torch

from specdm import bands, config
from specdm.nn.autoencoder import JointAutoencoder
from specdm.nn.conditions import condition_width
from specdm.nn.denoiser import Denoiser
from specdm.nn.losses import kl_weight_from_sums
from specdm.stages.train_autoencoder import autoencoder_spec
from specdm.stages.train_diffusion import denoiser_spec

PAPER = config.load([Path(__file__).parents[2] / "config" / "config.yaml"])
CLASSES, DATES = {"segmunich": 13, "oscd": 2}, {"segmunich": 1, "oscd": 2}
PAIRS = [(name, method) for name in PAPER.datasets for method in PAPER.methods]


def _autoencoder(dataset: str, method: str) -> JointAutoencoder:
    n_bands = len(bands.resolve(PAPER.datasets[dataset].prepare.bands))
    settings = PAPER.method(dataset, method).autoencoder
    return JointAutoencoder(autoencoder_spec(settings, n_bands, CLASSES[dataset], DATES[dataset]))


def _denoiser(dataset: str, method: str, autoencoder: JointAutoencoder) -> Denoiser:
    settings = PAPER.method(dataset, method).diffusion
    size = PAPER.datasets[dataset].prepare.patch_px // autoencoder.downsampling
    told = condition_width(CLASSES[dataset]) if settings.conditioning else 0
    return Denoiser(denoiser_spec(settings.unet, autoencoder.latent_channels, size, told))


@functools.cache
def _built(dataset: str, method: str) -> tuple[JointAutoencoder, Denoiser]:
    """Both networks, without memory for their weights."""
    with torch.device("meta"):
        autoencoder = _autoencoder(dataset, method)
        return autoencoder, _denoiser(dataset, method, autoencoder)


def _millions(module: torch.nn.Module) -> float:
    return sum(p.numel() for p in module.parameters()) / 1e6


@pytest.mark.parametrize(("dataset", "method"), PAIRS)
def test_generator_fits_its_patches(dataset, method):
    patch_px = PAPER.datasets[dataset].prepare.patch_px
    autoencoder, denoiser = _built(dataset, method)
    with torch.device("meta"):
        size = patch_px // autoencoder.downsampling
        latent, t = torch.empty(2, autoencoder.latent_channels, size, size), torch.zeros(2, dtype=torch.long)
        told = [torch.empty(2, denoiser.spec.condition)] if denoiser.spec.condition else []
        assert denoiser(latent, t, *told).shape == latent.shape
        images, masks = autoencoder.decode(latent)
    assert images.shape == (2, DATES[dataset], len(bands.resolve("paper")), patch_px, patch_px)
    assert masks.shape == (2, CLASSES[dataset], patch_px, patch_px)


@pytest.mark.parametrize("dataset", ["segmunich", "oscd"])
def test_the_baseline_has_as_many_latent_values_as_the_two_streams(dataset):
    two, one = (_built(dataset, method)[0] for method in ("specdm", "ldm"))
    assert two.latent_channels == {"segmunich": 8 + 4, "oscd": 8 + 8 + 4}[dataset]
    assert one.latent_channels == two.latent_channels
    assert list(one.stream_slices) == ["joint"]


@pytest.mark.parametrize(
    ("dataset", "method", "image", "denoiser"),
    [
        ("segmunich", "specdm-paper", 55.34, 288.49),  # 8 latent channels
        ("oscd", "specdm-paper", 55.34, 288.50),  # 12
        ("segmunich", "specdm-paper-f8", 83.7, None),
        ("segmunich", "specdm", None, 85.4),
    ],
)
def test_parameters_are_those_of_latent_diffusion(dataset, method, image, denoiser):
    autoencoder, unet = _built(dataset, method)
    if image:
        assert _millions(autoencoder.image) == pytest.approx(image, abs=0.05 if image > 60 else 0.005)
    if denoiser:
        assert _millions(unet) == pytest.approx(denoiser, abs=0.005 if denoiser > 200 else 0.5)


def test_the_papers_learning_rates_are_those_of_latent_diffusion():
    settings = PAPER.method("segmunich", "specdm-paper")
    assert settings.autoencoder.base_lr == pytest.approx(24 * 4.5e-6)
    assert settings.diffusion.base_lr == 5e-5
    assert PAPER.method("segmunich", "specdm").autoencoder.base_lr == 1e-4


@pytest.mark.parametrize(("method", "factor", "size"), [("specdm-paper", 4, 32), ("specdm-paper-f8", 8, 16)])
def test_the_papers_kl_weight_is_ldms_for_these_sizes(method, factor, size):
    settings = PAPER.method("segmunich", method).autoencoder
    assert settings.image.downsampling == factor
    n_latents = settings.image.latent_channels * size * size
    assert settings.kl_weight == pytest.approx(kl_weight_from_sums(1e-6, 10 * 128 * 128, n_latents), rel=0.02)


def test_the_papers_diffusion_is_what_it_prints():
    settings = PAPER.method("segmunich", "specdm-paper")
    diffusion = settings.diffusion
    assert (diffusion.n_steps, diffusion.beta_start, diffusion.beta_end) == (1000, 0.0015, 0.0155)
    assert (diffusion.prediction, diffusion.norm, diffusion.weighting) == ("epsilon", "l1", "none")
    assert (diffusion.ema_decay, diffusion.shift_size, diffusion.zero_terminal_snr) == (0.9999, None, False)
    assert not diffusion.conditioning and not diffusion.swap_dates and not diffusion.patience
    assert settings.sampling.sampler in ("ddim", "ddpm")
    assert (settings.autoencoder.sad_weight, PAPER.methods["specdm-no-sad"].autoencoder.sad_weight) == (0.1, 0)


def test_the_page_of_the_presets_states_their_sizes():
    """docs/presets.md is made by hand from a benchmark's output: its counts must stay those of the configuration."""
    page = (Path(__file__).parents[2] / "docs" / "presets.md").read_text()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines()]
    rows = [row for row in rows if row and row[0] in PAPER.datasets]
    of_the_same_size = ("specdm-no-sad", "specdm-subset")  # as specdm
    assert {(row[0], row[1]) for row in rows} == {pair for pair in PAIRS if pair[1] not in of_the_same_size}
    for dataset, method, latent, streams, unet, *_ in rows:
        autoencoder, denoiser = _built(dataset, method)
        side = denoiser.spec.latent_size
        assert latent == f"{autoencoder.latent_channels} × {side} × {side}"
        assert streams == " + ".join(f"{_millions(stream):.1f}" for stream in autoencoder.children())
        assert unet == f"{_millions(denoiser):.2f}"
