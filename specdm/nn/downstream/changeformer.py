"""ChangeFormerV3 (Bandara and Patel, IGARSS 2022): a MiT encoder on both dates, absolute differences, pixel shuffle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from specdm.nn.downstream.common import DownstreamNetwork, Recipe, SpectralAdapter, load_encoder, require_choice
from specdm.nn.downstream.segformer import STEM, mit_encoder

WIDTH = 64  # channels of the decoder

# wgcban/ChangeFormer, scripts/run_ChangeFormer_LEVIR.sh
RECIPE = Recipe("adamw", 1e-4, 0.01, schedule="linear")


class ChangeFormerV3(DownstreamNetwork):
    """Change between two dates: x (N, 2, C, H, W) to logits (N, K, H, W); H, W multiples of 4; symmetric in time.

    adapter: "wide" gives the first convolution all bands, "map3" maps them to 3 channels before it. final_relu keeps
    the original's ReLU before the pixel shuffle (logits >= 0). init "normal" redraws all convolutions and linear
    layers from N(0, 0.02) as the original's trainer does; "default" leaves each layer's own. encoder_state:
    pretrained MiT-B2 weights (only the split into heads of stage 3 differs).
    """

    head_modules = ("project", "fuse", "shrink", "adapter")

    def __init__(
        self,
        bands: int,
        classes: int = 2,
        adapter: Literal["wide", "map3"] = "wide",  # ASSUME: the paper does not say how 10 bands enter
        final_relu: bool = True,
        init: Literal["normal", "default"] = "normal",
        encoder_state: Mapping[str, Tensor] | None = None,
    ) -> None:
        super().__init__()
        for name, value, known in (("adapter", adapter, ("wide", "map3")), ("init", init, ("normal", "default"))):
            require_choice("changeformer", name, value, known)
        self.adapter = SpectralAdapter(bands) if adapter == "map3" else nn.Identity()
        self.encoder = mit_encoder("b2", bands if adapter == "wide" else 3, heads=(1, 2, 4, 8))
        self.project = nn.ModuleList(nn.Conv2d(c, WIDTH, 1) for c in self.encoder.out_channels[2:])
        self.fuse = nn.Conv2d(4 * WIDTH, WIDTH, kernel_size=1)
        self.shrink = nn.Conv2d(WIDTH, 16 * classes, kernel_size=3, padding=1)
        self.final_relu = final_relu
        if init == "normal":
            self.apply(_redraw)
        if encoder_state is not None:
            load_encoder(self.encoder, encoder_state, STEM)

    def forward(self, x: Tensor) -> Tensor:
        n = x.shape[0]
        features = self.encoder(self.adapter(x.flatten(0, 1)))[2:]  # 1/4, 1/8, 1/16, 1/32 of N*2
        size = features[0].shape[-2:]
        differences = []
        for project, feature in zip(self.project, features, strict=True):
            feature = F.interpolate(project(feature), size=size, mode="bilinear", align_corners=False)
            before, after = feature.unflatten(0, (n, 2)).unbind(1)  # each N 64 H/4 W/4
            differences.append((before - after).abs())
        fused = self.shrink(self.fuse(torch.cat(differences[::-1], dim=1)))  # N 16K H/4 W/4
        return F.pixel_shuffle(fused.relu() if self.final_relu else fused, 4)


def _redraw(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
