"""Second stage: train the denoiser on the joint latents of image and mask (paper section 3.2)."""

from __future__ import annotations

import dataclasses
import math
import shutil
from pathlib import Path

import numpy as np
import torch

from specdm import figures, files, provenance, training
from specdm.errors import UserError
from specdm.model import SpecDM, TrainedAutoencoder
from specdm.nn.conditions import condition_width
from specdm.nn.denoiser import Denoiser, DenoiserSpec
from specdm.nn.diffusion import LossForm, NoiseSchedule, snr_scale_for
from specdm.nn.streams import MASK, LevelMixture, Streams, may_tell, training_levels
from specdm.patches import PatchMeta
from specdm.randomness import numpy_generator, seed_of, torch_generator
from specdm.settings import DiffusionSettings, UNetSettings
from specdm.stages.batches import shared_positions
from specdm.stages.encode import Latents, open_latents
from specdm.stages.initial import start_from
from specdm.stages.noisy_latents import NoisyBatch, held_out, noisy
from specdm.weights import save_weights

STAGE_VERSION = 4
N_SHOWN = 6


def train_diffusion(
    latents_folder: Path,
    out: Path,
    state: Path,
    settings: DiffusionSettings,
    seed: int,
    ends: float = math.inf,
    resume_only: bool = False,
    init_from: Path | None = None,
    autoencoder: Path | None = None,
    pictures: Path | None = None,
) -> str:
    """Train on encoded patches; write weights.safetensors (the average's), config.json, history.csv, fractions.npy.

    history.csv holds the denoising loss of validation latents at fixed noise ("held_out") beside the training loss:
    when the two part, the model has begun to memorise. fractions.npy holds the class fractions of the training
    patches, (N,K) float32, which sampling asks for.

    Args:
        latents_folder: the encoded patches.
        out: folder of the model.
        state: folder of the resumable state.
        settings: of the denoiser and its training.
        seed: of weights, batches and noise.
        ends: pause before time.monotonic() says so.
        resume_only: refuse a state of other settings.
        init_from: folder of a trained denoiser whose fitting weights are the start.
        autoencoder: the one that encoded the patches; decodes the pictures.
        pictures: folder that receives a grid of samples at every validation.

    Returns:
        What was made, in words; nothing in processes that do not write.

    Raises:
        UserError: see specdm.training.fit.
    """
    latents = open_latents(latents_folder)
    z, h, _ = latents.meta["shape"]
    told = settings.conditioning or any(latents.meta["swapped"])
    streams = Streams.of(latents.meta["streams"])
    if settings.levels == "streams" and MASK not in streams.names:
        raise UserError(
            f"{latents_folder} has one stream for image and mask: diffusion.levels streams needs an autoencoder of two."
        )
    spec = denoiser_spec(
        settings.unet,
        z,
        h,
        condition_width(latents.fractions.shape[1]) if told else 0,
        len(streams.names) if settings.levels == "streams" else 0,
    )
    schedule, meta = noise_schedule(settings, h), PatchMeta.from_dict(latents.meta["meta"])
    form = LossForm(settings.weighting, settings.norm, settings.snr_gamma, settings.min_weight)
    torch.manual_seed(seed_of(seed, "train-diffusion", "weights"))
    denoiser = Denoiser(spec)
    started_from = start_from(init_from, "denoiser", denoiser, meta) if init_from else None
    n_train, n_views = latents.meta["n_train"], latents.mean.shape[1]
    n_unlabelled, first_unlabelled = latents.meta.get("n_unlabelled", 0), n_train + latents.meta["n_val"]
    if n_unlabelled and settings.levels == "shared":
        raise UserError(
            f"{latents_folder} holds images without labels: they train with diffusion.levels streams alone."
        )
    mixture = LevelMixture(settings.joint_share, settings.null_share)
    decoder = TrainedAutoencoder.load(autoencoder) if autoencoder and pictures else None
    if decoder and decoder.config["id"] != latents.meta["autoencoder"]:
        raise UserError(f"{autoencoder} did not encode {latents_folder}: give the one that did.")
    key = (seed, "train-diffusion")

    def rows_at(step: int) -> np.ndarray:
        rows = shared_positions(n_train, n_unlabelled, settings.unlabelled_share, settings.batch, step, *key)
        return np.where(rows < n_train, rows, rows - n_train + first_unlabelled)

    def data_at(part: training.Part) -> NoisyBatch:
        rows = rows_at(part.step)
        rng = numpy_generator(*key, "draw", part.step)
        views, levels = rng.integers(n_views, size=len(rows)), rng.integers(settings.n_steps, size=len(rows))
        tells = settings.conditioning & (rng.random(len(rows)) >= settings.condition_dropout)
        if settings.levels == "streams":
            levels = training_levels(rng, rows < n_train, streams, settings.n_steps, mixture)
            tells &= may_tell(rng, levels, streams, settings.n_steps)
        noises = torch.randn(
            (len(rows), 2, *latents.meta["shape"]), generator=torch_generator(*key, "noise", part.step)
        )
        rows, views, levels, tells, noises = map(part.take, (rows, views, levels, tells, noises))
        return noisy(latents, streams, rows, views, levels, noises, tells if told else None)

    looks = held_out(latents, settings, streams, seed, told) if latents.meta["n_val"] else None

    def validate(model, device: torch.device, step: int) -> dict[str, float]:
        if decoder:
            told_fractions = latents.fractions[:n_train]
            generator = SpecDM.of(decoder, model, schedule, latents.meta, told_fractions, settings.conditioning, device)
            _draw_samples(generator, latents, pictures / f"denoiser-{step:07d}.png")
        losses = {
            name: float(torch.cat([batch.loss(model, schedule, form, streams, device) for batch in batches]).mean())
            for name, batches in looks.items()
        }
        return {**losses, "score": -losses["held_out"]}

    stamp = provenance.stamp("train-diffusion", STAGE_VERSION, seed, settings.model_dump(mode="json"))
    fingerprint = {
        "settings": stamp["settings"],
        "seed": seed,
        "latents": latents.meta["id"],
        "init_from": started_from,
        "stage_version": STAGE_VERSION,
    }
    trained = training.fit(
        denoiser,
        torch.optim.AdamW(denoiser.parameters(), settings.base_lr, weight_decay=0.0, fused=True),
        training.Task(
            data_at,
            lambda model, batch, device: {"total": batch.loss(model, schedule, form, streams, device).mean()},
            settings.batch,
            lambda part: [latents.ids[row] for row in part.take(rows_at(part.step))],
            validate if looks else None,
        ),
        training.warmup_then(settings.steps, settings.decay, settings.warmup_steps),
        training.Plan(
            settings.steps,
            key,
            accumulate=settings.accumulate,
            precision=settings.precision,
            compile=settings.compile,
            channels_last=settings.channels_last,
            ema_decay=settings.ema_decay,
            val_every=training.every(settings.steps, settings.validations),
            keep="best" if settings.patience and looks else "last",
            patience=settings.patience,
            ends=ends,
            resume_only=resume_only,
        ),
        state,
        fingerprint,
        name=f"denoiser of {latents.meta['name']}",
    )
    if not trained.writes:
        return ""
    config = {
        "kind": "denoiser",
        "id": files.digest(fingerprint),
        "spec": spec.to_dict(),
        "schedule": dataclasses.asdict(schedule),
        "latents": {key: latents.meta[key] for key in ("mean", "std", "shape", "streams")},
        "levels": settings.levels,
        "conditioning": settings.conditioning,
        "autoencoder": latents.meta["autoencoder"],
        "data_hash": latents.meta["data_hash"],
        "data": {"meta": latents.meta["meta"]},
        "init_from": started_from,
        "provenance": stamp,
    }

    def write_more(folder: Path) -> None:
        training.write_history(folder / "history.csv", trained.history)
        np.save(folder / "fractions.npy", latents.fractions[:n_train].numpy())

    save_weights(out, trained.weights, config, write_more)
    shutil.rmtree(state, ignore_errors=True)
    return training.made(denoiser, trained.steps, out)


def noise_schedule(settings: DiffusionSettings, side: int) -> NoiseSchedule:
    """The schedule of the settings for latents of `side` pixels."""
    return NoiseSchedule(
        n_steps=settings.n_steps,
        beta_start=settings.beta_start,
        beta_end=settings.beta_end,
        kind=settings.beta_schedule,
        zero_terminal_snr=settings.zero_terminal_snr,
        snr_scale=snr_scale_for(side, settings.shift_size),
        prediction=settings.prediction,
    )


def denoiser_spec(unet: UNetSettings, channels: int, size: int, condition: int = 0, streams: int = 0) -> DenoiserSpec:
    """The U-Net of the settings for latents (channels, size, size).

    It is told a vector of length `condition`, and the noise levels of so many `streams` (0: one of all).
    """
    return DenoiserSpec(
        latent_channels=channels,
        latent_size=size,
        width=unet.width,
        multipliers=unet.multipliers,
        attention_levels=unet.attention_levels(size),
        layers=unet.layers,
        head_dim=unet.head_dim,
        norm_groups=unet.norm_groups,
        dropout=unet.dropout,
        resnet_updown=unet.resnet_updown,
        scale_shift=unet.scale_shift,
        condition=condition,
        streams=streams,
    )


def _draw_samples(generator: SpecDM, latents: Latents, path: Path) -> None:
    """Draw decoded validation latents beside samples; the same noise at every call, so that pictures compare."""
    n_train, n_val = latents.meta["n_train"], latents.meta["n_val"]
    rows = n_train + np.linspace(0, n_val - 1, min(N_SHOWN, n_val)).astype(int)  # neighbours look alike
    views, zero = np.zeros(len(rows), np.int64), torch.zeros((len(rows), *latents.meta["shape"]))
    real = generator.decode(latents.draw(rows, views, zero))
    drawn = generator.sample(N_SHOWN, n_steps=min(25, generator.schedule.n_steps), batch=N_SHOWN)
    shown = [
        figures.Block("validation patches, decoded", real.images, real.masks),
        figures.Block("samples", drawn.images, drawn.masks),
    ]
    figures.blocks(shown, PatchMeta.from_dict(latents.meta["meta"]), path)
