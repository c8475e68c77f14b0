"""What all sections of the configuration have in common."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

NetworkName = Annotated[str, Field(pattern=r"^[a-z0-9][A-Za-z0-9_.:/-]*$")]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
Precision = Annotated[
    Literal["auto", "32-true", "bf16-mixed"],
    Field(description="number format of the forward pass, auto: bfloat16 on a GPU that has it; losses are float32"),
]
Decay = Annotated[
    Literal["constant", "linear"],
    Field(description="learning rate after warm-up: constant, or falling linearly to zero, which suits short runs"),
]
Augment = Annotated[
    Literal["d4", "flips", "none"],
    Field(description="views of a patch: eight flips and rotations, four flips, or as it is"),
]


def require_groups(width: int, multipliers: tuple[int, ...], norm_groups: int) -> None:
    """Refuse (ValueError) levels of width times a multiplier that do not divide into the groups of a normalisation."""
    if any(width * m % norm_groups for m in multipliers):
        raise ValueError(f"norm_groups {norm_groups} does not divide width {width} times its multipliers")


class Section(BaseModel):
    """A part of the configuration: unknown keys are errors, values do not change once read."""

    model_config = ConfigDict(extra="forbid", frozen=True)
