"""How much an image tells of its mask, or the mask of its image, in bits per cell of the latent, by a generator itself.

A cell is a square of pixels of the patch, of the side by which the autoencoder is coarser. Information is positive
where image and mask speak for each other and negative where they speak against each other: a mask that is wrong there,
or an image that the generator knows too little of.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from specdm.errors import UserError
from specdm.given import Given
from specdm.model import Drawing, SpecDM
from specdm.nn.diffusion import sample_noise
from specdm.nn.information import pointwise_information
from specdm.nn.streams import MASK, Streams


@dataclass(frozen=True)
class Asking:
    """How information is asked for.

    Attributes:
        of: "mask", what all images tell of the mask; "image", what the mask tells of all images; "date2", what the
            mask tells of the second date beyond the first.
        n_levels: noise levels that stand for the integral over them.
        n_noises: draws of noise at each level.
        half: evaluate the denoiser in bfloat16; everything else stays float32.
    """

    of: Literal["mask", "image", "date2"] = "mask"
    n_levels: int = 12
    n_noises: int = 2
    half: bool = False


def require_levels(model: SpecDM) -> None:
    """Refuse (UserError) a model that cannot be asked for a mask with and without its image."""
    if not model.per_stream:
        raise UserError(
            "information: this model has one noise level for image and mask, and cannot tell one from the other: "
            "train one with diffusion.levels: streams."
        )


def _parts(streams: Streams, of: str) -> tuple[frozenset[str], frozenset[str], frozenset[str]]:
    """Streams whose information is asked for, those told beside them, and those told in any case."""
    mask, images, nothing = frozenset({MASK}), frozenset(streams.images), frozenset()
    if of == "date2":
        if len(images) < 2:
            raise UserError("information: this model draws patches of one date, there is no date2: use mask or image.")
        first = frozenset(streams.images[:1])
        return images - first, mask, first
    return (mask, images, nothing) if of == "mask" else (images, mask, nothing)


def cell_px(model: SpecDM) -> int:
    """Side of a cell in pixels."""
    return model.autoencoder.shape[-1] // model.latent_shape[-1]


@torch.no_grad()
def information_bits(model: SpecDM, pairs: Given, indices: Sequence[int], seed: int, asking: Asking) -> np.ndarray:
    """Bits per cell (n,h,w) float32 of labelled pairs: masks and all their images; see specdm.nn.information.

    Args:
        pairs: n masks and images.
        indices: number of each, which with the seed decides its noise: the result does not depend on the batch.
        seed: of the noise.
        asking: direction and effort.
    """
    require_levels(model)
    asked, told, anyhow = _parts(model.streams, asking.of)
    free = model.streams.channels_of(asked).to(model.device)
    mean = pairs.encode(model.autoencoder.network, model.autoencoder.normaliser, model.device)
    latents = (mean - model.latent_mean) / model.latent_std
    # Fractions would tell of the mask beside the images.
    nothing = torch.full((len(pairs), model.fractions.shape[1]), torch.nan)

    def once(draw: int) -> torch.Tensor:
        """Nats by one draw of noise. Every second draw is the one before with the other sign: what is odd cancels."""

        def noise_of(level: int) -> torch.Tensor:
            number = (draw // 2) * (asking.n_levels + 1) + level
            return (-1) ** draw * sample_noise(seed, indices, model.latent_shape, number).to(model.device)

        around, drawing = noise_of(asking.n_levels), Drawing(half=asking.half)
        return pointwise_information(
            model.denoising(nothing, drawing, told | anyhow, frozenset(), latents, around, free),
            model.denoising(nothing, drawing, anyhow, told, latents, around, free),
            latents[:, free],
            lambda level: noise_of(level)[:, free],
            model.schedule,
            asking.n_levels,
        )

    nats = sum(once(draw) for draw in range(asking.n_noises)) / asking.n_noises
    return (nats / math.log(2)).cpu().numpy()
