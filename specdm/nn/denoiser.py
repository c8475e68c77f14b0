"""The denoiser: a time-conditioned U-Net over the joint latent (paper Sec. 3.2), and the spec that builds it."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from specdm.errors import UserError
from specdm.nn import backbones


@dataclass(frozen=True)
class DenoiserSpec:
    """All that is needed to build a Denoiser.

    latent_channels: Z, the channels of the joint latent; latent_size: its side in pixels, a multiple of
    2^(levels - 1). Level i works at latent_size / 2^i with width * multipliers[i] channels and has self-attention
    where attention_levels[i]; head_dim is the width of one head. resnet_updown: resample inside residual blocks;
    scale_shift: time enters as scale and shift of the norm (both as in LDM's lsun_churches config). condition: length
    of a vector that the denoiser is told beside the noisy latent (specdm.nn.conditions), 0 for none. streams: how many
    streams have noise levels of their own, 0 for one level of the whole latent.
    """

    latent_channels: int
    latent_size: int
    width: int
    multipliers: tuple[int, ...]
    attention_levels: tuple[bool, ...]
    layers: int = 2
    head_dim: int = 32
    norm_groups: int = 32
    dropout: float = 0.0
    resnet_updown: bool = False
    scale_shift: bool = False
    condition: int = 0
    streams: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "multipliers", tuple(self.multipliers))
        object.__setattr__(self, "attention_levels", tuple(self.attention_levels))
        levels = len(self.multipliers)
        if len(self.attention_levels) != levels:
            raise UserError(
                f"denoiser: {len(self.attention_levels)} attention_levels for {levels} multipliers; give one a level."
            )
        if self.latent_size % 2 ** (levels - 1):
            raise UserError(
                f"denoiser: a latent of {self.latent_size} pixels does not divide by {2 ** (levels - 1)}; "
                "use fewer multipliers or another patch size."
            )
        for channels, attention in zip((self.width * m for m in self.multipliers), self.attention_levels, strict=True):
            if channels % self.norm_groups:
                raise UserError(
                    f"denoiser: a level of {channels} channels does not divide into {self.norm_groups} norm groups; "
                    "choose a width that is a multiple of norm_groups, or fewer groups."
                )
            if attention and channels % self.head_dim:
                raise UserError(
                    f"denoiser: a level of {channels} channels does not divide into heads of {self.head_dim}; "
                    "choose a head_dim that divides every level with attention."
                )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types; `from_dict` is the inverse."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> DenoiserSpec:
        """Inverse of `to_dict`; unknown or missing keys are a UserError."""
        try:
            return cls(**plain)
        except TypeError as error:
            raise UserError(f"denoiser settings do not fit this version of specdm: {error}.") from error


class Denoiser(nn.Module):
    """Predicts v or the noise (as the schedule says) from a noisy latent and its level, or those of its streams."""

    def __init__(self, spec: DenoiserSpec) -> None:
        super().__init__()
        self.spec = spec
        told = spec.condition + spec.streams * len(_features(torch.zeros(1, 1))[0])
        self.unet = backbones.unet(
            spec.latent_channels,
            spec.latent_size,
            spec.width,
            spec.multipliers,
            spec.attention_levels,
            spec.layers,
            spec.head_dim,
            spec.norm_groups,
            spec.dropout,
            spec.resnet_updown,
            spec.scale_shift,
            told > 0,
        )
        if told:
            width = 4 * spec.width  # of the time embedding, which it is added to
            self.condition = nn.Sequential(nn.Linear(told, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, z_t: Tensor, t: Tensor, condition: Tensor | None = None) -> Tensor:
        """Prediction (N, Z, h, w) for z_t (N, Z, h, w).

        t: integer steps (N,), each 0..n_steps-1; with streams, the log signal-to-noise ratio of each, (N, S) float32
        (`specdm.nn.diffusion.log_snr`). A denoiser with a condition needs it, (N, spec.condition) float32; one without
        takes none.
        """
        told = [condition] if self.spec.condition else []
        if self.spec.streams:
            told, t = [_features(t), *told], z_t.new_zeros(len(z_t))  # the U-Net's own time stands still
        if told:
            return self.unet(z_t, t, self.condition(torch.cat(told, dim=1))).sample
        return self.unet(z_t, t).sample


# [x, sin(w_k x), cos(w_k x)],   w_k = 2^k pi / 24,   k = 0..5: the slowest wave spans all levels
def _features(log_snr: Tensor) -> Tensor:
    """Features (N, 13 S) of log signal-to-noise ratios (N, S) between -12 and 12."""
    waves = log_snr[..., None] * (math.pi / 24 * 2.0 ** torch.arange(6, device=log_snr.device))
    return torch.cat([log_snr[..., None] / 12, waves.sin(), waves.cos()], dim=2).flatten(1)
