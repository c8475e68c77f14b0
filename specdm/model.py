"""A trained generator as one object: load it, sample from it.

    model = SpecDM.from_pretrained("results/models/segmunich/specdm")
    samples = model.sample(16, seed=0)

A model folder holds autoencoder/ and denoiser/, each of them weights.safetensors and a config.json that is enough to
use the weights: architecture, bands, scale, normaliser, label set, schedule, seed and commit.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from specdm import files
from specdm.errors import UserError
from specdm.nn.autoencoder import AutoencoderSpec, JointAutoencoder
from specdm.nn.denoiser import Denoiser, DenoiserSpec
from specdm.nn.diffusion import NoiseSchedule, sample_latents, sample_noise
from specdm.patches import Normaliser, PatchMeta, to_dn


def save_weights(folder: Path, weights: dict[str, torch.Tensor], config: dict, write_more: Callable) -> None:
    """Write a model folder: weights, config.json, and what write_more(temporary folder) adds; complete or absent."""
    with files.new_folder(folder, last="config.json") as temporary:
        save_file(weights, temporary / "weights.safetensors")
        write_more(temporary)
        (temporary / "config.json").write_text(files.to_json(config))


def load_weights(folder: Path, kind: str) -> tuple[dict[str, torch.Tensor], dict]:
    """Weights and config of a model folder.

    Raises:
        UserError: when the folder is missing, incomplete or holds another kind of model.
    """
    folder = Path(folder)
    try:
        config = json.loads((folder / "config.json").read_text())
        weights = load_file(folder / "weights.safetensors")
    except (OSError, ValueError, SafetensorError) as error:
        raise UserError(f"{folder} is not a complete model folder: train it anew.") from error
    if config["kind"] != kind:
        raise UserError(f"{folder} holds a model of the kind {config['kind']}, not {kind}: give another folder.")
    return weights, config


@dataclass(frozen=True)
class TrainedAutoencoder:
    """The first stage with what it needs to turn patches into latents and back."""

    network: JointAutoencoder
    normaliser: Normaliser
    meta: PatchMeta
    dtype: np.dtype
    shape: tuple[int, int, int, int]  # (T,C,H,W) of a patch
    config: dict

    @classmethod
    def load(cls, folder: Path, device: torch.device | str = "cpu") -> TrainedAutoencoder:
        """Load from an autoencoder folder."""
        weights, config = load_weights(folder, "autoencoder")
        network = JointAutoencoder(AutoencoderSpec.from_dict(config["spec"]))
        network.load_state_dict(weights)
        data = config["data"]
        return cls(
            network.to(device).eval(),
            Normaliser(tuple(data["normaliser"]["mean"]), tuple(data["normaliser"]["std"])),
            PatchMeta.from_dict(data["meta"]),
            np.dtype(data["dtype"]),
            tuple(data["shape"]),
            config,
        )

    def decode_dn(self, latents: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Latents (n,Z,h,w) -> images (n,T,C,H,W) in the data's own type, masks (n,H,W) uint8."""
        images, logits = self.network.decode(latents)
        refl = self.normaliser.invert(images.float().cpu().numpy())
        return to_dn(refl, self.meta, self.dtype), logits.argmax(1).to(torch.uint8).cpu().numpy()


@dataclass(frozen=True)
class Samples:
    """Synthetic patches: images (n,T,C,H,W) dn in the data's own type, masks (n,H,W) uint8 ids, and what they mean."""

    images: np.ndarray
    masks: np.ndarray
    meta: PatchMeta


@dataclass(frozen=True)
class SpecDM:
    """A trained generator of labelled patches."""

    autoencoder: TrainedAutoencoder
    denoiser: Denoiser
    schedule: NoiseSchedule
    latent_mean: torch.Tensor  # (Z,1,1), measured on the training split
    latent_std: torch.Tensor
    latent_shape: tuple[int, int, int]
    device: torch.device

    @classmethod
    def from_pretrained(cls, folder: Path | str, device: torch.device | str | None = None) -> SpecDM:
        """Load a model folder (with autoencoder/ and denoiser/) onto a device, by default the GPU when there is one.

        Raises:
            UserError: when a part is missing or the denoiser was trained on another autoencoder's latents.
        """
        device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        autoencoder = TrainedAutoencoder.load(Path(folder) / "autoencoder", device)
        weights, config = load_weights(Path(folder) / "denoiser", "denoiser")
        if config["autoencoder"] != autoencoder.config["id"]:
            raise UserError(f"{folder}: the denoiser belongs to another autoencoder: train the denoiser anew.")
        denoiser = Denoiser(DenoiserSpec.from_dict(config["spec"]))
        denoiser.load_state_dict(weights)
        column = {key: torch.tensor(config["latents"][key]).view(-1, 1, 1).to(device) for key in ("mean", "std")}
        return cls(
            autoencoder,
            denoiser.to(device).eval(),
            NoiseSchedule(**config["schedule"]),
            column["mean"],
            column["std"],
            tuple(config["latents"]["shape"]),
            device,
        )

    def sample(self, n: int, seed: int = 0, sampler: str = "dpm++", n_steps: int = 25, batch: int = 16) -> Samples:
        """Draw n labelled patches; patch i depends on (seed, i) alone."""
        parts = [
            self.sample_indices(range(start, min(start + batch, n)), seed, sampler, n_steps)
            for start in range(0, n, batch)
        ]
        images, masks = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        return Samples(images, masks, self.autoencoder.meta)

    @torch.no_grad()
    def sample_indices(
        self, indices: Sequence[int], seed: int, sampler: str, n_steps: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Patches number `indices` of a seed: images (n,T,C,H,W) dn, masks (n,H,W) uint8 (paper section 3.3)."""
        latents = sample_latents(
            self.denoiser,
            sample_noise(seed, indices, self.latent_shape).to(self.device),
            self.schedule,
            sampler,
            n_steps,
            lambda i: sample_noise(seed, indices, self.latent_shape, i + 1).to(self.device),
        )
        return self.autoencoder.decode_dn(latents * self.latent_std + self.latent_mean)
