"""Options that several commands share, and how the texts given for them are read."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Annotated

import typer

from specdm.errors import UserError


def _ends(max_minutes: float) -> float:
    """time.monotonic() of the end of a time budget: it counts from here, so that what imports take is part of it."""
    return time.monotonic() + 60 * max_minutes if max_minutes else math.inf


Patches = Annotated[Path, typer.Option(help="folder of the patch set")]
Out = Annotated[Path, typer.Option(help="what to write, complete or not at all")]
State = Annotated[Path, typer.Option(help="folder of the resumable state, outside the outputs")]
Settings = Annotated[
    str, typer.Option(help="settings as JSON text or as a .json or .yaml file; missing keys: defaults")
]
Seed = Annotated[int, typer.Option(help="seed of all randomness")]
Ends = Annotated[
    float,
    typer.Option("--max-minutes", callback=_ends, help="pause after this time with exit status 75; 0 = never"),
]
InitFrom = Annotated[Path | None, typer.Option(help="folder of a trained model whose fitting weights are the start")]
Pictures = Annotated[Path | None, typer.Option(help="folder for a picture at every validation")]
NReal = Annotated[int, typer.Option(help="see only so many labelled patches; 0 = all of the split")]
SubsetSeed = Annotated[int, typer.Option(help="seed of their choice, as for train-downstream")]
Unlabelled = Annotated[
    list[Path],
    typer.Option(help="patch set whose training images are seen without labels; --patches itself: those of the others"),
]
ResumeOnly = Annotated[bool, typer.Option("--resume-only", help="refuse a state of other settings")]


def read_section(section, text: str):
    """Read --settings as a section of the configuration."""
    import yaml

    from specdm import config

    if not text.lstrip().startswith("{"):
        path = Path(text)
        if not path.is_file():
            raise UserError(f"--settings: {text} is neither JSON text nor a file: give one of them.")
        text = path.read_text()
    try:
        data = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise UserError(f"--settings cannot be read: {str(error).splitlines()[0]}.") from error
    return config.parse_section(section, data)


def chosen(option: str, value: str, table: dict):
    if value not in table:
        raise UserError(f"{option}: there is no {value!r}, choose one of {', '.join(table)}.")
    return table[value]


def read_fractions(want: list[str]) -> dict[str, float]:
    """Read --want class=fraction."""
    fractions = {}
    for text in want:
        name, _, number = text.rpartition("=")
        try:
            fractions[name.strip()] = float(number)
        except ValueError:
            raise UserError(f"--want: {text!r} is no class=fraction: write for example --want water=0.3.") from None
    return fractions


def read_given(given: list[str]) -> dict[str, Path]:
    """Read --given what=patch set."""
    found = {}
    for text in given:
        what, equals, folder = text.partition("=")
        if not (what and equals and folder):
            raise UserError(f"--given: {text!r} names no patch set: write for example --given mask=FOLDER.")
        if what in found:
            raise UserError(f"--given: {what} is given twice, name one patch set for it.")
        found[what] = Path(folder)
    return found


def read_share(option: str, text: str | None) -> tuple[int, int] | None:
    """Read an option k/m, the k-th of m shares from 1."""
    if text is None:
        return None
    k, _, m = text.partition("/")
    if not (k.isdecimal() and m.isdecimal() and 1 <= int(k) <= int(m)):
        raise UserError(f"{option}: {text!r} is no share: write for example {option} 1/4 for the first of four.")
    return int(k), int(m)
