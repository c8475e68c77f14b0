"""SegFormer (Xie et al., arXiv 2105.15203), MiT-B0 to B5, with the paper's mapping layer from bands to 3 channels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch.nn.functional as F
from segmentation_models_pytorch.decoders.segformer.decoder import SegformerDecoder
from segmentation_models_pytorch.encoders.mix_transformer import MixVisionTransformerEncoder, mix_transformer_encoders
from torch import Tensor, nn

from specdm.errors import UserError
from specdm.nn.downstream.common import DownstreamNetwork, Recipe, SpectralAdapter, load_encoder, require_choice

STEM = "patch_embed1.proj.weight"
VARIANTS = ("b0", "b1", "b2", "b3", "b4", "b5")

# NVlabs/SegFormer, local_configs/segformer/B5: warm-up of 1 500 in 160 000 steps
RECIPE = Recipe("adamw", 6e-5, 0.01, head_lr_factor=10.0, schedule="poly", warmup_fraction=1500 / 160_000)


class SegFormer(DownstreamNetwork):
    """Segmentation of one date: x (N, 1, C, H, W) to logits (N, K, H, W); any H, W, best multiples of 32.

    variant: b0..b5. adapter: "map3" puts the paper's 1x1 mapping to 3 channels before the backbone; "inflate" widens
    the backbone's first convolution instead. head_dim: width of the MLP head, by default 256 for b0 and b1, else 768.
    encoder_state: pretrained MiT weights (3 input channels).
    """

    head_modules = ("decoder", "classifier", "adapter")  # ASSUME: the new mapping layer learns as fast as the head
    no_decay = ("norm", "pos_block")

    def __init__(
        self,
        bands: int,
        classes: int,
        variant: str = "b5",
        adapter: Literal["map3", "inflate"] = "map3",
        head_dim: int | None = None,
        head_dropout: float = 0.1,
        encoder_state: Mapping[str, Tensor] | None = None,
    ) -> None:
        super().__init__()
        require_choice("segformer", "adapter", adapter, ("map3", "inflate"))
        head_dim = head_dim or (256 if variant in ("b0", "b1") else 768)
        self.adapter = SpectralAdapter(bands) if adapter == "map3" else nn.Identity()
        self.encoder = mit_encoder(variant, 3 if adapter == "map3" else bands)
        self.decoder = SegformerDecoder(self.encoder.out_channels, segmentation_channels=head_dim)
        self.dropout = nn.Dropout2d(head_dropout)
        self.classifier = nn.Conv2d(head_dim, classes, kernel_size=1)
        if encoder_state is not None:
            load_encoder(self.encoder, encoder_state, STEM)

    def forward(self, x: Tensor) -> Tensor:
        features = self.encoder(self.adapter(x[:, 0]))  # [input, nothing, 1/4, 1/8, 1/16, 1/32]
        logits = self.classifier(self.dropout(self.decoder(features)))  # N K H/4 W/4
        return F.interpolate(logits, size=x.shape[-2:], mode="bilinear", align_corners=False)


def mit_encoder(variant: str, channels: int, heads: tuple[int, ...] | None = None) -> MixVisionTransformerEncoder:
    """Mix Transformer b0..b5 for `channels` inputs, untrained; `heads` a stage overrides 1, 2, 5, 8."""
    if variant not in VARIANTS:
        raise UserError(f"mix transformer: unknown variant {variant!r}; choose one of {', '.join(VARIANTS)}.")
    params = dict(mix_transformer_encoders[f"mit_{variant}"]["params"])
    if heads is not None:
        params["num_heads"] = list(heads)
    return MixVisionTransformerEncoder(in_chans=channels, **params)
