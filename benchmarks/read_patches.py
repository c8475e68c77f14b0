"""Random reads from a patch set of 10 x 128 x 128 uint16, beside the same reads from a plain memory map.

    python benchmarks/read_patches.py

Target: at least 8000 patches a second, warm cache, one process.
"""

import tempfile
import time
from pathlib import Path

import numpy as np

from specdm.bands import BAND_SETS
from specdm.labels import SEGMUNICH
from specdm.patches import PatchMeta, PatchRecord, PatchWriter, open_patches

PATCHES, SIZE, BATCH, ROUNDS = 3000, 128, 100, 5


def write(folder: Path) -> None:
    """A patch set of noise."""
    rng = np.random.default_rng(0)
    bands = BAND_SETS["paper"]
    meta = PatchMeta("noise", "none", "BOA", bands, 1e-4, 0.0, 0, SEGMUNICH)
    with PatchWriter(folder, meta, (1, len(bands), SIZE, SIZE), "uint16") as writer:
        for start in range(0, PATCHES, BATCH):
            images = rng.integers(1, 10000, (BATCH, 1, len(bands), SIZE, SIZE), np.uint16)
            masks = rng.integers(0, len(SEGMUNICH), (BATCH, SIZE, SIZE), np.uint8)
            writer.append(images, masks, [PatchRecord(f"{start + i}", "train", "g", "noise") for i in range(BATCH)])


def rate(read, order: np.ndarray) -> float:
    """Patches a second over the best of some rounds, the first of which warms the cache."""
    times = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        for i in order:
            read(i)
        times.append(time.perf_counter() - started)
    return len(order) / min(times)


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "patches"
        write(folder)
        order = np.random.default_rng(1).permutation(PATCHES)
        patches = open_patches(folder)
        images, masks = (np.load(folder / name, mmap_mode="r") for name in ("images.npy", "masks.npy"))
        plain = rate(lambda i: (np.array(images[i]), np.array(masks[i])), order)
        ours = rate(patches.__getitem__, order)
    print(f"np.load memory map: {plain:.0f} patches/s")
    print(f"open_patches:       {ours:.0f} patches/s (target >= 8000)")


if __name__ == "__main__":
    main()
