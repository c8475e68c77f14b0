"""How well planted label errors are found by information, in each direction, beside the change magnitude alone.

    python benchmarks/label_errors.py MODEL PATCHES [--splits val test] [--n 200] [--levels 12] [--noises 2] [--out CSV]

MODEL holds autoencoder/ and denoiser/ of diffusion.levels: streams; PATCHES is a patch set of two dates that it may
label. Into held-out patches one error each is planted: an object dropped, an object of another patch added, the mask
shifted. Printed are areas under the ROC curve (0.5 by chance): of the suspicion of patches, planted against all that
are untouched (auc_patch) and against the same ones untouched (auc_same), and of cells within planted patches, wrong (at
least half of their pixels) against right (auc_cell). The magnitude of change suspects what has changed and is labelled
unchanged, and the reverse. Patches without an object are in "added" alone.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from specdm.given import Given
from specdm.information import Asking, cell_px, information_bits
from specdm.labels import IGNORE
from specdm.metrics.label_errors import labelled_cells, lowest_cells, smoothed
from specdm.metrics.planted_errors import added_object, dropped_object, shifted_mask
from specdm.metrics.ranking import area_under_curve
from specdm.model import SpecDM
from specdm.patches import PatchSet, open_patches
from specdm.progress import Progress
from specdm.randomness import numpy_generator

BATCH = 32


def plant(patches: PatchSet, rows: np.ndarray, shift_px: int, seed: int) -> dict[str, list[tuple[int, np.ndarray]]]:
    """By kind of error the place in `rows`, the mask and where it is wrong, of the patches that can have it."""
    donors = [i for i in rows if (patches.masks[i] == 1).any()]
    found: dict[str, list] = {"dropped": [], "added": [], "shifted": []}
    for place, i in enumerate(rows):
        rng, mask = numpy_generator(seed, "plant", int(i)), patches.masks[i]
        donor = patches.masks[rng.choice([j for j in donors if j != i])]
        for kind, planted in (
            ("dropped", dropped_object(mask, rng)),
            ("added", added_object(mask, donor, rng)),
            ("shifted", shifted_mask(mask, shift_px, rng)),
        ):
            if planted is not None:
                found[kind].append((place, planted.mask, planted.wrong))
    return found


def information(model: SpecDM, patches: PatchSet, rows: np.ndarray, masks: np.ndarray, seed: int, asking: Asking):
    """Bits (n,h,w) of the images of some patches with these masks."""
    parts, progress = [], Progress(f"information of the {asking.of}", len(rows))
    for start in range(0, len(rows), BATCH):
        of = rows[start : start + BATCH]
        pairs = Given(masks[start : start + BATCH], patches.reflectance(of), patches.valid(of))
        parts.append(information_bits(model, pairs, of, seed, asking))
        progress.update(min(start + BATCH, len(rows)))
    return np.concatenate(parts)


def area_between(higher: np.ndarray, lower: np.ndarray) -> float:
    """How well the scores of two kinds, (n,) and (m,), are told apart."""
    return area_under_curve(np.concatenate([higher, lower]), np.arange(len(higher) + len(lower)) < len(higher))


def agreement_by_magnitude(model: SpecDM, patches: PatchSet, rows: np.ndarray, masks: np.ndarray, px: int):
    """Minus the suspicion (n,h,w) by change alone: ranks of the pixels' change, turned where labelled changed."""
    images = model.autoencoder.normaliser.apply(patches.reflectance(rows))
    magnitude = np.sqrt(np.square(images[:, -1] - images[:, 0]).mean(1))
    rank = rankdata(magnitude).reshape(magnitude.shape) / magnitude.size
    contrary = np.where(masks == 1, 1 - rank, rank)
    n, height, width = contrary.shape
    return -contrary.reshape(n, height // px, px, width // px, px).mean((2, 4))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("model", "patches"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--splits", nargs="+", default=["val", "test"])
    parser.add_argument("--n", type=int, default=200)
    parser.add_argument("--levels", type=int, default=12)
    parser.add_argument("--noises", type=int, default=2)
    parser.add_argument("--shift-px", type=int, default=6)
    parser.add_argument("--smooth", type=int, nargs="+", default=[1, 3, 5])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    model, patches = SpecDM.from_pretrained(asked.model), open_patches(asked.patches)
    px, table = cell_px(model), []
    for split in asked.splits:
        ids = patches.ids(split)
        rows = np.sort(numpy_generator(asked.seed, "label-errors", split).permutation(ids)[: asked.n])
        planted = plant(patches, rows, asked.shift_px, asked.seed)
        untouched = patches.masks[rows]

        def by(of: str, places: np.ndarray, masks: np.ndarray, rows=rows) -> np.ndarray:
            if of == "change magnitude":
                return agreement_by_magnitude(model, patches, rows[places], masks, px)
            asking = Asking(of, asked.levels, asked.noises)
            return information(model, patches, rows[places], masks, asked.seed, asking)

        for of in ("mask", "image", "date2", "change magnitude"):
            started = time.perf_counter()
            right_maps = by(of, np.arange(len(rows)), untouched)
            for kind, found in planted.items():
                places, masks, wrong = (np.stack(column) for column in zip(*found, strict=True))
                wrong_maps = by(of, places, masks)
                pixels = wrong.reshape(len(wrong), wrong.shape[1] // px, px, -1, px).mean((2, 4))
                for side in asked.smooth:
                    here, there = (
                        smoothed(maps, labelled_cells(of_masks != IGNORE, px), side)
                        for maps, of_masks in ((wrong_maps, masks), (right_maps, untouched))
                    )
                    ours, others = -lowest_cells(here)[0], -lowest_cells(there)[0]
                    clear = ((pixels >= 0.5) | (pixels == 0)) & ~np.isnan(here)
                    row = {
                        "split": split,
                        "by": of,
                        "smoothed_cells": side,
                        "error": kind,
                        "patches": len(places),
                        "auc_patch": area_between(ours, others),
                        "auc_same": area_between(ours, others[places]),
                        "auc_cell": area_under_curve(-here[clear], pixels[clear] >= 0.5),
                        "wrong_cells": int((pixels[clear] >= 0.5).sum()),
                    }
                    if side == 1 and of != "change magnitude":
                        row |= {"bits_wrong": wrong_maps[pixels >= 0.5].mean(), "bits_right": right_maps.mean()}
                    table.append(row)
            print(f"{split}, {of}: {time.perf_counter() - started:.0f} s", flush=True)
    print(pd.DataFrame(table).to_string(index=False, float_format=lambda v: f"{v:.3f}", na_rep=""))
    if asked.out:
        pd.DataFrame(table).to_csv(asked.out, index=False, float_format="%.4g")


if __name__ == "__main__":
    main()
