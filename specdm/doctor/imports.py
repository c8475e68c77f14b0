"""Which packages can be imported, tried in a process of its own: a broken library may crash it, or never come back."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from specdm.doctor.commands import Ran, Run
from specdm.doctor.section import first_line

PROBE = Path(__file__).with_name("probe.py")
SECONDS = 180.0  # of all imports; network file systems and cold caches are slow


@dataclass(frozen=True)
class Imported:
    """A package that was tried: why it cannot be imported ("" when it can), and what it said about itself."""

    error: str = ""
    facts: dict = field(default_factory=dict)


def imported(modules: Sequence[str], run: Run) -> dict[str, Imported]:
    """Try to import modules, in this order, with this Python and its path."""
    found: dict[str, Imported] = {}
    while left := [module for module in modules if module not in found]:
        # -P: the folder of the script is no place to import from.
        ran = run([sys.executable, "-P", str(PROBE), *left], SECONDS)
        if ran is None:
            return found | dict.fromkeys(left, Imported("Python cannot be started"))
        for line in ran.out.splitlines():
            answer = _answer(line)
            if answer.get("name") in left:
                found[answer["name"]] = Imported(_error(answer), answer.get("facts", {}))
        silent = next((module for module in left if module not in found), None)
        if silent:  # it took the process with it; the others are tried without it
            found[silent] = Imported(_end(ran))
    return {module: found[module] for module in modules}


def _answer(line: str) -> dict:
    try:
        return json.loads(line)
    except ValueError:  # cut off where the process ended
        return {}


def _error(answer: dict) -> str:
    return first_line(answer["error"]) if "error" in answer else ""


def _end(ran: Ran) -> str:
    if ran.status is None:
        return f"it did not come back within {SECONDS:.0f} seconds"
    return f"it ended Python with {f'signal {-ran.status}' if ran.status < 0 else f'exit status {ran.status}'}"
