"""The one door to diffusers: its autoencoder, U-Net and solver, built with the switches that matter set explicitly."""

from __future__ import annotations

import torch
from diffusers import AutoencoderKL, DPMSolverMultistepScheduler, UNet2DModel

SAMPLERS = ("ddpm", "ddim", "dpm++")
LEAST_SIGNAL = 2.0**-24  # of the variance


def kl_autoencoder(
    in_channels: int,
    out_channels: int,
    latent_channels: int,
    width: int,
    multipliers: tuple[int, ...],
    layers: int = 2,
    norm_groups: int = 32,
    mid_attention: bool = True,
) -> AutoencoderKL:
    """KL-regularised convolutional autoencoder of LDM (configs/autoencoder), downsampling by 2^(len(multipliers)-1).

    Level i has width * multipliers[i] channels and `layers` residual blocks (one more in the decoder). LDM always has
    attention in the middle block. The stored scaling factor and latent statistics of diffusers are never applied by
    its encode/decode: the normaliser of the latents is ours.
    """
    levels = len(multipliers)
    return AutoencoderKL(
        in_channels=in_channels,
        out_channels=out_channels,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        block_out_channels=tuple(width * m for m in multipliers),
        layers_per_block=layers,
        latent_channels=latent_channels,
        norm_num_groups=norm_groups,
        mid_block_add_attention=mid_attention,
        scaling_factor=1.0,
    )


def unet(
    channels: int,
    size: int,
    width: int,
    multipliers: tuple[int, ...],
    attention_levels: tuple[bool, ...],
    layers: int = 2,
    head_dim: int = 32,
    norm_groups: int = 32,
    dropout: float = 0.0,
    resnet_updown: bool = False,
    scale_shift: bool = False,
    conditioned: bool = False,
) -> UNet2DModel:
    """Time-conditioned U-Net of LDM: `channels` in and out, self-attention at the levels marked true and in the middle.

    `conditioned`: it also takes an embedding (N, 4 width) as class_labels, which is added to that of time.

    `head_dim` fixes the width of one attention head; LDM's churches config fixes the number of heads instead, which
    only equals this at one level.
    """
    resample = "resnet" if resnet_updown else "conv"
    return UNet2DModel(
        sample_size=size,
        in_channels=channels,
        out_channels=channels,
        down_block_types=tuple("AttnDownBlock2D" if a else "DownBlock2D" for a in attention_levels),
        up_block_types=tuple("AttnUpBlock2D" if a else "UpBlock2D" for a in reversed(attention_levels)),
        block_out_channels=tuple(width * m for m in multipliers),
        layers_per_block=layers,
        attention_head_dim=head_dim,
        norm_num_groups=norm_groups,
        dropout=dropout,
        downsample_type=resample,
        upsample_type=resample,
        resnet_time_scale_shift="scale_shift" if scale_shift else "default",
        class_embed_type="identity" if conditioned else None,
    )


def scheduler(
    sampler: str, timesteps: list[int], alpha_bar: torch.Tensor, prediction: str
) -> DPMSolverMultistepScheduler:
    """Solver that walks down `timesteps` (descending training steps) and from the last of them to clean data.

    alpha_bar (n_train_steps,) is the share of signal variance at each training step.

    All three samplers are members of the DPM-Solver++ family (Lu et al., arXiv 2211.01095), so one class with one
    time grid serves them: `ddim` is the deterministic first-order member, `dpm++` the second-order multistep one, and
    `ddpm` the first-order stochastic one, whose Gaussian is the posterior q(z_s | z_t, z_0) of DDPM. This avoids what
    the DDPM and DDIM classes do by default (clipping samples to [-1, 1], starting below the last step) and the
    uneven strides of DDIM when the number of steps does not divide the number of training steps.
    """
    # The solver takes betas and works with log-SNR, which must stay finite where no signal is left.
    signal = alpha_bar.double()
    signal = signal.clamp_min(min(LEAST_SIGNAL, float(signal[signal > 0].min()) / 4))  # and must fall at every step
    betas = 1 - signal / torch.cat([signal.new_ones(1), signal[:-1]])
    solver = DPMSolverMultistepScheduler(
        num_train_timesteps=len(signal),
        trained_betas=betas.tolist(),
        prediction_type={"v": "v_prediction", "epsilon": "epsilon"}[prediction],
        algorithm_type="sde-dpmsolver++" if sampler == "ddpm" else "dpmsolver++",
        solver_order=2 if sampler == "dpm++" else 1,
        thresholding=False,
        final_sigmas_type="zero",
        timestep_spacing="trailing",
    )
    solver.set_timesteps(timesteps=timesteps)
    solver.set_begin_index(0)
    return solver
