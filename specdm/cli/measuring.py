"""What measures a generator: its judge."""

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
