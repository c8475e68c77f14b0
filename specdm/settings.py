"""The sections of the configuration: one pydantic model each, unknown keys refused, every key described."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from specdm.networks import CHANGE, SEGMENTATION

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
Precision = Annotated[
    Literal["32-true", "bf16-mixed"], Field(description="number format of the forward pass; losses are float32")
]
Decay = Annotated[
    Literal["constant", "linear"],
    Field(description="learning rate after warm-up: constant, or falling linearly to zero, which suits short runs"),
]
Augment = Annotated[
    Literal["d4", "flips", "none"],
    Field(description="views of a patch: eight flips and rotations, four flips, or as it is"),
]


class Section(BaseModel):
    """A part of the configuration: unknown keys are errors, values do not change once read."""

    model_config = ConfigDict(extra="forbid", frozen=True)


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
        if any(self.width * m % self.norm_groups for m in self.multipliers):
            raise ValueError(f"norm_groups {self.norm_groups} does not divide width {self.width} times its multipliers")
        return self


class AutoencoderSettings(Section):
    """First stage: the two-stream VAE (paper section 3.1)."""

    streams: Literal["two", "single"] = Field(
        "two", description="two: image and mask have their own autoencoders; single: the LDM baseline, one for all"
    )
    image: StreamSettings = Field(StreamSettings(), description="the image stream, or the only one")
    mask: StreamSettings = Field(StreamSettings(latent_channels=4, width=64), description="the mask stream")
    sad_weight: float = Field(0.1, ge=0, description="weight of the spectral angle in Eq. (1); 0 = the ablation")
    mask_weight: float = Field(1.0, ge=0, description="weight of the mask's cross-entropy in Eq. (2)")
    kl_weight: float = Field(
        1e-3, ge=0, description="weight of the KL term as a mean over latent values (LDM's 1e-6 of sums = 2.5e-8)"
    )
    learning_rate: float = Field(1e-4, gt=0, description="of AdamW, after warm-up")
    warmup_steps: int = Field(200, ge=0, description="steps of linear warm-up")
    decay: Decay = "constant"
    batch: int = Field(12, ge=1, description="patches a step")
    steps: int = Field(80_000, ge=1, description="optimiser steps")
    augment: Augment = "d4"
    precision: Precision = "32-true"

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
    head_dim: int = Field(32, ge=1, description="channels an attention head")
    norm_groups: int = Field(32, ge=1, description="groups of the group normalisation")
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout in residual blocks")
    resnet_updown: bool = Field(False, description="resample inside residual blocks, as LDM's LSUN-churches model")
    scale_shift: bool = Field(True, description="time embedding scales and shifts the features")


class DiffusionSettings(Section):
    """Second stage: the joint latent diffusion model (paper section 3.2)."""

    n_steps: int = Field(1000, ge=2, description="diffusion steps T")
    beta_start: float = Field(0.0015, gt=0, lt=1, description="first beta of the schedule")
    beta_end: float = Field(0.0155, gt=0, lt=1, description="last beta of the schedule")
    beta_schedule: Literal["scaled_linear", "linear"] = Field(
        "scaled_linear", description="linear in sqrt(beta), which LDM calls linear; or linear in beta"
    )
    zero_terminal_snr: bool = Field(False, description="rescale so that the last step is pure noise (needs v)")
    prediction: Literal["v", "epsilon"] = Field("v", description="what the network predicts")
    weighting: Literal["min_snr", "none"] = Field("min_snr", description="weight of the loss over noise levels")
    norm: Literal["l1", "l2"] = Field("l2", description="norm of the denoising loss")
    unet: UNetSettings = Field(UNetSettings(), description="the denoiser")
    learning_rate: float = Field(1e-4, gt=0, description="of AdamW, after warm-up")
    warmup_steps: int = Field(1000, ge=0, description="steps of linear warm-up")
    decay: Decay = "constant"
    batch: int = Field(64, ge=1, description="latents a step")
    steps: int = Field(100_000, ge=1, description="optimiser steps")
    ema_decay: float = Field(0.9999, ge=0, lt=1, description="largest decay of the weight average, warmed up")
    augment: Literal["d4", "flips", "none"] = Field("d4", description="views of a patch that are encoded")
    precision: Precision = "32-true"

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


class MethodSettings(Section):
    """A generator: its autoencoder, diffusion model and sampler."""

    autoencoder: AutoencoderSettings = Field(AutoencoderSettings(), description="first stage")
    diffusion: DiffusionSettings = Field(DiffusionSettings(), description="second stage")
    sampling: SamplingSettings = Field(SamplingSettings(), description="drawing samples")

    @model_validator(mode="after")
    def _sampler_fits(self) -> MethodSettings:
        if self.sampling.n_steps > self.diffusion.n_steps:
            raise ValueError(
                f"sampling.n_steps {self.sampling.n_steps} exceeds diffusion.n_steps {self.diffusion.n_steps}"
            )
        return self


class OscdSettings(Section):
    """Preparation of OSCD (paper section 4.1)."""

    bands: str | tuple[str, ...] = Field("paper", description="a named band set or a list of band names")
    patch_px: int = Field(256, ge=8, description="side of a patch in 10 m pixels")
    stride_px: Annotated[int, Field(ge=1)] | Literal["paper-overlap", "paper-counts"] = Field(
        "paper-overlap",
        description="distance of neighbouring windows: a number of pixels; paper-overlap, 60 % overlap as printed; or "
        "paper-counts, half a patch less one pixel, which gives 234 and 86 windows of 256 px",
    )
    grid: Literal["official", "registered"] = Field(
        "official", description="official: as the published rect files; registered: date 2 resampled onto date 1"
    )
    val_cities: tuple[str, ...] = Field(("nantes", "hongkong"), description="training cities used for validation")
    guard_px: int = Field(32, ge=0, description="training windows this close to a test city's ground are dropped")

    @property
    def stride(self) -> int:
        """The distance of neighbouring windows in pixels."""
        named = {"paper-overlap": round(0.4 * self.patch_px), "paper-counts": self.patch_px // 2 - 1}
        return named.get(self.stride_px, self.stride_px)


class SegMunichSettings(Section):
    """Preparation of SegMunich (paper section 4.1)."""

    bands: str | tuple[str, ...] = Field("paper", description="a named band set or a list of band names")
    patch_px: int = Field(128, ge=8, description="side of a patch; files are cut when it is smaller than theirs")
    max_background: float = Field(0.5, ge=0, le=1, description="patches with a larger share of label 0 are removed")
    splits: Literal["official", "grouped"] = Field(
        "official", description="the published lists (test shares ground with train), or blocks that do not leak"
    )
    val_fraction: float = Field(0.1, gt=0, lt=1, description="share of the training groups used for validation")
    test_fraction: float = Field(0.2, gt=0, lt=1, description="share of the groups used for testing, splits: grouped")
    position_pattern: str | None = Field(
        None, description="regular expression on file names with groups row and col, in pixels of the mosaic"
    )
    block_px: int = Field(512, ge=1, description="side of the spatial blocks that form groups")


class SimulatedSegMunich(Section):
    """Size of a simulated SegMunich folder."""

    mosaic_px: int = Field(1024, ge=128, description="side of the simulated landscape in 10 m pixels")
    stride_px: int = Field(64, ge=1, description="distance of neighbouring 128-px windows")
    copies: int = Field(1, ge=1, description="files a window: itself and transformed copies")


class SimulatedCity(Section):
    """One simulated OSCD city."""

    name: str = Field(description="name of the city")
    split: Literal["train", "test"] = Field(description="the list it stands in")
    height: int = Field(240, ge=64, description="rows of 10 m pixels")
    width: int = Field(240, ge=64, description="columns of 10 m pixels")


class SimulatedOscd(Section):
    """Size of a simulated OSCD folder."""

    cities: tuple[SimulatedCity, ...] = Field(min_length=2, description="the cities")


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


class Dataset(Section):
    """One data set: where its raw files come from, how it is cut, what is trained on it."""

    raw: str = Field(description="folder of the raw files")
    origin: Literal["download", "simulate", "given"] = Field(
        "download", description="fetch the raw files, simulate them, or take those that lie there"
    )
    n_real: int = Field(ge=1, description="labelled patches the downstream networks get")
    methods: tuple[str, ...] = Field(("specdm",), min_length=1, description="generators trained on it")
    method_overrides: dict[str, Any] = Field({}, description="settings of every method that differ for this data set")
    networks: tuple[str, ...] = Field(min_length=1, description="downstream networks trained on it")
    regimes: dict[Name, Regime] = Field(min_length=1, description="training sets to compare")
    teacher: TeacherSettings = Field(TeacherSettings(), description="the judge")

    def n_samples(self, method: str, at_least: int) -> int:
        """Synthetic patches to draw with a method: what its hungriest regime needs, and enough to measure."""
        multiples = [r.synthetic for r in self.regimes.values() if r.method == method]
        return max([m * self.n_real for m in multiples] + [at_least])

    @model_validator(mode="after")
    def _simulation_described(self) -> Dataset:
        if self.origin == "simulate" and self.simulate is None:
            raise ValueError("origin simulate needs the section simulate")
        return self


class SegMunichDataset(Dataset):
    """A data set in SegMunich's layout: image-mask pairs for semantic segmentation."""

    source: Literal["segmunich"] = Field(description="the reader of the raw files")
    simulate: SimulatedSegMunich | None = Field(None, description="size of the simulation")
    prepare: SegMunichSettings = Field(SegMunichSettings(), description="how patches are cut and split")

    @property
    def task(self) -> str:
        return SEGMENTATION


class OscdDataset(Dataset):
    """A data set in OSCD's layout: two dates and a change mask."""

    source: Literal["oscd"] = Field(description="the reader of the raw files")
    simulate: SimulatedOscd | None = Field(None, description="size of the simulation")
    prepare: OscdSettings = Field(OscdSettings(), description="how patches are cut and split")

    @property
    def task(self) -> str:
        return CHANGE


DATASETS: dict[str, type[Dataset]] = {"segmunich": SegMunichDataset, "oscd": OscdDataset}
AnyDataset = Annotated[SegMunichDataset | OscdDataset, Field(discriminator="source")]


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
    options: dict[Name, dict[str, Any]] = Field({}, description="options that single networks are built with, by name")
    overrides: dict[Name, dict[str, Any]] = Field({}, description="settings of this section that differ for a network")


class EvaluationSettings(Section):
    """Measuring the samples."""

    n_samples: int = Field(2000, ge=4, description="samples drawn for measuring, at least")
    n_pictures: int = Field(8, ge=1, description="pairs shown in the pictures")
