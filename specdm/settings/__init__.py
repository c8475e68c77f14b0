"""The sections of the configuration: one pydantic model each, unknown keys refused, every key described."""

from specdm.settings.base import Name, Section
from specdm.settings.benchmarks import OscdSettings, SegMunichSettings, SimulatedCity, SimulatedOscd, SimulatedSegMunich
from specdm.settings.datasets import DATASETS, AnyDataset, Dataset, OscdDataset, SegMunichDataset
from specdm.settings.generator import (
    AutoencoderSettings,
    DiffusionSettings,
    MethodSettings,
    SamplingSettings,
    StreamSettings,
    UNetSettings,
)
from specdm.settings.measuring import DownstreamSettings, EvaluationSettings, Regime, TeacherSettings

__all__ = [
    "DATASETS",
    "AnyDataset",
    "AutoencoderSettings",
    "Dataset",
    "DiffusionSettings",
    "DownstreamSettings",
    "EvaluationSettings",
    "MethodSettings",
    "Name",
    "OscdDataset",
    "OscdSettings",
    "Regime",
    "SamplingSettings",
    "Section",
    "SegMunichDataset",
    "SegMunichSettings",
    "SimulatedCity",
    "SimulatedOscd",
    "SimulatedSegMunich",
    "StreamSettings",
    "TeacherSettings",
    "UNetSettings",
]
