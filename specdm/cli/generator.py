"""The generator: autoencoder, latents, denoiser, samples."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from specdm.arguments import (
    Ends,
    InitFrom,
    NReal,
    Out,
    Patches,
    Pictures,
    ResumeOnly,
    Seed,
    Settings,
    State,
    SubsetSeed,
    Unlabelled,
    chosen,
    read_fractions,
    read_given,
    read_section,
    read_share,
)
from specdm.cli.app import verb


@verb("patch set -> autoencoder")
def train_autoencoder(
    patches: Patches,
    out: Out,
    state: State,
    settings: Settings = "{}",
    seed: Seed = 0,
    ends: Ends = 0,
    resume_only: ResumeOnly = False,
    n_real: NReal = 0,
    subset_seed: SubsetSeed = 0,
    init_from: InitFrom = None,
    pictures: Pictures = None,
    unlabelled: Unlabelled = [],  # noqa: B006
) -> str:
    """Train the two-stream (or single-stream) autoencoder."""
    from specdm.settings import AutoencoderSettings
    from specdm.stages.train_autoencoder import train_autoencoder as stage

    section, subset = read_section(AutoencoderSettings, settings), (n_real, subset_seed) if n_real else None
    return stage(patches, out, state, section, seed, ends, resume_only, subset, init_from, pictures, unlabelled)


@verb("patch set, autoencoder -> latents")
def encode(
    patches: Patches,
    autoencoder: Annotated[Path, typer.Option(help="folder of the trained autoencoder")],
    out: Out,
    augment: Annotated[str, typer.Option(help="views to encode: d4, flips or none")] = "d4",
    swap_dates: Annotated[bool, typer.Option("--swap-dates", help="also encode two dates in the other order")] = False,
    unlabelled: Unlabelled = [],  # noqa: B006
) -> str:
    """Encode the training and validation patches once, in all views."""
    from specdm.nn.views import VIEWS
    from specdm.stages.encode import encode as stage

    chosen("--augment", augment, VIEWS)
    return stage(patches, autoencoder, out, augment, swap_dates, unlabelled)


@verb("latents -> denoiser")
def train_diffusion(
    latents: Annotated[Path, typer.Option(help="folder of the encoded patches")],
    out: Out,
    state: State,
    settings: Settings = "{}",
    seed: Seed = 0,
    ends: Ends = 0,
    resume_only: ResumeOnly = False,
    init_from: InitFrom = None,
    autoencoder: Annotated[Path | None, typer.Option(help="the one that encoded: decodes the pictures")] = None,
    pictures: Pictures = None,
) -> str:
    """Train the denoiser on the joint latents of image and mask."""
    from specdm.settings import DiffusionSettings
    from specdm.stages.train_diffusion import train_diffusion as stage

    section = read_section(DiffusionSettings, settings)
    return stage(latents, out, state, section, seed, ends, resume_only, init_from, autoencoder, pictures)


@verb("patch sets -> what samples are drawn for")
def choose_given(
    patches: Patches,
    out: Out,
    kind: Annotated[str, typer.Option(help="masks, edited or images")],
    n: Annotated[int, typer.Option(help="patches that are to be drawn", min=1)],
    n_real: NReal = 0,
    subset_seed: SubsetSeed = 0,
    unlabelled: Unlabelled = [],  # noqa: B006
    seed: Seed = 0,
) -> str:
    """Choose labelled masks, edited change masks, or images whose labels are not seen, for sample --given."""
    from specdm.stages.choose_given import KINDS
    from specdm.stages.choose_given import choose_given as stage

    chosen("--kind", kind, dict.fromkeys(KINDS))
    return stage(patches, out, kind, n, (n_real, subset_seed) if n_real else None, unlabelled, seed)


@verb("autoencoder, denoiser -> synthetic patch set")
def sample(
    model: Annotated[Path, typer.Option(help="folder with autoencoder/ and denoiser/")],
    out: Out,
    state: State,
    n: Annotated[int, typer.Option(help="patches to draw; with --given 0 = one for each", min=0)] = 0,
    name: Annotated[str, typer.Option(help="name of the synthetic set")] = "synthetic",
    settings: Settings = "{}",
    seed: Seed = 0,
    want: Annotated[list[str], typer.Option(help="class=fraction to ask for, for example wetland=0.3")] = [],  # noqa: B006
    guidance: Annotated[float | None, typer.Option(help="above 1: exaggerate what is asked for", min=0)] = None,
    shard: Annotated[str | None, typer.Option(help="k/m: draw the k-th of m shares of the set only")] = None,
    given: Annotated[
        list[str],
        typer.Option(help="mask=, image= or date1= and a patch set that the rest is drawn for: its masks are painted"),
    ] = [],  # noqa: B006
    ends: Ends = 0,
) -> str:
    """Draw a synthetic patch set, or a shard of it (--shard 1/4 ... 4/4, then join-samples); resumes."""
    from specdm.settings import SamplingSettings
    from specdm.stages.sample import sample as stage

    section = read_section(SamplingSettings, settings)
    section = section.model_copy(update={"want": {**section.want, **read_fractions(want)}})
    if guidance is not None:
        section = section.model_copy(update={"guidance": guidance})
    return stage(model, out, state, n, section, seed, name, read_share("--shard", shard), ends, read_given(given))


@verb("shards of a synthetic set -> the set")
def join_samples(
    shards: Annotated[list[Path], typer.Argument(help="folders of sample --shard, all of one set")], out: Out
) -> str:
    """Join the shards of a synthetic patch set that several jobs drew; equal to the set drawn at once."""
    from specdm.stages.join_samples import join_samples as stage

    return stage(shards, out)
