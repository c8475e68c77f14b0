"""A data set as a whole: its raw files, how it is cut, what is trained on it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from specdm.networks import CHANGE, SEGMENTATION
from specdm.settings.acquire import AcquireSettings
from specdm.settings.base import Name, Section
from specdm.settings.benchmarks import OscdSettings, SegMunichSettings, SimulatedOscd, SimulatedSegMunich
from specdm.settings.downstream import ControlSettings, LabelCurveSettings, Labels, Regime, chosen_networks
from specdm.settings.measuring import TeacherSettings
from specdm.settings.scene import SceneSettings


class Dataset(Section):
    """One data set: where its raw files come from, how it is cut, what is trained on it."""

    raw: str = Field(description="folder of the raw files")
    origin: Literal["download", "simulate", "given", "acquire"] = Field(
        "download",
        description="download the raw files, simulate them, take those that lie there, or acquire images of an area",
    )
    n_real: int = Field(ge=1, description="labelled patches the downstream networks get")
    methods: tuple[str, ...] = Field(("specdm",), min_length=1, description="generators trained on it")
    method_overrides: dict[str, Any] = Field({}, description="settings of every method that differ for this data set")
    networks: tuple[str, ...] = Field(min_length=1, description="downstream networks trained on it")
    init_from: str | None = Field(
        None,
        description="start the generators from those of another data set with the same bands: its name here, or a "
        "folder with autoencoder/ and denoiser/",
    )
    unlabelled: tuple[str, ...] = Field(
        (),
        description="data sets whose training images the generators see without labels; this one's own name: its "
        "training patches whose labels they do not see",
    )
    regimes: dict[Name, Regime] = Field(min_length=1, description="training sets to compare")
    controls: ControlSettings = Field(ControlSettings(), description="trainings that say what an effect comes from")
    label_curve: LabelCurveSettings = Field(LabelCurveSettings(), description="scores against the number of labels")
    teacher: TeacherSettings = Field(TeacherSettings(), description="the judge")

    def n_samples(self, method: str, at_least: int) -> int:
        """Synthetic patches to draw with a method: what its hungriest regime needs, and enough to measure."""
        regimes = self.all_regimes.values()
        multiples = [r.synthetic * r.pool for r in regimes if r.method == method and r.is_joint]
        return max([m * self.n_real for m in multiples] + [at_least])

    def n_given(self, method: str, kind: str, labels: Labels | None) -> int:
        """Patches to draw with a method for what is given of one kind and number of labels."""
        return self.n_real * max(
            r.synthetic
            for r in self.all_regimes.values()
            if (r.method, r.given) == (method, kind) and self._labels(r) == (labels or self.n_real)
        )

    def _labels(self, regime: Regime) -> Labels:
        return regime.labels or self.n_real

    @property
    def all_regimes(self) -> dict[str, Regime]:
        """Those of the tables, of the controls, and of the label curve, by name."""
        every = self.regimes | self.controls.regimes
        for base in self.label_curve.regimes:
            for n in self.label_curve.labels:
                derived = self.regimes[base].model_copy(update={"labels": n})
                every.setdefault(self.with_labels(base, n), derived)
        return every

    def with_labels(self, regime: str, labels: Labels) -> str:
        """Name of a regime of the data set with another number of labelled patches."""
        own = self._labels(self.regimes[regime])
        return regime if labels == own else f"{regime}-labels-{labels}"

    def table(self, name: str) -> list[tuple[str, str]]:
        """The pairs (network, regime) whose trainings a table holds: downstream, controls or label_curve."""
        match name:
            case "downstream":
                regimes, of = list(self.regimes), self.networks
            case "controls":
                controls = self.controls
                regimes = [*controls.beside, *controls.regimes] if controls.regimes else []
                of = chosen_networks(controls.networks, self.networks)
            case _:
                curve = self.label_curve
                regimes = [self.with_labels(regime, n) for regime in curve.regimes for n in curve.labels]
                of = chosen_networks(curve.networks, self.networks)
        every = self.all_regimes
        return [
            (network, regime)
            for network in of
            for regime in dict.fromkeys(regimes)
            if network in chosen_networks(every[regime].networks, self.networks)
        ]

    def real_alone(self, regime: Regime) -> str | None:
        """Name of the regime of the same labels and augmentation without synthetic patches, None without one."""

        def kind(r: Regime) -> tuple:
            return self._labels(r), r.augmentation

        for name, other in self.all_regimes.items():
            if other.real_alone and kind(other) == kind(regime):
                return name
        return None

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


class SceneDataset(Dataset):
    """The user's own labelled scenes: pairs, or with two images a scene, change-detection triples."""

    source: Literal["scene"] = Field(description="the reader of the raw files")
    origin: Literal["given", "acquire"] = Field(
        "given", description="the images lie there, or are fetched from an imagery service"
    )
    acquire: AcquireSettings | None = Field(None, description="which images to fetch, with origin acquire")
    prepare: SceneSettings = Field(description="which files, what they mean, how they are cut and split")

    @model_validator(mode="after")
    def _acquisition_described(self) -> SceneDataset:
        if (self.origin == "acquire") != (self.acquire is not None):
            raise ValueError("origin acquire and the section acquire go together: give both or neither")
        if self.acquire and self.acquire.unlabelled == self.prepare.labelled:
            raise ValueError("acquire.unlabelled and labels: null go together: images alone have no labels")
        return self

    @property
    def task(self) -> str:
        return CHANGE if self.prepare.n_dates == 2 else SEGMENTATION


class UnlabelledDataset(SceneDataset):
    """The user's own scenes without labels: patches that nothing is trained on alone."""

    source: Literal["unlabelled"] = Field(description="the reader of the raw files")
    n_real: Literal[0] = Field(0, description="none is labelled")
    unlabelled: tuple[()] = Field((), description="none is trained on it alone")
    methods: tuple[()] = Field((), description="none is trained on it alone")
    networks: tuple[()] = Field((), description="none is trained on it")
    regimes: dict[Name, Regime] = Field({}, max_length=0, description="none")

    @model_validator(mode="after")
    def _without_labels(self) -> UnlabelledDataset:
        if self.prepare.labelled:
            raise ValueError("source unlabelled is for scenes with labels: null; use source scene for labelled ones")
        return self


DATASETS: dict[str, type[Dataset]] = {
    "segmunich": SegMunichDataset,
    "oscd": OscdDataset,
    "scene": SceneDataset,
    "unlabelled": UnlabelledDataset,
}
AnyDataset = Annotated[SegMunichDataset | OscdDataset | SceneDataset | UnlabelledDataset, Field(discriminator="source")]
