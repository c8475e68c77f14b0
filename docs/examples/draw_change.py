"""Draw a change mask by code, a new road and a new quarter, and let a trained model paint both dates for it.

    python docs/examples/draw_change.py MODEL PICTURE.png [--n 3] [--guidance 1]

MODEL is a generator of change pairs that was trained with diffusion.levels: streams (docs/conditionals.md).
"""

import argparse
from pathlib import Path

import numpy as np

from specdm import SpecDM, figures

UNCHANGED, CHANGED = 0, 1  # class ids of OSCD


def road(px: int, row: float, slope: float, width_px: int) -> np.ndarray:
    """True on a straight road (px,px) that crosses the left edge at `row` and falls `slope` rows a column."""
    rows, columns = np.mgrid[:px, :px]
    return np.abs(rows - row - slope * columns) * (1 + slope**2) ** -0.5 < width_px / 2


def quarter(px: int, row: int, col: int, blocks: int, block_px: int, street_px: int) -> np.ndarray:
    """True on blocks x blocks square houses with streets between them, the first at (row, col)."""
    found, step = np.zeros((px, px), bool), block_px + street_px
    for i in range(blocks):
        for j in range(blocks):
            top, left = row + i * step, col + j * step
            found[top : top + block_px, left : left + block_px] = True
    return found


parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("model", type=Path)
parser.add_argument("picture", type=Path)
parser.add_argument("--n", type=int, default=3, help="pairs painted for each mask")
parser.add_argument("--guidance", type=float, default=1.0)
wanted = parser.parse_args()

model = SpecDM.from_pretrained(wanted.model)
px = model.autoencoder.shape[-1]
drawn = [road(px, 0.2 * px, 0.5, max(2, px // 16)), quarter(px, px // 4, px // 4, 3, px // 8, max(1, px // 24))]
masks = np.stack([np.where(mask, CHANGED, UNCHANGED).astype(np.uint8) for mask in drawn])

painted = model.sample(wanted.n * len(masks), seed=0, given={"mask": masks}, guidance=wanted.guidance)
assert (painted.masks == masks[np.arange(len(painted.masks)) % len(masks)]).all()  # what is given stays as it is

# The same first dates with the other mask: what was a new road becomes a new quarter.
other = model.sample(
    seed=1, given={"date1": painted.images[:, 0], "mask": painted.masks[::-1]}, guidance=wanted.guidance
)
figures.blocks(
    [
        figures.Block("both dates painted for a mask", painted.images, painted.masks),
        figures.Block("the same first dates, another mask", other.images, other.masks),
    ],
    painted.meta,
    wanted.picture,
)
