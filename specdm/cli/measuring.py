"""What measures a generator: its judge, and downstream networks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from specdm.arguments import MaxMinutes, Out, Patches, ResumeOnly, Seed, Settings, State, read_section
from specdm.cli.app import verb


@verb("patch set -> judge of synthetic patches")
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


@verb("real and synthetic patch set, judge -> metrics, pictures")
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


@verb("real and synthetic patch set -> network, test scores")
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


@verb("network, image -> map of its classes")
def predict(
    model: Annotated[Path, typer.Argument(help="folder of the trained network")],
    images: Annotated[list[Path], typer.Argument(help="raster file; for change detection two, the earlier one first")],
    out: Annotated[Path, typer.Option(help="the map (GeoTIFF), complete or not at all")],
    tile_px: Annotated[int, typer.Option(help="side of a tile, a multiple of 32; memory grows with it")] = 512,
    overlap_px: Annotated[int, typer.Option(help="what a tile shares with its neighbour")] = 64,
    batch: Annotated[int, typer.Option(min=1, help="tiles predicted together")] = 4,
    bands: Annotated[str, typer.Option(help="names of the files' bands in order, comma separated")] = "",
    scale: Annotated[float | None, typer.Option(help="reflectance = number x scale + offset")] = None,
    offset: Annotated[float | None, typer.Option(help="see scale; both by default as in training")] = None,
) -> str:
    """Map whole images with a trained network, tile by tile: class ids, colours and names on the image's grid."""
    from specdm.stages.predict import Tiling, Values
    from specdm.stages.predict import predict as stage

    names = tuple(name.strip() for name in bands.split(",")) if bands else None
    return stage(model, images, out, Tiling(tile_px, overlap_px, batch), Values(names, scale, offset))
