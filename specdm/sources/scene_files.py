"""Which files a data set of the user's own scenes consists of; {name} in a path makes a scene of every match."""

from __future__ import annotations

import glob
import re
from collections.abc import Sequence
from pathlib import Path

from specdm.errors import UserError
from specdm.settings import ImageFile, LabelFile, Scene

NAME = "{name}"


def expand(scenes: Sequence[Scene], root: Path) -> list[Scene]:
    """All scenes with a name each, paths joined to `root` and {name} filled in.

    Raises:
        UserError: when a pattern matches nothing, a file is missing, or two scenes have one name.
    """
    found: list[Scene] = []
    for scene in scenes:
        if NAME in scene.images[0].path:
            names = _without_labels(matches(root, scene.images[0].path), scene)
            if not names:
                raise UserError(f"{root / scene.images[0].path} matches no file: check `raw` and the pattern.")
        else:
            names = [scene.name or Path(scene.images[0].path).name.split(".")[0]]
        found += [_filled(scene, name, root) for name in names]
    seen: set[str] = set()
    for scene in found:
        if scene.name in seen:
            raise UserError(f"Two scenes are called {scene.name}: give them a name each.")
        seen.add(scene.name)
    return found


def _without_labels(names: Sequence[str], scene: Scene) -> list[str]:
    """Names of scenes only: {name}.tif also matches the files {name}_labels.tif beside the images."""
    labels = {scene.labels.path.replace(NAME, name) for name in names} if scene.labels else set()
    return [name for name in names if scene.images[0].path.replace(NAME, name) not in labels]


def matches(root: Path, pattern: str) -> list[str]:
    """What {name} stands for in the paths below `root` that fit the pattern, sorted."""
    before, *rest = parts = (root / pattern).as_posix().split(NAME)
    expression = re.escape(before) + r"(?P<name>[^/]+)" + r"(?P=name)".join(re.escape(part) for part in rest)
    fits = (re.fullmatch(expression, path) for path in glob.glob("*".join(glob.escape(part) for part in parts)))
    return sorted({fit["name"] for fit in fits if fit})


def input_files(scenes: Sequence[Scene], root: Path) -> list[Path]:
    """Every file and folder that the scenes are read from."""
    return [Path(f.path) for scene in expand(scenes, root) for f in (*scene.images, scene.labels) if f]


def label_files(scenes: Sequence[Scene], root: Path, names: Sequence[str]) -> list[Path]:
    """Every file of labels, where the images have yet to be acquired; {name} stands for `names`.

    Raises:
        UserError: when one is missing.
    """
    found = []
    for scene in filter(lambda scene: scene.labels, scenes):
        for name in names if NAME in scene.labels.path else [""]:
            path = root / scene.labels.path.replace(NAME, name)
            if not path.exists():
                raise UserError(f"{path} does not exist: it holds the labels of images that are to be acquired.")
            found.append(path)
    return found


def _filled(scene: Scene, name: str, root: Path) -> Scene:
    def here(file: ImageFile | LabelFile) -> ImageFile | LabelFile:
        path = root / file.path.replace(NAME, name)
        if not path.exists():
            raise UserError(f"{path} does not exist: check `raw` and the paths of the scene {name}.")
        update = {"path": str(path)}
        if isinstance(file, ImageFile) and file.band_files:
            update["band_files"] = file.band_files.replace(NAME, name)
        return file.model_copy(update=update)

    images = tuple(here(image) for image in scene.images)
    labels = here(scene.labels) if scene.labels else None
    return scene.model_copy(update={"name": name, "images": images, "labels": labels})
