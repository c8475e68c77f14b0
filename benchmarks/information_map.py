"""What a map of information costs beside drawing: seconds for 1000 pairs, on one CPU thread or a GPU.

    python benchmarks/information_map.py MODEL PATCHES [--n 32] [--levels 12] [--noises 2]

MODEL holds autoencoder/ and denoiser/ of diffusion.levels: streams; PATCHES is a patch set that it may label. Maps are
those of check-labels, in every direction; drawn are as many pairs jointly, by dpm++ in 25 steps.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import torch

from specdm.given import Given
from specdm.information import Asking, information_bits
from specdm.model import Drawing, SpecDM
from specdm.patches import open_patches


def seconds(work: Callable[[], object]) -> float:
    """Seconds of the faster of two runs: the first one warms up."""
    found = []
    for _ in range(2):
        started = time.perf_counter()
        work()
        found.append(time.perf_counter() - started)
    return min(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("model", "patches"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--n", type=int, default=32)
    parser.add_argument("--levels", type=int, default=12)
    parser.add_argument("--noises", type=int, default=2)
    given = parser.parse_args()
    cuda = torch.cuda.is_available()
    model, patches = SpecDM.from_pretrained(given.model), open_patches(given.patches)
    indices = list(range(given.n))
    pairs = Given(patches.masks[indices], patches.reflectance(indices), patches.valid(indices))
    print("device:", torch.cuda.get_device_name() if cuda else f"CPU, {torch.get_num_threads()} threads")
    drawing = Drawing("dpm++", 25, half=cuda)
    drawn = seconds(lambda: model.draw(indices, 0, drawing))
    print(f"drawing, dpm++ 25 steps: {1000 * drawn / given.n:.3g} s for 1000 pairs")
    for of in ("mask", "image", "date2")[: 2 if len(model.streams.images) < 2 else 3]:
        asking = Asking(of, given.levels, given.noises, cuda)
        asked = seconds(lambda asking=asking: information_bits(model, pairs, indices, 0, asking))
        evaluations = 2 * given.levels * given.noises
        print(
            f"information of the {of}, {given.levels} levels x {given.noises} noises, {evaluations} evaluations: "
            f"{1000 * asked / given.n:.3g} s for 1000 pairs, {asked / drawn:.2f} times drawing"
        )


if __name__ == "__main__":
    main()
