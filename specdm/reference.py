"""Every key of the configuration as Markdown tables, made from the settings themselves."""

from __future__ import annotations

import json
from typing import Any

from specdm import settings
from specdm.config import Config
from specdm.errors import UserError

MARK = "<!-- generated below: python -m specdm schema --out config/schema.json --reference config/README.md -->"

# Heading, section, keys to leave out because another table has them, and what to know of the section.
_LAYOUT = ("variable", "shape", "axes", "time")
_TABLES: tuple[tuple[str, type[settings.Section], set[str]], ...] = (
    ("The whole file", Config, set()),
    ("methods.NAME", settings.MethodSettings, set()),
    ("methods.NAME.autoencoder", settings.AutoencoderSettings, set()),
    ("methods.NAME.autoencoder.image and .mask", settings.StreamSettings, set()),
    ("methods.NAME.diffusion", settings.DiffusionSettings, set()),
    ("methods.NAME.diffusion.unet", settings.UNetSettings, set()),
    ("methods.NAME.sampling", settings.SamplingSettings, set()),
    ("datasets.NAME", settings.Dataset, set()),
    ("datasets.NAME.regimes.NAME", settings.Regime, set()),
    ("datasets.NAME.controls", settings.ControlSettings, set()),
    ("datasets.NAME.label_curve", settings.LabelCurveSettings, set()),
    ("datasets.NAME.teacher", settings.TeacherSettings, set()),
    ("datasets.NAME.acquire, source: scene or unlabelled", settings.AcquireSettings, set()),
    ("datasets.NAME.acquire.areas", settings.Area, set()),
    ("datasets.NAME.acquire.dates", settings.When, set()),
    ("datasets.NAME.acquire.budget", settings.Budget, set()),
    ("datasets.NAME.prepare, source: scene or unlabelled", settings.SceneSettings, set()),
    ("datasets.NAME.prepare.scenes", settings.Scene, set()),
    ("datasets.NAME.prepare.scenes.images", settings.ImageFile, set()),
    ("datasets.NAME.prepare.scenes.labels", settings.LabelFile, set(_LAYOUT)),
    ("datasets.NAME.prepare.classes", settings.SceneClass, set()),
    ("datasets.NAME.prepare.wavelengths_nm, evenly spaced", settings.WavelengthRange, set()),
    ("datasets.NAME.prepare, source: segmunich", settings.SegMunichSettings, set()),
    ("datasets.NAME.prepare, source: oscd", settings.OscdSettings, set()),
    ("datasets.NAME.simulate, source: segmunich", settings.SimulatedSegMunich, set()),
    ("datasets.NAME.simulate, source: oscd", settings.SimulatedOscd, set()),
    ("datasets.NAME.simulate.cities", settings.SimulatedCity, set()),
    ("downstream", settings.DownstreamSettings, set()),
    ("downstream.search", settings.SearchSettings, set()),
    ("downstream.strong", settings.StrongAugmentation, set()),
    ("filtering", settings.FilterSettings, set()),
    ("evaluation", settings.EvaluationSettings, set()),
    ("copies", settings.CopySettings, set()),
    ("information", settings.InformationSettings, set()),
)
_EXTRA = {
    "datasets.NAME": (
        "`source` is one of segmunich, oscd, scene and unlabelled, and decides what `prepare` and `simulate` hold. "
        "Scenes of your own may have `acquire`. Unlabelled sets have no `n_real`, `networks` and `regimes`."
    ),
    "datasets.NAME.acquire.areas": "One area may stand for the list.",
    "datasets.NAME.acquire.dates": "A day may stand for the mapping, and one date for the list.",
    "methods.NAME": "`base` names another method whose settings this one starts from.",
    "datasets.NAME.prepare.scenes.images": "A path alone may stand for the mapping, and one image for the list.",
    "datasets.NAME.prepare.scenes.labels": (
        "A path alone may stand for the mapping. Array files take variable, shape, axes and time as images do."
    ),
}


def key_tables() -> str:
    """One Markdown table a section: key, default, what it is."""
    parts = [MARK]
    for heading, section, left_out in _TABLES:
        parts.append(f"### {heading}")
        if heading in _EXTRA:
            parts.append(_EXTRA[heading])
        parts.append("\n".join(["| key | default | what |", "|---|---|---|", *_rows(section, left_out)]))
    return "\n\n".join(parts) + "\n"


def with_tables(text: str) -> str:
    """A document with its generated part, which begins at MARK, made anew.

    Raises:
        UserError: when the document has no such mark.
    """
    if MARK not in text:
        raise UserError(f"The reference has no line {MARK}: add it where the tables shall begin.")
    return text[: text.index(MARK)] + key_tables()


def _rows(section: type[settings.Section], left_out: set[str]) -> list[str]:
    schema = section.model_json_schema()
    rows = []
    for key, own in schema["properties"].items():
        if key in left_out:
            continue
        default = "" if key in schema.get("required", ()) else f"`{_default(own)}`"
        rows.append(f"| `{key}` | {default or 'required'} | {own.get('description', '')}{_choices(own)} |")
    return rows


def _default(own: dict[str, Any]) -> str:
    value = own.get("default")
    if isinstance(value, dict) and value:
        return "see its table"
    return json.dumps(value)


def _choices(own: dict[str, Any]) -> str:
    described = own.get("description", "")
    names = [name for branch in (own, *own.get("anyOf", ())) for name in branch.get("enum", ())]
    untold = [str(name) for name in names if str(name) not in described]
    return f" ({', '.join(map(str, names))})" if untold else ""
