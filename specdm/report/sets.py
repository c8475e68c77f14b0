"""Real data sets on the page: what they are, in words, and the colours of their classes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from specdm.report.html import Row, bullets, percent, text

LISTED = 16  # bands that are named one by one
SHOWN_DIGITS = 16  # of a checksum


@dataclass(frozen=True)
class ShownClass:
    """A class: its name, and its colour in 0 to 255."""

    name: str
    colour: tuple[int, int, int]


@dataclass(frozen=True)
class DataSet:
    """A real patch set.

    Attributes:
        name: of the data set.
        sensor, level, bands, wavelengths_nm, warnings: as in its meta.json.
        shape: (N,T,C,H,W) of the images.
        splits: patches and groups of each split.
        classes: in the order of their ids.
        checksums: of the files.
    """

    name: str
    sensor: str
    level: str
    bands: Sequence[str]
    wavelengths_nm: Sequence[float]
    shape: tuple[int, int, int, int, int]
    splits: Mapping[str, tuple[int, int]]
    classes: Sequence[ShownClass]
    checksums: Mapping[str, str]
    warnings: Sequence[str] = ()


def described(data: DataSet) -> str:
    """A data set as HTML: sensor, bands, splits, checksums, warnings."""
    n, dates, _, height, width = data.shape
    pairs = "two dates" if dates == 2 else "one date"
    splits = "; ".join(f"{name} {n} patches in {groups} groups" for name, (n, groups) in data.splits.items())
    sums = ", ".join(f"{text(key)} <code>{text(value[:SHOWN_DIGITS])}</code>" for key, value in data.checksums.items())
    return (
        f"<h3>{text(data.name)}</h3><p>{text(data.sensor)}, {text(data.level)}, {text(bands_in_words(data))}; {n} "
        f"patches of {height} × {width} px, {pairs}. {text(splits)}.</p><p>Checksums: {sums}.</p>"
        f"{bullets(data.warnings, 'caution')}"
    )


def bands_in_words(data: DataSet) -> str:
    """Names of the bands, or of very many their number and range."""
    if len(data.bands) <= LISTED:
        return f"bands {', '.join(data.bands)}"
    nm = data.wavelengths_nm
    return f"{len(data.bands)} bands" + (f" from {min(nm):.0f} to {max(nm):.0f} nm" if nm else "")


def legend(data: DataSet, row: Row, slug: Callable[[str], str]) -> str:
    """Colours of the classes as HTML, with shares of pixels and of patches, real and synthetic.

    Args:
        data: whose classes.
        row: of the table of synthetic sets.
        slug: a class's name -> its name in columns.
    """
    entries = []
    for c in data.classes:
        real, fake = (_share(row, kind, slug(c.name)) for kind in ("real", "synthetic"))
        shares = f" {real} → {fake}" if real and fake else ""
        colour = "#{:02x}{:02x}{:02x}".format(*c.colour)
        entries.append(f'<span><i style="background:{colour}"></i>{text(c.name)}{shares}</span>')
    return (
        f"<p class=key>{''.join(entries)}</p><p class=note>Share of the pixels (in brackets: of the patches that hold "
        "the class), real → synthetic.</p>"
    )


def _share(row: Row, kind: str, name: str) -> str:
    pixels, patches = (row.get(f"{what}_{kind}_{name}") for what in ("share", "presence"))
    if pixels is None:
        return ""
    return percent(pixels) + ("" if patches is None else f" ({percent(patches, 0)})")
