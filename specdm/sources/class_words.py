"""What class names say in English, for colours and for checks of spectra."""

from __future__ import annotations

import re

TREES = {"forest", "forests", "tree", "trees", "wood", "woods", "woodland", "woodlands"}
WATER = {"water", "waters", "waterbody", "waterbodies", "sea", "ocean", "lake", "lakes", "river", "rivers"}
DENIED = {"no", "not", "non", "without", "dry", "former", "loss", "dead", "burnt", "burned"}


def words_of(name: str) -> set[str]:
    """The words of a class name in small letters."""
    return set(re.findall(r"[a-z]+", name.lower()))
