"""The arrows of the design: who may import whom. Imports inside functions count as well."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from specdm.networks import NETWORKS, SMP_ARCHITECTURES, SMP_FUSIONS, task_of
from specdm.stages import stage_version

ROOT = Path(__file__).parents[1]
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted((ROOT / "specdm").rglob("*.py"))
}


@cache
def _imports(module: str) -> frozenset[str]:
    """Absolute names of everything a module imports; `from a import b` gives a.b."""
    names = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} has a relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(names)


def _ours(module: str) -> set[str]:
    """Our rooms that a module imports: errors, patches, nn, stages, ..."""
    return {name.split(".")[1] for name in _imports(module) if name.startswith("specdm.")} - {"__version__"}


def _foreign(module: str) -> set[str]:
    return {name.split(".")[0] for name in _imports(module)} - {"specdm"}


def _room(room: str) -> list[str]:
    return [name for name in MODULES if name.split(".")[1:2] == [room]]


def _importers(package: str) -> set[str]:
    return {name for name in MODULES if package in _foreign(name)}


ALLOWED = {
    "errors": set(),
    "bands": {"errors"},
    "labels": {"errors"},
    "networks": set(),
    "randomness": set(),
    "provenance": set(),
    "memory": set(),
    "slurm": set(),
    "attempts": set(),
    "lock": set(),
    "launch": {"attempts", "errors", "files", "lock", "memory", "slurm"},
    "progress": set(),
    "files": {"errors"},
    "rasters": {"rasters", "errors", "files"},
    "patches": {"patches", "errors", "files", "labels", "rasters"},
    "settings": {"settings", "networks"},
    "config": {"errors", "bands", "networks", "settings"},
    "reference": {"errors", "config", "settings"},
    "nn": {"nn", "errors"},
    "metrics": {"metrics", "errors"},
    "sources": {
        "sources",
        "errors",
        "files",
        "bands",
        "labels",
        "patches",
        "rasters",
        "randomness",
        "progress",
        "settings",
    },
    "exports": {"exports", "errors", "files", "bands", "labels", "patches", "rasters", "sources", "progress"},
    "weights": {"errors", "files"},
    "encoder_weights": {"errors"},
    "arguments": {"config", "errors"},
    "training": {"training", "errors", "files", "memory", "progress", "randomness"},
    "features": {"errors", "figures", "labels", "nn", "patches"},
    "alignment_figure": {"metrics", "set_figures"},
    "set_figures": {"errors", "figures", "files", "labels", "metrics", "patches"},
    "costs": {"attempts", "errors"},
    "report": {"report", "config", "costs", "metrics", "provenance", "settings"},
    "figures": {"bands", "files", "labels", "patches"},
    "copy_panel": {"figures", "files", "patches"},
    "contact_sheet": {"figures", "files", "labels", "patches"},
    "downstream_figures": {"figures", "labels", "patches"},
    "given": {"errors", "labels", "nn", "patches"},
    "information": {"errors", "given", "model", "nn"},
    "information_figure": {"figures", "files", "patches"},
    "model": {"errors", "given", "nn", "patches", "randomness", "weights"},
    "doctor": {"doctor", "config", "errors", "patches", "provenance", "settings", "sources"},
}


@pytest.mark.parametrize("room", ALLOWED)
def test_a_room_is_entered_from_its_door_only(room):
    modules = _room(room)
    assert modules
    for module in modules:
        assert _ours(module) <= ALLOWED[room], module


def test_every_room_has_a_rule():
    rooms = {name.split(".")[1] for name in MODULES if name != "specdm"}
    assert rooms == set(ALLOWED) | {"stages", "cli", "__main__"}


def test_only_the_command_line_and_the_rules_know_the_stages():
    users = {name for name in MODULES if "stages" in _ours(name) and name.split(".")[1] != "stages"}
    lone = {"specdm.cli.app", "specdm.cli.setup"}  # the second looks at the machine, and runs no stage
    assert users == {name for name in _room("cli") if name.count(".") == 2} - lone


def test_nobody_imports_the_command_line_but_its_entry():
    assert {name for name in MODULES if "cli" in _ours(name)} - set(_room("cli")) == {"specdm.__main__"}


@pytest.mark.parametrize(
    ("package", "importers"),
    [
        ("diffusers", {"specdm.nn.backbones"}),
        (
            "rasterio",
            {
                f"specdm.rasters.{part}"
                for part in (
                    "annotated",
                    "cog",
                    "files",
                    "ground",
                    "label_map",
                    "outline",
                    "sampled",
                    "shapes",
                    "windowed",
                )
            },
        ),
        ("geopandas", {f"specdm.rasters.{part}" for part in ("files", "outline", "shapes")}),
        ("h5py", {"specdm.sources.arrays"}),
        ("lightning_fabric", {"specdm.training.devices"}),
        ("snakemake", set()),
    ],
)
def test_a_library_has_one_door(package, importers):
    assert _importers(package) == importers


def test_only_the_configuration_knows_its_library():
    assert {name.split(".")[1] for name in _importers("pydantic")} == {"config", "settings"}


def test_only_the_sources_reach_the_network():
    plain = {"urllib", "requests", "http", "httpx", "httpx2", "socket", "ftplib"}
    network = plain | {"huggingface_hub", "sentinelhub"}
    for name in MODULES:
        if name.split(".")[1:2] != ["sources"]:
            assert not _foreign(name) & network, name


def test_the_configuration_and_the_data_side_stay_free_of_torch():
    for room in (
        "config",
        "settings",
        "networks",
        "cli",
        "doctor",
        "sources",
        "metrics",
        "bands",
        "labels",
        "patches",
        "rasters",
    ):
        for name in _room(room):
            assert "torch" not in _foreign(name), name


def test_the_networks_know_no_paths_and_no_device_choice():
    for name in _room("nn"):
        assert not _foreign(name) & {"pathlib", "os", "logging", "pydantic", "yaml", "lightning_fabric"}, name
        assert "is_available" not in MODULES[name].read_text(), name


def test_the_command_line_imports_lightly_at_its_top():
    top = {
        alias.name if isinstance(node, ast.Import) else node.module
        for name in _room("cli")
        for node in ast.parse(MODULES[name].read_text()).body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    light = {
        "__future__",
        "collections.abc",
        "contextlib",
        "functools",
        "os",
        "pathlib",
        "sys",
        "time",
        "typing",
        "typer",
    }
    assert top <= light | {"specdm.arguments", "specdm.errors", "specdm.progress", "specdm.cli", "specdm.cli.app"}


def test_the_names_of_the_networks_are_those_that_can_be_built():
    from specdm.nn import downstream
    from specdm.nn.downstream import smp_models

    assert {name: network.task for name, network in downstream.NETWORKS.items()} == NETWORKS
    assert set(SMP_ARCHITECTURES) == set(smp_models.ARCHITECTURES) and SMP_FUSIONS == smp_models.FUSIONS
    for name in ("smp:fpn/resnet18", "smp:unet/resnet18/diff"):
        assert smp_models.parse(name)[1] == task_of(name)


@pytest.mark.parametrize(
    "name", ["unet/resnet34", "smp:unet", "smp:unet/", "smp:net/resnet34", "smp:unet/resnet34/sum", "smp:unet/a/diff/b"]
)
def test_what_is_no_network_has_no_task(name):
    assert task_of(name) is None


def test_every_stage_of_a_rule_has_a_version():
    used = set()
    for path in sorted((ROOT / "rules").glob("*.smk")):
        used |= set(re.findall(r"stage_version\(\"(\w+)\"\)", path.read_text()))
    stages = {name.split(".")[-1] for name in _room("stages") if "\nSTAGE_VERSION = " in MODULES[name].read_text()}
    assert used == stages
    for stage in stages:
        assert isinstance(stage_version(stage), int)
    with pytest.raises(KeyError):
        stage_version("batches")


def test_every_rule_that_computes_declares_its_version():
    for path in sorted((ROOT / "rules").glob("*.smk")):
        for rule in re.split(r"^rule ", path.read_text(), flags=re.MULTILINE)[1:]:
            name = rule.split(":")[0]
            computes = "python -m specdm" in rule or "LAUNCH" in rule
            if name not in ("acquire", "download", "fetch_encoder", "fetch_inception", "versions") and computes:
                assert "stage_version(" in rule, name


@pytest.mark.parametrize("name", MODULES)
def test_a_module_is_short_and_says_what_it_is(name):
    text = MODULES[name].read_text()
    assert text.count("\n") <= 400
    assert ast.get_docstring(ast.parse(text))
