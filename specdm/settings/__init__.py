"""The sections of the configuration: one pydantic model each, unknown keys refused, every key described."""

from specdm.settings.base import Name, Section
from specdm.settings.benchmarks import OscdSettings, SegMunichSettings, SimulatedCity, SimulatedOscd, SimulatedSegMunich
from specdm.settings.datasets import DATASETS, AnyDataset, Dataset, OscdDataset, SceneDataset, SegMunichDataset
from specdm.settings.generator import (
    AutoencoderSettings,
    DiffusionSettings,
    MethodSettings,
    SamplingSettings,
    StreamSettings,
    UNetSettings,
)
from specdm.settings.measuring import DownstreamSettings, EvaluationSettings, Regime, TeacherSettings
from specdm.settings.scene import ImageFile, LabelFile, Scene, SceneClass, SceneSettings, WavelengthRange

__all__ = [
    "DATASETS",
    "AnyDataset",
    "AutoencoderSettings",
    "Dataset",
    "DiffusionSettings",
    "DownstreamSettings",
    "EvaluationSettings",
    "ImageFile",
    "LabelFile",
    "MethodSettings",
    "Name",
    "OscdDataset",
    "OscdSettings",
    "Regime",
    "SamplingSettings",
    "Scene",
    "SceneClass",
    "SceneDataset",
    "SceneSettings",
    "Section",
    "SegMunichDataset",
    "SegMunichSettings",
    "SimulatedCity",
    "SimulatedOscd",
    "SimulatedSegMunich",
    "StreamSettings",
    "TeacherSettings",
    "UNetSettings",
    "WavelengthRange",
]
