"""SiamCRNN (Chen et al., TGRS 2020; fully convolutional since 2024): a shared ResNet, ConvLSTMs over the dates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from specdm.nn.downstream.common import DownstreamNetwork, Recipe, SpectralAdapter, load_encoder, require_choice
from specdm.nn.downstream.lovasz import lovasz_softmax

STEM = "conv1.weight"
VARIANTS = ("18", "34", "50", "101")
DILATIONS = {16: {"layer4": 2}, 8: {"layer3": 2, "layer4": 4}}  # by output stride

CHANGE_WEIGHT = 10.0  # of every class but the first in the cross entropy
LOVASZ_WEIGHT = 0.75
IGNORE = 255

# ChenHongruixuan/SiamCRNN, FCN_version/script/train_siamcrnn.py
RECIPE = Recipe("adamw", 1e-4, 5e-4)


class SiamCRNN(DownstreamNetwork):
    """Change between two dates: x (N, 2, C, H, W) to logits (N, K, H, W); any H, W; not symmetric in time.

    variant: depth of the ResNet, 18, 34, 50 or 101. smoothing: what follows each sum of the pyramid, a residual block
    (as in the published SiamCRNN-101) or one convolution (as in the authors' repository). adapter: "wide" gives the
    first convolution all bands, "map3" maps them to 3 channels before it. output_stride: 16 or 8, of the coarsest
    level. hidden: channels of the ConvLSTMs and the pyramid. encoder_state: pretrained weights of torchvision's or
    timm's ResNet (3 input channels). UserError for another value of these.
    """

    head_modules = ("recurrences", "smoothings", "classifier", "adapter")

    def __init__(
        self,
        bands: int,
        classes: int = 2,
        variant: str = "101",
        smoothing: Literal["resblock", "conv"] = "resblock",
        adapter: Literal["wide", "map3"] = "wide",  # ASSUME: the paper does not say how 10 bands enter
        output_stride: Literal[16, 8] = 16,
        hidden: int = 128,
        encoder_state: Mapping[str, Tensor] | None = None,
    ) -> None:
        super().__init__()
        for name, value, known in (
            ("variant", variant, VARIANTS),
            ("smoothing", smoothing, tuple(SMOOTHINGS)),
            ("adapter", adapter, ("wide", "map3")),
            ("output_stride", output_stride, tuple(DILATIONS)),
        ):
            require_choice("siamcrnn", name, value, known)
        self.adapter = SpectralAdapter(bands) if adapter == "map3" else nn.Identity()
        self.encoder = resnet_encoder(variant, bands if adapter == "wide" else 3, output_stride)
        channels = self.encoder.feature_info.channels()  # fine to coarse
        self.recurrences = nn.ModuleList(ConvLSTM(c, hidden) for c in channels)
        self.smoothings = nn.ModuleList(SMOOTHINGS[smoothing](hidden) for _ in channels[1:])  # coarse to fine
        self.classifier = nn.Conv2d(hidden, classes, kernel_size=1)
        # ASSUME: the original knows two classes; every class of change weighs as much as its one
        weights = torch.tensor([1.0] + [CHANGE_WEIGHT] * (classes - 1))
        self.register_buffer("class_weights", weights, persistent=False)
        if encoder_state is not None:
            load_encoder(self.encoder, encoder_state, STEM)

    def forward(self, x: Tensor) -> Tensor:
        # One call a date, as in the original: BatchNorm then sees each date's own statistics.
        dates = [self.encoder(self.adapter(date)) for date in x.unbind(1)]  # each [1/4, 1/8, 1/16, 1/16]
        states = [
            recurrence(torch.stack(level, dim=1))
            for recurrence, level in zip(self.recurrences, zip(*dates, strict=True), strict=True)
        ]
        pyramid = states[-1]
        for state, smoothing in zip(states[-2::-1], self.smoothings, strict=True):
            pyramid = smoothing(state + _resize(pyramid, state.shape[-2:]))
        return _resize(self.classifier(pyramid), x.shape[-2:])

    def training_loss(self, x: Tensor, target: Tensor, class_weights: Tensor | None = None) -> Tensor:
        """Cross entropy + 0.75 Lovasz-softmax, a float32 scalar, for x (N, 2, C, H, W), target (N, H, W), 255 ignored.

        class_weights (K,) float32 take the place of the authors' 1 and 10. As in their code the cross entropy is the
        weighted mean: it is divided by the sum of the pixels' weights, not by their number.
        """
        logits, target = self(x).float(), target.long()
        weights = self.class_weights if class_weights is None else class_weights
        total = F.cross_entropy(logits, target, weights, ignore_index=IGNORE, reduction="sum")
        weight = weights[target[target != IGNORE]].sum()
        cross_entropy = total / weight.clamp_min(torch.finfo(weight.dtype).tiny)
        return cross_entropy + LOVASZ_WEIGHT * lovasz_softmax(logits, target, IGNORE)


class ConvLSTM(nn.Module):
    """One ConvLSTM layer without peepholes (Shi et al., NeurIPS 2015): x (N, T, C, H, W) to the last h (N, D, H, W).

    Hidden and cell state start at zero; the gates i, f, o and the candidate g come from one 3x3 convolution of [x, h].
    """

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.hidden = hidden
        self.gates = nn.Conv2d(channels + hidden, 4 * hidden, kernel_size=3, padding=1)

    # c' = f c + i g        h' = o tanh(c')
    def forward(self, x: Tensor) -> Tensor:
        h = c = x.new_zeros(x.shape[0], self.hidden, *x.shape[-2:])
        for x_t in x.unbind(1):
            i, f, o, g = self.gates(torch.cat((x_t, h), dim=1)).chunk(4, dim=1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
        return h


class ResidualBlock(nn.Module):
    """relu(x + F(x)) with F two 3x3 convolutions, each with BatchNorm; (N, D, H, W) to the same."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(width, width, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(width),
        )

    def forward(self, x: Tensor) -> Tensor:
        return (x + self.body(x)).relu()


def _conv_block(width: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(width, width, kernel_size=3, padding=1), nn.BatchNorm2d(width), nn.ReLU())


SMOOTHINGS = {"resblock": ResidualBlock, "conv": _conv_block}


def resnet_encoder(variant: str, channels: int, output_stride: int) -> nn.Module:
    """timm's ResNet of that depth for `channels` inputs, untrained, giving its four levels, fine to coarse.

    The levels have strides 4, 8, 16 and 16 (output_stride 16) or 4, 8, 8 and 8. Convolutions are drawn from
    N(0, 2 / (k k out)), BatchNorm starts as the identity.
    """
    encoder = timm.create_model(
        f"resnet{variant}",
        pretrained=False,
        features_only=True,
        out_indices=(1, 2, 3, 4),
        in_chans=channels,
        output_stride=output_stride,
        zero_init_last=False,
    )
    # Where stride gives way to dilation, the original dilates the first 3x3 of every block and no other; timm spares
    # the first block of the level and dilates the second 3x3 of the basic blocks.
    for level, dilation in DILATIONS[output_stride].items():
        for block in encoder[level]:
            first, *others = [m for m in block.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)]
            first.dilation = first.padding = (dilation, dilation)
            for convolution in others:
                convolution.dilation = convolution.padding = (1, 1)
    return encoder


def _resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False)
