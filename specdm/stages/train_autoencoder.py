"""First stage: train the two-stream (or single-stream) KL autoencoder (paper section 3.1)."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch

from specdm import files, provenance, training
from specdm.model import save_weights
from specdm.nn.autoencoder import AutoencoderSpec, JointAutoencoder, StreamSpec, one_hot
from specdm.nn.losses import AutoencoderLossWeights, autoencoder_loss
from specdm.patches import Normaliser, check_masks, open_patches
from specdm.randomness import seed_of, torch_generator
from specdm.settings import AutoencoderSettings, StreamSettings
from specdm.stages.batches import Mixture, described

STAGE_VERSION = 2


def train_autoencoder(
    patches_folder: Path,
    out: Path,
    state: Path,
    settings: AutoencoderSettings,
    seed: int,
    max_minutes: float = 0,
    resume_only: bool = False,
) -> str:
    """Train on the training split of a patch set and write weights.safetensors, config.json and history.csv to `out`.

    Returns what was made, in words.

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
    latent = (height // network.downsampling, width // network.downsampling)
    mixture = Mixture([(patches, patches.ids("train"))])
    weights = AutoencoderLossWeights(sad=settings.sad_weight, mask=settings.mask_weight, kl=settings.kl_weight)

    def loss_at(model, step: int, device: torch.device) -> dict[str, torch.Tensor]:
        keys = (seed, "train-autoencoder")
        batch = mixture.training_batch(step, settings.batch, settings.augment, normaliser, device, *keys)
        noise = torch.randn(
            (settings.batch, network.latent_channels, *latent), generator=torch_generator(*keys, "noise", step)
        )
        reconstruction = model(batch.images, one_hot(batch.masks, classes), noise.to(device))
        return autoencoder_loss(
            reconstruction, batch.images, batch.masks, weights, normaliser.mean, normaliser.std, batch.valid
        )

    optimiser = torch.optim.AdamW(
        network.parameters(), settings.learning_rate, betas=(0.9, 0.99), weight_decay=0.0, fused=True
    )
    data = described(patches.meta, patches.images.dtype, (dates, bands, height, width), normaliser)
    stamp = provenance.stamp("train-autoencoder", STAGE_VERSION, seed, settings.model_dump(mode="json"))
    fingerprint = {
        "settings": stamp["settings"],
        "seed": seed,
        "data": patches.hash,
        "stage_version": STAGE_VERSION,
    }
    trained = training.fit(
        network,
        optimiser,
        loss_at,
        training.warmup_then(settings.steps, settings.decay, settings.warmup_steps),
        training.Plan(
            settings.steps, settings.precision, ema_decay=0.999, max_minutes=max_minutes, resume_only=resume_only
        ),
        state,
        fingerprint,
        name=f"autoencoder of {patches.meta.name}",
    )
    config = {
        "kind": "autoencoder",
        "id": files.digest(fingerprint),
        "spec": spec.to_dict(),
        "data": data,
        "data_hash": patches.hash,
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
    return training.made(network, settings.steps, out)


def autoencoder_spec(settings: AutoencoderSettings, bands: int, classes: int, dates: int) -> AutoencoderSpec:
    """The autoencoder of the settings for patches of `dates` images with `bands` and masks with `classes`."""
    return AutoencoderSpec(
        bands=bands,
        classes=classes,
        dates=dates,
        streams=settings.streams,
        image=_stream(settings.image),
        mask=_stream(settings.mask) if settings.streams == "two" else None,
    )


def _stream(settings: StreamSettings) -> StreamSpec:
    return StreamSpec(
        latent_channels=settings.latent_channels,
        width=settings.width,
        multipliers=settings.multipliers,
        layers=settings.layers,
        norm_groups=settings.norm_groups,
        mid_attention=settings.mid_attention,
    )
