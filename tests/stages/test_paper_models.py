"""The generators of the paper's configuration can be built; no weights are allocated."""

from pathlib import Path

import pytest
import torch

from specdm import bands, config
from specdm.nn.autoencoder import JointAutoencoder
from specdm.nn.denoiser import Denoiser
from specdm.stages.train_autoencoder import autoencoder_spec
from specdm.stages.train_diffusion import denoiser_spec

PAPER = config.load([Path(__file__).parents[2] / "config" / "config.yaml"])
CLASSES, DATES = {"segmunich": 13, "oscd": 2}, {"segmunich": 1, "oscd": 2}
PAIRS = [(name, method) for name, dataset in PAPER.datasets.items() for method in dataset.methods]


@pytest.mark.parametrize(("dataset", "method"), PAIRS)
def test_generator_fits_its_patches(dataset, method):
    settings, prepare = PAPER.method(dataset, method), PAPER.datasets[dataset].prepare
    n_bands = len(bands.resolve(prepare.bands))
    with torch.device("meta"):
        autoencoder = JointAutoencoder(
            autoencoder_spec(settings.autoencoder, n_bands, CLASSES[dataset], DATES[dataset])
        )
        size = prepare.patch_px // autoencoder.downsampling
        denoiser = Denoiser(denoiser_spec(settings.diffusion.unet, autoencoder.latent_channels, size))
        latent = torch.empty(2, autoencoder.latent_channels, size, size)
        assert denoiser(latent, torch.zeros(2, dtype=torch.long)).shape == latent.shape
        images, masks = autoencoder.decode(latent)
    assert images.shape == (2, DATES[dataset], n_bands, prepare.patch_px, prepare.patch_px)
    assert masks.shape == (2, CLASSES[dataset], prepare.patch_px, prepare.patch_px)


def test_the_baseline_has_as_many_latent_values_as_the_two_streams():
    two, one = (PAPER.method("segmunich", method).autoencoder for method in ("specdm", "ldm"))
    assert one.image.latent_channels == two.image.latent_channels + two.mask.latent_channels
