"""FLOP and parameters of everything that the paper's experiments train and use, counted on one patch.

Generators and judges are run without values; downstream networks, some of whose losses look at values, on noise. A
multiplication and an addition are two FLOP; convolutions, matrix products and attention count. A step of a training is
three times its forward pass: PyTorch's own count of the way back is too large for convolutions in groups.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from preset_costs import TASKS, gflop
from torch._subclasses.fake_tensor import FakeTensorMode

from specdm import bands
from specdm.config import Config
from specdm.nn import downstream
from specdm.nn.autoencoder import JointAutoencoder
from specdm.nn.conditions import condition_width
from specdm.nn.denoiser import Denoiser
from specdm.nn.teacher import Teacher
from specdm.stages.train_autoencoder import autoencoder_spec
from specdm.stages.train_diffusion import denoiser_spec

FORWARD_AND_BACK = 3
TEACHER = "teacher"


@dataclass(frozen=True)
class Counted:
    """Parameters, and GFLOP of one patch, latent or pair, by what is done with it (as in the table of rates)."""

    parameters: dict[str, int]
    gflop: dict[str, float]


def counted(whole: Config, dataset: str, name: str) -> Counted:
    """A method's generator, a downstream network, or the judge `teacher`."""
    px, (classes, dates) = whole.datasets[dataset].prepare.patch_px, TASKS[dataset]
    shape = {"bands": len(bands.resolve("paper")), "classes": classes, "dates": dates}
    if name == TEACHER:
        return _teacher(shape, px, whole.datasets[dataset].teacher.width)
    if name in whole.methods:
        return _generator(whole, dataset, name, shape, px)
    return _network(name, shape, px, whole.downstream.options.get(name, {}))


def _generator(whole: Config, dataset: str, method: str, shape: dict[str, int], px: int) -> Counted:
    settings = whole.method(dataset, method)
    with FakeTensorMode():
        autoencoder = JointAutoencoder(autoencoder_spec(settings.autoencoder, *shape.values()))
        z, side = autoencoder.latent_channels, px // autoencoder.downsampling
        told = condition_width(shape["classes"]) if settings.diffusion.conditioning else 0
        denoiser = Denoiser(denoiser_spec(settings.diffusion.unet, z, side, told))
        latents, more = torch.empty(1, z, side, side), (torch.empty(1, told),) if told else ()
        encoding = gflop(lambda: autoencoder.encode(*_images(shape, px)))
        decoding = gflop(lambda: autoencoder.decode(latents))
        denoising = gflop(lambda: denoiser(latents, torch.zeros(1, dtype=torch.long), *more))
    return Counted(
        {"autoencoder": _parameters(autoencoder), "denoiser": _parameters(denoiser)},
        {
            "autoencoder training": FORWARD_AND_BACK * (encoding + decoding),
            "encoding": encoding,
            "denoiser training": FORWARD_AND_BACK * denoising,
            "sampling": settings.sampling.n_steps * denoising + decoding,
        },
    )


@torch.no_grad()
def _network(name: str, shape: dict[str, int], px: int, options: dict) -> Counted:
    network, n = downstream.build(name, **shape, **options), 2  # some normalisations need several patches
    images = torch.randn(n, shape["dates"], shape["bands"], px, px)
    masks = torch.randint(shape["classes"], (n, px, px))
    training = FORWARD_AND_BACK * gflop(lambda: network.training_loss(images, masks, None)) / n
    use = gflop(lambda: network.eval()(images)) / n
    return Counted({name: _parameters(network)}, {"downstream training": training, "downstream inference": use})


def _teacher(shape: dict[str, int], px: int, width: int) -> Counted:
    with FakeTensorMode():
        network = Teacher(**shape, width=width)
        training = FORWARD_AND_BACK * gflop(lambda: network(*_images(shape, px)))
    return Counted({TEACHER: _parameters(network)}, {"teacher training": training})


def _images(shape: dict[str, int], px: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Images and one-hot masks without values."""
    return torch.empty(1, shape["dates"], shape["bands"], px, px), torch.empty(1, shape["classes"], px, px)


def _parameters(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())
