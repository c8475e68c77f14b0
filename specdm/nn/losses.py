"""Losses of the two-stream autoencoder (paper Eq. 1 and 2), always in float32 and always means over elements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    from specdm.nn.autoencoder import Reconstruction

MIN_SPECTRUM = 1e-3  # reflectance; below this norm (10 DN of Sentinel-2) a spectrum has no direction worth measuring


@dataclass(frozen=True)
class AutoencoderLossWeights:
    """Weights of the terms of Eq. (1) and (2): `sad` is the paper's 0.1; the weight of the L1 term is 1.

    `kl` multiplies each stream's *mean* KL over its latent values. Its default is LDM's 1e-6 (which multiplies sums)
    converted for 10 x 128 x 128 images and 4 x 32 x 32 latents, see `kl_weight_from_sums`.
    """

    sad: float = 0.1
    mask: float = 1.0  # ASSUME: Eq. (2) adds the streams without a weight
    kl: float = 2.5e-8  # ASSUME: the paper follows LDM (kl_weight 1e-6)


# KL-weight: sum(l1)/n_data + w sum(kl)/n_data  =  mean(l1) + (w n_latents / n_data) mean(kl)
def kl_weight_from_sums(weight: float, n_data_values: int, n_latents: int) -> float:
    """Weight on mean KL (beside mean L1) that equals `weight` on KL summed per sample (beside summed L1), as in LDM."""
    return weight * n_latents / n_data_values


# theta = 2 atan2(|u - v|, |u + v|),  u = a/|a|, v = b/|b|
def spectral_angle(a: Tensor, b: Tensor, dim: int) -> Tensor:
    """Angle in radians, 0..pi, between the spectra of a and b along `dim` (float32, that dimension removed).

    Exactly 0 with finite gradients for parallel spectra, where arccos has an infinite slope. Where either spectrum is
    shorter than MIN_SPECTRUM the angle is undefined: 0 without gradient (see `has_spectrum`). Paper Eq. (1), SAD term.
    """
    a, b = a.float(), b.float()
    u, v = F.normalize(a, dim=dim), F.normalize(b, dim=dim)
    angle = 2 * torch.atan2(torch.linalg.vector_norm(u - v, dim=dim), torch.linalg.vector_norm(u + v, dim=dim))
    return torch.where(has_spectrum(a, dim) & has_spectrum(b, dim), angle, 0.0)


def has_spectrum(a: Tensor, dim: int) -> Tensor:
    """True where the spectrum along `dim` is at least MIN_SPECTRUM long, so that its direction means something."""
    return torch.linalg.vector_norm(a.detach().float(), dim=dim) >= MIN_SPECTRUM


def l1(a: Tensor, b: Tensor, valid: Tensor | None = None) -> Tensor:
    """Mean absolute difference, float32; only where `valid` (broadcastable bool) if given, 0 when nothing is."""
    return _mean_where((a.float() - b.float()).abs(), valid)


# KL(N(m, s^2) || N(0, 1)) = (m^2 + s^2 - 1) / 2 - ln s
def kl_mean(mean: Tensor, std: Tensor) -> Tensor:
    """KL divergence of a diagonal Gaussian from N(0, 1) in nats, the mean over all latent values, float32."""
    mean, std = mean.float(), std.float()
    return (0.5 * (mean.square() + std.square() - 1) - std.log()).mean()


def mask_cross_entropy(
    logits: Tensor, target: Tensor, ignore: int = 255, class_weights: Tensor | None = None
) -> Tensor:
    """Cross entropy in nats, the mean over labelled pixels, float32; 0 with zero gradients when none is labelled.

    logits (N, K, H, W); target (N, H, W) integer ids 0..K-1 or `ignore`; class_weights (K,) float32 multiply the
    pixels of their class (none in the paper). Paper Eq. (2).
    """
    target = target.long()
    total = F.cross_entropy(logits.float(), target, class_weights, ignore_index=ignore, reduction="sum")
    return total / (target != ignore).sum().clamp_min(1)


# Eq. (1)  L_image = |x - x^| + sad SAD(x, x^) + kl KL_image       Eq. (2)  L = L_image + mask CE(y, y^) + kl KL_mask
def autoencoder_loss(
    recon: Reconstruction,
    images: Tensor,
    masks: Tensor,
    weights: AutoencoderLossWeights,
    refl_mean: Tensor | Sequence[float],
    refl_std: Tensor | Sequence[float],
    streams: Mapping[str, slice],
    valid: Tensor | None = None,
) -> dict[str, Tensor]:
    """Terms of the autoencoder's loss as float32 scalars: total, l1, sad_rad, cross_entropy, and kl_* of each stream.

    Paper Eq. 1 and 2. `l1` is in standardised units; `sad_rad` in radians between reflectance spectra, negative values
    clamped to zero.

    images (N, T, C, H, W) standardised as (reflectance - refl_mean) / refl_std with refl_mean, refl_std (C,);
    masks (N, H, W) ids or 255; streams: channels of the latent that each autoencoder makes, see
    `JointAutoencoder.autoencoder_slices`; valid (N, T, H, W) bool, False for nodata, which no image term sees.
    """
    offset = torch.as_tensor(refl_mean, dtype=torch.float32, device=images.device).view(-1, 1, 1)
    scale = torch.as_tensor(refl_std, dtype=torch.float32, device=images.device).view(-1, 1, 1)
    # ASSUME: the paper does not name the space of the SAD; angles between centred vectors are not spectral angles.
    real = (images.float() * scale + offset).relu()  # N T C H W, reflectance
    fake = (recon.images.float() * scale + offset).relu()
    defined = has_spectrum(real, 2) & has_spectrum(fake, 2)  # N T H W
    terms = {
        "l1": l1(recon.images, images, None if valid is None else valid.unsqueeze(2)),
        "sad_rad": _mean_where(spectral_angle(real, fake, 2), defined if valid is None else defined & valid),
        "cross_entropy": mask_cross_entropy(recon.mask_logits, masks),
    }
    mean, std = recon.posterior
    kl = {f"kl_{name}": kl_mean(mean[:, channels], std[:, channels]) for name, channels in streams.items()}
    image_term = terms["l1"] + weights.sad * terms["sad_rad"]
    total = image_term + weights.mask * terms["cross_entropy"] + weights.kl * sum(kl.values())
    return {"total": total, **terms, **kl}


def _mean_where(values: Tensor, keep: Tensor | None) -> Tensor:
    if keep is None:
        return values.mean()
    keep = keep.expand_as(values)
    return torch.where(keep, values, 0.0).sum() / keep.sum().clamp_min(1)
