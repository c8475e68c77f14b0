"""The configuration as a whole: reading, inheritance of methods, validation, and errors of one sentence.

`load` merges YAML files, resolves the inheritance of methods and validates the result before any job starts. An error
is one sentence that names the key and the nearest valid one.
"""

from __future__ import annotations

import copy
import difflib
import re
import typing
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pydantic
import yaml
from pydantic import Field, model_validator

from specdm import bands
from specdm.errors import UserError
from specdm.networks import CHANGE, NETWORKS, SMP, SMP_ARCHITECTURES, SMP_FUSIONS, encoder_of, folder_of, task_of
from specdm.settings import (
    DATASETS,
    AnyDataset,
    CopySettings,
    Dataset,
    DownstreamSettings,
    EvaluationSettings,
    FilterSettings,
    InformationSettings,
    MethodSettings,
    Name,
    Networks,
    Regime,
    SceneDataset,
    Section,
)


class Config(Section):
    """The whole configuration."""

    results: str = Field("results", description="folder of everything that is computed")
    seed: int = Field(0, ge=0, description="seed of all but the downstream trainings")
    generators: int = Field(1, ge=1, description="generators a method, with the seeds seed, seed + 1, ...")
    subsets: int = Field(1, ge=1, description="choices of the n_real labelled patches, with the same seeds")
    seeds: tuple[int, ...] = Field((0, 1, 2), min_length=1, description="seeds of the downstream trainings")
    pairs_a_shard: int = Field(
        2500, ge=1, description="synthetic pairs that one job draws; the set is the same whatever it is"
    )
    methods: dict[Name, MethodSettings] = Field(min_length=1, description="generators; `base` names one to start from")
    datasets: dict[Name, AnyDataset] = Field(min_length=1, description="data sets")
    downstream: DownstreamSettings = Field(DownstreamSettings(), description="downstream training")
    filtering: FilterSettings = Field(FilterSettings(), description="choosing among the samples")
    evaluation: EvaluationSettings = Field(EvaluationSettings(), description="measuring the samples")
    copies: CopySettings = Field(CopySettings(), description="looking for training patches among the samples")
    information: InformationSettings = Field(InformationSettings(), description="what generators say of pairs")

    def method(self, dataset: str, method: str) -> MethodSettings:
        """Settings of a method on a data set, its overrides applied."""
        overrides = self.datasets[dataset].method_overrides
        return _validated(MethodSettings, merge(self.methods[method].model_dump(), overrides), ("method_overrides",))

    def downstream_of(self, network: str) -> DownstreamSettings:
        """Settings of the training of one network, its overrides applied; the other networks' do not concern it."""
        own = merge(self.downstream.model_dump(), self.downstream.overrides.get(network, {}))
        own |= {"options": {n: o for n, o in own["options"].items() if n == network}, "overrides": {}}
        return _validated(DownstreamSettings, own, ("downstream", "overrides", network))

    @model_validator(mode="after")
    def _consistent(self) -> Config:
        _check_networks("downstream.options", self.downstream.options)
        _check_networks("downstream.overrides", self.downstream.overrides)
        for network in self.downstream.overrides:
            try:
                self.downstream_of(network)
            except UserError as error:
                raise ValueError(str(error).rstrip(".")) from error
        for name, dataset in self.datasets.items():
            _check_dataset(f"datasets.{name}", dataset, self.methods)
            _check_comparisons(f"datasets.{name}", dataset)
            _check_start(name, self.datasets)
            for network in dataset.networks:
                _check_encoder(network, self.downstream_of(network))
            for method in dataset.methods:
                try:
                    settings = self.method(name, method)
                except UserError as error:
                    raise ValueError(f"datasets.{name}.{error}".rstrip(".")) from error
                _check_sizes(name, method, dataset.prepare.patch_px, settings)
                _check_given(name, dataset, method, settings)
            _check_unlabelled(name, self.datasets)
        return self


def _check_names(key: str, names: Iterable[str], valid: Iterable[str]) -> None:
    for name in names:
        if name not in valid:
            raise ValueError(f"{key}: there is no {name!r}, did you mean {_nearest(name, valid)!r}?")


def _check_networks(key: str, names: Iterable[str]) -> None:
    """Refuse names that are no network's, and two that would share a folder."""
    folders = {}
    for name in names:
        if name.startswith(SMP) and task_of(name) is None:
            raise ValueError(
                f"{key}: {name!r} is no network of segmentation-models-pytorch, write {SMP}<architecture>/<encoder>, "
                f"for two dates with /{', /'.join(SMP_FUSIONS)} behind; architectures: {', '.join(SMP_ARCHITECTURES)}"
            )
        if not name.startswith(SMP):
            _check_names(key, [name], NETWORKS)
        if folders.setdefault(folder_of(name), name) != name:
            raise ValueError(f"{key}: {folders[folder_of(name)]} and {name} would share a folder, leave one out")


def _check_dataset(key: str, dataset: Dataset, methods: dict) -> None:
    """Refuse names that do not exist, networks of the other task, and impossible patches."""
    _check_names(f"{key}.methods", dataset.methods, methods)
    _check_networks(f"{key}.networks", dataset.networks)
    for network in dataset.networks:
        if task_of(network) != dataset.task:
            raise ValueError(f"{key}.networks: {network} solves {task_of(network)}, this data set is {dataset.task}")
    # Scenes of one's own have bands of any name, or those that their files declare.
    declared = dataset.prepare.bands
    if not isinstance(dataset, SceneDataset) or (isinstance(declared, str) and declared != "file"):
        _check_bands(f"{key}.prepare.bands", declared)
    if isinstance(dataset, SceneDataset) and dataset.acquire:
        _check_bands(f"{key}.acquire.bands", dataset.acquire.bands)
    if dataset.prepare.patch_px % 32:
        raise ValueError(
            f"{key}.prepare.patch_px: {dataset.prepare.patch_px} is not a multiple of 32, which the networks "
            f"{', '.join(dataset.networks)} need"
        )


def _check_bands(key: str, declared: str | tuple[str, ...]) -> None:
    try:
        bands.resolve(declared)
    except UserError as error:
        raise ValueError(f"{key}: {error}".rstrip(".")) from error


def _check_comparisons(key: str, dataset: Dataset) -> None:
    """Refuse regimes that lack what they need, and tables of regimes that do not exist."""
    for where, names in (
        ("controls.beside", dataset.controls.beside),
        ("label_curve.regimes", dataset.label_curve.regimes),
    ):
        _check_names(f"{key}.{where}", names, dataset.regimes)
    for where, networks in (("controls", dataset.controls.networks), ("label_curve", dataset.label_curve.networks)):
        _check_chosen(f"{key}.{where}.networks", networks, dataset)
    for name in dataset.controls.regimes:
        if name in dataset.regimes:
            raise ValueError(f"{key}.controls.regimes.{name}: {key}.regimes has this name too, choose another")
    for where, regimes in (("regimes", dataset.regimes), ("controls.regimes", dataset.controls.regimes)):
        for name, regime in regimes.items():
            if regime.synthetic:
                _check_names(f"{key}.{where}.{name}.method", [regime.method], dataset.methods)
            _check_chosen(f"{key}.{where}.{name}.networks", regime.networks, dataset)
            if regime.masks == "predicted":
                _check_teacher(f"{key}.{where}.{name}", dataset, regime)
            if regime.given == "edited" and dataset.task != CHANGE:
                raise ValueError(f"{key}.{where}.{name}.given: edited needs two dates, use masks")


def _check_chosen(key: str, networks: Networks, dataset: Dataset) -> None:
    if not isinstance(networks, str):
        _check_names(key, networks, dataset.networks)


def _check_encoder(network: str, settings: DownstreamSettings) -> None:
    if settings.encoder_weights != "none" and encoder_of(network).startswith("tu-"):
        raise ValueError(
            f"downstream.encoder_weights: weights of timm's encoders (tu-*) are not loaded yet, set it to none for "
            f"{network} under downstream.overrides"
        )


def _check_teacher(key: str, dataset: Dataset, regime: Regime) -> None:
    teacher = dataset.real_alone(regime)
    if teacher is None or dataset.all_regimes[teacher].networks != "all":
        raise ValueError(
            f"{key}.masks: predicted needs a regime of real patches alone with the same labels and augmentation for "
            "every network, add one"
        )


def _check_start(name: str, datasets: dict[str, Dataset]) -> None:
    """Refuse to start generators from a data set that does not exist, does not train them, or starts from this one."""
    start, seen = datasets[name].init_from, [name]
    key = f"datasets.{name}.init_from"
    if start is None or (start not in datasets and "/" in start):  # a folder
        return
    _check_names(key, [start], [n for n in datasets if n != name] or ["a folder"])
    for method in datasets[name].methods:
        if method not in datasets[start].methods:
            raise ValueError(f"{key}: {start} does not train the method {method}, add it to datasets.{start}.methods")
    while start in datasets:
        if start in seen:
            raise ValueError(f"{key}: {' -> '.join([*seen, start])} goes in a circle")
        seen.append(start)
        start = datasets[start].init_from


def _check_given(name: str, dataset: Dataset, method: str, settings: MethodSettings) -> None:
    """Refuse regimes of patches that a generator cannot draw, or draws with what it must not know."""
    for key, regime in dataset.all_regimes.items():
        if regime.given == "nothing" or regime.method != method:
            continue
        key = f"datasets.{name}.regimes.{key}.given"
        if settings.diffusion.levels != "streams":
            raise ValueError(f"{key}: {method} draws image and mask at once, set diffusion.levels to streams")
        own_left = settings.generator_data == "subset" and regime.labels != "all"
        if regime.given == "images" and not own_left and set(dataset.unlabelled) <= {name}:
            raise ValueError(f"{key}: {method} has seen all labels, set generator_data: subset or name more unlabelled")


def _check_unlabelled(name: str, datasets: dict[str, Dataset]) -> None:
    key, own = f"datasets.{name}.unlabelled", datasets[name]
    _check_names(key, own.unlabelled, datasets)
    for other in own.unlabelled:
        if datasets[other].prepare.patch_px != own.prepare.patch_px:
            raise ValueError(f"{key}: patches of {other} have another patch_px, set both alike")


def _check_sizes(dataset: str, method: str, patch_px: int, settings: MethodSettings) -> None:
    factor = settings.autoencoder.image.downsampling
    halvings = 2 ** (len(settings.diffusion.unet.multipliers) - 1)
    if patch_px % (factor * halvings):
        raise ValueError(
            f"datasets.{dataset}.prepare.patch_px: {patch_px} px cannot be halved as often as the autoencoder "
            f"(factor {factor}) and the U-Net (factor {halvings}) of the method {method} do: use a multiple of "
            f"{factor * halvings}"
        )
    unet = settings.diffusion.unet
    attention = unet.attention_levels(patch_px // factor)
    for attends, channels in zip(attention, (unet.width * m for m in unet.multipliers), strict=True):
        if attends and channels % unet.head_dim:
            raise ValueError(
                f"methods.{method}.diffusion.unet.head_dim: {unet.head_dim} does not divide the {channels} channels of "
                f"a level with attention (data set {dataset}): choose one that divides width times the multipliers"
            )


def merge(base: dict, over: dict) -> dict:
    """Deep merge of two plain mappings: values of `over` win, nested mappings are merged key by key."""
    merged = copy.deepcopy(base)
    for key, value in over.items():
        nested = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merge(merged[key], value) if nested else copy.deepcopy(value)
    return merged


def load(paths: Sequence[Path | str]) -> Config:
    """Read YAML files, later ones over earlier ones, and validate.

    Raises:
        UserError: for unreadable YAML or any invalid setting.
    """
    raw: dict = {}
    for path in paths:
        try:
            part = yaml.safe_load(Path(path).read_text())
        except (OSError, yaml.YAMLError) as error:
            raise UserError(f"{path} cannot be read as YAML: {str(error).splitlines()[0]}.") from error
        if not isinstance(part or {}, dict):
            raise UserError(f"{path} holds no settings: write `key: value` lines.")
        raw = merge(raw, part or {})
    return validate(raw)


def validate(raw: dict) -> Config:
    """Validate a raw mapping as the configuration.

    Raises:
        UserError: one sentence naming the key and the nearest valid one.
    """
    raw = _without_null_names(raw)
    if isinstance(raw.get("methods"), dict):
        raw["methods"] = {name: _inherit(raw["methods"], name, ()) for name in raw["methods"]}
    return _validated(Config, raw, ())


def _without_null_names(raw: dict) -> dict:
    """Leave out methods, data sets and regimes that are set to null: how a file drops what another one lists."""
    raw = copy.deepcopy(raw)
    datasets = raw.get("datasets")
    tables = [raw.get("methods"), datasets]
    if isinstance(datasets, dict):
        described = [d for d in datasets.values() if isinstance(d, dict)]
        tables += [d.get("regimes") for d in described]
        tables += [d["controls"].get("regimes") for d in described if isinstance(d.get("controls"), dict)]
    for table in tables:
        if isinstance(table, dict):
            for name in [name for name, value in table.items() if value is None]:
                del table[name]
    return raw


def parse_section(section: type[Section], data: dict) -> Section:
    """Validate one section by itself, as the command line receives it.

    Raises:
        UserError: one sentence naming the key.
    """
    return _validated(section, data, ())


def _inherit(methods: dict, name: str, seen: tuple[str, ...]) -> dict:
    if not isinstance(methods[name], dict):
        raise UserError(f"methods.{name}: a method is a mapping of settings (got {methods[name]!r}).")
    own = dict(methods[name])
    base = own.pop("base", None)
    if base is None:
        return own
    if base in seen or base == name or base not in methods:
        others = [m for m in methods if m != name]
        raise UserError(f"methods.{name}.base: {base!r} is no other method, did you mean {_nearest(base, others)!r}?")
    return merge(_inherit(methods, base, (*seen, name)), own)


def _nearest(name: str, valid: Iterable[str]) -> str:
    valid = list(valid)
    return (difflib.get_close_matches(str(name), valid, n=1, cutoff=0) or valid or ["nothing"])[0]


def _validated(section: type[Section], data: dict, where: tuple[str, ...]) -> Any:
    try:
        return section.model_validate(data)
    except pydantic.ValidationError as error:
        raise UserError(_sentence(section, error, where)) from None


def _sentence(section: type[Section], error: pydantic.ValidationError, where: tuple[str, ...]) -> str:
    """The first problem of a validation error as one sentence."""
    # An unknown key explains a missing one, so it is told first.
    first = min(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
    # Branches of unions are named in between: a section, or a tuple that is not itself the problem.
    loc = [str(part) for part in first["loc"] if not re.fullmatch(r"[A-Z]\w+", str(part))]
    loc = [part for part in loc[:-1] if not part.startswith("tuple[")] + loc[-1:]
    message = first["msg"].removeprefix("Value error, ").rstrip(".")
    if re.fullmatch(r"(constrained-)?int|(constrained-)?str|float|(literal|tuple)\[.*\]", loc[-1] if loc else ""):
        # one branch of a union
        branches = [e["msg"] for e in error.errors() if e["loc"][:-1] == first["loc"][:-1]]
        message, loc = " or ".join([branches[0], *(b.removeprefix("Input should be ") for b in branches[1:])]), loc[:-1]
    valid_keys = _keys_at(section, loc[:-1])
    if len(loc) > 2 and loc[0] == "datasets" and loc[2] in DATASETS:
        del loc[2]  # pydantic inserts the value of `source` there
    key = ".".join([*where, *loc]) or "the configuration"
    match first["type"]:
        case "extra_forbidden":
            return f"{key}: there is no such key, did you mean {_nearest(loc[-1], valid_keys)!r}?"
        case "missing":
            return f"{key}: this key is required and missing."
        case "union_tag_invalid" | "union_tag_not_found":
            return f"{key}.source: the source must be one of {', '.join(DATASETS)}."
        case "value_error":
            sentence = f"{key}: {message}" if loc or where else message
            return sentence if sentence.endswith("?") else f"{sentence}."
    return f"{key}: {message} (got {first['input']!r})."


def _keys_at(section: Any, loc: Sequence[str]) -> list[str]:
    """Valid keys of the section that the path `loc` leads to, starting from `section`."""
    annotation: Any = section
    for part in loc:
        if typing.get_origin(annotation) in (dict, tuple):  # part is the name or the position of an entry
            annotation = [a for a in typing.get_args(annotation) if a is not Ellipsis][-1]
        elif not _is_section(annotation) and part in DATASETS:  # part is the value of `source`
            annotation = DATASETS[part]
        else:
            fields = getattr(_section_in(annotation), "model_fields", {})
            annotation = fields[part].annotation if part in fields else None
    return list(getattr(_section_in(annotation), "model_fields", {}))


def _is_section(thing: Any) -> bool:
    return isinstance(thing, type) and issubclass(thing, Section)


def _section_in(annotation: Any) -> type[Section] | None:
    """The section itself, or the first one named within an annotation such as Section | None."""
    if _is_section(annotation):
        return annotation
    return next((s for a in typing.get_args(annotation) if (s := _section_in(a)) is not None), None)


def schema() -> dict:
    """JSON schema of the configuration files, for editors and for reference."""
    raw = Config.model_json_schema()
    # In a file a method may start from another one; the key disappears when the file is read.
    raw["$defs"]["MethodSettings"]["properties"]["base"] = {
        "type": "string",
        "description": "another method whose settings this one starts from",
    }
    return raw
