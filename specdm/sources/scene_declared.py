"""What the files of the user's own scenes declare, against the settings: level, scale, offset, dates, harmonisation.

Numbers of two scales or offsets look fine everywhere else: nothing fails, and every difference between dates is wrong.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from specdm.errors import UserError
from specdm.rasters import Declared
from specdm.settings import Scene, SceneSettings
from specdm.sources.scene_report import some_names

LEVELS = ("TOA", "BOA")
UNSAID = (1.0, 0.0)  # scale and offset that GDAL gives where a file declares none
DAY = len("2021-05-27")
BASELINE = "processing baseline 04.00 adds 1000 to Sentinel-2 numbers"


@dataclass(frozen=True)
class Quantity:
    """What the numbers of a data set mean: reflectance = number * scale + offset, of a level."""

    level: str
    scale: float
    offset: float


def agreed_quantity(settings: SceneSettings, images: Sequence[tuple[Path, Sequence[Declared]]]) -> Quantity:
    """Level, scale and offset of the settings, or where these are null, of the files.

    A file counts as declaring its scaling when any of its bands has a scale other than 1 or an offset other than 0, its
    level with the tag `level` (TOA or BOA; other texts are another software's), and with the tag `harmonised` (yes or
    no) whether the offset of processing baseline 04.00 was taken out.

    Args:
        settings: of the data set.
        images: path of every image of every scene, and what each of its raster files declares of the kept bands; empty
            for files that cannot declare anything.

    Raises:
        UserError: when files contradict the settings or each other, or do not declare what the settings leave to them.
    """
    scale, offset = _scaling(settings, images)
    level = _level(settings, images)
    _check_harmonised([one for _, declared in images for one in declared])
    return Quantity(level, scale, offset)


def _scaling(settings: SceneSettings, images: Sequence[tuple[Path, Sequence[Declared]]]) -> tuple[float, float]:
    """Scale and offset; where the files contradict each other no setting would mend it, so that is told first."""
    said = [(one.path, _scaling_of(one)) for _, declared in images for one in declared if _says_scaling(one)]
    for path, theirs in said:
        _check_equal(theirs, said[0][1], f"{path} declares", str(said[0][0]), "convert the files to one")
    ours = (settings.scale, settings.offset)
    if None in ours:
        for path, declared in images:
            silent = [one.path for one in declared if not _says_scaling(one)] if declared else [path]
            if silent:
                what = "scale" if settings.scale is None else "offset"
                raise UserError(f"{silent[0]} declares no scale and offset: write down the {what} instead of null.")
        ours = tuple(theirs if own is None else own for own, theirs in zip(ours, said[0][1], strict=True))
    if said:
        path, theirs = said[0]
        how = "write what the files declare, or null to take it"
        _check_equal(theirs, ours, f"{path} declares", "the settings say", how)
    return ours


def _check_equal(one: tuple, other: tuple, who: str, whom: str, mend: str) -> None:
    for what, why, a, b in zip(("scale", "offset"), ("reflectance = number x scale + offset", BASELINE), one, other):
        if not math.isclose(a, b, rel_tol=1e-5, abs_tol=1e-9):  # files may hold single precision
            raise UserError(f"{who} {what} {a:g} but {whom} {b:g}: {why}; {mend}.")


def _says_scaling(one: Declared) -> bool:
    return any(pair != UNSAID for pair in zip(one.scales, one.offsets, strict=True))


def _scaling_of(one: Declared) -> tuple[float, float]:
    pairs = sorted(set(zip(one.scales, one.offsets, strict=True)))
    if len(pairs) > 1:
        told = "; ".join(f"scale {scale:g}, offset {offset:g}" for scale, offset in pairs)
        raise UserError(f"{one.path} declares several scalings ({told}): convert them to one, or drop some of them.")
    return pairs[0]


def _level(settings: SceneSettings, images: Sequence[tuple[Path, Sequence[Declared]]]) -> str:
    level, source = settings.level, "the settings say"
    for path, declared in images:
        said = [(one.path, one.level.upper()) for one in declared if one.level.upper() in LEVELS]
        if settings.level is None and not said:
            raise UserError(f"{path} has no tag level that says TOA or BOA: write down the level instead of null.")
        for where, theirs in said:
            if level is None:
                level, source = theirs, f"{where} is"
            if theirs != level:
                raise UserError(
                    f"{where} is tagged level={theirs} but {source} {level}: set level to what the files are, and keep "
                    "images of two levels in two data sets."
                )
    return level


def _check_harmonised(files: Sequence[Declared]) -> None:
    known = [(one.path, one.harmonised.lower()) for one in files if one.harmonised.lower() in ("yes", "no")]
    for path, said in known:
        if said != known[0][1]:
            raise UserError(
                f"{path} is tagged harmonised={said} but {known[0][0]} harmonised={known[0][1]}: {BASELINE}, which may "
                "be in one of them alone; acquire both in one way."
            )


def dated(scene: Scene, images: Sequence[Sequence[Declared]]) -> Scene:
    """A scene with a date for each image: those given, or the first ten characters of the files' tag `acquired`.

    Args:
        scene: with dates or without.
        images: for each image what its raster files declare.

    An image whose files tell no date gets an empty text; a scene none of whose images does stays without dates.
    """
    if scene.dates:
        return scene
    found = tuple(next((d for one in files if (d := _acquired(one))), "") for files in images)
    return scene.model_copy(update={"dates": found}) if any(found) else scene


def _acquired(one: Declared) -> str:
    text = one.acquired[:DAY]
    return text if _day(text) else ""


def _day(text: str) -> date | None:
    with contextlib.suppress(ValueError):
        return date.fromisoformat(text[:DAY])
    return None


def strange_dates(scenes: Sequence[Scene]) -> list[str]:
    """Sentences on scenes of two images of one day, and on scenes whose second image is the earlier one.

    Dates that are not written like 2021-05-27 are not judged.
    """
    pairs = [(scene.name, *map(_day, scene.dates)) for scene in scenes if len(scene.dates) == 2]
    known = [(name, first, second) for name, first, second in pairs if first and second]
    equal = [f"{name} ({first})" for name, first, second in known if first == second]
    turned = [f"{name} ({first}, {second})" for name, first, second in known if second < first]
    found = []
    if equal:
        found.append(f"Both images have one date in {some_names(equal)}: check that they are two acquisitions.")
    if turned:
        found.append(f"The second image is earlier than the first in {some_names(turned)}: exchange the two images.")
    return found
