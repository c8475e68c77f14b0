"""What was run: times of the stages, versions behind the results, the configuration, the assumptions."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape

from specdm.config import Config
from specdm.report.html import Cell, Row, Table, number, word
from specdm.settings import MethodSettings

MIB_A_GIB = 1024


def clock(seconds: float) -> str:
    """A time as h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def times(runs: Mapping[str, Sequence[Row]]) -> Table:
    """Time and memory of every stage, from the lines of Snakemake's benchmark files: stage -> its runs."""
    titles = ["stage", "runs", "time of all (h:mm:ss)", "of the longest", "processor time", "largest memory (GiB)"]
    rows = []
    for stage, own in runs.items():
        seconds = [float(run["s"]) for run in own]
        busy = [float(run["cpu_time"]) for run in own if _measured(run.get("cpu_time"))]
        memory = [float(run["max_rss"]) for run in own if _measured(run.get("max_rss"))]
        spent = [Cell(clock(value), value) for value in (sum(seconds), max(seconds))]
        line = [word(stage), number(len(own), ".0f"), *spent]
        line.append(Cell(clock(sum(busy)), sum(busy)) if busy else Cell())
        rows.append([*line, number(max(memory) / MIB_A_GIB, ".2f") if memory else Cell()])
    return Table(titles, rows)


def _measured(value: object) -> bool:
    """Snakemake writes "NA" where a run was too short to be measured."""
    return isinstance(value, int | float)


def origins(stamps: Sequence[Row]) -> Table:
    """Which code made the results, and on what: a row a stage, version, commit and machine, from their provenance."""
    counted: dict[tuple, int] = {}
    for stamp in stamps:
        key = tuple(stamp.get(name) for name in ("stage", "stage_version", "specdm_version", "commit", "machine"))
        counted[key] = counted.get(key, 0) + 1
    rows = [
        [word(stage), number(version, ".0f"), word(release), word(commit), word(machine), number(n, ".0f")]
        for (stage, version, release, commit, machine), n in sorted(counted.items(), key=str)
    ]
    return Table(["made by", "version of the stage", "specdm", "commit", "machine", "files"], rows)


def doubts(stamps: Sequence[Row]) -> list[str]:
    """What makes it hard to say which code made the results."""
    commits = sorted({str(stamp.get("commit")) for stamp in stamps})
    found = []
    if len(commits) > 1:
        found.append(f"The results were made by {len(commits)} states of the code: {', '.join(commits)}.")
    if any(commit.endswith("-dirty") for commit in commits):
        found.append("A commit with -dirty had changes that were not committed: it does not say which code ran.")
    if "unknown" in commits:
        found.append("The commit of some results is unknown: they were made outside a checkout.")
    return found


def headline(configuration: Config) -> tuple[Table, Table]:
    """The settings that readers ask for first: a row a data set, and a row a data set and generator."""
    sets, generators = [], []
    for name, own in configuration.datasets.items():
        words = [word(value) for value in (name, own.source, own.origin)]
        words += [number(own.prepare.patch_px, ".0f"), number(own.n_real, ".0f")]
        sets.append([*words, word(", ".join(own.networks)), word(", ".join(own.regimes))])
        for method in own.methods:
            generators.append([word(name), word(method), *_generator(configuration.method(name, method))])
    of_sets = ["data set", "source", "raw files", "patch (px)", "labelled patches", "networks", "training sets"]
    titles = ["data set", "generator", "streams", "latent channels, image + mask", "prediction", "sampler"]
    titles += ["sees labels", "weight of the angle", "steps, autoencoder", "steps, denoiser", "steps of sampling"]
    return Table(of_sets, sets), Table(titles, generators)


def _generator(own: MethodSettings) -> list[Cell]:
    first, second, sampling = own.autoencoder, own.diffusion, own.sampling
    latent = f"{first.image.latent_channels} + {first.mask.latent_channels}"
    words = [first.streams, latent, second.prediction, sampling.sampler, own.generator_data]
    steps = [first.steps, second.steps, sampling.n_steps]
    return [*(word(w) for w in words), number(first.sad_weight, "g"), *(number(n, ".0f") for n in steps)]


def assumptions(document: str) -> list[list[str]]:
    """Rows of the table of docs/paper.md as HTML, its head first: what the paper says, what was chosen, why, where."""
    lines = re.findall(r"^\| (.*) \|$", document, re.MULTILINE)
    return [[_inline_code(cell.strip()) for cell in line.split("|")] for line in lines]


def _inline_code(markdown: str) -> str:
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", escape(markdown, quote=False))
