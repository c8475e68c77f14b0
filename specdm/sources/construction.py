"""What is built or cleared between two dates: the changes of a simulated city."""

from __future__ import annotations

import numpy as np

from specdm.sources.landscape import BUILDINGS, SUB, URBAN, WATER, Scene, coordinates
from specdm.sources.spectra import VARIANTS

_SPACING = 14  # pixels between the objects of one development


def later(scene: Scene, rng: np.random.Generator, share: float) -> tuple[Scene, np.ndarray]:
    """The scene at a later date, with compact developments over about `share` of it.

    Returns:
        The later scene, and where it differs, (H,W) bool (the centre of each pixel decides).
    """
    after = Scene(scene.cover.copy(), scene.label.copy(), rng)
    changed = np.zeros(scene.label.shape, bool)
    wanted = share * changed.size
    h, w = scene.size
    for _ in range(h * w):  # ends long before, unless the scene is all town and water
        if changed.sum() >= wanted:
            break
        centre, angle = rng.uniform((0, 0), (h, w)), rng.uniform(0, np.pi / 2)
        for _ in range(rng.integers(1, 6)):
            _build(after, changed, centre + rng.normal(0, _SPACING, 2), angle, rng)
    return after, changed[SUB // 2 :: SUB, SUB // 2 :: SUB]


def _build(scene: Scene, changed: np.ndarray, centre: np.ndarray, angle: float, rng: np.random.Generator) -> None:
    """One rectangle of 3 to 16 px: a hall with its yard, or ground laid bare; not on water, nor in towns."""
    half = rng.uniform(1.5, 8, 2) * (0.6, 1)
    reach = int(np.hypot(*half)) + 1
    h, w = scene.size
    top, left = (max(0, int(c) - reach) * SUB for c in centre)
    bottom, right = (max(0, min(n, int(c) + reach)) * SUB for c, n in zip(centre, (h, w), strict=True))
    if top >= bottom or left >= right:
        return
    box = np.s_[top:bottom, left:right]
    y, x = coordinates(top, left, bottom - top, right - left)
    dy, dx = y - centre[0], x - centre[1]
    u, v = np.abs(dx * np.cos(angle) + dy * np.sin(angle)), np.abs(dy * np.cos(angle) - dx * np.sin(angle))
    plot = (u < half[1]) & (v < half[0]) & ~np.isin(scene.label[box], (WATER, URBAN, BUILDINGS))
    scene.paint(box, plot, "site", BUILDINGS, rng.integers(VARIANTS))
    if rng.uniform() < 0.6:
        roof = plot & (u < half[1] - 0.8) & (v < half[0] - 0.8)
        scene.paint(box, roof, "hall", BUILDINGS, rng.integers(VARIANTS))
    changed[box] |= plot
