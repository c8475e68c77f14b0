"""The resumable state of a training: the last two kept, one of another run set aside."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from specdm import files
from specdm.errors import UserError

LAST, PREVIOUS = "last.pt", "previous.pt"


def save(state: Path, content: dict) -> None:
    """Write a state; the one before it stays as `previous.pt`, so that a damaged file costs one interval."""
    with files.new_file(state / LAST) as temporary:
        torch.save(content, temporary)
        if (state / LAST).exists():
            os.replace(state / LAST, state / PREVIOUS)


def load(
    state: Path,
    fingerprint: dict,
    resume_only: bool,
    sets_aside: bool = True,
    all_read: Callable[[], None] = lambda: None,
) -> dict | None:
    """The newest readable state of the run with this fingerprint, None where there is none.

    A state of another run is renamed stale-* and the first differing key printed; with `resume_only` it is refused.
    Only one of several processes sets it aside, when `all_read` has returned, which waits until all have read it; the
    others are told by `sets_aside=False`.

    Raises:
        UserError: when no state can be read, or one of another run meets resume_only.
    """
    present = [path for path in (state / LAST, state / PREVIOUS) if path.exists()]
    saved, damaged = None, []
    for path in present:
        if (saved := _read(path)) is not None:
            break
        damaged.append(path)
    all_read()
    if saved is None:
        if present:
            raise UserError(f"{present[0]} is damaged: remove the folder {state} to train anew.")
        return None
    if saved["fingerprint"] == fingerprint:
        if sets_aside:
            for path in damaged:  # the next save would put it in the place of the sound one
                path.unlink()
        return saved
    key = _differing_key(saved["fingerprint"], fingerprint)
    if resume_only:
        raise UserError(f"{state} belongs to another run, {key} differs: train without --resume-only.")
    if sets_aside:
        stale = next(p for i in range(1, 10_000) if not (p := state.with_name(f"stale-{state.name}-{i}")).exists())
        os.replace(state, stale)
        print(f"state set aside as {stale.name}: {key} differs; training starts anew", file=sys.stderr, flush=True)
    return None


def _differing_key(old: dict, new: dict) -> str:
    """The first key of nested mappings whose values differ, with dots: "settings.unet.width"."""
    for key in {**old, **new}:
        if key not in old or key not in new:
            return key
        a, b = old[key], new[key]
        if a != b:
            return f"{key}.{_differing_key(a, b)}" if isinstance(a, dict) and isinstance(b, dict) else key
    raise ValueError("equal")


def _read(path: Path) -> dict | None:
    try:
        return torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:  # a damaged file raises whatever its first bad byte provokes
        print(f"{path} cannot be read ({type(error).__name__})", file=sys.stderr, flush=True)
        return None
