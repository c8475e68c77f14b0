"""`specdm <verb>`: one verb a stage of the workflow. Heavy imports stand inside the commands: help is instant."""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from specdm.arguments import (
    InitFrom,
    MaxMinutes,
    Out,
    Patches,
    Pictures,
    ResumeOnly,
    Seed,
    Settings,
    State,
    chosen,
    read_fractions,
    read_section,
    read_shard,
)
from specdm.errors import TrainingPaused, UserError
from specdm.progress import duration

CONFIG = Path(__file__).parents[1] / "config"
PAUSED = 75  # exit status that means: saved, the same command goes on

app = typer.Typer(
    help="Labelled multispectral training data from a joint latent diffusion model of image and mask.\n\n"
    "All at once: `snakemake --profile workflow/profiles/local` takes the data sets of config/config.yaml through the "
    "whole chain, and a second time only through what changed; `make demo` does so with simulated images.\n\n"
    "Step by step: the commands stand in the order of the chain, each with what it takes -> what it gives. "
    "Your own labelled images: docs/own-data.md.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _verb(overview: str) -> Callable:
    """Register a command under its line of the overview; it returns what it made, printed last with its time."""

    def register(command: Callable[..., str | None]) -> Callable:
        name = command.__name__.replace("_", "-")

        @functools.wraps(command)
        def run(*args, **kwargs) -> None:
            started = time.monotonic()
            made = command(*args, **kwargs)
            if made:
                print(f"{name}: {made}, {duration(time.monotonic() - started)}", flush=True)

        return app.command(name, short_help=overview)(run)

    return register


@_verb("nothing -> raw files of an invented landscape")
def simulate(
    source: Annotated[str, typer.Option(help="layout of the files: segmunich or oscd")],
    out: Out,
    settings: Settings = "{}",
    seed: Seed = 0,
) -> str:
    """Write a simulated landscape as raw SegMunich or OSCD files."""
    from specdm.settings import SimulatedOscd, SimulatedSegMunich
    from specdm.stages.prepare import simulate_raw

    section = chosen("--source", source, {"segmunich": SimulatedSegMunich, "oscd": SimulatedOscd})
    simulate_raw(out, read_section(section, settings), seed)
    return f"{sum(path.is_file() for path in out.rglob('*'))} files like those of {source} in {out}"


@_verb("name of a benchmark -> its raw files; resumes")
def download(
    name: Annotated[str, typer.Argument(help="data set: oscd or segmunich")],
    out: Annotated[Path, typer.Option(help="folder of the raw files")],
    from_dir: Annotated[Path | None, typer.Option(help="take files already fetched from this folder")] = None,
    table: Annotated[
        Path, typer.Option(help="addresses, sizes, checksums, licences (config/datasets.csv)", show_default=False)
    ] = CONFIG / "datasets.csv",
) -> str:
    """Fetch a benchmark data set; the same command resumes."""
    from specdm.sources.download import download as fetch

    done = fetch(name, out, table=table, from_dir=from_dir)
    return f"{done.unpacked} files of {name} from {len(done.archives)} archives in {out}"


@_verb("raw files -> patch set: images, masks, splits")
def prepare(
    source: Annotated[str, typer.Option(help="layout of the raw files: segmunich, oscd, or scene for your own")],
    name: Annotated[str, typer.Option(help="name of the data set")],
    raw: Annotated[Path, typer.Option(help="folder of the raw files")],
    out: Out,
    settings: Settings = "{}",
    seed: Seed = 0,
) -> str:
    """Cut raw files into a patch set: band selection, resampling, cleaning, splits."""
    from specdm.patches import open_patches
    from specdm.settings import OscdSettings, SceneSettings, SegMunichSettings
    from specdm.stages import prepare as stage
    from specdm.stages.info import sizes

    readers = {"segmunich": SegMunichSettings, "oscd": OscdSettings, "scene": SceneSettings}
    section = chosen("--source", source, readers)
    print("\n".join(stage.prepare(name, raw, out, read_section(section, settings), seed)))
    return f"{sizes(open_patches(out))} in {out}"


@_verb("patch set -> what it is, in words")
def info(
    patches: Annotated[Path, typer.Argument(help="folder of the patch set")],
    verify: Annotated[bool, typer.Option(help="compare all arrays with their checksums; reads everything")] = True,
) -> None:
    """Print what a patch set is: arrays, bands, classes, splits, places, leaks between splits, origin."""
    from specdm.stages.info import info as stage

    print(stage(patches, verify))


@_verb("patch set -> picture of some patches with their masks")
def show(
    patches: Annotated[Path, typer.Argument(help="folder of the patch set")],
    out: Annotated[Path, typer.Option(help="the picture (PNG)")],
    n: Annotated[int, typer.Option(min=1, help="patches to show")] = 24,
    split: Annotated[str, typer.Option(help="split they are taken from: train, val or test")] = "train",
    seed: Seed = 0,
) -> str:
    """Draw patches of all classes and many groups: true colour, false colour and mask, with a legend."""
    from specdm.patches import SPLITS
    from specdm.stages.show import show as stage

    chosen("--split", split, dict.fromkeys(SPLITS))
    return stage(patches, out, n, split, seed)


@_verb("patch set -> autoencoder")
def train_autoencoder(
    patches: Patches,
    out: Out,
    state: State,
    settings: Settings = "{}",
    seed: Seed = 0,
    max_minutes: MaxMinutes = 0,
    resume_only: ResumeOnly = False,
    n_real: Annotated[int, typer.Option(help="see only so many labelled patches; 0 = all of the split")] = 0,
    subset_seed: Annotated[int, typer.Option(help="seed of their choice, as for train-downstream")] = 0,
    init_from: InitFrom = None,
    pictures: Pictures = None,
) -> str:
    """Train the two-stream (or single-stream) autoencoder."""
    from specdm.settings import AutoencoderSettings
    from specdm.stages.train_autoencoder import train_autoencoder as stage

    section, subset = read_section(AutoencoderSettings, settings), (n_real, subset_seed) if n_real else None
    return stage(patches, out, state, section, seed, max_minutes, resume_only, subset, init_from, pictures)


@_verb("patch set, autoencoder -> latents")
def encode(
    patches: Patches,
    autoencoder: Annotated[Path, typer.Option(help="folder of the trained autoencoder")],
    out: Out,
    augment: Annotated[str, typer.Option(help="views to encode: d4, flips or none")] = "d4",
    swap_dates: Annotated[bool, typer.Option("--swap-dates", help="also encode two dates in the other order")] = False,
) -> str:
    """Encode the training and validation patches once, in all views."""
    from specdm.nn.views import VIEWS
    from specdm.stages.encode import encode as stage

    chosen("--augment", augment, VIEWS)
    return stage(patches, autoencoder, out, augment, swap_dates)


@_verb("latents -> denoiser")
def train_diffusion(
    latents: Annotated[Path, typer.Option(help="folder of the encoded patches")],
    out: Out,
    state: State,
    settings: Settings = "{}",
    seed: Seed = 0,
    max_minutes: MaxMinutes = 0,
    resume_only: ResumeOnly = False,
    init_from: InitFrom = None,
    autoencoder: Annotated[Path | None, typer.Option(help="the one that encoded: decodes the pictures")] = None,
    pictures: Pictures = None,
) -> str:
    """Train the denoiser on the joint latents of image and mask."""
    from specdm.settings import DiffusionSettings
    from specdm.stages.train_diffusion import train_diffusion as stage

    section = read_section(DiffusionSettings, settings)
    return stage(latents, out, state, section, seed, max_minutes, resume_only, init_from, autoencoder, pictures)


@_verb("autoencoder, denoiser -> synthetic patch set")
def sample(
    model: Annotated[Path, typer.Option(help="folder with autoencoder/ and denoiser/")],
    out: Out,
    state: State,
    n: Annotated[int, typer.Option(help="patches to draw", min=1)],
    name: Annotated[str, typer.Option(help="name of the synthetic set")] = "synthetic",
    settings: Settings = "{}",
    seed: Seed = 0,
    want: Annotated[list[str], typer.Option(help="class=fraction to ask for, for example wetland=0.3")] = [],  # noqa: B006
    guidance: Annotated[float | None, typer.Option(help="above 1: exaggerate what is asked for", min=0)] = None,
    shard: Annotated[str | None, typer.Option(help="k/m: draw the k-th of m shares and write no set yet")] = None,
    merge: Annotated[bool, typer.Option("--merge", help="write the set from the shards that were drawn")] = False,
) -> str:
    """Draw a synthetic patch set; resumes, or runs as shards (--shard 1/4 ... 4/4, then --merge)."""
    from specdm.settings import SamplingSettings
    from specdm.stages.sample import sample as stage

    if merge and shard:
        raise UserError("--merge joins the shards that were drawn: give it without --shard.")
    section = read_section(SamplingSettings, settings)
    section = section.model_copy(update={"want": {**section.want, **read_fractions(want)}})
    if guidance is not None:
        section = section.model_copy(update={"guidance": guidance})
    return stage(model, out, state, n, section, seed, name, read_shard(shard), merge)


@_verb("patch set -> judge of synthetic patches")
def train_teacher(
    patches: Patches,
    out: Out,
    state: State,
    settings: Settings = "{}",
    seed: Seed = 0,
    max_minutes: MaxMinutes = 0,
    resume_only: ResumeOnly = False,
) -> str:
    """Train the judge of the samples on the whole real training split."""
    from specdm.settings import TeacherSettings
    from specdm.stages.train_teacher import train_teacher as stage

    return stage(patches, out, state, read_section(TeacherSettings, settings), seed, max_minutes, resume_only)


@_verb("real and synthetic patch set, judge -> metrics, pictures")
def evaluate(
    patches: Patches,
    samples: Annotated[Path, typer.Option(help="folder of the synthetic patch set")],
    autoencoder: Annotated[Path, typer.Option(help="folder of the trained autoencoder")],
    teacher: Annotated[Path, typer.Option(help="folder of the trained judge")],
    out: Out,
    picture: Annotated[Path, typer.Option(help="PNG of real beside synthetic pairs")],
    spectra_picture: Annotated[Path, typer.Option(help="PNG of the mean spectra of classes, real and synthetic")],
    dataset: Annotated[str, typer.Option(help="name of the data set")],
    method: Annotated[str, typer.Option(help="name of the generator")],
    settings: Settings = "{}",
    seed: Seed = 0,
) -> str:
    """Measure synthetic patches against real ones."""
    from specdm.settings import EvaluationSettings
    from specdm.stages.evaluate import evaluate as stage

    section = read_section(EvaluationSettings, settings)
    return stage(patches, samples, autoencoder, teacher, out, picture, spectra_picture, dataset, method, section, seed)


@_verb("real and synthetic patch set -> network, test scores")
def train_downstream(
    patches: Patches,
    out: Out,
    state: State,
    network: Annotated[str, typer.Option(help="downstream network, for example segformer-b5")],
    regime: Annotated[str, typer.Option(help='training set as JSON: {"real": 1, "synthetic": 5, "method": "specdm"}')],
    n_real: Annotated[int, typer.Option(help="labelled patches")],
    samples: Annotated[Path | None, typer.Option(help="folder of the synthetic patch set")] = None,
    dataset: Annotated[str, typer.Option(help="name of the data set")] = "",
    regime_name: Annotated[str, typer.Option(help="name of the regime")] = "",
    settings: Settings = "{}",
    seed: Seed = 0,
    subset_seed: Annotated[int, typer.Option(help="seed of the choice of labelled patches")] = 0,
    max_minutes: MaxMinutes = 0,
    resume_only: ResumeOnly = False,
) -> str:
    """Train a downstream network on real, synthetic or mixed patches and test it once."""
    from specdm.settings import DownstreamSettings, Regime
    from specdm.stages.train_downstream import train_downstream as stage

    return stage(
        patches,
        samples,
        out,
        state,
        dataset,
        network,
        regime_name,
        read_section(Regime, regime),
        n_real,
        read_section(DownstreamSettings, settings),
        seed,
        subset_seed,
        max_minutes,
        resume_only,
    )


@_verb("metrics of many runs -> table")
def tabulate(
    metrics: Annotated[list[Path], typer.Argument(help="metric files (JSON)")],
    out: Out,
    out_seeds: Annotated[Path | None, typer.Option(help="also write downstream results per seed")] = None,
    paper: Annotated[
        Path, typer.Option(help="the paper's figures (config/paper_results.csv)", show_default=False)
    ] = CONFIG / "paper_results.csv",
    out_reconstruction: Annotated[
        Path | None, typer.Option(help="also write the ablation of the spectral angle")
    ] = None,
    paper_reconstruction: Annotated[
        Path, typer.Option(help="the paper's table 4 (config/paper_reconstruction.csv)", show_default=False)
    ] = CONFIG / "paper_reconstruction.csv",
) -> str:
    """Collect metric files into tables: of downstream results with --out-seeds, else of the synthesis."""
    from specdm.stages import tabulate as stage

    if out_seeds:
        return stage.downstream_tables(metrics, paper, out, out_seeds)
    made = stage.synthesis_table(metrics, out)
    if out_reconstruction:
        made += f", {stage.reconstruction_table(metrics, paper_reconstruction, out_reconstruction)}"
    return made


@_verb("tables -> their headline columns on the screen")
def summarise(
    downstream: Annotated[Path, typer.Argument(help="table of downstream results")],
    synthesis: Annotated[Path | None, typer.Option(help="table of synthesis metrics")] = None,
) -> None:
    """Print the headline columns of a run's tables."""
    from specdm.stages.tabulate import summary

    print(summary(downstream, synthesis))


@_verb("tables, pictures -> one HTML page")
def report(
    downstream: Annotated[Path, typer.Option(help="table of downstream results")],
    synthesis: Annotated[Path, typer.Option(help="table of synthesis metrics")],
    out: Out,
    picture: Annotated[list[Path], typer.Option(help="sample pictures, <dataset>/<method>/samples.png")] = [],  # noqa: B006
    patches: Annotated[list[Path], typer.Option(help="real patch sets")] = [],  # noqa: B006
    note: Annotated[str, typer.Option(help="a sentence for the top of the page")] = "",
) -> str:
    """Write one self-contained HTML page of a run."""
    from specdm.stages.report import report as stage

    stage(downstream, synthesis, picture, patches, out, note)
    return str(out)


@_verb("nothing -> JSON schema of the configuration")
def schema(
    out: Out,
    reference: Annotated[
        Path | None, typer.Option(help="Markdown file whose tables of all keys are made anew (config/README.md)")
    ] = None,
) -> str:
    """Write the JSON schema of the configuration, and the reference of its keys."""
    from specdm import config, files
    from specdm.reference import with_tables

    files.write_json(out, config.schema())
    if reference is None:
        return str(out)
    text = with_tables(reference.read_text())
    with files.new_file(reference) as temporary:
        temporary.write_text(text)
    return f"{out}, {reference}"


def main() -> None:
    """Run the command line: one sentence and exit status 1 for what a user can mend, 75 for a paused training."""
    try:
        app()
    except UserError as error:
        sys.exit(f"error: {error}")
    except TrainingPaused as pause:
        print(pause, file=sys.stderr)
        sys.exit(PAUSED)
