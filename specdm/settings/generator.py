"""Settings of a generator: autoencoder, diffusion model, sampler."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from specdm.settings.base import Augment, Decay, Precision, Section, require_groups


class TrainingSettings(Section):
    """What the trainings of both stages have in common."""

    learning_rate: float = Field(1e-4, gt=0, description="of AdamW, after warm-up")
    lr_scale: Literal["none", "batch"] = Field(
        "none", description="batch: learning_rate is that of one patch and is multiplied by batch, as LDM does"
    )
    warmup_steps: int = Field(1000, ge=0, description="steps of linear warm-up")
    decay: Decay = "constant"
    batch: int = Field(64, ge=1, description="patches a step, over all processes")
    accumulate: int = Field(1, ge=1, description="parts of a batch taken one after the other: same result, less memory")
    steps: int = Field(100_000, ge=1, description="optimiser steps")
    ema_decay: float = Field(0.9999, ge=0, lt=1, description="largest decay of the weight average, warmed up")
    augment: Augment = "d4"
    unlabelled_share: float = Field(
        0.5, gt=0, lt=1, description="share of a batch that is without labels, where there are such patches"
    )
    validations: int = Field(20, ge=1, description="looks at the validation split, each with a picture")
    precision: Precision = "auto"
    compile: bool = Field(True, description="compile the network where that pays, which is on a GPU")
    channels_last: bool = Field(True, description="keep feature maps channels-last")

    @property
    def base_lr(self) -> float:
        """The learning rate of the optimiser after warm-up."""
        return self.learning_rate * (self.batch if self.lr_scale == "batch" else 1)

    @model_validator(mode="after")
    def _parts_are_equal(self) -> TrainingSettings:
        if self.batch % self.accumulate:
            raise ValueError(f"accumulate {self.accumulate} does not divide batch {self.batch}")
        return self


class StreamSettings(Section):
    """Size of one KL autoencoder."""

    latent_channels: int = Field(8, ge=1, description="channels of the latent code")
    width: int = Field(96, ge=4, description="feature channels of the first level")
    multipliers: tuple[int, ...] = Field(
        (1, 2, 4), min_length=1, description="width of each level as a multiple; levels - 1 halvings (4 = f of LDM)"
    )
    layers: int = Field(2, ge=1, description="residual blocks a level")
    norm_groups: int = Field(32, ge=1, description="groups of the group normalisation; divides every width")
    mid_attention: bool = Field(True, description="self-attention in the middle block")

    @property
    def downsampling(self) -> int:
        return 2 ** (len(self.multipliers) - 1)

    @model_validator(mode="after")
    def _groups_divide(self) -> StreamSettings:
        require_groups(self.width, self.multipliers, self.norm_groups)
        return self


class AutoencoderSettings(TrainingSettings):
    """First stage: the two-stream VAE (paper section 3.1)."""

    streams: Literal["two", "single"] = Field(
        "two", description="two: image and mask have their own autoencoders; single: the LDM baseline, one for all"
    )
    image: StreamSettings = Field(
        StreamSettings(), description="the image stream; or the only one, with the latent channels of all streams"
    )
    mask: StreamSettings = Field(StreamSettings(latent_channels=4, width=64), description="the mask stream")
    sad_weight: float = Field(0.1, ge=0, description="weight of the spectral angle in Eq. (1); 0 = the ablation")
    mask_weight: float = Field(1.0, ge=0, description="weight of the mask's cross-entropy in Eq. (2)")
    kl_weight: float = Field(
        1e-3,
        ge=0,
        description="weight of each stream's KL, a mean over latent values (LDM's 1e-6 of sums: 2.5e-8)",
    )
    warmup_steps: int = Field(200, ge=0, description="steps of linear warm-up")
    batch: int = Field(12, ge=1, description="patches a step, over all processes")
    steps: int = Field(80_000, ge=1, description="optimiser steps")
    ema_decay: float = Field(0.999, ge=0, lt=1, description="largest decay of the weight average, warmed up")

    @model_validator(mode="after")
    def _same_grid(self) -> AutoencoderSettings:
        if self.streams == "two" and self.image.downsampling != self.mask.downsampling:
            raise ValueError(
                f"image and mask multipliers give the downsampling factors {self.image.downsampling} and "
                f"{self.mask.downsampling}; their latents are concatenated and need one factor"
            )
        return self


class UNetSettings(Section):
    """Size of the denoising U-Net."""

    width: int = Field(128, ge=8, description="feature channels of the first level")
    multipliers: tuple[int, ...] = Field((1, 2, 2, 4), min_length=1, description="width of each level as a multiple")
    layers: int = Field(2, ge=1, description="residual blocks a level")
    attention_max_size: int = Field(16, ge=0, description="self-attention on levels of at most this side")
    attention_factors: tuple[int, ...] | None = Field(
        None,
        description="self-attention where the latent is downsampled by these factors, as LDM's attention_resolutions; "
        "null: by attention_max_size",
    )
    head_dim: int = Field(32, ge=1, description="channels an attention head")
    norm_groups: int = Field(32, ge=1, description="groups of the group normalisation")
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout in residual blocks")
    resnet_updown: bool = Field(False, description="resample inside residual blocks, as LDM's LSUN-churches model")
    scale_shift: bool = Field(True, description="time embedding scales and shifts the features")

    def attention_levels(self, size: int) -> tuple[bool, ...]:
        """Which levels have self-attention on latents of `size` pixels."""
        factors = [2**level for level in range(len(self.multipliers))]
        if self.attention_factors is not None:
            return tuple(factor in self.attention_factors for factor in factors)
        return tuple(size // factor <= self.attention_max_size for factor in factors)

    @model_validator(mode="after")
    def _groups_divide(self) -> UNetSettings:
        require_groups(self.width, self.multipliers, self.norm_groups)
        return self


class DiffusionSettings(TrainingSettings):
    """Second stage: the joint latent diffusion model (paper section 3.2)."""

    n_steps: int = Field(1000, ge=2, description="diffusion steps T")
    beta_start: float = Field(0.0015, gt=0, lt=1, description="first beta of the schedule")
    beta_end: float = Field(0.0155, gt=0, lt=1, description="last beta of the schedule")
    beta_schedule: Literal["scaled_linear", "linear"] = Field(
        "scaled_linear", description="linear in sqrt(beta), which LDM calls linear; or linear in beta"
    )
    zero_terminal_snr: bool = Field(False, description="rescale so that the last step is pure noise (needs v)")
    shift_size: int | None = Field(
        None,
        ge=1,
        description="largest latent side that the schedule is meant for; on a larger one the signal-to-noise ratio is "
        "multiplied by (shift_size / side)^2, so that large shapes are hidden alike; null: never",
    )
    prediction: Literal["v", "epsilon"] = Field("v", description="what the network predicts")
    weighting: Literal["min_snr", "none"] = Field("min_snr", description="weight of the loss over noise levels")
    snr_gamma: float = Field(5.0, gt=0, description="ratio from which on min_snr does not weigh up")
    min_weight: float = Field(0.0, ge=0, description="least weight of a noise level; keeps the noisiest ones trained")
    norm: Literal["l1", "l2"] = Field("l2", description="norm of the denoising loss")
    unet: UNetSettings = Field(UNetSettings(), description="the denoiser")
    conditioning: bool = Field(False, description="tell the denoiser the class fractions of a mask, to ask for them")
    condition_dropout: float = Field(0.1, ge=0, le=1, description="share of samples not told, for guidance")
    levels: Literal["shared", "streams"] = Field(
        "shared",
        description="shared: one noise level for the whole latent; streams: every date and the mask have their own, so "
        "that one can be drawn for the others, and images without labels train too",
    )
    joint_share: float = Field(
        0.5,
        ge=0,
        le=1,
        description="streams: share of samples with one level for all, the others are conditionals",
    )
    null_share: float = Field(
        0.2, ge=0, le=1, description="streams: share of the conditionals whose condition is absent, for guidance"
    )
    swap_dates: bool = Field(False, description="train on both orders of two dates; the denoiser is told which")
    patience: int = Field(
        0,
        ge=0,
        description="stop after so many validations without a better held-out loss, keep the best; 0: never",
    )

    @model_validator(mode="after")
    def _possible(self) -> DiffusionSettings:
        if self.beta_start >= self.beta_end:
            raise ValueError(f"beta_start {self.beta_start} must be below beta_end {self.beta_end}")
        if self.zero_terminal_snr and self.prediction != "v":
            raise ValueError("zero_terminal_snr needs prediction v: pure noise tells nothing about the clean part")
        return self


class SamplingSettings(Section):
    """How latents are drawn and decoded (paper section 3.3)."""

    sampler: Literal["dpm++", "ddim", "ddpm"] = Field("dpm++", description="solver of the reverse process")
    n_steps: int = Field(25, ge=1, description="network evaluations a sample")
    batch: int = Field(64, ge=1, description="samples drawn together")
    guidance: float = Field(
        1.0, ge=0, description="1: as asked; above: exaggerates what was asked for, at twice the cost; 0: do not ask"
    )
    want: dict[str, float] = Field(
        {}, description="class fractions to ask for, by class; the others follow the training patches nearest to them"
    )
    order: Literal["together", "mask-first"] = Field(
        "together", description="draw image and mask at once; or the mask alone and then the images for it"
    )
    precision: Precision = "auto"


class MethodSettings(Section):
    """A generator: its autoencoder, diffusion model and sampler."""

    autoencoder: AutoencoderSettings = Field(AutoencoderSettings(), description="first stage")
    diffusion: DiffusionSettings = Field(DiffusionSettings(), description="second stage")
    sampling: SamplingSettings = Field(SamplingSettings(), description="drawing samples")
    generator_data: Literal["full", "subset"] = Field(
        "full",
        description="labelled training patches the generator sees: full, all of them (the paper's practice); subset, "
        "only those that the downstream networks get",
    )
    unlabelled: bool = Field(
        True,
        description="with diffusion.levels streams, see the data set's unlabelled patches as well",
    )

    @model_validator(mode="after")
    def _parts_fit(self) -> MethodSettings:
        if self.sampling.n_steps > self.diffusion.n_steps:
            raise ValueError(
                f"sampling.n_steps {self.sampling.n_steps} exceeds diffusion.n_steps {self.diffusion.n_steps}"
            )
        if self.diffusion.levels == "streams" and self.autoencoder.streams == "single":
            raise ValueError("diffusion.levels: streams needs autoencoder.streams: two, one latent has one noise level")
        if self.sampling.order == "mask-first" and self.diffusion.levels == "shared":
            raise ValueError("sampling.order: mask-first needs diffusion.levels: streams")
        guides = self.diffusion.conditioning or self.diffusion.levels == "streams"
        if (self.sampling.want and not self.diffusion.conditioning) or (self.sampling.guidance != 1 and not guides):
            raise ValueError("sampling.want and sampling.guidance need diffusion.conditioning: true")
        return self
