"""The judge: a small network trained on real data that reads masks from images and images from masks.

Its two encoders give the features of the Fréchet distances, one for images (each date by itself) and one for masks; its
mask predictions say whether a synthetic mask fits its image. Two encoders, because a network that only ever sees images
has no features of a mask.
"""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import nn

from specdm.nn.losses import l1, mask_cross_entropy

LEVELS = (1, 2, 4)  # width of the levels at full, half and quarter resolution


class Teacher(nn.Module):
    """Image -> mask and mask -> image, with pooled features of both.

    Args:
        bands, classes, dates: C, K and T of the patches.
        width: feature channels at full resolution.
    """

    def __init__(self, bands: int, classes: int, dates: int, width: int):
        super().__init__()
        self.bands, self.dates = bands, dates
        self.image_encoder = _Encoder(bands, width)  # shared by the dates
        self.mask_encoder = _Encoder(classes, width)
        self.mask_decoder = _Decoder(dates, width, classes)
        self.image_decoder = _Decoder(1, width, dates * bands)

    def forward(self, images: torch.Tensor, onehot: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Standardised images (N,T,C,H,W) and one-hot masks (N,K,H,W) -> mask logits, images predicted from masks."""
        predicted = self.image_decoder([self.mask_encoder(onehot)])
        return self.predict_mask(images), predicted.unflatten(1, (self.dates, self.bands))

    def predict_mask(self, images: torch.Tensor) -> torch.Tensor:
        """(N,T,C,H,W) -> logits (N,K,H,W)."""
        return self.mask_decoder([self.image_encoder(images[:, t]) for t in range(self.dates)])

    def image_features(self, images: torch.Tensor) -> torch.Tensor:
        """(N,T,C,H,W) -> (N,T,D) features of each date."""
        return torch.stack([_pooled(self.image_encoder(images[:, t])) for t in range(self.dates)], 1)

    def mask_features(self, onehot: torch.Tensor) -> torch.Tensor:
        """(N,K,H,W) -> (N,D)."""
        return _pooled(self.mask_encoder(onehot))

    @staticmethod
    def loss(
        logits: torch.Tensor,
        predicted: torch.Tensor,
        images: torch.Tensor,
        masks: torch.Tensor,
        class_weights: torch.Tensor,
        valid: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        """Class-weighted cross-entropy (ignore 255) of the masks plus mean L1 of the images, float32 scalars.

        Pixels of the images that are not valid, (N,T,H,W) bool, count in no term.
        """
        entropy = mask_cross_entropy(logits, masks, class_weights=class_weights)
        error = l1(predicted, images, None if valid is None else valid.unsqueeze(2))
        return {"total": entropy + error, "cross_entropy": entropy, "l1": error}


def _pooled(levels: list[torch.Tensor]) -> torch.Tensor:
    return torch.cat([level.mean((-2, -1)) for level in levels[1:]], 1)


def _block(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1),
        nn.GroupNorm(4, outputs),
        nn.SiLU(),
        nn.Conv2d(outputs, outputs, 3, padding=1),
        nn.GroupNorm(4, outputs),
        nn.SiLU(),
    )


class _Encoder(nn.Module):
    def __init__(self, inputs: int, width: int):
        super().__init__()
        widths = [inputs, *(width * m for m in LEVELS)]
        self.blocks = nn.ModuleList(_block(a, b) for a, b in itertools.pairwise(widths))

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        levels = []
        for i, block in enumerate(self.blocks):
            x = block(F.avg_pool2d(x, 2) if i else x)
            levels.append(x)
        return levels  # full, half and quarter resolution


class _Decoder(nn.Module):
    def __init__(self, inputs: int, width: int, outputs: int):
        super().__init__()
        fine, middle, coarse = (width * m for m in LEVELS)
        self.bottom = _block(inputs * coarse, coarse)
        self.middle = _block(coarse + inputs * middle, middle)
        self.fine = _block(middle + inputs * fine, fine)
        self.head = nn.Conv2d(fine, outputs, 1)

    def forward(self, pyramids: list[list[torch.Tensor]]) -> torch.Tensor:
        fine, middle, coarse = (torch.cat(levels, 1) for levels in zip(*pyramids, strict=True))
        x = self.bottom(coarse)
        x = self.middle(torch.cat([F.interpolate(x, scale_factor=2.0), middle], 1))
        return self.head(self.fine(torch.cat([F.interpolate(x, scale_factor=2.0), fine], 1)))
