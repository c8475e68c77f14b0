"""Spectral bands by name: the Sentinel-2 table and the band lists of the data sets.

Nothing in the package types a band's position; `indices` computes it from names.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

from specdm.errors import UserError


@dataclass(frozen=True)
class Band:
    """A spectral band: name, centre wavelength in nm and native ground sampling distance in m."""

    name: str
    wavelength_nm: float
    gsd_m: float


# Central wavelengths of Sentinel-2A, ESA Sentinel-2 MSI spectral responses.
SENTINEL2 = {
    band.name: band
    for band in (
        Band("B01", 442.7, 60),
        Band("B02", 492.4, 10),
        Band("B03", 559.8, 10),
        Band("B04", 664.6, 10),
        Band("B05", 704.1, 20),
        Band("B06", 740.5, 20),
        Band("B07", 782.8, 20),
        Band("B08", 832.8, 10),
        Band("B8A", 864.7, 20),
        Band("B09", 945.1, 60),
        Band("B10", 1373.5, 60),
        Band("B11", 1613.7, 20),
        Band("B12", 2202.4, 20),
    )
}

# ASSUME: the SegMunich files hold ten unnamed channels. The paper and the mirrors' metadata list the first set
# (B01 among the "10 m bands"); an author of SpectralGPT confirmed the second. The paper's list is the default.
BAND_SETS: dict[str, tuple[str, ...]] = {
    "paper": ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B8A", "B11", "B12"),
    "spectralgpt": ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12"),
    "all": tuple(SENTINEL2),
}

# Names of bands that show a colour, Sentinel-2's first.
COLOURS = {
    "red": ("B04", "red"),
    "green": ("B03", "green"),
    "blue": ("B02", "blue"),
    "infrared": ("B8A", "B08", "nir", "near infrared", "near-infrared", "near_infrared"),
}
COMPOSITES = {"rgb": ("red", "green", "blue"), "false": ("infrared", "red", "green")}
_SHOWN_NM = {"rgb": (665, 560, 490), "false": (842, 665, 560)}
_NEAR_NM = 60  # a band farther than this from a colour does not show it


def parse(name: str) -> str:
    """The canonical Sentinel-2 name of a band written any usual way: B1, b01, B8A, B08.

    Raises:
        UserError: when Sentinel-2 has no such band.
    """
    text = name.strip().upper().removeprefix("B")
    canonical = "B8A" if text.lstrip("0") == "8A" else f"B{int(text):02d}" if text.isdigit() else name
    if canonical not in SENTINEL2:
        raise UserError(f"Sentinel-2 has no band {name!r}: its bands are {', '.join(SENTINEL2)}.")
    return canonical


def resolve(selection: str | Sequence[str]) -> tuple[str, ...]:
    """Band names of a named set ("paper", "spectralgpt", "all") or of an explicit list, in that order.

    Raises:
        UserError: for an unknown set or band, or a band named twice.
    """
    if isinstance(selection, str):
        if selection not in BAND_SETS:
            near = difflib.get_close_matches(selection, BAND_SETS, n=1) or list(BAND_SETS)
            raise UserError(f"There is no band set {selection!r}: use {near[0]!r} or a list of band names.")
        return BAND_SETS[selection]
    names = tuple(parse(name) for name in selection)
    if len(set(names)) != len(names) or not names:
        raise UserError(f"The band list {list(selection)} is empty or names a band twice: list each band once.")
    return names


def indices(have: Sequence[str], want: Sequence[str]) -> list[int]:
    """Positions of the bands `want` within the stack `have`.

    Raises:
        UserError: when a wanted band is not in the stack.
    """
    missing = [name for name in want if name not in have]
    if missing:
        raise UserError(f"The band {missing[0]} is not among {', '.join(have)}: choose bands that the images hold.")
    return [list(have).index(name) for name in want]


def wavelengths(names: Sequence[str]) -> tuple[float, ...]:
    """Centre wavelengths in nm, in the order of `names`; empty unless all are Sentinel-2 bands."""
    return tuple(SENTINEL2[name].wavelength_nm for name in names) if set(names) <= SENTINEL2.keys() else ()


def colour(name: str) -> str | None:
    """The colour that a band of that name shows: red, green, blue or infrared; None when the name does not tell."""
    return next((c for c, names in COLOURS.items() if name in names or name.lower() in names), None)


def _first(have: Sequence[str], wanted: str) -> int:
    """Position of the band that shows a colour, of several the one that stands first in COLOURS."""
    known = {name.lower(): i for i, name in enumerate(have)}
    return next(known[name.lower()] for name in COLOURS[wanted] if name.lower() in known)


def composite(have: Sequence[str], kind: str = "rgb", wavelengths_nm: Sequence[float] = ()) -> list[int]:
    """Positions of three bands to show as red, green and blue.

    Args:
        have: band names of the stack.
        kind: "rgb" (true colour) or "false" (near infrared, red, green).
        wavelengths_nm: centre wavelength of each band in nm, or none when they are unknown.

    Sets whose names tell no colours (B04, red) are shown by the three bands nearest to them, and where wavelengths are
    unknown or far from a colour, by three bands spread over the stack.
    """
    kind = "rgb" if kind == "rgb" else "false"
    shown = [colour(name) for name in have]
    if set(COMPOSITES[kind]) <= set(shown):
        return [_first(have, wanted) for wanted in COMPOSITES[kind]]
    if len(wavelengths_nm):
        colours = _SHOWN_NM[kind]
        nearest = [min(range(len(have)), key=lambda i: abs(wavelengths_nm[i] - nm)) for nm in colours]
        close = all(abs(wavelengths_nm[i] - nm) <= _NEAR_NM for i, nm in zip(nearest, colours, strict=True))
        if close and len(set(nearest)) == len(colours):
            return nearest
    last = len(have) - 1
    return [last, last // 2, 0] if last <= 2 else [round(last * 2 / 3), round(last / 3), 0]
