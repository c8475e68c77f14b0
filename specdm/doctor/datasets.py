"""The configuration, and how far each of its data sets is."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from specdm.doctor.section import Section
from specdm.errors import UserError

if TYPE_CHECKING:  # they need packages that may be broken
    from specdm.config import Config
    from specdm.settings import Dataset

MODEL_FILES = ("weights.safetensors", "config.json")


def configuration(main: Path, more: Sequence[Path]) -> tuple[Config | None, Section]:
    """The configuration as Snakemake merges it, None when it is not valid, and what is to be said of it.

    Args:
        main: config/config.yaml.
        more: files given with --configfile, later ones over earlier ones.
    """
    from specdm import config

    missing = []
    if not main.is_file():
        missing.append("There is no config/config.yaml beside the package: run from a clone of the repository.")
    paths = ([main] if main.is_file() else []) + list(more)
    if not paths:
        return None, Section("settings", ("none",), tuple(missing))
    names = ", ".join(path.name if path == main else str(path) for path in paths)
    try:
        return config.load(paths), Section("settings", (f"{names}: valid",), tuple(missing))
    except UserError as error:
        return None, Section("settings", (f"{names}: not valid",), (*missing, f"configuration: {error}"))


def datasets(config: Config) -> Section:
    """Each data set of a configuration: its raw files, patches, and trained generators."""
    lines, missing = [], []
    for name, dataset in config.datasets.items():
        raw, fault = _raw(name, dataset)
        patches, damage = _patches(Path(config.results, "patches", name))
        lines.append(f"{name} ({dataset.origin}): {raw}; {patches}; {_generators(config.results, name, dataset)}")
        missing += [sentence for sentence in (fault, damage) if sentence]
    return Section("data sets", tuple(lines), tuple(missing))


def _raw(name: str, dataset: Dataset) -> tuple[str, str]:
    """What there is of the raw files, and what is wrong with them."""
    from specdm.settings import SceneDataset
    from specdm.sources.scene_files import input_files

    folder = Path(dataset.raw)
    if isinstance(dataset, SceneDataset) and dataset.origin == "given":
        try:
            n = len(input_files(dataset.prepare.scenes, folder))
        except UserError as error:
            return f"raw files not found in {folder}", f"{name}: {error}"
        except OSError as error:
            return (
                f"raw files unreadable in {folder}",
                f"{name}: {folder} cannot be read ({error.strerror}): mend its permissions.",
            )
        return f"{n} raw files found in {folder}", ""
    filled = _filled(folder)
    if dataset.origin == "given":
        if filled:
            return f"raw files found in {folder}", ""
        told = f"{name}: {folder} holds no raw files: put them there, or check datasets.{name}.raw."
        return f"raw files not found in {folder}", told
    if os.path.isfile(folder / f"{dataset.origin}.json"):  # written last
        return f"raw files complete in {folder}", ""
    return f"raw files {'incomplete' if filled else 'not yet'} in {folder}", ""


def _filled(folder: Path) -> bool:
    try:
        return any(folder.iterdir())
    except OSError:
        return False


def _patches(folder: Path) -> tuple[str, str]:
    from specdm.patches import open_patches

    if not os.path.isfile(folder / "meta.json"):
        return "not prepared", ""
    try:
        return f"{len(open_patches(folder))} patches", ""
    except (UserError, OSError, ValueError, KeyError, TypeError):
        return "patches damaged", f"{folder} is damaged: remove it, and the workflow prepares it anew."


def _generators(results: str, name: str, dataset: Dataset) -> str:
    """Which methods are trained, those of other seeds and labels (specdm.generator1) included."""
    models = Path(results, "models", name)
    trained = sorted(
        folder.name
        for method in dataset.methods
        for folder in (models / method, *models.glob(f"{method}.*"))
        if all(os.path.isfile(folder / part / file) for part in ("autoencoder", "denoiser") for file in MODEL_FILES)
    )
    if not trained:
        return "no generator trained"
    waiting = ", ".join(method for method in dataset.methods if method not in trained)
    return f"trained: {', '.join(trained)}{waiting and f'; not yet: {waiting}'}"
