"""Settings of what measures a generator: the judge, and how samples are looked at."""

from __future__ import annotations

from pydantic import Field

from specdm.settings.base import Section


class TeacherSettings(Section):
    """The judge: a small network trained on real data, whose features and masks measure the samples."""

    width: int = Field(32, ge=4, description="feature channels of the first level")
    batch: int = Field(32, ge=1, description="patches a step")
    steps: int = Field(5000, ge=1, description="optimiser steps")
    learning_rate: float = Field(1e-3, gt=0, description="of AdamW")


class EvaluationSettings(Section):
    """Measuring the samples."""

    n_samples: int = Field(2000, ge=4, description="samples drawn for measuring, at least")
    n_pictures: int = Field(8, ge=1, description="pairs shown in the pictures")
