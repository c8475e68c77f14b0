"""A trained generator as one object: load it, sample from it.

    from specdm import SpecDM
    model = SpecDM.from_pretrained("results/models/segmunich/specdm")
    samples = model.sample(16, seed=0, want={"Wetland": 0.3})
    samples.images[0, 0, samples.bands.index("B04")]    # reflectance

A model folder holds autoencoder/ and denoiser/, each of them weights.safetensors and a config.json that is enough to
use the weights: architecture, bands, scale, normaliser, label set, schedule, seed and commit; denoiser/ also holds
fractions.npy, the class fractions of the training patches.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from specdm.errors import UserError
from specdm.nn.autoencoder import AutoencoderSpec, JointAutoencoder
from specdm.nn.conditions import ask, encode_condition
from specdm.nn.denoiser import Denoiser, DenoiserSpec
from specdm.nn.diffusion import NoiseSchedule, guided, sample_latents, sample_noise
from specdm.patches import Normaliser, PatchMeta, class_counts
from specdm.randomness import numpy_generator
from specdm.weights import FILES, load_weights

GOLDEN = (5**0.5 - 1) / 2  # steps of this length around a circle leave the smallest gaps
PARTS = {"autoencoder": FILES, "denoiser": (*FILES, "fractions.npy")}


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

    def decode(self, latents: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Latents (n,Z,h,w) -> reflectance (n,T,C,H,W) float32, masks (n,H,W) uint8 ids."""
        images, logits = self.network.decode(latents)
        return self.normaliser.invert(images.float().cpu().numpy()), logits.argmax(1).to(torch.uint8).cpu().numpy()


@dataclass(frozen=True)
class Samples:
    """Labelled patches and what their numbers mean.

    Attributes:
        images: (n,T,C,H,W) float32 reflectance (or the data's own unit, where its level is "unitless").
        masks: (n,H,W) uint8 class ids.
        asked: (n,K) float32 class fractions that were asked for, NaN where nothing was.
        bands: names along axis C.
        classes: names of the ids 0, 1, ...
        colours: (K,3) uint8 RGB colour of each class.
        meta: all that is known of the training data.
    """

    images: np.ndarray
    masks: np.ndarray
    asked: np.ndarray
    bands: tuple[str, ...]
    classes: tuple[str, ...]
    colours: np.ndarray
    meta: PatchMeta

    @property
    def fractions(self) -> np.ndarray:
        """Class fractions of the masks, (n,K) float32."""
        return (class_counts(self.masks, len(self.classes)) / self.masks[0].size).astype(np.float32)


@dataclass(frozen=True)
class Drawing:
    """How samples are drawn.

    Attributes:
        sampler: "dpm++", "ddim" or "ddpm".
        n_steps: network evaluations a sample.
        guidance: 1 as asked, above 1 exaggerates what was asked for at twice the cost, 0 asks for nothing.
        want: class name -> fraction to ask for; the other classes follow the training patches nearest to it.
        half: evaluate the denoiser in bfloat16; everything else stays float32.
    """

    sampler: Literal["dpm++", "ddim", "ddpm"] = "dpm++"
    n_steps: int = 25
    guidance: float = 1.0
    want: Mapping[str, float] | None = None
    half: bool = False


@dataclass(frozen=True)
class SpecDM:
    """A trained generator of labelled patches."""

    autoencoder: TrainedAutoencoder
    denoiser: Denoiser
    schedule: NoiseSchedule
    latent_mean: torch.Tensor  # (Z,1,1), measured on the training split
    latent_std: torch.Tensor
    latent_shape: tuple[int, int, int]
    fractions: torch.Tensor  # (N,K) of the training patches
    conditioned: bool  # whether fractions can be asked for
    device: torch.device

    @classmethod
    def from_pretrained(cls, folder: Path | str, device: torch.device | str | None = None) -> SpecDM:
        """Load a model folder (with autoencoder/ and denoiser/) onto a device, by default the GPU when there is one.

        Raises:
            UserError: naming what the folder lacks, or when the denoiser was trained on another autoencoder's latents.
        """
        folder = Path(folder)
        missing = [
            f"{part}/{name}" for part, names in PARTS.items() for name in names if not (folder / part / name).is_file()
        ]
        if missing:
            raise UserError(f"{folder} is not a complete generator, it lacks {', '.join(missing)}: train it anew.")
        device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        autoencoder = TrainedAutoencoder.load(folder / "autoencoder", device)
        weights, config = load_weights(folder / "denoiser", "denoiser")
        if config["autoencoder"] != autoencoder.config["id"]:
            raise UserError(f"{folder}: the denoiser belongs to another autoencoder: train the denoiser anew.")
        denoiser = Denoiser(DenoiserSpec.from_dict(config["spec"]))
        denoiser.load_state_dict(weights)
        fractions = torch.from_numpy(np.load(folder / "denoiser" / "fractions.npy", allow_pickle=False))
        schedule, told = NoiseSchedule(**config["schedule"]), config["conditioning"]
        return cls.of(autoencoder, denoiser, schedule, config["latents"], fractions, told, device)

    @classmethod
    def of(
        cls,
        autoencoder: TrainedAutoencoder,
        denoiser: Denoiser,
        schedule: NoiseSchedule,
        latents: dict,
        fractions: torch.Tensor,
        conditioned: bool,
        device: torch.device,
    ) -> SpecDM:
        """Put the parts together; latents: "mean" and "std" of each channel, and "shape"."""
        autoencoder.network.to(device).eval()
        mean, std = (torch.tensor(latents[key]).view(-1, 1, 1).to(device) for key in ("mean", "std"))
        shape = tuple(latents["shape"])
        return cls(autoencoder, denoiser.to(device).eval(), schedule, mean, std, shape, fractions, conditioned, device)

    def sample(
        self,
        n: int,
        seed: int = 0,
        want: Mapping[str, float] | None = None,
        guidance: float = 1.0,
        sampler: Literal["dpm++", "ddim", "ddpm"] = "dpm++",
        n_steps: int = 25,
        batch: int = 16,
    ) -> Samples:
        """Draw n labelled patches; patch i depends on (seed, i) and what is asked for alone.

        Args:
            n: how many.
            seed: of the noise and of the class fractions.
            want: class name -> fraction, for example {"water": 0.3}; see `Drawing`.
            guidance, sampler, n_steps: see `Drawing`.
            batch: patches drawn together; changes the speed, and the result by float arithmetic only.

        Raises:
            UserError: for a class that does not exist or fractions that cannot be, or a model that cannot be asked.
        """
        drawing = Drawing(sampler, n_steps, guidance, want)
        parts = [self.draw(range(start, min(start + batch, n)), seed, drawing) for start in range(0, n, batch)]
        return self._described(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))

    @torch.no_grad()
    def draw(self, indices: Sequence[int], seed: int, drawing: Drawing) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Patches number `indices` of a seed: reflectance (n,T,C,H,W), masks (n,H,W) uint8, fractions asked for (n,K).

        Paper section 3.3.
        """
        asked = self.asked(indices, seed, drawing)
        latents = sample_latents(
            self._denoise(asked, drawing),
            sample_noise(seed, indices, self.latent_shape).to(self.device),
            self.schedule,
            drawing.sampler,
            drawing.n_steps,
            lambda i: sample_noise(seed, indices, self.latent_shape, i + 1).to(self.device),
        )
        return *self.autoencoder.decode(latents * self.latent_std + self.latent_mean), asked.numpy()

    @torch.no_grad()
    def decode(self, latents: torch.Tensor) -> Samples:
        """Labelled patches of normalised latents (n,Z,h,w)."""
        asked = np.full((len(latents), len(self.autoencoder.meta.labels)), np.nan, np.float32)
        return self._described(
            *self.autoencoder.decode(latents.to(self.device) * self.latent_std + self.latent_mean), asked
        )

    def asked(self, indices: Sequence[int], seed: int, drawing: Drawing) -> torch.Tensor:
        """The class fractions (n,K) that patches number `indices` of a seed are asked to have, NaN for none.

        Without `want` each sample follows a training patch, such that the first n samples together have the
        distribution of the training patches, for every n.
        """
        want = self._wanted(drawing.want or {})
        if not self.conditioned or drawing.guidance == 0:
            if want:
                raise UserError(
                    "want: this model was trained without conditioning, or guidance is 0: train it with "
                    "diffusion.conditioning: true, and draw with a guidance above 0."
                )
            return torch.full((len(indices), self.fractions.shape[1]), torch.nan)
        # A Weyl sequence is spread evenly over [0, 1) at every length, more so than independent draws.
        start = numpy_generator(seed, "ask").random()
        picks = torch.tensor([(start + int(i) * GOLDEN) % 1 for i in indices], dtype=torch.float64)
        return ask(self.fractions, want, picks)

    def _wanted(self, want: Mapping[str, float]) -> dict[int, float]:
        names = self.autoencoder.meta.labels.names
        for name, fraction in want.items():
            if name not in names:
                raise UserError(f"want: there is no class {name!r}, choose among {', '.join(names)}.")
            if not 0 <= fraction <= 1:
                raise UserError(f"want: the fraction of {name} must be 0 to 1, not {fraction:g}.")
        total = sum(want.values())
        if total > 1 + 1e-6 or (len(want) == len(names) and total < 1 - 1e-6):
            raise UserError(
                f"want: the fractions of {', '.join(want)} add up to {total:g}: give at most 1, all classes 1."
            )
        return {names.index(name): float(fraction) for name, fraction in want.items()}

    def _denoise(self, asked: torch.Tensor, drawing: Drawing):
        """The denoiser as a function of (z_t, t), told what is asked for."""
        network = self.denoiser

        def evaluate(z, t, condition):
            context = torch.autocast(self.device.type, torch.bfloat16) if drawing.half else contextlib.nullcontext()
            with context:
                return (network(z, t, condition) if network.spec.condition else network(z, t)).float()

        if not network.spec.condition:
            return lambda z, t: evaluate(z, t, None)
        told = encode_condition(asked).to(self.device)
        untold = encode_condition(torch.full_like(asked, torch.nan)).to(self.device)
        return guided(evaluate, told, untold, drawing.guidance)

    def _described(self, images: np.ndarray, masks: np.ndarray, asked: np.ndarray) -> Samples:
        meta = self.autoencoder.meta
        colours = np.array([c.colour for c in meta.labels.classes], np.uint8)
        return Samples(images, masks, asked, meta.bands, tuple(meta.labels.names), colours, meta)
