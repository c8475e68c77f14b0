"""Settings of the downstream trainings: their training sets, how they are trained, what they are compared with."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from specdm.settings.augmentation import StrongAugmentation
from specdm.settings.base import Name, NetworkName, Precision, Section

# What synthetic patches are unless a regime says otherwise: image and mask drawn together, and used as they are.
AS_DRAWN = {"given": "nothing", "images": "drawn", "keep": "first", "masks": "own", "order": "mixed"}
Labels = int | Literal["all"]
Networks = Annotated[
    Literal["all", "first"] | tuple[NetworkName, ...],
    Field(description="networks that it is for: all of the data set, the first, or those named"),
]


def chosen_networks(chosen: Networks, networks: tuple[str, ...]) -> tuple[str, ...]:
    """The networks of a data set that something is for, in the data set's order."""
    if isinstance(chosen, str):
        return networks[:1] if chosen == "first" else networks
    return tuple(network for network in networks if network in chosen)


class Regime(Section):
    """What a downstream network is trained on, synthetic patches in multiples of the data set's n_real."""

    real: Literal[0, 1] = Field(description="1: the labelled patches; 0: none of them")
    synthetic: int = Field(ge=0, description="synthetic patches as a multiple of n_real")
    method: str = Field("specdm", description="the generator that made them")
    labels: Labels | None = Field(
        None, description="labelled patches: so many, or all of the training split; null: n_real"
    )
    augmentation: Literal["basic", "strong"] = Field(
        "basic", description="basic: the views of downstream.augment; strong: also what downstream.strong says"
    )
    images: Literal["drawn", "reconstructed"] = Field(
        "drawn",
        description="synthetic patches drawn by the generator; or the labelled ones through its autoencoder and back",
    )
    given: Literal["nothing", "masks", "edited", "images"] = Field(
        "nothing",
        description="what synthetic patches are drawn for: nothing, image and mask together; the labelled masks; "
        "edited change masks beside labelled first dates; or images whose labels are not seen",
    )
    masks: Literal["own", "shuffled", "predicted"] = Field(
        "own",
        description="masks of the synthetic patches: those drawn with them; those of other patches; or what the same "
        "network, trained on the real patches alone, reads from them",
    )
    pool: int = Field(1, ge=1, description="draw so many times as many synthetic patches, to keep a part of them")
    keep: Literal["first", "best", "random"] = Field(
        "first",
        description="of a pool: the best-aligned patches of every kind, without labels where judges disagree; or as "
        "many by chance, the control of that. first: there is no pool",
    )
    order: Literal["mixed", "pretrain"] = Field(
        "mixed", description="both kinds in every batch; or half of the steps on synthetic patches, then on real ones"
    )
    networks: Networks = "all"

    @model_validator(mode="after")
    def _possible(self) -> Regime:
        if not self.real and not self.synthetic:
            raise ValueError("real and synthetic are both 0: nothing to train on")
        for key in ("images", "masks", "order"):
            if not self.synthetic and getattr(self, key) != AS_DRAWN[key]:
                raise ValueError(f"{key} {getattr(self, key)} needs synthetic patches: set synthetic above 0")
        if self.order == "pretrain" and not self.real:
            raise ValueError("order pretrain ends on real patches: set real to 1")
        if self.images == "reconstructed" and self.synthetic != 1:
            raise ValueError("images reconstructed gives each labelled patch once: set synthetic to 1")
        if (self.pool > 1) != (self.keep != "first"):
            raise ValueError("pool above 1 and keep best or random belong together: there must be something to choose")
        if self.keep != "first" and (self.images != "drawn" or not self.synthetic):
            raise ValueError(f"keep {self.keep} chooses among drawn patches: set synthetic above 0 and images to drawn")
        if self.keep == "best" and self.masks != "own":
            raise ValueError(f"keep best judges a patch's own mask: it does not go with masks {self.masks}")
        otherwise = [key for key in ("images", "keep", "masks") if getattr(self, key) != AS_DRAWN[key]]
        if self.given != "nothing" and (otherwise or not self.synthetic):
            raise ValueError(
                f"given {self.given} needs synthetic above 0 and goes with images drawn, keep first and masks own"
            )
        if self.labels is not None and self.labels != "all" and self.labels < 1:
            raise ValueError("labels must be at least 1")
        return self

    @property
    def is_joint(self) -> bool:
        """Whether its synthetic patches are drawn image and mask together."""
        return self.images == "drawn" and self.given == "nothing"

    @property
    def real_alone(self) -> bool:
        """Whether there is nothing synthetic in it."""
        return not self.synthetic


class ControlSettings(Section):
    """Trainings that say what an effect comes from: results/tables/controls.csv."""

    regimes: dict[Name, Regime] = Field({}, description="training sets of their own")
    beside: tuple[Name, ...] = Field((), description="regimes of the data set that the table repeats")
    networks: Networks = "all"


class LabelCurveSettings(Section):
    """Scores against the number of labelled patches: results/tables/label_curve.csv."""

    labels: tuple[Labels, ...] = Field((), description="numbers of labelled patches; all: the whole training split")
    regimes: tuple[Name, ...] = Field((), description="regimes of the data set that are trained with each number")
    networks: Networks = "all"


class SearchSettings(Section):
    """Candidates tried with one seed for every network and regime alike; the best on validation trains all seeds."""

    learning_rates: tuple[float, ...] = Field((1.0,), min_length=1, description="factors of the learning rate")
    steps: tuple[float, ...] = Field((1.0,), min_length=1, description="factors of the steps")

    @property
    def candidates(self) -> list[tuple[float, float]]:
        """Pairs of factors (learning rate, steps)."""
        return [(rate, steps) for rate in self.learning_rates for steps in self.steps]

    @model_validator(mode="after")
    def _positive(self) -> SearchSettings:
        if min(*self.learning_rates, *self.steps) <= 0:
            raise ValueError("factors of a search must be above 0")
        return self


class DownstreamSettings(Section):
    """Training of the downstream networks (paper section 4.3; recipes of the networks where a value is null)."""

    budget: Literal["iterations", "epochs"] = Field(
        "iterations",
        description="iterations: `steps` optimiser steps for every regime; epochs: `steps` for n_real patches, and as "
        "many times more as a regime has more patches",
    )
    steps: int = Field(10_000, ge=1, description="optimiser steps")
    batch: int = Field(16, ge=1, description="patches a step")
    accumulate: int = Field(1, ge=1, description="parts of a batch taken one after the other: less memory")
    learning_rate: float | None = Field(None, gt=0, description="null: the network's official recipe")
    search: SearchSettings = Field(SearchSettings(), description="what is chosen on validation")
    val_every: int = Field(500, ge=1, description="steps between validations")
    select: Literal["best", "last"] = Field("best", description="weights tested: best on validation, or the last")
    patience: int = Field(0, ge=0, description="stop after so many validations without a better score; 0: never")
    augment: Literal["d4", "flips", "none"] = Field("d4", description="views of a training patch")
    strong: StrongAugmentation = Field(StrongAugmentation(), description="what augmentation: strong adds to the views")
    precision: Precision = "32-true"
    channels_last: bool = Field(False, description="keep feature maps channels-last")
    class_weights: Literal["none", "sqrt"] = Field(
        "none", description="weights of classes in the loss: none, or 1 / sqrt(frequency) in the training patches"
    )
    encoder_weights: str = Field(
        "none",
        min_length=1,
        description="start of the encoder: none (random), imagenet (fetched before training), or a file of weights",
    )
    freeze_encoder: bool = Field(False, description="leave the encoder as it starts, and train the rest")
    options: dict[NetworkName, dict[str, Any]] = Field(
        {}, description="options that single networks are built with, by name"
    )
    overrides: dict[NetworkName, dict[str, Any]] = Field(
        {}, description="settings of this section that differ for a network"
    )

    @model_validator(mode="after")
    def _possible(self) -> DownstreamSettings:
        if self.batch % self.accumulate:
            raise ValueError(f"accumulate {self.accumulate} does not divide batch {self.batch}")
        if self.freeze_encoder and self.encoder_weights == "none":
            raise ValueError("freeze_encoder needs trained weights: set encoder_weights")
        return self
