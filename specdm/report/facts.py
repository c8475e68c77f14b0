"""What was run: costs of the stages, versions behind the results, the configuration, the assumptions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape

from specdm.config import Config
from specdm.costs import SECONDS_AN_HOUR, Cost
from specdm.report.html import Cell, Row, Table, number, word
from specdm.settings import MethodSettings

MIB_A_GIB = 1024
NOTE_OF_TIMES = (
    "Every attempt of every job of this folder, also of older settings and of other tables. The time of GPUs counts "
    "every GPU of an attempt. Lost is what failed or ran out of memory, also where the job went on from a state that "
    "it had saved. Of attempts of unknown length (killed with what watched them, or still running) no time is counted. "
    "Cores are those of the jobs as they last ran, on average."
)


def clock(seconds: float) -> str:
    """A time as h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def times(costs: Sequence[Cost]) -> Table:
    """What every stage cost, and all together in the last row; `costs` end with that row."""
    titles = ["stage", "jobs", "attempts", "paused", "out of memory", "failed", "cut off", "time of all (h:mm:ss)"]
    titles += ["time of GPUs", "of the longest job", "lost", "attempts of unknown length", "largest memory (GiB)"]
    *rows, last = map(_cost, costs)
    return Table([*titles, "memory asked for (GiB)", "cores used"], rows, last)


def _cost(own: Cost) -> list[Cell]:
    counts = (own.jobs, own.attempts, own.paused, own.out_of_memory, own.failed, own.cut_off)
    hours = (own.job_hours, own.gpu_hours, own.longest_hours, own.lost_hours)
    memory = (None if mib is None else mib / MIB_A_GIB for mib in (own.peak_mib, own.asked_mib))
    return [
        word(own.stage),
        *(number(n, ".0f") for n in counts),
        *(Cell(clock(spent * SECONDS_AN_HOUR), spent * SECONDS_AN_HOUR) for spent in hours),
        number(own.without_hours, ".0f"),
        *(number(gib, ".2f") for gib in memory),
        number(own.cores_used, ".1f"),
    ]


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
