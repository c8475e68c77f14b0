"""A data set as a whole: its raw files, how it is cut, what is trained on it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from specdm.networks import CHANGE, SEGMENTATION
from specdm.settings.base import Name, Section
from specdm.settings.benchmarks import OscdSettings, SegMunichSettings, SimulatedOscd, SimulatedSegMunich
from specdm.settings.measuring import Regime, TeacherSettings
from specdm.settings.scene import SceneSettings


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
    generator_data: Literal["full", "subset"] = Field(
        "full",
        description="labelled training patches the generators see: full, all of them (the paper's practice); subset, "
        "only the n_real that the downstream networks get",
    )
    init_from: str | None = Field(
        None,
        description="start the generators from those of another data set with the same bands: its name here, or a "
        "folder with autoencoder/ and denoiser/",
    )
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


class SceneDataset(Dataset):
    """The user's own labelled scenes: pairs, or with two images a scene, change-detection triples."""

    source: Literal["scene"] = Field(description="the reader of the raw files")
    origin: Literal["given"] = Field("given", description="the files lie there")
    prepare: SceneSettings = Field(description="which files, what they mean, how they are cut and split")

    @property
    def task(self) -> str:
        return CHANGE if self.prepare.n_dates == 2 else SEGMENTATION


DATASETS: dict[str, type[Dataset]] = {"segmunich": SegMunichDataset, "oscd": OscdDataset, "scene": SceneDataset}
AnyDataset = Annotated[SegMunichDataset | OscdDataset | SceneDataset, Field(discriminator="source")]
