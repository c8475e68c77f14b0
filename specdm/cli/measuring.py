"""What measures a generator: judges, distances, alignment, copies; and the choice of the best samples."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from specdm.arguments import (
    Ends,
    NReal,
    Out,
    Patches,
    ResumeOnly,
    Seed,
    Settings,
    State,
    SubsetSeed,
    chosen,
    read_section,
    read_share,
)
from specdm.cli.app import verb

Samples = Annotated[Path, typer.Option(help="folder of the synthetic patch set")]
Generator = Annotated[Path, typer.Option(help="folder of the generator, with autoencoder/ and denoiser/")]
Judges = Annotated[list[Path], typer.Argument(help="folders of the judges, one for each part of --fold")]
DatasetName = Annotated[str, typer.Option(help="name of the data set")]
MethodName = Annotated[str, typer.Option(help="name of the generator")]


@verb("patch set -> judge of synthetic patches")
def train_teacher(
    patches: Patches,
    out: Out,
    state: State,
    settings: Settings = "{}",
    seed: Seed = 0,
    ends: Ends = 0,
    resume_only: ResumeOnly = False,
    fold: Annotated[str | None, typer.Option(help="k/n: leave out the k-th of n parts, each of whole groups")] = None,
    n_real: NReal = 0,
    subset_seed: SubsetSeed = 0,
) -> str:
    """Train a judge of the samples on the real training split, or on all but one part of it."""
    from specdm.settings import TeacherSettings
    from specdm.stages.train_teacher import train_teacher as stage

    share = read_share("--fold", fold)
    part = (share[0] - 1, share[1]) if share else None
    subset = (n_real, subset_seed) if n_real else None
    section = read_section(TeacherSettings, settings)
    return stage(patches, out, state, section, seed, ends, resume_only, part, subset)


@verb("real and synthetic patch set, judge -> metrics, pictures")
def evaluate(
    patches: Patches,
    samples: Samples,
    model: Generator,
    teacher: Annotated[Path, typer.Option(help="folder of the trained judge")],
    out: Out,
    pictures: Annotated[Path, typer.Option(help="folder of the pictures")],
    dataset: DatasetName,
    method: MethodName,
    settings: Settings = "{}",
    seed: Seed = 0,
    inception_weights: Annotated[Path | None, typer.Option(help="weights of the features inception")] = None,
) -> str:
    """Measure synthetic patches against real ones."""
    from specdm.settings import EvaluationSettings
    from specdm.stages.evaluate import evaluate as stage

    section = read_section(EvaluationSettings, settings)
    return stage(patches, samples, model, teacher, out, pictures, dataset, method, section, seed, inception_weights)


@verb("real and synthetic patch set, judges -> how masks fit images")
def check_alignment(
    patches: Patches,
    samples: Samples,
    judges: Judges,
    out: Out,
    picture: Annotated[Path, typer.Option(help="PNG of the scores against shifts of the masks; beside it a PDF")],
    dataset: DatasetName,
    method: MethodName,
    settings: Settings = "{}",
    seed: Seed = 0,
) -> str:
    """Score how synthetic masks fit their images, between real pairs and exchanged masks."""
    from specdm.settings import EvaluationSettings
    from specdm.stages.check_alignment import check_alignment as stage

    section = read_section(EvaluationSettings, settings)
    return stage(patches, samples, judges, out, picture, dataset, method, section, seed)


@verb("real and synthetic patch set, generator -> information between masks and images")
def check_information(
    patches: Patches,
    samples: Samples,
    model: Generator,
    out: Out,
    picture: Annotated[Path, typer.Option(help="PNG of maps of the first samples")],
    dataset: DatasetName,
    method: MethodName,
    settings: Settings = "{}",
    seed: Seed = 0,
) -> str:
    """Score by the generator itself how synthetic masks fit their images, between real pairs and exchanged masks."""
    from specdm.settings import InformationSettings
    from specdm.stages.check_information import check_information as stage

    section = read_section(InformationSettings, settings)
    return stage(patches, samples, model, out, picture, dataset, method, section, seed)


@verb("labelled patch set, generator -> where labels look wrong")
def check_labels(
    model: Generator,
    patches: Patches,
    out: Out,
    split: Annotated[str, typer.Option(help="patches to look at: train, val, test or all")] = "all",
    settings: Settings = "{}",
    seed: Seed = 0,
) -> str:
    """Look for wrong labels: list patches by how much their images speak against their masks, with maps."""
    from specdm.settings import InformationSettings
    from specdm.stages.check_labels import check_labels as stage

    chosen("--split", split, dict.fromkeys(("train", "val", "test", "all")))
    return stage(model, patches, out, split, read_section(InformationSettings, settings), seed)


@verb("real and synthetic patch set, autoencoder -> copies found")
def check_copies(
    patches: Patches,
    samples: Samples,
    autoencoder: Annotated[Path, typer.Option(help="folder of the generator's autoencoder")],
    out: Out,
    picture: Annotated[Path, typer.Option(help="PNG of the closest cases")],
    dataset: DatasetName,
    method: MethodName,
    settings: Settings = "{}",
    seed: Seed = 0,
) -> str:
    """Look for training patches among the samples, also turned, shifted, brightened or with swapped dates."""
    from specdm.settings import CopySettings
    from specdm.stages.check_copies import check_copies as stage

    section = read_section(CopySettings, settings)
    return stage(patches, samples, autoencoder, out, picture, dataset, method, section, seed)


@verb("real and synthetic patch set, judges -> scores of samples, masks without doubtful pixels")
def filter_samples(
    patches: Patches,
    samples: Samples,
    judges: Judges,
    out: Out,
    settings: Settings = "{}",
    seed: Seed = 0,
    n_real: NReal = 0,
    subset_seed: SubsetSeed = 0,
) -> str:
    """Score every sample by how well its mask fits, and take the labels of pixels where it does not."""
    from specdm.settings import FilterSettings
    from specdm.stages.filter_samples import filter_samples as stage

    subset = (n_real, subset_seed) if n_real else None
    return stage(patches, samples, judges, out, read_section(FilterSettings, settings), seed, subset)
