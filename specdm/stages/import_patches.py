"""An export, a folder of image and mask files, or described scenes -> patch set."""

from __future__ import annotations

from pathlib import Path

from specdm.errors import UserError
from specdm.patches import open_patches
from specdm.settings import SceneSettings
from specdm.settings.exchange import FolderSettings
from specdm.sources import geotiff_export, geotiff_folder, scene, webdataset_shards
from specdm.sources.export_layout import IMAGES, META
from specdm.stages.info import sizes


def is_export(folder: Path) -> bool:
    """Whether a folder is an export of `specdm export --to geotiff` or `webdataset`, which says all of itself."""
    return (folder / META).is_file()


def import_export(folder: Path, out: Path, name: str = "") -> tuple[list[str], str]:
    """Read an export of the layouts geotiff or webdataset back, bit for bit.

    Args:
        folder: the export.
        out: folder of the patch set.
        name: of the set; empty: as it was.

    Returns:
        Lines of the report, and what was made in words.

    Raises:
        UserError: when it is neither, or files are missing or damaged.
    """
    if any(webdataset_shards.find_shards(folder).values()):
        lines = webdataset_shards.prepare(folder, out, name)
    elif (folder / IMAGES).is_dir():
        lines = geotiff_export.prepare(folder, out, name)
    else:
        raise UserError(f"{folder} has {META} but neither shards (*.tar) nor {IMAGES}/: export the set again.")
    return lines, _made(out)


def import_folder(folder: Path, out: Path, settings: FolderSettings, name: str, seed: int) -> tuple[list[str], str]:
    """Import a folder of image and mask files; arguments and errors as in `sources.geotiff_folder.prepare`."""
    report = geotiff_folder.prepare(folder, out, settings, name=name, seed=seed)
    return report.lines(), _made(out)


def import_scenes(raw: Path, out: Path, settings: SceneSettings, name: str, seed: int) -> tuple[list[str], str]:
    """Cut described scenes into a patch set, as `specdm prepare --source scene` does; errors as there."""
    return scene.prepare(raw, out, settings, name=name, seed=seed).lines(), _made(out)


def _made(out: Path) -> str:
    return f"{sizes(open_patches(out))} in {out}"
