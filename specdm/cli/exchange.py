"""Patch sets to and from the formats of others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from specdm.arguments import Out, Seed, chosen, read_section
from specdm.cli.app import verb
from specdm.errors import UserError

CONFIG = Path(__file__).parents[2] / "config"


@verb("export, files or scenes -> patch set", name="import")
def import_(
    source: Annotated[
        Path, typer.Argument(help="folder of an export or of image and mask files; or settings (.yaml) with scenes")
    ],
    out: Out,
    settings: Annotated[
        str, typer.Option(help="what image and mask files do not say, as JSON text or as a .json or .yaml file")
    ] = "",
    name: Annotated[str, typer.Option(help="name of the set; by default as exported, or that of the source")] = "",
    raw: Annotated[
        Path | None, typer.Option(help="folder that the paths of scenes start from; default: that of the settings")
    ] = None,
    seed: Seed = 0,
) -> str:
    """Make a patch set of an export (geotiff, webdataset), of image and mask files, or of scenes."""
    from specdm.settings import SceneSettings
    from specdm.settings.exchange import FolderSettings
    from specdm.stages import import_patches as stage

    if source.is_file():
        if settings:
            raise UserError("--settings: scenes are described in the file itself: leave this option out.")
        section = read_section(SceneSettings, str(source))
        lines, made = stage.import_scenes(raw or source.parent, out, section, name or source.stem, seed)
    elif not source.is_dir():
        raise UserError(f"{source} does not exist: name a folder, or a settings file with scenes.")
    elif (source / "images.npy").is_file():
        raise UserError(f"{source} is a patch set already: nothing is to be imported.")
    elif stage.is_export(source):
        if settings:
            raise UserError(f"--settings: the meta.json of {source} says all there is to say: leave this option out.")
        lines, made = stage.import_export(source, out, name)
    elif not settings:
        raise UserError(
            f"{source} has no meta.json of an export: say with --settings what its files are, "
            "at least --settings '{level: BOA}'."
        )
    else:
        section = read_section(FolderSettings, settings)
        lines, made = stage.import_folder(source, out, section, name or source.resolve().name, seed)
    print("".join(f"{line}\n" for line in lines), end="")
    return made


@verb("patch set -> GeoTIFFs, shards, layout of a benchmark")
def export(
    patches: Annotated[Path, typer.Argument(help="folder of the patch set")],
    to: Annotated[str, typer.Option(help="format: geotiff, segmunich, oscd or webdataset")],
    out: Annotated[Path, typer.Option(help="folder of the export, complete or not at all")],
    split: Annotated[str, typer.Option(help="what to export: all, train, val or test")] = "all",
    compress: Annotated[str, typer.Option(help="images of geotiff: none, deflate or zstd")] = "none",
    shard_mb: Annotated[float, typer.Option(min=0.001, help="size of the shards of webdataset in MB")] = 256,
    table: Annotated[
        Path, typer.Option(help="licences of the data sets (config/datasets.csv)", show_default=False)
    ] = CONFIG / "datasets.csv",
) -> str:
    """Write a patch set in another format, with a data card; import gives back geotiff and webdataset bit for bit."""
    from specdm import exports
    from specdm.patches import SPLITS
    from specdm.stages.export import export as stage

    chosen("--to", to, dict.fromkeys(exports.FORMATS))
    chosen("--split", split, dict.fromkeys(("all", *SPLITS)))
    chosen("--compress", compress, exports.COMPRESSIONS)
    return stage(patches, to, out, split, compress, shard_mb, table)
