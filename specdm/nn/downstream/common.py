"""What every downstream network shares: its interface, its training recipe, and how many bands enter three channels."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from specdm.errors import UserError
from specdm.nn.losses import mask_cross_entropy


@dataclass(frozen=True)
class Recipe:
    """How the authors of a network train it; the paper gives no recipe of its own.

    lr falls from its full value to zero by `schedule` (poly: (1 - done)^poly_power; linear; constant) after a linear
    warm-up over warmup_fraction of the steps; modules named as head learn head_lr_factor times faster.
    """

    optimiser: Literal["adamw", "sgd"]
    lr: float
    weight_decay: float
    betas: tuple[float, float] = (0.9, 0.999)
    head_lr_factor: float = 1.0
    schedule: Literal["poly", "linear", "constant"] = "constant"
    poly_power: float = 1.0
    warmup_fraction: float = 0.0


class DownstreamNetwork(nn.Module):
    """A network from images (N, T, C, H, W), standardised per band, to logits (N, K, H, W) of the same size.

    Subclasses implement `forward` and, where their loss is not plain cross entropy, `training_loss`. `head_modules`
    are the top-level modules trained head_lr_factor times faster; parameters whose name contains one of `no_decay`
    are left out of weight decay.
    """

    head_modules: ClassVar[tuple[str, ...]] = ()
    no_decay: ClassVar[tuple[str, ...]] = ()
    encoder: nn.Module
    frozen: bool = False

    def training_loss(self, x: Tensor, target: Tensor, class_weights: Tensor | None = None) -> Tensor:
        """Loss to minimise, a float32 scalar, for images x (N, T, C, H, W) and target (N, H, W) ids, 255 ignored.

        class_weights (K,) float32 multiply the pixels of their class; None weighs all alike.
        """
        return mask_cross_entropy(self(x), target, class_weights=class_weights)

    def freeze_encoder(self) -> None:
        """Leave the encoder as it is: its weights take no gradient, its normalisations no statistics."""
        self.encoder.requires_grad_(False)
        self.frozen = True

    def train(self, mode: bool = True) -> DownstreamNetwork:
        """As usual; a frozen encoder stays in evaluation mode."""
        super().train(mode)
        if self.frozen:
            self.encoder.eval()
        return self

    def parameter_groups(self, recipe: Recipe) -> list[dict[str, Any]]:
        """Optimiser groups (params, lr, weight_decay) that cover every trainable parameter once."""
        groups: dict[tuple[float, float], list[nn.Parameter]] = {}
        for name, parameter in self.named_parameters():
            if parameter.requires_grad:
                head = name.split(".")[0] in self.head_modules
                lr = recipe.lr * (recipe.head_lr_factor if head else 1.0)
                decay = 0.0 if any(part in name for part in self.no_decay) else recipe.weight_decay
                groups.setdefault((lr, decay), []).append(parameter)
        return [{"params": p, "lr": lr, "weight_decay": decay} for (lr, decay), p in groups.items()]


def require_choice(network: str, option: str, value: object, known: Sequence[object]) -> None:
    """UserError that names the choices unless `value` is one of `known`."""
    if value not in known:
        raise UserError(f"{network}: {option} must be one of {', '.join(map(str, known))}, not {value!r}.")


class SpectralAdapter(nn.Conv2d):
    """The paper's "mapping layer before the backbone" (Sec. 3.4): bands to 3 channels, (N, C, H, W) -> (N, 3, H, W)."""

    def __init__(self, bands: int) -> None:
        # ASSUME: the paper gives neither kernel nor activation; one linear map a pixel is the least that does it.
        super().__init__(bands, 3, kernel_size=1)


def load_encoder(encoder: nn.Module, state: Mapping[str, Tensor], stem: str) -> None:
    """Load a pretrained state dict into `encoder`, widening the kernel called `stem` to the encoder's own channels.

    The three input kernels are repeated in turn and scaled by 3 / bands, which keeps the response to a grey input.
    The classifier is left out, and a prefix "encoder." or "backbone." that all other names share. A state that does
    not fit is a UserError.
    """
    state = _without_classifier(state)
    channels = encoder.state_dict()[stem].shape[1]
    if stem in state and state[stem].shape[1] != channels:
        kernel = state[stem]
        given = kernel.shape[1]
        state[stem] = kernel[:, torch.arange(channels) % given] * (given / channels)
    try:
        encoder.load_state_dict(state)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"encoder weights do not fit the network; give those of the same size: {reason}") from error


def _without_classifier(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A plain dict, without the version marks by which PyTorch would require BatchNorm's num_batches_tracked."""
    kept = {k: v for k, v in state.items() if not re.match(r"((encoder|backbone)\.)?(fc|head|classifier)\.", k)}
    for prefix in ("encoder.", "backbone."):
        if all(k.startswith(prefix) for k in kept):
            return {k.removeprefix(prefix): v for k, v in kept.items()}
    return kept
