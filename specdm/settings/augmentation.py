"""Settings of the strong augmentation of training patches."""

from __future__ import annotations

from pydantic import Field

from specdm.settings.base import Section


class StrongAugmentation(Section):
    """What is drawn anew for every training patch of a downstream network, besides its view."""

    zoom: float = Field(1.5, ge=1, le=4, description="largest factor of scale-and-crop; log-uniform from 1 on")
    gain: float = Field(0.1, ge=0, le=0.9, description="each band and date of reflectance times a factor in 1 ± gain")
    offset: float = Field(0.05, ge=0, le=1, description="plus up to ± offset standard deviations of the band")
    band_dropout: float = Field(0.1, ge=0, le=1, description="probability of each band to become its mean; never all")
    cutmix: float = Field(0.3, ge=0, le=1, description="probability that a rectangle comes from another patch")
    paste: float = Field(
        0.5, ge=0, le=1, description="change detection: probability that changed objects of another patch are pasted"
    )
