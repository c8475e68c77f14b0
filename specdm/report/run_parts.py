"""The last parts of the page: data, code, machine, times and settings of the run, and what was assumed."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata

from specdm import provenance
from specdm.config import Config
from specdm.costs import Cost
from specdm.report import facts
from specdm.report.html import Row, bullets, folded, note, table, text
from specdm.report.page import Part
from specdm.report.sets import DataSet, described

PACKAGES = ("torch", "diffusers", "numpy", "scipy", "pandas", "matplotlib", "rasterio", "snakemake")


@dataclass(frozen=True)
class Machine:
    """The machine that wrote the page, in words.

    Attributes:
        system, processor: their names.
        cores: that it has.
        accelerators: names of its GPUs.
        versions: of Python and of packages.
    """

    system: str
    processor: str
    cores: int
    accelerators: Sequence[str]
    versions: Mapping[str, str]

    @classmethod
    def here(cls, accelerators: Sequence[str]) -> Machine:
        versions = {"Python": platform.python_version()}
        for package in PACKAGES:
            try:
                versions[package] = metadata.version(package)
            except metadata.PackageNotFoundError:
                continue
        return cls(platform.platform(terse=True), provenance.processor(), os.cpu_count() or 0, accelerators, versions)


def parts(
    sets: Sequence[DataSet],
    stamps: Sequence[Row],
    costs: Sequence[Cost],
    machine: Machine,
    configuration: Config | None,
    assumptions: str,
) -> list[Part]:
    """Data, what was run, what was assumed."""
    return [
        Part("data", "Data", "".join(described(data) for data in sets) or note("No patch sets were given.")),
        Part("run", "What was run", _run(stamps, costs, machine, configuration)),
        Part("assumed", "What was assumed", _assumed(assumptions)),
    ]


def _run(stamps: Sequence[Row], costs: Sequence[Cost], machine: Machine, configuration: Config | None) -> str:
    content = "<h3>Settings</h3>"
    if configuration is None:
        content += note("The configuration was not given.")
    else:
        content += "".join(table(part) for part in facts.headline(configuration))
        whole = f"<pre>{text(configuration.model_dump_json(indent=1))}</pre>"
        content += folded("the whole configuration (JSON)", whole)
    content += "<h3>Code</h3>"
    content += table(facts.origins(stamps)) if stamps else note("The provenance of the results was not given.")
    content += bullets(facts.doubts(stamps), "caution")
    gpus = f"; GPU {', '.join(machine.accelerators)}" if machine.accelerators else "; no GPU"
    content += (
        f"<h3>Machine</h3><p>{text(machine.system)}; {text(machine.processor)}, {machine.cores} cores{text(gpus)}. "
        f"{text(', '.join(f'{name} {version}' for name, version in machine.versions.items()))}.</p>"
    )
    content += note("This is the machine that wrote the page; the table above says where results were made.")
    content += "<h3>Time and memory</h3>"
    if not costs:
        return content + note("No measured times were given.")
    return content + table(facts.times(costs)) + note(facts.NOTE_OF_TIMES)


def _assumed(document: str) -> str:
    rows = facts.assumptions(document)
    if len(rows) < 2:
        return note("The table of assumptions was not given.")
    head, *body = rows
    lines = "".join(f"<tr>{''.join(f'<td class=long>{cell}</td>' for cell in row)}</tr>" for row in body)
    titles = "".join(f"<th scope=col class=text>{cell}</th>" for cell in head)
    content = f"<div class=scroll tabindex=0><table class='sortable prose'><thead><tr>{titles}</tr></thead>"
    content += f"<tbody>{lines}</tbody></table></div>"
    return note(
        "Where the paper is silent or its values are lost, these choices were made; keys of the configuration can "
        "change most of them."
    ) + folded(f"{len(body)} choices, each with its reason", content)
