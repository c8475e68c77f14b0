"""From raw files to patch sets, and looking at them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from specdm.arguments import Out, Seed, Settings, chosen, read_section
from specdm.cli.app import verb
from specdm.errors import UserError

CONFIG = Path(__file__).parents[2] / "config"


@verb("nothing -> raw files of an invented landscape")
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


@verb("name of a benchmark -> its raw files; resumes")
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


@verb("areas and dates -> satellite images; resumes")
def acquire(
    out: Annotated[Path, typer.Option(help="folder of the raw files, that paths of areas start from as well")],
    settings: Settings,
    yes: Annotated[bool, typer.Option("--yes", help="do not ask before requests that cost something")] = False,
) -> str:
    """Fetch Sentinel-2 images of areas from Sentinel Hub or the Copernicus Data Space; the same command resumes.

    It tells what this costs, and asks, before it fetches anything. Credentials come from SH_CLIENT_ID and
    SH_CLIENT_SECRET, or from sentinelhub's own profile: docs/own-region.md.
    """
    from specdm.settings import AcquireSettings
    from specdm.sources.acquire import acquire as fetch

    done = fetch(out, read_section(AcquireSettings, settings), lambda _: None if yes else _ask())
    return f"{len(done.images)} image{'s' * (len(done.images) > 1)} in {out}"


def _ask() -> None:
    if not sys.stdin.isatty():
        raise UserError("Nobody can be asked here whether to fetch this: add --yes.")
    if not typer.confirm("Fetch it?"):
        raise UserError("Nothing was fetched, as you wished.")


@verb("name of an encoder -> its ImageNet weights")
def fetch_encoder(
    encoder: Annotated[str, typer.Argument(help="encoder of a network: mit_b2, resnet34, resnet50s, ...")],
    out: Out,
    from_dir: Annotated[Path | None, typer.Option(help="take a file already fetched from this folder")] = None,
) -> str:
    """Fetch the ImageNet weights of an encoder, ahead of training on machines without a network."""
    from specdm.sources.encoders import fetch_encoder as fetch

    weights = fetch(encoder, out, from_dir)
    return f"{weights.stat().st_size / 1e6:.0f} MB of weights of {encoder} in {out}"


@verb("nothing -> weights of the Inception network of FID")
def fetch_inception(
    out: Out,
    from_dir: Annotated[Path | None, typer.Option(help="take a file already fetched from this folder")] = None,
) -> str:
    """Fetch the published weights of Inception, for distances whose settings ask for these features."""
    from specdm.sources.inception import fetch_inception as fetch

    weights = fetch(out, from_dir)
    return f"{weights.stat().st_size / 1e6:.0f} MB of weights of Inception in {out}"


@verb("raw files -> patch set: images, masks, splits")
def prepare(
    source: Annotated[
        str, typer.Option(help="layout of the raw files: segmunich, oscd, scene or unlabelled for your own")
    ],
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

    readers = {
        "segmunich": SegMunichSettings,
        "oscd": OscdSettings,
        "scene": SceneSettings,
        "unlabelled": SceneSettings,
    }
    section = chosen("--source", source, readers)
    print("\n".join(stage.prepare(name, raw, out, read_section(section, settings), seed)))
    return f"{sizes(open_patches(out))} in {out}"


@verb("patch set -> what it is, in words")
def info(
    patches: Annotated[Path, typer.Argument(help="folder of the patch set")],
    verify: Annotated[bool, typer.Option(help="compare all arrays with their checksums; reads everything")] = True,
) -> None:
    """Print what a patch set is: arrays, bands, classes, splits, places, leaks between splits, origin."""
    from specdm.stages.info import info as stage

    print(stage(patches, verify))


@verb("patch set -> picture of some patches with their masks")
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
