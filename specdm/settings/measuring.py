"""Settings of what measures a generator: the judge, the downstream networks and their training sets."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from specdm.settings.base import NetworkName, Precision, Section


class Regime(Section):
    """What a downstream network is trained on, in multiples of the data set's n_real."""

    real: Literal[0, 1] = Field(description="1: the n_real labelled patches; 0: none of them")
    synthetic: int = Field(ge=0, description="synthetic patches as a multiple of n_real")
    method: str = Field("specdm", description="the generator that made them")

    @model_validator(mode="after")
    def _not_empty(self) -> Regime:
        if not self.real and not self.synthetic:
            raise ValueError("real and synthetic are both 0: nothing to train on")
        return self


class TeacherSettings(Section):
    """The judge: a small network trained on real data, whose features and masks measure the samples."""

    width: int = Field(32, ge=4, description="feature channels of the first level")
    batch: int = Field(32, ge=1, description="patches a step")
    steps: int = Field(5000, ge=1, description="optimiser steps")
    learning_rate: float = Field(1e-3, gt=0, description="of AdamW")


class DownstreamSettings(Section):
    """Training of the downstream networks (paper section 4.3; recipes of the networks where a value is null)."""

    steps: int = Field(10_000, ge=1, description="optimiser steps, equal for all regimes")
    batch: int = Field(16, ge=1, description="patches a step")
    learning_rate: float | None = Field(None, gt=0, description="null: the network's official recipe")
    val_every: int = Field(500, ge=1, description="steps between validations")
    select: Literal["best", "last"] = Field("best", description="weights tested: best on validation, or the last")
    augment: Literal["d4", "flips", "none"] = Field("d4", description="views of a training patch")
    precision: Precision = "32-true"
    class_weights: Literal["none", "sqrt"] = Field(
        "none", description="weights of classes in the loss: none, or 1 / sqrt(frequency) in the training patches"
    )
    options: dict[NetworkName, dict[str, Any]] = Field(
        {}, description="options that single networks are built with, by name"
    )
    overrides: dict[NetworkName, dict[str, Any]] = Field(
        {}, description="settings of this section that differ for a network"
    )


class EvaluationSettings(Section):
    """Measuring the samples."""

    n_samples: int = Field(2000, ge=4, description="samples drawn for measuring, at least")
    n_pictures: int = Field(8, ge=1, description="pairs shown in the pictures")
