"""Spatial blocks and splits: no ground in two splits, a guard band between them, every class on both sides.

Scenes that show the same ground form a *place*; the pixels of its first scene are its frame. Each place is divided into
blocks, and whole blocks are given to splits. A window belongs to a split when all blocks it touches do; training
windows also keep the guard distance to blocks of validation and test, validation windows to those of test.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from specdm.errors import UserError
from specdm.patches import SPLITS
from specdm.rasters import Grid, bounds_in, corners_on
from specdm.sources.ground import draw_groups, unevenness

DRAWS, STEPS = 256, 1000  # random assignments of which the best is taken, and attempts to better it
ENOUGH_BLOCKS = 16
LAYOUTS = 12  # positions of the edges that are tried where there are fewer blocks
ENOUGH_OF_A_CLASS = 0.25  # of its even share, in a split
ROUNDING = 1e-6  # of a pixel: windows that end at an edge do not touch the block behind it
NONE = len(SPLITS)  # a window of no split


@dataclass(frozen=True)
class Ground:
    """Where a scene lies: its grid, and names that it has in common with other scenes of the same ground."""

    grid: Grid
    names: frozenset[str] = frozenset()


def find_places(grounds: Sequence[Ground], near_px: float = 0.0) -> np.ndarray:
    """Number of the place of each scene (n,).

    Scenes that overlap on the ground or come closer than `near_px` of their pixels share one, and scenes of a common
    name; scenes without georeference or name are places by themselves.

    Raises:
        UserError: when some scenes of a name have a georeference and some have none.
    """
    from scipy.sparse import coo_matrix, csgraph

    n = len(grounds)
    for name in sorted({name for ground in grounds for name in ground.names}):
        if len({bool(ground.grid.crs) for ground in grounds if name in ground.names}) > 1:
            raise UserError(
                f"Some scenes of the place {name} have a georeference and some have none: give each of them crs and "
                "bounds, or a place of its own."
            )
    pairs = [(i, j) for i in range(n) for j in range(i) if grounds[i].names & grounds[j].names]
    located = [i for i in range(n) if grounds[i].grid.crs]
    for crs in sorted({grounds[i].grid.crs for i in located}):
        boxes = np.stack([bounds_in(grounds[i].grid, crs) for i in located])
        for k, i in enumerate(located):
            if grounds[i].grid.crs == crs:
                pixel = (boxes[k, 2:] - boxes[k, :2]) / (grounds[i].grid.width, grounds[i].grid.height)
                reach = near_px * pixel
                meets = (boxes[:, :2] < boxes[k, 2:] + reach).all(axis=1) & (boxes[:, 2:] > boxes[k, :2] - reach).all(
                    axis=1
                )
                pairs += [(i, located[m]) for m in np.flatnonzero(meets)]
    rows, cols = np.array(pairs, int).reshape(-1, 2).T
    graph = coo_matrix((np.ones(len(pairs)), (rows, cols)), shape=(n, n))
    return csgraph.connected_components(graph, directed=False)[1]


def on_frames(grounds: Sequence[Ground], scene: np.ndarray, windows: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Windows (n,4) of scenes `scene` (n,), in pixels of the frames of their places (n,4)."""
    frame = {p: grounds[np.flatnonzero(place == p)[0]].grid for p in np.unique(place)}
    out = np.array(windows, np.float64)
    for s, ground in enumerate(grounds):
        if ground.grid.crs:
            out[scene == s] = corners_on(ground.grid, windows[scene == s], frame[place[s]])
    return out


@dataclass(frozen=True)
class Blocks:
    """The blocks of all places.

    Attributes:
        side_px: the smallest side that was asked for, in pixels of a frame.
        rows, cols: edges between blocks by place, ascending, without the outer ones, in pixels of its frame.
    """

    side_px: int
    rows: tuple[np.ndarray, ...]
    cols: tuple[np.ndarray, ...]

    @cached_property
    def shape(self) -> np.ndarray:
        """Rows and columns of blocks of each place, (places,2)."""
        return np.array([(len(r) + 1, len(c) + 1) for r, c in zip(self.rows, self.cols, strict=True)])

    @cached_property
    def first(self) -> np.ndarray:
        """Number of the first block of each place, and at the end the number of blocks, (places+1,)."""
        return np.r_[0, np.cumsum(self.shape.prod(axis=1))]

    def __len__(self) -> int:
        return int(self.first[-1])

    def touched(self, place: np.ndarray, rectangles: np.ndarray, margin: float = 0.0):
        """Sparse matrix (n, blocks) of which blocks rectangles (n,4) come closer to than `margin` pixels."""
        from scipy import sparse

        low, high = np.zeros((len(place), 2), int), np.zeros((len(place), 2), int)
        for p in np.unique(place):
            here = place == p
            for axis, edges in enumerate((self.rows[p], self.cols[p])):
                low[here, axis] = np.searchsorted(edges, rectangles[here, axis] - margin + ROUNDING, "right")
                high[here, axis] = np.searchsorted(edges, rectangles[here, axis + 2] + margin - ROUNDING, "left")
        span = high - low + 1
        who, block = [], []
        for row in range(span[:, 0].max()):
            for col in range(span[:, 1].max()):
                some = np.flatnonzero((row < span[:, 0]) & (col < span[:, 1]))
                p = place[some]
                who.append(some)
                block.append(self.first[p] + (low[some, 0] + row) * self.shape[p, 1] + low[some, 1] + col)
        who, block = np.concatenate(who), np.concatenate(block)
        return sparse.csr_matrix((np.ones(len(who), np.int32), (who, block)), shape=(len(place), len(self)))

    def inhabited(self, place: np.ndarray, rectangles: np.ndarray) -> int:
        """How many blocks rectangles (n,4) touch; between scenes that lie apart there are many that none does."""
        return len(np.unique(self.touched(place, rectangles).indices))

    def containing(self, place: np.ndarray, rectangles: np.ndarray) -> np.ndarray:
        """Number of the block that holds the centre of each rectangle, (n,)."""
        centre = (rectangles[:, :2] + rectangles[:, 2:]) / 2
        found = np.zeros(len(place), int)
        for p in np.unique(place):
            here = place == p
            row = np.searchsorted(self.rows[p], centre[here, 0], "right")
            col = np.searchsorted(self.cols[p], centre[here, 1], "right")
            found[here] = self.first[p] + row * self.shape[p, 1] + col
        return found

    def name(self, block: int) -> str:
        """A block as a text: place, row and column."""
        p = int(np.searchsorted(self.first, block, "right")) - 1
        row, col = divmod(int(block - self.first[p]), int(self.shape[p, 1]))
        return f"place{p:03}_{row:03}_{col:03}"


def make_blocks(
    place: np.ndarray, rectangles: np.ndarray, patch_px: int, block_px: int | None, shift: Sequence[float] = (0.0, 0.0)
) -> Blocks:
    """Divide the ground of windows (n,4) at places (n,) into blocks of at least `block_px` pixels a side.

    None: four patches a side, or less, down to one patch, until there are ENOUGH_BLOCKS. `shift` moves the edges
    between blocks by a share of a block, down and to the right.
    """
    bounds = [(rectangles[place == p, :2].min(0), rectangles[place == p, 2:].max(0)) for p in range(place.max() + 1)]
    for side in [block_px] if block_px else [round(f * patch_px) for f in (4, 3, 2, 1.5, 1)]:
        edges = [[_edges(low[a], high[a], side, shift[a]) for low, high in bounds] for a in (0, 1)]
        blocks = Blocks(side, *(tuple(e) for e in edges))
        if blocks.inhabited(place, rectangles) >= ENOUGH_BLOCKS:
            break
    return blocks


def _edges(low: float, high: float, side: float, shift: float) -> np.ndarray:
    """Edges between equal blocks of at least `side`, moved by a share of one; the outer blocks keep that side."""
    n = max(1, int((high - low) // side))
    edges = low + (np.arange(1, n) + shift) * (high - low) / n
    return np.clip(edges, low + side, high - side)


def window_splits(block_split: np.ndarray, touched, near) -> np.ndarray:
    """Position in SPLITS of each window (n,), NONE for windows between splits or within the guard band.

    Args:
        block_split: position in SPLITS of each block.
        touched, near: matrices of `Blocks.touched`, without and with the guard as margin.
    """
    member = np.eye(len(SPLITS), dtype=np.int32)[block_split]  # blocks x splits
    inside, close = touched @ member > 0, near @ member > 0
    split = np.where(inside.sum(axis=1) == 1, inside.argmax(axis=1), NONE)
    train, val, test = range(3)
    split[(split == train) & (close[:, val] | close[:, test])] = NONE
    split[(split == val) & close[:, test]] = NONE
    return split


@dataclass(frozen=True)
class Division:
    """Blocks, the position in SPLITS of each, and of each window (NONE where it is left out)."""

    blocks: Blocks
    block_split: np.ndarray
    split: np.ndarray


def divide(
    place: np.ndarray,
    rectangles: np.ndarray,
    classes: np.ndarray,
    patch_px: int,
    block_px: int | None,
    guard_px: int,
    fractions: Mapping[str, float],
    seed: int,
) -> Division:
    """Blocks and splits of windows; where there are few blocks, several positions of their edges are tried.

    Args:
        place, rectangles: place (n,) of each window, and where it lies in the frame (n,4).
        classes: pixels by class of each window, (n,K).
        patch_px, block_px, guard_px: see the module's text and `make_blocks`.
        fractions: wanted share of the windows for "val" and "test".
        seed: of the draws.

    Raises:
        UserError: when no assignment gives every split a window.
    """
    rng = np.random.default_rng(seed)
    best, least = None, np.inf
    for layout in range(LAYOUTS):
        shift = rng.uniform(-0.5, 0.5, 2) if layout else np.zeros(2)
        blocks = make_blocks(place, rectangles, patch_px, block_px, shift)
        touched, near = blocks.touched(place, rectangles), blocks.touched(place, rectangles, guard_px)
        block_split, score = assign_blocks(touched, near, classes, fractions, rng)
        if score < least:
            best, least = Division(blocks, block_split, window_splits(block_split, touched, near)), score
        inhabited = blocks.inhabited(place, rectangles)
        if inhabited >= ENOUGH_BLOCKS:
            break
    if best is None:
        raise UserError(
            f"{inhabited} spatial block(s) cannot give train, val and test a patch each: choose a smaller patch_px, "
            "block_px, guard_px or stride_px, or give more scenes."
        )
    return best


def assign_blocks(
    touched, near, classes: np.ndarray, fractions: Mapping[str, float], rng: np.random.Generator
) -> tuple[np.ndarray, float]:
    """Give blocks to splits so that sizes and class shares are even, few windows are lost, and no class is missing.

    The best of many random draws is bettered by moving and swapping single blocks.

    Args:
        touched, near: see `window_splits`.
        classes, fractions: see `divide`.
        rng: of the draws.

    Returns:
        Position in SPLITS of each block, and how uneven that is (infinite when a split has no window).
    """
    n_blocks = touched.shape[1]
    sizes = np.asarray(touched.sum(axis=0)).ravel()
    used = np.flatnonzero(sizes)

    def score(blocks: np.ndarray) -> float:
        return _score(window_splits(blocks, touched, near), classes, fractions)

    best, least = np.zeros(n_blocks, int), np.inf
    for _ in range(DRAWS):
        blocks = np.zeros(n_blocks, int)
        blocks[used] = draw_groups(rng.permutation(len(used)), sizes[used], fractions)
        found = score(blocks)
        if found < least:
            best, least = blocks, found
    for _ in range(STEPS):
        blocks = best.copy()
        a, b = rng.choice(used, 2)
        if rng.uniform() < 0.5:
            blocks[a], blocks[b] = blocks[b], blocks[a]
        else:
            blocks[a] = rng.integers(len(SPLITS))
        found = score(blocks)
        if found < least:
            best, least = blocks, found
    return best, least


def _score(split: np.ndarray, classes: np.ndarray, wanted: Mapping[str, float]) -> float:
    """How uneven an assignment of windows is; infinite when a split stays empty."""
    counts = np.bincount(split, minlength=NONE + 1)[:NONE]
    if not counts.all():
        return np.inf
    kept = split < NONE
    score = unevenness(np.asarray(SPLITS)[split[kept]], classes[kept], wanted) + 2 * (1 - kept.mean())
    total = classes.sum(axis=0)
    # Most of all, every class must be there to be learnt; then to be tested; then to be watched.
    for position, weight in enumerate((100.0, 10.0, 30.0)):
        share = wanted.get(SPLITS[position], 1 - sum(wanted.values()))
        enough = np.maximum(ENOUGH_OF_A_CLASS * share * total, 1)
        missing = 1 - np.minimum(classes[split == position].sum(axis=0) / enough, 1)
        score += weight * missing[total > 0].sum()
    return score
