"""The joint autoencoder: images and mask to one latent, through two streams (SpecDM) or a single one (LDM baseline)."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from specdm.errors import UserError
from specdm.nn import backbones


@dataclass(frozen=True)
class StreamSpec:
    """Shape of one KL autoencoder: level i has width * multipliers[i] channels; it downsamples by 2^(levels - 1)."""

    latent_channels: int
    width: int
    multipliers: tuple[int, ...]
    layers: int = 2
    norm_groups: int = 32
    mid_attention: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "multipliers", tuple(self.multipliers))
        for channels in (self.width * m for m in self.multipliers):
            if channels % self.norm_groups:
                raise UserError(
                    f"autoencoder: a level of {channels} channels does not divide into {self.norm_groups} norm groups; "
                    "choose a width that is a multiple of norm_groups, or fewer groups."
                )

    @property
    def downsampling(self) -> int:
        return 2 ** (len(self.multipliers) - 1)


@dataclass(frozen=True)
class AutoencoderSpec:
    """All that is needed to build a JointAutoencoder.

    `streams="two"` is the paper's Sec. 3.1: one autoencoder (`image`) for every date, another (`mask`) for the one-hot
    mask. `streams="single"` is the LDM baseline of Sec. 4.2: one autoencoder, built from `image`, over all
    dates * bands + classes channels; `mask` must then be None.
    """

    bands: int
    classes: int
    dates: int
    streams: Literal["two", "single"]
    image: StreamSpec
    mask: StreamSpec | None = None

    def __post_init__(self) -> None:
        if self.streams not in ("two", "single"):
            raise UserError(f"autoencoder: streams must be 'two' or 'single', not {self.streams!r}.")
        if (self.mask is None) != (self.streams == "single"):
            raise UserError(
                f"autoencoder: streams={self.streams!r} {'needs' if self.mask is None else 'has no'} mask stream; "
                "give the mask settings with 'two' and leave them out with 'single'."
            )
        if self.mask is not None and self.mask.downsampling != self.image.downsampling:
            raise UserError(
                f"autoencoder: the image stream downsamples by {self.image.downsampling} and the mask stream by "
                f"{self.mask.downsampling}; give both the same number of multipliers."
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types; `from_dict` is the inverse."""
        plain = asdict(self)
        for name in ("image", "mask"):
            if plain[name] is not None:
                plain[name]["multipliers"] = list(plain[name]["multipliers"])
        return plain

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> AutoencoderSpec:
        """Inverse of `to_dict`; unknown or missing keys are a UserError."""
        try:
            streams = {name: StreamSpec(**plain[name]) if plain.get(name) else None for name in ("image", "mask")}
            return cls(**{**plain, **streams})
        except (KeyError, TypeError) as error:
            raise UserError(f"autoencoder settings do not fit this version of specdm: {error}.") from error


class Posterior(NamedTuple):
    """Diagonal Gaussian over latents: mean and std, each (N, Z, h, w) float32, std > 0."""

    mean: Tensor
    std: Tensor

    def sample(self, noise: Tensor) -> Tensor:
        """mean + std * noise, with standard normal noise (N, Z, h, w)."""
        return self.mean + self.std * noise


class Reconstruction(NamedTuple):
    """What comes out of the autoencoder: images (N,T,C,H,W) standardised, mask_logits (N,K,H,W), and the posterior."""

    images: Tensor
    mask_logits: Tensor
    posterior: Posterior


class JointAutoencoder(nn.Module):
    """Encodes (images, mask) to one latent of Z channels and decodes it (paper Sec. 3.1).

    Two streams: every date goes through the same image weights; the latents of the dates and of the mask are
    concatenated on the channel axis as image1, image2, ..., mask. Single stream: one latent called `joint`.
    """

    def __init__(self, spec: AutoencoderSpec) -> None:
        super().__init__()
        self.spec = spec
        if spec.mask is None:
            self.joint = _stream(spec.image, spec.dates * spec.bands + spec.classes)
        else:
            self.image = _stream(spec.image, spec.bands)
            self.mask = _stream(spec.mask, spec.classes)

    @property
    def latent_channels(self) -> int:
        """Z, the channels of the whole latent."""
        return max(s.stop for s in self.stream_slices.values())

    @property
    def downsampling(self) -> int:
        """H / h = W / w."""
        return self.spec.image.downsampling

    @property
    def stream_slices(self) -> dict[str, slice]:
        """Where each stream lies on the channel axis of the latent: image1, image2, ..., mask; or joint."""
        z = self.spec.image.latent_channels
        if self.spec.mask is None:
            return {"joint": slice(0, z)}
        slices = {f"image{t + 1}": slice(t * z, (t + 1) * z) for t in range(self.spec.dates)}
        start = self.spec.dates * z
        return {**slices, "mask": slice(start, start + self.spec.mask.latent_channels)}

    @property
    def autoencoder_slices(self) -> dict[str, slice]:
        """Channels of the latent that one set of weights makes: image (all dates) and mask; or joint."""
        slices = self.stream_slices
        if self.spec.mask is None:
            return slices
        return {"image": slice(0, slices["mask"].start), "mask": slices["mask"]}

    def encode(self, images: Tensor, onehot: Tensor) -> Posterior:
        """Posterior (N, Z, H/f, W/f) of standardised images (N, T, C, H, W) and one-hot mask (N, K, H, W).

        UserError where the shapes do not fit the spec or H, W are not multiples of the downsampling f.
        """
        self._check(images, onehot)
        if self.spec.mask is None:
            return _posterior(self.joint, torch.cat([images.flatten(1, 2), onehot.to(images.dtype)], dim=1))
        n, dates = images.shape[:2]
        image = _posterior(self.image, images.flatten(0, 1))  # N*T z h w
        mask = _posterior(self.mask, onehot.to(images.dtype))  # N z h w
        return Posterior(
            torch.cat([image.mean.unflatten(0, (n, dates)).flatten(1, 2), mask.mean], dim=1),
            torch.cat([image.std.unflatten(0, (n, dates)).flatten(1, 2), mask.std], dim=1),
        )

    def encode_given(self, images: Tensor | None, onehot: Tensor | None) -> Tensor:
        """Posterior mean (N, Z, h, w) of what is given of two streams, zero in the channels of the others.

        images: standardised, of the first dates (N, T', C, H, W), or None; onehot: masks (N, K, H, W), or None; one at
        least. What is not given costs nothing.
        """
        first = onehot if images is None else images
        side = (s // self.downsampling for s in first.shape[-2:])
        mean = first.new_zeros((len(first), self.latent_channels, *side))
        if images is not None:
            of_dates = _posterior(self.image, images.flatten(0, 1)).mean.unflatten(0, images.shape[:2]).flatten(1, 2)
            mean[:, : of_dates.shape[1]] = of_dates
        if onehot is not None:
            mean[:, self.stream_slices["mask"]] = _posterior(self.mask, onehot).mean
        return mean

    def decode(self, z: Tensor, known: Collection[str] = ()) -> tuple[Tensor, Tensor]:
        """Standardised images (N, T, C, H, W) and mask logits (N, K, H, W) of a latent (N, Z, h, w).

        Of two streams those among `known` are not decoded but zero.
        """
        spec = self.spec
        if known:
            return self._decode_others(z, known)
        if spec.mask is None:
            out = self.joint.decode(z).sample
            images, logits = out.split([spec.dates * spec.bands, spec.classes], dim=1)
            return images.unflatten(1, (spec.dates, spec.bands)), logits
        *dates, mask = z.split([spec.image.latent_channels] * spec.dates + [spec.mask.latent_channels], dim=1)
        images = self.image.decode(torch.stack(dates, dim=1).flatten(0, 1)).sample  # N*T C H W
        return images.unflatten(0, (z.shape[0], spec.dates)), self.mask.decode(mask).sample

    def _decode_others(self, z: Tensor, known: Collection[str]) -> tuple[Tensor, Tensor]:
        spec, side = self.spec, [s * self.downsampling for s in z.shape[-2:]]
        images, logits = (z.new_zeros((len(z), *shape, *side)) for shape in ((spec.dates, spec.bands), (spec.classes,)))
        wanted = [name for name in self.stream_slices if name not in known]
        for name in wanted:
            part = z[:, self.stream_slices[name]]
            if name == "mask":
                logits = self.mask.decode(part).sample
            else:
                images[:, int(name.removeprefix("image")) - 1] = self.image.decode(part).sample
        return images, logits

    def forward(self, images: Tensor, onehot: Tensor, noise: Tensor | None = None) -> Reconstruction:
        """Encode, draw the latent with `noise` (N, Z, h, w) or take its mean when None, decode."""
        posterior = self.encode(images, onehot)
        return Reconstruction(*self.decode(posterior.mean if noise is None else posterior.sample(noise)), posterior)

    def _check(self, images: Tensor, onehot: Tensor) -> None:
        spec, size = self.spec, tuple(images.shape[-2:])
        if images.shape[1:3] != (spec.dates, spec.bands) or onehot.shape[1] != spec.classes:
            raise UserError(
                f"autoencoder: built for {spec.dates} date(s), {spec.bands} bands and {spec.classes} classes, but the "
                f"data has {images.shape[1]}, {images.shape[2]} and {onehot.shape[1]}; use a matching patch set."
            )
        if any(side % self.downsampling for side in size):
            raise UserError(
                f"autoencoder: patches of {size[0]} x {size[1]} pixels do not divide by the downsampling "
                f"{self.downsampling}; cut patches whose sides are multiples of it."
            )


def one_hot(mask: Tensor, classes: int, ignore: int = 255) -> Tensor:
    """Float one-hot (N, K, H, W) of integer ids (N, H, W) (uint8 or int64); ignored pixels are zero in every channel.

    UserError where an id is neither below `classes` nor `ignore`.
    """
    ids = mask.long()
    known = ids != ignore
    if bool((known & ((ids < 0) | (ids >= classes))).any()):
        raise UserError(
            f"mask: holds an id outside 0..{classes - 1} that is not the ignore value {ignore}; check the label set."
        )
    hot = F.one_hot(torch.where(known, ids, 0), classes) * known.unsqueeze(-1)  # N H W K
    return hot.movedim(-1, 1).float()


def _stream(spec: StreamSpec, channels: int) -> nn.Module:
    return backbones.kl_autoencoder(
        channels,
        channels,
        spec.latent_channels,
        spec.width,
        spec.multipliers,
        spec.layers,
        spec.norm_groups,
        spec.mid_attention,
    )


def _posterior(stream: nn.Module, x: Tensor) -> Posterior:
    distribution = stream.encode(x).latent_dist  # log-variance clamped to [-30, 20] by diffusers
    return Posterior(distribution.mean.float(), (0.5 * distribution.logvar.float()).exp())
