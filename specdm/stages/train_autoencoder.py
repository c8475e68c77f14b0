"""First stage: train the two-stream (or single-stream) KL autoencoder (paper section 3.1)."""

from __future__ import annotations

import dataclasses
import math
import shutil
from collections.abc import Sequence
from pathlib import Path

import torch

from specdm import figures, files, provenance, training
from specdm.nn.autoencoder import AutoencoderSpec, JointAutoencoder, StreamSpec, one_hot
from specdm.nn.losses import AutoencoderLossWeights, autoencoder_loss
from specdm.patches import Normaliser, check_masks, open_patches
from specdm.randomness import numpy_generator, seed_of, torch_generator
from specdm.settings import AutoencoderSettings, StreamSettings
from specdm.stages.batches import Batch, Mixture, described, seen_patches
from specdm.stages.initial import start_from
from specdm.stages.reconstruction import reconstruct
from specdm.stages.unlabelled import unlabelled_parts
from specdm.weights import save_weights

STAGE_VERSION = 3
N_HELD_OUT = 128  # validation patches looked at while training
N_SHOWN = 6


def train_autoencoder(
    patches_folder: Path,
    out: Path,
    state: Path,
    settings: AutoencoderSettings,
    seed: int,
    ends: float = math.inf,
    resume_only: bool = False,
    subset: tuple[int, int] | None = None,
    init_from: Path | None = None,
    pictures: Path | None = None,
    unlabelled: Sequence[Path] = (),
) -> str:
    """Train on the training split of a patch set and write weights.safetensors, config.json and history.csv to `out`.

    Args:
        patches_folder: the patch set.
        out: folder of the model.
        state: folder of the resumable state.
        settings: of the networks and their training.
        seed: of weights, batches and noise.
        ends: pause before time.monotonic() says so.
        resume_only: refuse a state of other settings.
        subset: see only so many labelled patches, chosen by a seed as for the downstream networks: (n, seed).
        init_from: folder of a trained autoencoder of the same bands whose fitting weights are the start.
        pictures: folder that receives a grid of reconstructions at every validation.
        unlabelled: patch sets whose training patches are seen without labels (see specdm.stages.unlabelled), in
            `unlabelled_share` of a batch.

    Returns:
        What was made, in words; nothing in processes that do not write.

    Raises:
        UserError: see specdm.training.fit and specdm.patches.
    """
    patches = open_patches(patches_folder)
    check_masks(patches)
    normaliser = Normaliser.fit(patches)
    dates, bands, height, width = patches.images.shape[1:]
    classes = len(patches.meta.labels)
    spec = autoencoder_spec(settings, bands, classes, dates)
    torch.manual_seed(seed_of(seed, "train-autoencoder", "weights"))
    network = JointAutoencoder(spec)
    started_from = start_from(init_from, "autoencoder", network, patches.meta) if init_from else None
    latent = (height // network.downsampling, width // network.downsampling)
    labelled = seen_patches(patches, subset)
    others = unlabelled_parts(patches, labelled, unlabelled)
    mixture = Mixture([(patches, labelled), *others], settings.unlabelled_share if others else None)
    held_out = Mixture([(patches, numpy_generator(seed, "held-out").permutation(patches.ids("val"))[:N_HELD_OUT])])
    weights = AutoencoderLossWeights(sad=settings.sad_weight, mask=settings.mask_weight, kl=settings.kl_weight)
    key = (seed, "train-autoencoder")

    def data_at(part: training.Part) -> tuple[Batch, torch.Tensor]:
        noise = torch.randn(
            (settings.batch, network.latent_channels, *latent), generator=torch_generator(*key, "noise", part.step)
        )
        batch = mixture.training_batch(part, settings.batch, settings.augment, normaliser, *key)
        return batch, part.take(noise)

    def losses(model, data: tuple[Batch, torch.Tensor], device: torch.device) -> dict[str, torch.Tensor]:
        batch, noise = data[0].to(device), data[1].to(device)
        reconstruction = model(batch.images, one_hot(batch.masks, classes), noise)
        return autoencoder_loss(
            reconstruction,
            batch.images,
            batch.masks,
            weights,
            normaliser.mean,
            normaliser.std,
            network.autoencoder_slices,
            batch.valid,
        )

    def validate(model, device: torch.device, step: int) -> dict[str, float]:
        errors, shown = reconstruct(model, held_out, normaliser, device, N_SHOWN if pictures else 0)
        if pictures:
            figures.blocks(shown, patches.meta, pictures / f"autoencoder-{step:07d}.png")
        return {f"val_{name}": errors[name] for name in ("rmse", "sad_rad", "cross_entropy")}

    optimiser = torch.optim.AdamW(
        network.parameters(), settings.base_lr, betas=(0.9, 0.99), weight_decay=0.0, fused=True
    )
    data = described(patches.meta, patches.images.dtype, (dates, bands, height, width), normaliser)
    stamp = provenance.stamp("train-autoencoder", STAGE_VERSION, seed, settings.model_dump(mode="json"))
    fingerprint = {
        "settings": stamp["settings"],
        "seed": seed,
        "data": patches.hash,
        "subset": list(subset) if subset else None,
        "init_from": started_from,
        "unlabelled": [part.hash for part, _ in others],
        "stage_version": STAGE_VERSION,
    }
    trained = training.fit(
        network,
        optimiser,
        training.Task(
            data_at,
            losses,
            settings.batch,
            lambda part: mixture.training_ids(part, settings.batch, *key),
            validate if len(held_out) else None,
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
            ends=ends,
            resume_only=resume_only,
        ),
        state,
        fingerprint,
        name=f"autoencoder of {patches.meta.name}",
    )
    if not trained.writes:
        return ""
    config = {
        "kind": "autoencoder",
        "id": files.digest(fingerprint),
        "spec": spec.to_dict(),
        "data": data,
        "data_hash": patches.hash,
        "subset": fingerprint["subset"],
        "unlabelled": fingerprint["unlabelled"],
        "init_from": started_from,
        "streams": {name: [s.start, s.stop] for name, s in network.stream_slices.items()},
        "provenance": stamp,
    }
    save_weights(
        out,
        trained.weights,
        config,
        lambda folder: training.write_history(folder / "history.csv", trained.history),
    )
    shutil.rmtree(state, ignore_errors=True)
    return training.made(network, trained.steps, out)


def autoencoder_spec(settings: AutoencoderSettings, bands: int, classes: int, dates: int) -> AutoencoderSpec:
    """The autoencoder of the settings for patches of `dates` images with `bands` and masks with `classes`.

    A single stream has as many latent channels as the two streams together: the comparison is not one of sizes.
    """
    image = _stream(settings.image)
    if settings.streams == "single":
        channels = dates * settings.image.latent_channels + settings.mask.latent_channels
        return AutoencoderSpec(bands, classes, dates, "single", dataclasses.replace(image, latent_channels=channels))
    return AutoencoderSpec(bands, classes, dates, "two", image, _stream(settings.mask))


def _stream(settings: StreamSettings) -> StreamSpec:
    return StreamSpec(
        latent_channels=settings.latent_channels,
        width=settings.width,
        multipliers=settings.multipliers,
        layers=settings.layers,
        norm_groups=settings.norm_groups,
        mid_attention=settings.mid_attention,
    )
