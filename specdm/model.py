"""A trained generator as one object: load it, sample from it.

    from specdm import SpecDM
    model = SpecDM.from_pretrained("results/models/segmunich/specdm")
    samples = model.sample(16, seed=0, want={"Wetland": 0.3})
    samples.images[0, 0, samples.bands.index("B04")]    # reflectance
    painted = model.sample(given={"mask": samples.masks})    # other images for the same masks

A model folder holds autoencoder/ and denoiser/, each of them weights.safetensors and a config.json that is enough to
use the weights: architecture, bands, scale, normaliser, label set, schedule, seed and commit; denoiser/ also holds
fractions.npy, the class fractions of the training patches.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from specdm.errors import UserError
from specdm.given import Given
from specdm.given import given as check_given
from specdm.nn.autoencoder import AutoencoderSpec, JointAutoencoder
from specdm.nn.conditions import ask, class_fractions, encode_condition
from specdm.nn.denoiser import Denoiser, DenoiserSpec
from specdm.nn.diffusion import Denoise, NoiseSchedule, guided, log_snr, sample_latents, sample_noise
from specdm.nn.streams import CLEAN, Streams, dropped
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

    def decode(self, latents: torch.Tensor, known: Collection[str] = ()) -> tuple[np.ndarray, np.ndarray]:
        """Latents (n,Z,h,w) -> reflectance (n,T,C,H,W) float32, masks (n,H,W) uint8 ids; `known` streams: anything."""
        images, logits = self.network.decode(latents, known)
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
        guidance: 1 as asked and given, above 1 exaggerates that at twice the cost, 0 asks for nothing (only where
            nothing is given, the mask drawn first included).
        want: class name -> fraction to ask for; the other classes follow the training patches nearest to it.
        half: evaluate the denoiser in bfloat16; everything else stays float32.
        order: "together", or "mask-first": the mask alone, and then the images for it, at twice the cost.
    """

    sampler: Literal["dpm++", "ddim", "ddpm"] = "dpm++"
    n_steps: int = 25
    guidance: float = 1.0
    want: Mapping[str, float] | None = None
    half: bool = False
    order: Literal["together", "mask-first"] = "together"


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
    streams: Streams
    device: torch.device

    @property
    def per_stream(self) -> bool:
        """Whether the streams have noise levels of their own, so that some can be given."""
        return self.denoiser.spec.streams > 0

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
        slices = autoencoder.network.stream_slices
        streams = Streams.of({name: (s.start, s.stop) for name, s in slices.items()})
        denoiser = denoiser.to(device).eval()
        return cls(autoencoder, denoiser, schedule, mean, std, shape, fractions, conditioned, streams, device)

    def sample(
        self,
        n: int | None = None,
        seed: int = 0,
        want: Mapping[str, float] | None = None,
        guidance: float = 1.0,
        sampler: Literal["dpm++", "ddim", "ddpm"] = "dpm++",
        n_steps: int = 25,
        batch: int = 16,
        given: Mapping[str, np.ndarray] | None = None,
        order: Literal["together", "mask-first"] = "together",
    ) -> Samples:
        """Draw n labelled patches, or the rest of patches of which a part is given.

        Patch i depends on (seed, i), what is asked for and what is given alone.

        Args:
            n: how many; with `given` as many as there are if None, and each again and again if more.
            seed: of the noise and of the class fractions.
            want: class name -> fraction, for example {"water": 0.3}; see `Drawing`.
            guidance, sampler, n_steps, order: see `Drawing`.
            batch: patches drawn together; changes the speed, and the result by float arithmetic only.
            given: arrays that are returned as they are: "mask" (n,H,W) class ids, an image is painted for each;
                "image" (n,T,C,H,W) reflectance, each is labelled; "date1" (n,C,H,W), the second date and the mask are
                drawn, or with "mask" beside it the second date alone.

        Raises:
            UserError: for a class that does not exist or fractions that cannot be, a model that cannot be asked, and
                what specdm.given refuses.
        """
        drawing = Drawing(sampler, n_steps, guidance, want, order=order)
        known = None
        if given is not None:
            known = check_given(given, self.autoencoder.shape, len(self.autoencoder.meta.labels))
        elif n is None:
            raise UserError("sample: say how many patches to draw, or give something to draw them for.")
        n = len(known) if n is None else n
        parts = []
        for start in range(0, n, batch):
            indices = np.arange(start, min(start + batch, n))
            parts.append(self.draw(indices, seed, drawing, known and known.rows(indices % len(known))))
        return self._described(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))

    @torch.no_grad()
    def draw(
        self, indices: Sequence[int], seed: int, drawing: Drawing, given: Given | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Patches number `indices` of a seed: reflectance (n,T,C,H,W), masks (n,H,W) uint8, fractions asked for (n,K).

        given: one patch for each index, whose streams are returned as they are. Paper section 3.3.
        """
        if given is None and drawing.order == "mask-first":
            _, masks, asked = self._drawn(indices, seed, drawing, None, frozenset(self.streams.images))
            painting = replace(drawing, want=None)  # the mask has met it, or not: its own fractions are told
            refl, masks, _ = self._drawn(indices, seed, painting, Given(masks), frozenset())
            return refl, masks, asked
        return self._drawn(indices, seed, drawing, given, frozenset())

    def _drawn(
        self, indices: Sequence[int], seed: int, drawing: Drawing, given: Given | None, absent: frozenset[str]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """See `draw`; absent: streams that are neither given nor drawn; what is returned of them means nothing."""
        names = given.names(self.streams) if given else frozenset()
        if (given or absent) and not self.per_stream:
            raise UserError(
                "given: this model has one noise level for image and mask, it draws both at once: train one with "
                "diffusion.levels: streams."
            )
        if given and drawing.guidance == 0:
            raise UserError("guidance: 0 leaves out what is given as well, draw with 1 or more.")
        asked = self.asked(indices, seed, drawing, given)
        noise = sample_noise(seed, indices, self.latent_shape).to(self.device)
        known = noise
        if given:
            mean = given.encode(self.autoencoder.network, self.autoencoder.normaliser, self.device)
            known = (mean - self.latent_mean) / self.latent_std
        free = ~self.streams.channels_of(names | absent).to(self.device)
        drawn = sample_latents(
            self.denoising(asked, drawing, names, absent, known, noise, free),
            noise[:, free],
            self.schedule,
            drawing.sampler,
            drawing.n_steps,
            lambda i: sample_noise(seed, indices, self.latent_shape, i + 1).to(self.device)[:, free],
        )
        latents = noise.index_copy(1, free.nonzero().ravel(), drawn)
        refl, masks = self.autoencoder.decode(latents * self.latent_std + self.latent_mean, names | absent)
        if given and given.refl is not None:
            refl[:, : given.refl.shape[1]] = given.refl
        if given and given.masks is not None:
            masks = given.masks
        return refl, masks, asked.numpy()

    @torch.no_grad()
    def decode(self, latents: torch.Tensor) -> Samples:
        """Labelled patches of normalised latents (n,Z,h,w)."""
        asked = np.full((len(latents), len(self.autoencoder.meta.labels)), np.nan, np.float32)
        return self._described(
            *self.autoencoder.decode(latents.to(self.device) * self.latent_std + self.latent_mean), asked
        )

    def asked(self, indices: Sequence[int], seed: int, drawing: Drawing, given: Given | None = None) -> torch.Tensor:
        """The class fractions (n,K) that patches number `indices` of a seed are asked to have, NaN for none.

        Without `want` each sample follows a training patch, such that the first n samples together have the
        distribution of the training patches, for every n. Those of a given mask are its own; beside given images none
        are asked for, as they might be of another place, unless they are wanted beside a first date.
        """
        want = self._wanted(drawing.want or {})
        if given and given.masks is not None:
            if want:
                raise UserError("want: the mask is given, and with it the fractions of its classes: leave want out.")
            counts = torch.from_numpy(class_counts(given.masks, self.fractions.shape[1]))
            return class_fractions(counts) if self.conditioned else torch.full(counts.shape, torch.nan)
        if given and want and given.refl.shape[1] == self.autoencoder.shape[0]:
            raise UserError("want: the image is given, its mask is what it shows: leave want out.")
        if given and not want:
            return torch.full((len(indices), self.fractions.shape[1]), torch.nan)
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

    def denoising(
        self,
        asked: torch.Tensor,
        drawing: Drawing,
        names: frozenset[str],
        absent: frozenset[str],
        known: torch.Tensor,
        noise: torch.Tensor,
        free: torch.Tensor,
    ) -> Denoise:
        """The denoiser of the channels `free` as a function of (z_t, t), told what is asked for and given.

        Guidance leaves out the fractions, and of what is given what `specdm.nn.streams.dropped` says.
        """
        network, streams = self.denoiser, self.streams

        def told(fractions: torch.Tensor, given: frozenset[str]) -> Denoise:
            condition = encode_condition(fractions).to(self.device) if network.spec.condition else None
            if not self.per_stream:
                return lambda z, t: evaluate(z, t, condition)
            is_given, is_absent = streams.chosen(given), streams.chosen(absent | (names - given))
            around = torch.where(streams.channels_of(given).to(self.device)[:, None, None], known, noise)

            def denoise(z: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
                levels = t[:, None].expand(-1, len(streams.names))
                levels = levels.masked_fill(is_given.to(t.device), CLEAN)
                levels = levels.masked_fill(is_absent.to(t.device), self.schedule.n_steps)
                whole = around.index_copy(1, free.nonzero().ravel(), z)
                return evaluate(whole, log_snr(levels, self.schedule), condition)[:, free]

            return denoise

        def evaluate(z: torch.Tensor, t: torch.Tensor, condition: torch.Tensor | None) -> torch.Tensor:
            context = torch.autocast(self.device.type, torch.bfloat16) if drawing.half else contextlib.nullcontext()
            with context:
                return network(z, t, condition).float()

        untold = told(torch.full_like(asked, torch.nan), names - dropped(names))
        return guided(told(asked, names), untold, drawing.guidance)

    def _described(self, images: np.ndarray, masks: np.ndarray, asked: np.ndarray) -> Samples:
        meta = self.autoencoder.meta
        colours = np.array([c.colour for c in meta.labels.classes], np.uint8)
        return Samples(images, masks, asked, meta.bands, tuple(meta.labels.names), colours, meta)
