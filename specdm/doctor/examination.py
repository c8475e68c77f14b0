"""Everything that is looked at, in order, and how it is told."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from specdm.doctor import credentials, datasets, disk, gdal, gpu, machine, packages, slurm, tools
from specdm.doctor.commands import Find, Run
from specdm.doctor.commands import run as run_program
from specdm.doctor.imports import Imported, imported
from specdm.doctor.section import Section

NAME, WIDTH = 13, 100  # of the word before a line, and of the line
# What reading the configuration and patch sets needs.
READERS = ("pydantic", "yaml", "numpy", "pandas", "rasterio", "geopandas")


def examine(
    repository: Path,
    configfiles: Sequence[Path],
    environ: Mapping[str, str],
    home: Path,
    root: Path = Path("/"),
    run: Run = run_program,
    find: Find = shutil.which,
) -> list[Section]:
    """Look at everything a run needs and a bug report should tell.

    Args:
        repository: folder of config/config.yaml and requirements.lock.
        configfiles: further configuration files, as given to Snakemake.
        environ: environment variables.
        home: the user's folder.
        root: folder of proc and sys.
        run: runs a program with a time limit in seconds, None when there is none.
        find: the path of a program by its name, or None.
    """
    imports = imported(list(packages.MODULES.values()), run)
    settings, state, results, raw = _configured(repository, configfiles, imports)
    return [
        machine.version(),
        machine.python(environ, find),
        machine.system(),
        packages.packages(packages.pinned(repository / "requirements.lock"), imports),
        gpu.gpu(imports["torch"], gpu.driver(run, root), environ),
        gdal.gdal(imports),
        machine.cores(root, environ),
        machine.memory(root),
        disk.disk(results, raw, root),
        slurm.slurm(run, find),
        tools.conda(run, find),
        tools.containers(run, find),
        credentials.credentials(environ, home),
        settings,
        *state,
    ]


def _configured(
    repository: Path, configfiles: Sequence[Path], imports: Mapping[str, Imported]
) -> tuple[Section, list[Section], Path, list[Path]]:
    """What is to be said of the configuration and its data sets, and the folders of results and raw files."""
    broken = [module for module in READERS if imports[module].error]
    if broken:
        told = Section("settings", (f"not read: {', '.join(broken)} cannot be imported",))
        return told, [], Path("results"), [Path("data")]
    config, settings = datasets.configuration(repository / "config" / "config.yaml", configfiles)
    if config is None:
        return settings, [], Path("results"), [Path("data")]
    raw = [Path(dataset.raw) for dataset in config.datasets.values()]
    return settings, [datasets.datasets(config)], Path(config.results), raw


def is_complete(sections: Iterable[Section]) -> bool:
    """Whether everything needed to run is there."""
    return not any(section.missing for section in sections)


def in_words(sections: Sequence[Section]) -> str:
    """Sections as lines of text, what is missing and worth knowing last."""
    parts = [(section.title, section.lines) for section in sections]
    missing, knowing = ([s for section in sections for s in getattr(section, k)] for k in ("missing", "worth_knowing"))
    parts.append(("missing", missing or ["nothing is missing"]))
    if knowing:
        parts.append(("worth knowing", knowing))
    return "\n".join(
        f"{title if i == 0 else '':{NAME}} {line}"
        for title, lines in parts
        for i, line in enumerate(wrapped for line in lines for wrapped in _wrapped(line))
    )


def _wrapped(line: str) -> list[str]:
    return textwrap.wrap(line, WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def as_json(sections: Sequence[Section]) -> dict:
    """The same as plain JSON."""
    return {
        "complete": is_complete(sections),
        "missing": [sentence for section in sections for sentence in section.missing],
        "worth_knowing": [sentence for section in sections for sentence in section.worth_knowing],
        "sections": [asdict(section) for section in sections],
    }
