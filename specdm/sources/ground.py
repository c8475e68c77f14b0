"""Which patches show the same ground, and splits in which none do.

A *key* is a bit of ground (a cell of the scene, or the pixels of a quadrant); patches that have a key in common share
pixels, whatever flip or rotation each was stored in.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Mapping, Sequence

import numpy as np

from specdm.errors import UserError
from specdm.patches import SPLITS

DRAWS = 256  # random assignments of groups to splits, of which the most even one is taken


def cell_keys(row: int, col: int, size: int, cell: int) -> list[tuple[int, int]]:
    """The cells of `cell` px that a window of `size` px at (row, col) touches."""
    rows = range(row // cell, -(-(row + size) // cell))
    return [(r, c) for r in rows for c in range(col // cell, -(-(col + size) // cell))]


def quadrant_keys(pixels: np.ndarray) -> list[int]:
    """Hashes of the four quadrants of an image (C,H,W), the same for all eight flips and rotations of it.

    Windows with 50 % overlap have quadrants in common. Quadrants of one constant spectrum say nothing and are left out.
    """
    bits = np.ascontiguousarray(pixels.astype(np.float32)).view(np.uint32).astype(np.uint64)
    odd = np.random.default_rng(0).integers(0, 2**63, len(bits), np.uint64) * np.uint64(2) + np.uint64(1)
    spectra = np.einsum("chw,c->hw", bits, odd)  # one number a pixel, modulo 2^64
    h, w = spectra.shape[0] // 2, spectra.shape[1] // 2
    keys = []
    for quadrant in (spectra[:h, :w], spectra[:h, -w:], spectra[-h:, :w], spectra[-h:, -w:]):
        # Sorting forgets the order of the pixels and with it the transformation.
        values = np.sort(quadrant, axis=None)
        if values[0] != values[-1]:
            keys.append(int.from_bytes(hashlib.blake2b(values.tobytes(), digest_size=8).digest(), "big"))
    return keys


def incidence(keys: Sequence[Sequence[Hashable]]):
    """Sparse matrix (patches, keys) with a one where a patch has a key."""
    from scipy import sparse

    number: dict[Hashable, int] = {}
    columns = [[number.setdefault(key, len(number)) for key in set(own)] for own in keys]
    starts = np.cumsum([0, *map(len, columns)])
    flat = np.fromiter((c for own in columns for c in own), np.int64, starts[-1])
    return sparse.csr_matrix((np.ones(len(flat), np.int32), flat, starts), shape=(len(keys), max(len(number), 1)))


def sharing(matrix, who: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Which of the patches `who` (n,) bool share ground with any of `others` (n,) bool."""
    theirs = matrix.T @ others.astype(np.int32)
    return who & (matrix @ (theirs > 0).astype(np.int32) > 0)


def blocks(keys: Sequence[Sequence[Hashable]], places: int) -> tuple[np.ndarray, float]:
    """Group patches that share ground, directly or through others.

    Overlapping windows chain over a whole scene. A chain of more than `places` places is halved, breadth first from
    its far end, until its parts are small enough; parts that touch still share ground (see `sharing`).

    Args:
        keys: the keys of each patch.
        places: largest number of distinct places in a group.

    Returns:
        The group number of each patch (n,), and the share of places in the largest chain before halving.
    """
    from scipy.sparse import csgraph

    number: dict[Hashable, int] = {}  # copies of one window have all keys in common: one place
    place = np.array([number.setdefault(frozenset(own) or ("alone", i), len(number)) for i, own in enumerate(keys)])
    first = np.unique(place, return_index=True)[1]
    matrix = incidence([keys[i] for i in first])
    graph = (matrix @ matrix.T).tocsr()
    count, chain = csgraph.connected_components(graph, directed=False)
    waiting = [np.flatnonzero(chain == c) for c in range(count)]
    largest = max(map(len, waiting)) / len(first)
    group = np.zeros(len(first), int)
    done = 0
    while waiting:
        members = waiting.pop()
        if len(members) <= places:
            group[members] = done
            done += 1
        else:
            order = members[_breadth_first(graph[members][:, members])]
            waiting += [order[: len(order) // 2], order[len(order) // 2 :]]
    return group[place], largest


def _breadth_first(graph) -> np.ndarray:
    """All nodes in breadth-first order from a far end, component after component."""
    from scipy.sparse import csgraph

    count, component = csgraph.connected_components(graph, directed=False)
    orders = []
    for c in range(count):
        start = np.flatnonzero(component == c)[0]
        far = csgraph.breadth_first_order(graph, start, directed=False, return_predecessors=False)[-1]
        orders.append(csgraph.breadth_first_order(graph, far, directed=False, return_predecessors=False))
    return np.concatenate(orders)


def straddling(matrix, split: np.ndarray) -> np.ndarray:
    """Patches (n,) bool that must go for splits to share no ground: train gives way to val and test, val to test."""
    return sharing(matrix, split == "train", split != "train") | sharing(matrix, split == "val", split == "test")


def assign(
    groups: np.ndarray, classes: np.ndarray, fractions: Mapping[str, float], seed: int, matrix=None
) -> np.ndarray:
    """Give whole groups to splits: of many random draws, that of the most even sizes and class shares.

    Args:
        groups: group of each patch, (n,).
        classes: pixels by class of each patch, (n,K).
        fractions: share of patches for "val" and "test"; the rest is "train".
        seed: of the random draws.
        matrix: from `incidence`, when straddling patches will be dropped: draws that lose fewer are preferred.

    Returns:
        Split name of each patch, (n,) objects.

    Raises:
        UserError: when there are too few groups to fill every split.
    """
    wanted = {s: f for s, f in fractions.items() if f > 0}
    names, member = np.unique(groups, return_inverse=True)
    sizes = np.bincount(member)
    rng = np.random.default_rng(seed)
    best, least = None, np.inf
    for _ in range(DRAWS):
        draw = draw_groups(rng.permutation(len(names)), sizes, wanted)
        split = np.asarray(SPLITS, object)[draw[member]]
        kept = np.ones(len(split), bool) if matrix is None else ~straddling(matrix, split)
        if all((kept & (split == s)).any() for s in ("train", *wanted)):
            score = unevenness(split[kept], classes[kept], wanted) + 4 * (1 - kept.mean())
            if score < least:
                best, least = split, score
    if best is None:
        raise UserError(
            f"{len(names)} spatial groups cannot fill {len(wanted) + 1} splits: choose a smaller block_px, "
            "or smaller val and test fractions."
        )
    return best


def unevenness(split: np.ndarray, classes: np.ndarray, wanted: Mapping[str, float]) -> float:
    total = classes.sum(axis=0)
    score = 0.0
    for name, fraction in wanted.items():
        chosen = split == name
        share = classes[chosen].sum(axis=0) / np.maximum(total, 1)
        # A class weighs by the root of its size: rare ones matter, the rarest cannot rule.
        score += np.abs(share - fraction) @ np.sqrt(total / max(total.sum(), 1)) / fraction
        score += abs(chosen.mean() - fraction) / fraction
    return score


def draw_groups(order: np.ndarray, sizes: np.ndarray, wanted: Mapping[str, float]) -> np.ndarray:
    """Take groups in `order` for each wanted split until its size is reached; (groups,) positions in SPLITS."""
    split = np.zeros(len(sizes), int)
    at = 0
    for name, fraction in wanted.items():
        need = fraction * sizes.sum()
        while need > 0 and at < len(order):
            split[order[at]] = SPLITS.index(name)
            need -= sizes[order[at]]
            at += 1
    return split
