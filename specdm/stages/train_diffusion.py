"""Second stage: train the denoiser on the joint latents of image and mask (paper section 3.2)."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import torch

from specdm import files, provenance, training
from specdm.model import save_weights
from specdm.nn.denoiser import Denoiser, DenoiserSpec
from specdm.nn.diffusion import NoiseSchedule, diffusion_loss, sample_losses
from specdm.randomness import batch_positions, numpy_generator, seed_of, torch_generator
from specdm.settings import DiffusionSettings, UNetSettings
from specdm.stages.encode import Latents, open_latents

STAGE_VERSION = 1
N_HELD_OUT = 256  # validation latents, each at one fixed noise level


def train_diffusion(
    latents_folder: Path,
    out: Path,
    state: Path,
    settings: DiffusionSettings,
    seed: int,
    max_minutes: float = 0,
    resume_only: bool = False,
) -> str:
    """Train on encoded patches and write weights.safetensors (the average's), config.json and history.csv to `out`.

    history.csv holds the denoising loss of validation latents at fixed noise ("held_out") beside the training loss:
    when the two part, the model has begun to memorise. Returns what was made, in words.

    Raises:
        UserError: see specdm.training.fit.
    """
    latents = open_latents(latents_folder)
    z, h, _ = latents.meta["shape"]
    spec = denoiser_spec(settings.unet, z, h)
    schedule = NoiseSchedule(
        n_steps=settings.n_steps,
        beta_start=settings.beta_start,
        beta_end=settings.beta_end,
        kind=settings.beta_schedule,
        zero_terminal_snr=settings.zero_terminal_snr,
        prediction=settings.prediction,
    )
    torch.manual_seed(seed_of(seed, "train-diffusion", "weights"))
    denoiser = Denoiser(spec)
    n_train, n_views = latents.meta["n_train"], latents.mean.shape[1]

    def loss_at(model, step: int, device: torch.device) -> dict[str, torch.Tensor]:
        keys = (seed, "train-diffusion")
        rows = batch_positions(n_train, settings.batch, step, *keys)
        rng = numpy_generator(*keys, "draw", step)
        views, t = rng.integers(n_views, size=len(rows)), rng.integers(settings.n_steps, size=len(rows))
        noises = torch.randn((2, len(rows), *latents.meta["shape"]), generator=torch_generator(*keys, "noise", step))
        clean = latents.draw(rows, views, noises[0]).to(device)
        loss = diffusion_loss(
            model,
            clean,
            torch.from_numpy(t).to(device),
            noises[1].to(device),
            schedule,
            settings.weighting,
            settings.norm,
        )
        return {"total": loss}

    stamp = provenance.stamp("train-diffusion", STAGE_VERSION, seed, settings.model_dump(mode="json"))
    fingerprint = {
        "settings": stamp["settings"],
        "seed": seed,
        "latents": latents.meta["id"],
        "stage_version": STAGE_VERSION,
    }
    trained = training.fit(
        denoiser,
        torch.optim.AdamW(denoiser.parameters(), settings.learning_rate, weight_decay=0.0, fused=True),
        loss_at,
        training.warmup_then(settings.steps, settings.decay, settings.warmup_steps),
        training.Plan(
            settings.steps,
            settings.precision,
            ema_decay=settings.ema_decay,
            val_every=max(settings.steps // 20, 1) if latents.meta["n_val"] else 0,
            max_minutes=max_minutes,
            resume_only=resume_only,
        ),
        state,
        fingerprint,
        validate=lambda model, device: _held_out_loss(model, latents, schedule, settings, seed, device),
        name=f"denoiser of {latents.meta['name']}",
    )
    config = {
        "kind": "denoiser",
        "id": files.digest(fingerprint),
        "spec": spec.to_dict(),
        "schedule": dataclasses.asdict(schedule),
        "latents": {key: latents.meta[key] for key in ("mean", "std", "shape", "streams")},
        "autoencoder": latents.meta["autoencoder"],
        "data_hash": latents.meta["data_hash"],
        "provenance": stamp,
    }
    save_weights(
        out,
        trained.weights,
        config,
        lambda folder: training.write_history(folder / "history.csv", trained.history),
    )
    shutil.rmtree(state, ignore_errors=True)
    return training.made(denoiser, settings.steps, out)


def denoiser_spec(unet: UNetSettings, channels: int, size: int) -> DenoiserSpec:
    """The U-Net of the settings for latents (channels, size, size)."""
    return DenoiserSpec(
        latent_channels=channels,
        latent_size=size,
        width=unet.width,
        multipliers=unet.multipliers,
        attention_levels=tuple(size // 2**level <= unet.attention_max_size for level in range(len(unet.multipliers))),
        layers=unet.layers,
        head_dim=unet.head_dim,
        norm_groups=unet.norm_groups,
        dropout=unet.dropout,
        resnet_updown=unet.resnet_updown,
        scale_shift=unet.scale_shift,
    )


def _held_out_loss(
    model, latents: Latents, schedule: NoiseSchedule, settings: DiffusionSettings, seed: int, device: torch.device
) -> dict[str, float]:
    """Mean denoising loss of validation latents, noise and levels the same at every call."""
    n_train, n_val = latents.meta["n_train"], latents.meta["n_val"]
    rows = np.resize(np.arange(n_train, n_train + n_val), N_HELD_OUT)
    t = torch.linspace(0, settings.n_steps - 1, N_HELD_OUT).long()
    generator = torch_generator(seed, "train-diffusion", "held-out")
    noises = torch.randn((2, N_HELD_OUT, *latents.meta["shape"]), generator=generator)
    clean = latents.draw(rows, np.zeros(N_HELD_OUT, np.int64), noises[0])
    losses = [
        sample_losses(
            model,
            clean[part].to(device),
            t[part].to(device),
            noises[1, part].to(device),
            schedule,
            settings.weighting,
            settings.norm,
        )
        for part in torch.arange(N_HELD_OUT).split(settings.batch)
    ]
    return {"held_out": float(torch.cat(losses).mean())}
