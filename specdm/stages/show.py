"""Draw some patches of a set, so that a person can judge them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from specdm.contact_sheet import contact_sheet
from specdm.errors import UserError
from specdm.patches import SPLITS, PatchSet, open_patches
from specdm.randomness import numpy_generator


def show(patches_folder: Path, out: Path, n: int, split: str, seed: int) -> str:
    """Write a contact sheet of n patches of a split as PNG to `out`; return what was made, in words.

    Raises:
        UserError: when the split is empty.
    """
    patches = open_patches(patches_folder)
    positions = patches.ids(split)
    if not len(positions):
        others = [s for s in SPLITS if len(patches.ids(s))]
        raise UserError(f"{patches_folder}: the split {split!r} is empty: choose --split {' or '.join(others)}.")
    chosen = choose(patches, positions, n, seed)
    contact_sheet(patches, chosen, out)
    return f"{len(chosen)} of {len(positions)} {split} patches in {out}"


def choose(patches: PatchSet, positions: np.ndarray, n: int, seed: int) -> np.ndarray:
    """Up to n of some patches, in order: one of each class as far as n goes, rarest first, then evenly by group."""
    rng = numpy_generator(seed, "show")
    rows = patches.index.iloc[positions]
    counts = np.stack(rows["class_counts"].to_numpy())
    groups = rows["group"].to_numpy()
    chosen: list[int] = []
    present = (counts > 0).sum(axis=0)
    for k in np.argsort(present, kind="stable"):
        if len(chosen) < n and present[k] and not counts[chosen, k].any():
            holds = np.flatnonzero(counts[:, k] >= np.median(counts[counts[:, k] > 0, k]))  # enough of it to be seen
            chosen.append(int(rng.choice(holds)))
    taken = {group: int((groups[chosen] == group).sum()) for group in np.unique(groups)}
    # Round by round: the k-th patch of every group stands before the (k+1)-th of any.
    rounds, left = [], rng.permutation(np.setdiff1d(np.arange(len(positions)), chosen))
    for i in left:
        taken[groups[i]] += 1
        rounds.append(taken[groups[i]])
    more = left[np.argsort(rounds, kind="stable")][: n - len(chosen)]
    return positions[np.sort(np.concatenate([np.array(chosen, int), more]))]
