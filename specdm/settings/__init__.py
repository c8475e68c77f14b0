"""The sections of the configuration: one pydantic model each, unknown keys refused, every key described."""

from specdm.settings.acquire import AcquireSettings, Area, Budget, When
from specdm.settings.augmentation import StrongAugmentation
from specdm.settings.base import Name, Section
from specdm.settings.benchmarks import OscdSettings, SegMunichSettings, SimulatedCity, SimulatedOscd, SimulatedSegMunich
from specdm.settings.datasets import (
    DATASETS,
    AnyDataset,
    Dataset,
    OscdDataset,
    SceneDataset,
    SegMunichDataset,
    UnlabelledDataset,
)
from specdm.settings.downstream import (
    AS_DRAWN,
    ControlSettings,
    DownstreamSettings,
    LabelCurveSettings,
    Networks,
    Regime,
    SearchSettings,
    chosen_networks,
)
from specdm.settings.generator import (
    AutoencoderSettings,
    DiffusionSettings,
    MethodSettings,
    SamplingSettings,
    StreamSettings,
    UNetSettings,
)
from specdm.settings.measuring import (
    CopySettings,
    EvaluationSettings,
    FilterSettings,
    InformationSettings,
    TeacherSettings,
)
from specdm.settings.scene import ImageFile, LabelFile, Scene, SceneClass, SceneSettings, WavelengthRange

__all__ = [
    "AS_DRAWN",
    "DATASETS",
    "AcquireSettings",
    "AnyDataset",
    "Area",
    "AutoencoderSettings",
    "Budget",
    "ControlSettings",
    "CopySettings",
    "Dataset",
    "DiffusionSettings",
    "DownstreamSettings",
    "EvaluationSettings",
    "FilterSettings",
    "ImageFile",
    "InformationSettings",
    "LabelCurveSettings",
    "LabelFile",
    "MethodSettings",
    "Name",
    "Networks",
    "OscdDataset",
    "OscdSettings",
    "Regime",
    "SamplingSettings",
    "Scene",
    "SceneClass",
    "SceneDataset",
    "SceneSettings",
    "SearchSettings",
    "Section",
    "SegMunichDataset",
    "SegMunichSettings",
    "SimulatedCity",
    "SimulatedOscd",
    "SimulatedSegMunich",
    "StreamSettings",
    "StrongAugmentation",
    "TeacherSettings",
    "UNetSettings",
    "UnlabelledDataset",
    "WavelengthRange",
    "When",
    "chosen_networks",
]
