"""Downstream networks: trained, chosen, and used."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from specdm.arguments import Ends, Out, Patches, ResumeOnly, Seed, Settings, State, read_section
from specdm.cli.app import verb

Network = Annotated[str, typer.Option(help="downstream network, for example segformer-b5")]
RegimeText = Annotated[
    str, typer.Option("--regime", help='training set as JSON: {"real": 1, "synthetic": 5, "method": "specdm"}')
]
NReal = Annotated[int, typer.Option(help="labelled patches")]
Samples = Annotated[Path | None, typer.Option(help="folder of the synthetic patch set")]
Autoencoder = Annotated[Path | None, typer.Option(help="folder of the generator's autoencoder: images reconstructed")]
Teacher = Annotated[Path | None, typer.Option(help="the same network trained on real patches: masks predicted")]
EncoderWeights = Annotated[Path | None, typer.Option(help="encoder weights: what fetch-encoder wrote, or a file")]
FilterFolder = Annotated[Path | None, typer.Option("--filter", help="what filter-samples wrote: keep best")]
SubsetSeed = Annotated[int, typer.Option(help="seed of the choice of labelled patches")]
DatasetName = Annotated[str, typer.Option(help="name of the data set")]
RegimeName = Annotated[str, typer.Option(help="name of the regime")]


@verb("real and synthetic patch set -> network, test scores")
def train_downstream(
    patches: Patches,
    out: Out,
    state: State,
    network: Network,
    regime: RegimeText,
    n_real: NReal,
    samples: Samples = None,
    autoencoder: Autoencoder = None,
    teacher: Teacher = None,
    encoder_weights: EncoderWeights = None,
    filter_folder: FilterFolder = None,
    choice: Annotated[Path | None, typer.Option(help="choice.json of search-downstream")] = None,
    dataset: DatasetName = "",
    regime_name: RegimeName = "",
    settings: Settings = "{}",
    seed: Seed = 0,
    subset_seed: SubsetSeed = 0,
    generator_seed: Annotated[int, typer.Option(help="seed of the generator, told in the metrics")] = 0,
    ends: Ends = 0,
    resume_only: ResumeOnly = False,
) -> str:
    """Train a downstream network on real, synthetic or mixed patches and test it once."""
    from specdm.settings import DownstreamSettings, Regime
    from specdm.stages.downstream_fit import Run
    from specdm.stages.train_downstream import train_downstream as stage
    from specdm.stages.training_set import Inputs

    wanted = read_section(Regime, regime)
    run = Run(dataset, network, regime_name, wanted, n_real, seed, subset_seed, generator_seed)
    inputs = Inputs(patches, samples, autoencoder, teacher, encoder_weights, filter_folder)
    return stage(run, inputs, read_section(DownstreamSettings, settings), out, state, choice, ends, resume_only)


@verb("real and synthetic patch set -> learning rate and steps")
def search_downstream(
    patches: Patches,
    out: Out,
    state: State,
    network: Network,
    regime: RegimeText,
    n_real: NReal,
    samples: Samples = None,
    autoencoder: Autoencoder = None,
    teacher: Teacher = None,
    encoder_weights: EncoderWeights = None,
    filter_folder: FilterFolder = None,
    dataset: DatasetName = "",
    regime_name: RegimeName = "",
    settings: Settings = "{}",
    seed: Seed = 0,
    subset_seed: SubsetSeed = 0,
    ends: Ends = 0,
) -> str:
    """Try the candidates of settings.search on validation and keep the best."""
    from specdm.settings import DownstreamSettings, Regime
    from specdm.stages.downstream_fit import Run
    from specdm.stages.search_downstream import search_downstream as stage
    from specdm.stages.training_set import Inputs

    run = Run(dataset, network, regime_name, read_section(Regime, regime), n_real, seed, subset_seed)
    inputs = Inputs(patches, samples, autoencoder, teacher, encoder_weights, filter_folder)
    return stage(run, inputs, read_section(DownstreamSettings, settings), out, state, ends)


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
