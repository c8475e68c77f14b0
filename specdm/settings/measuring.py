"""Settings of what measures a generator: the judge, and how samples are looked at."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from specdm.settings.base import Precision, Section


class TeacherSettings(Section):
    """The judge: a small network trained on real data, whose features and masks measure the samples."""

    width: int = Field(32, ge=4, description="feature channels of the first level")
    batch: int = Field(32, ge=1, description="patches a step")
    steps: int = Field(5000, ge=1, description="optimiser steps")
    learning_rate: float = Field(1e-3, gt=0, description="of AdamW")


class FilterSettings(Section):
    """Choosing among the samples: regimes that keep the best of a pool."""

    ignore_above: float = Field(
        1.25,
        gt=0,
        description="pixels whose cross-entropy is more than so many times the mean of their class in real data lose "
        "their label",
    )


class EvaluationSettings(Section):
    """Measuring the samples."""

    n_samples: int = Field(2000, ge=4, description="samples drawn for measuring, at least")
    n_pictures: int = Field(8, ge=1, description="pairs shown in the pictures")
    features: tuple[str, ...] = Field(
        ("teacher",),
        min_length=1,
        description="features of the distances: teacher (of the judge), inception, path/to/file.py:function; the first "
        "ones are the headline",
    )
    inception_weights: str = Field(
        "none",
        min_length=1,
        description="weights of the features inception: none, published (fetched by a job of its own), or a file",
    )
    folds: int = Field(
        3, ge=2, description="judges of alignment, each trained without one of as many parts of the real training split"
    )
    shifts_px: tuple[int, ...] = Field((1, 2, 4, 8), description="by how much masks are moved to see whether they fit")
    n_bootstrap: int = Field(1000, ge=10, description="draws behind an interval")
    sampling_steps: tuple[int, ...] = Field(
        (5, 10, 25, 50), description="numbers of sampling steps that results/tables/DATASET/METHOD/steps.csv compares"
    )

    @model_validator(mode="after")
    def _possible(self) -> EvaluationSettings:
        for name in self.features:
            if name not in ("teacher", "inception") and ".py:" not in name:
                raise ValueError(f"features {name!r}: use teacher, inception or path/to/file.py:function")
        if "inception" in self.features and self.inception_weights == "none":
            raise ValueError("features inception need inception_weights: published, or a file")
        return self


class CopySettings(Section):
    """Looking for training patches among the samples."""

    n_samples: int = Field(500, ge=20, description="samples checked, at most; and as many real patches measured alike")
    quantile: float = Field(
        0.01, gt=0, lt=0.5, description="share of real patches that are closer to another one than the threshold"
    )
    guard: float = Field(
        1.0, ge=0, description="sides of a patch that lie between two real patches of one source if they are compared"
    )
    window_share: float = Field(
        0.5, gt=0, lt=1, description="side of the compared central window by the side of a patch: the rest may shift"
    )
    candidates: int = Field(4, ge=1, description="training patches compared at full size for each sample")
    components: int = Field(6, ge=1, description="principal components that stand for the bands, where these are more")
    n_pictures: int = Field(8, ge=1, description="closest cases shown in the picture")


Direction = Literal["mask", "image", "date2"]


class InformationSettings(Section):
    """What image and mask tell of each other by a generator of diffusion.levels: streams."""

    of: Direction = Field(
        "image",
        description="what wrong labels are looked for by: mask, what all images of a patch tell of it; image, what the "
        "mask tells of all images; date2, what the mask tells of the second date beyond the first",
    )
    alignment_of: Direction = Field("mask", description="the same for the row of alignment")
    n_levels: int = Field(12, ge=1, description="noise levels that stand for all")
    n_noises: int = Field(2, ge=1, description="draws of noise at each level; every second one is the last, turned")
    smooth_cells: int = Field(3, ge=1, description="side of the square of cells whose mean is judged, an odd number")
    n_samples: int = Field(300, ge=4, description="pairs of each kind that alignment is measured on, at most")
    n_bootstrap: int = Field(1000, ge=10, description="draws behind an interval of alignment")
    n_pictures: int = Field(8, ge=1, description="patches shown in a picture")
    batch: int = Field(32, ge=1, description="patches looked at together")
    precision: Precision = "auto"

    @model_validator(mode="after")
    def _odd(self) -> InformationSettings:
        if self.smooth_cells % 2 == 0:
            raise ValueError(f"smooth_cells {self.smooth_cells} has no middle: use an odd number")
        return self
