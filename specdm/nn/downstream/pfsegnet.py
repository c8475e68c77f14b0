"""PFSegNet (Li et al., CVPR 2021, arXiv 2103.06564): a feature pyramid whose levels exchange only chosen points."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import timm
import torch
from torch import Tensor, nn

from specdm.errors import UserError
from specdm.nn.downstream.common import DownstreamNetwork, Recipe, SpectralAdapter, load_encoder, require_choice
from specdm.nn.downstream.edges import balanced_edge_loss, edge_targets, ohem_cross_entropy
from specdm.nn.downstream.point_flow import PointFlow, resize

BACKBONES = {"r50": "resnet50s", "r101": "resnet101s"}
VARIANTS = tuple(BACKBONES)
STEM = "conv1.0.weight"
WIDTH = 256  # channels of the head
CROP = 896  # pixels a side in the authors' training, for which the numbers of points were chosen

# lxtGH/PFSegNets, scripts/pointflow; the authors train iSAID with 0.007 and step the rate per epoch
RECIPE = Recipe("sgd", 0.01, 1e-4, schedule="poly", poly_power=0.9)


class PFSegNet(DownstreamNetwork):
    """Segmentation of one date: x (N, 1, C, H, W) to logits (N, K, H, W); H, W multiples of 32, N >= 2 in training.

    variant: r50 or r101. adapter: "map3" maps the bands to 3 channels before the backbone, "wide" gives its first
    convolution all bands. maxpool, avgpool, edge_points, match_dim: see `PointFlow`; with point_budget "absolute" they
    hold for images of any size, with "relative" an image gets the fraction of its cells that an image of 896 pixels
    gets. edge_target and edge_width (pixels): see `edge_targets`. encoder_state: pretrained weights of timm's
    resnet50s or resnet101s (3 input channels), whose classifier is left out.

    UserError in forward for sides that are no multiples of 32, and for a single image in training.
    """

    head_modules = ("adapter", "pyramid", "laterals", "flows", "smooth", "classifier")

    def __init__(
        self,
        bands: int,
        classes: int,
        variant: str = "r50",
        adapter: Literal["map3", "wide"] = "map3",  # ASSUME: the paper does not say how 10 bands enter
        maxpool: int = 14,
        avgpool: int = 9,
        edge_points: int = 128,
        match_dim: int = 64,
        point_budget: Literal["absolute", "relative"] = "absolute",
        edge_weight: float = 25.0,
        edge_target: Literal["multiclass", "upstream"] = "multiclass",
        edge_width: int = 2,  # ASSUME: the authors' 8 are meant for crops of 896 pixels
        ohem_threshold: float = 0.7,
        ohem_min_kept: int = 10_000,
        encoder_state: Mapping[str, Tensor] | None = None,
    ) -> None:
        super().__init__()
        for name, value, known in (
            ("adapter", adapter, ("map3", "wide")),
            ("point_budget", point_budget, ("absolute", "relative")),
            ("edge_target", edge_target, ("multiclass", "upstream")),
        ):
            require_choice("pfsegnet", name, value, known)
        counts = {"maxpool": maxpool, "avgpool": avgpool, "edge_points": edge_points, "match_dim": match_dim}
        for name, value in {**counts, "edge_width": edge_width, "ohem_min_kept": ohem_min_kept}.items():
            if value < 1:
                raise UserError(f"pfsegnet: {name} must be at least 1, not {value}.")
        self.edge_weight, self.edge_target, self.edge_width = edge_weight, edge_target, edge_width
        self.ohem_threshold, self.ohem_min_kept = ohem_threshold, ohem_min_kept

        self.adapter = SpectralAdapter(bands) if adapter == "map3" else nn.Identity()
        self.encoder = dilated_resnet(variant, 3 if adapter == "map3" else bands)
        *fine, coarse = self.encoder.feature_info.channels()
        strides = self.encoder.feature_info.reduction()
        self.pyramid = PyramidPooling(coarse)
        self.laterals = nn.ModuleList(_normed(nn.Conv2d(c, WIDTH, kernel_size=1)) for c in fine)
        self.flows = nn.ModuleList(
            PointFlow(WIDTH, **counts, reference_side=CROP // stride if point_budget == "relative" else None)
            for stride in strides[1:]  # of the coarser map
        )
        self.smooth = nn.ModuleList(_conv3x3(WIDTH) for _ in fine)
        self.classifier = nn.Sequential(_conv3x3(WIDTH * len(strides)), nn.Conv2d(WIDTH, classes, kernel_size=1))
        if encoder_state is not None:
            load_encoder(self.encoder, encoder_state, STEM)

    def forward(self, x: Tensor) -> Tensor:
        return self._logits_and_edges(x)[0]

    # L = OHEM cross entropy + edge_weight sum_levels BCE
    def training_loss(self, x: Tensor, target: Tensor, class_weights: Tensor | None = None) -> Tensor:
        logits, edge_logits = self._logits_and_edges(x)
        loss = ohem_cross_entropy(logits, target, self.ohem_threshold, self.ohem_min_kept, class_weights)
        edges = edge_targets(target, self.edge_target, self.edge_width)
        return loss + self.edge_weight * balanced_edge_loss(edge_logits, edges)

    def _logits_and_edges(self, x: Tensor) -> tuple[Tensor, Tensor]:
        size = x.shape[-2:]
        if size[0] % 32 or size[1] % 32:
            raise UserError(f"pfsegnet: images of {size[0]} x {size[1]} pixels; give sides that are multiples of 32.")
        if self.training and len(x) == 1:
            raise UserError("pfsegnet: a training batch of one image cannot be normalised; use a batch size >= 2.")
        *fine, coarse = self.encoder(self.adapter(x[:, 0]))  # 1/4, 1/8, 1/16, 1/32
        passed = self.pyramid(coarse)
        levels, edges = [passed], []
        for feature, lateral, flow, smooth in zip(
            fine[::-1], self.laterals[::-1], self.flows[::-1], self.smooth[::-1], strict=True
        ):
            low = lateral(feature)
            flowed, edge = flow(passed, low)
            passed = low + flowed  # goes on unsmoothed
            levels.append(smooth(passed))
            edges.append(resize(edge, size))
        same_size = [resize(level, passed.shape[-2:]) for level in levels[::-1]]
        logits = self.classifier(torch.cat(same_size, dim=1))  # N K H/4 W/4
        return resize(logits, size), torch.cat(edges, dim=1)  # N K H W, N 3 H W


class PyramidPooling(nn.Module):
    """PSPNet's context (Zhao et al., arXiv 1612.01105): x (N, C, h, w) and its means over 1, 4, 9 and 36 cells, fused.

    Gives (N, 256, h, w). The pooled branches have no activation, as in the authors' code.
    """

    def __init__(self, channels: int, bins: tuple[int, ...] = (1, 2, 3, 6), dropout: float = 0.1) -> None:
        super().__init__()
        self.pools = nn.ModuleList(
            nn.Sequential(
                nn.AdaptiveAvgPool2d(side), nn.Conv2d(channels, WIDTH, kernel_size=1, bias=False), nn.BatchNorm2d(WIDTH)
            )
            for side in bins
        )
        fused = channels + WIDTH * len(bins)
        self.fuse = nn.Sequential(_normed(nn.Conv2d(fused, WIDTH, kernel_size=1, bias=False)), nn.Dropout2d(dropout))

    def forward(self, x: Tensor) -> Tensor:
        pooled = [resize(pool(x), x.shape[-2:]) for pool in self.pools]
        return self.fuse(torch.cat([x, *pooled], dim=1))


def dilated_resnet(variant: str, channels: int) -> nn.Module:
    """Deep-stem ResNet r50 or r101, untrained: (N, channels, H, W) to its four stages' maps at 1/4, 1/8, 1/16, 1/32.

    The authors dilate the 3x3 convolutions of the last two stages by 2 and 4 but, unlike others, keep their strides.
    """
    if variant not in BACKBONES:
        raise UserError(f"pfsegnet: unknown variant {variant!r}; choose one of {', '.join(VARIANTS)}.")
    encoder = timm.create_model(
        BACKBONES[variant],
        in_chans=channels,
        features_only=True,
        out_indices=(1, 2, 3, 4),
        zero_init_last=False,  # ASSUME: untrained blocks start as the authors' do, not as timm's
    )
    for stage, dilation in ((encoder.layer3, 2), (encoder.layer4, 4)):
        for block in stage:
            block.conv2.dilation = block.conv2.padding = (dilation, dilation)
    return encoder


def _normed(conv: nn.Conv2d) -> nn.Sequential:
    return nn.Sequential(conv, nn.BatchNorm2d(conv.out_channels), nn.ReLU())


def _conv3x3(channels: int) -> nn.Sequential:
    return _normed(nn.Conv2d(channels, WIDTH, kernel_size=3, padding=1, bias=False))
