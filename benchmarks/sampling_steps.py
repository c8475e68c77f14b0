"""Quality of samples against the number of steps, on a trained generator: DPM-Solver++ beside DDIM and 1000-step DDPM.

    python benchmarks/sampling_steps.py MODEL PATCHES TEACHER OUT [--n 512] [--seeds 0 1]

MODEL holds autoencoder/ and denoiser/; PATCHES is the patch set it was trained on; TEACHER its judge. OUT receives
steps.csv and steps.png. Distances are Fréchet distances to as many real training patches, in the judge's features of
the image and of the mask; the floor is that of two halves of the real set. Every row starts from the same noise.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from specdm.metrics.coverage import coverage, fraction_errors, lost_classes
from specdm.metrics.frechet import equal_size_distance, halves_floor
from specdm.model import Drawing, SpecDM
from specdm.nn.autoencoder import one_hot
from specdm.patches import open_patches
from specdm.stages.batches import Mixture
from specdm.stages.train_teacher import load_teacher

BATCH = 64
RUNS = [
    *(("dpm++", n) for n in (4, 6, 8, 10, 15, 20, 25, 50, 100)),
    *(("ddim", n) for n in (10, 25, 50, 100, 200)),
    *(("ddpm", n) for n in (100, 1000)),
]


def features(teacher, normaliser, refl: np.ndarray, masks: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """The judge's features of images (n,T,C,H,W) and of masks (n,H,W)."""
    with torch.no_grad():
        images = torch.from_numpy(normaliser.apply(refl))
        return (
            teacher.image_features(images).flatten(1).numpy(),
            teacher.mask_features(one_hot(torch.from_numpy(masks), classes)).numpy(),
        )


def real_features(patches, teacher, normaliser) -> tuple[np.ndarray, np.ndarray]:
    mixture = Mixture([(patches, patches.ids("train"))])
    parts = [[], []]
    for start in range(0, len(mixture), BATCH):
        rows = patches.ids("train")[start : start + BATCH]
        found = features(teacher, normaliser, patches.reflectance(rows), patches.masks[rows], mixture.n_classes)
        for part, values in zip(parts, found, strict=True):
            part.append(values)
    return tuple(map(np.concatenate, parts))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("model", "patches", "teacher", "out"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--n", type=int, default=512)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    arguments = parser.parse_args()
    model = SpecDM.from_pretrained(arguments.model)
    patches = open_patches(arguments.patches)
    teacher, normaliser, _ = load_teacher(arguments.teacher, torch.device("cpu"))
    classes = len(patches.meta.labels)
    real = real_features(patches, teacher, normaliser)
    rows_of_real = patches.ids("train")
    groups = patches.index["group"].to_numpy()[rows_of_real]
    shares = coverage(np.stack(patches.index["class_counts"].to_numpy()[rows_of_real]))
    floors = [halves_floor(f, groups, arguments.n, 0).distance for f in real]
    arguments.out.mkdir(parents=True, exist_ok=True)
    table = []
    for sampler, n_steps in RUNS:
        for seed in arguments.seeds:
            started = time.perf_counter()
            parts = [
                model.draw(range(s, min(s + BATCH, arguments.n)), seed, Drawing(sampler, n_steps))
                for s in range(0, arguments.n, BATCH)
            ]
            took = time.perf_counter() - started
            refl, masks, asked = (np.concatenate(column) for column in zip(*parts, strict=True))
            fake = features(teacher, normaliser, refl, masks, classes)
            counts = np.stack([np.bincount(m.ravel(), minlength=classes) for m in masks])
            met = fraction_errors(asked, counts / counts.sum(1, keepdims=True))
            row = {
                "sampler": sampler,
                "n_steps": n_steps,
                "seed": seed,
                "fd_image": equal_size_distance(fake[0], real[0], arguments.n, 0).distance,
                "fd_mask": equal_size_distance(fake[1], real[1], arguments.n, 0).distance,
                "floor_image": floors[0],
                "floor_mask": floors[1],
                "classes_lost": len(lost_classes(shares, coverage(counts))),
                "asked_error": float(met.mean()) if len(met) else float("nan"),
                "pairs_per_s": arguments.n / took,
            }
            table.append(row)
            print("  ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items()), flush=True)
            pd.DataFrame(table).to_csv(arguments.out / "steps.csv", index=False, float_format="%.5g")
    draw(pd.DataFrame(table), arguments.out / "steps.png")


def draw(table: pd.DataFrame, path: Path) -> None:
    """Distance against steps, a panel for the image and one for the mask."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.8), layout="constrained")
    mean = table.groupby(["sampler", "n_steps"], as_index=False).mean()
    for axes, kind in zip(figure.subplots(1, 2), ("image", "mask"), strict=True):
        for sampler, rows in mean.groupby("sampler", sort=False):
            axes.plot(rows["n_steps"], rows[f"fd_{kind}"], "o-", label=sampler, markersize=4)
        axes.axhline(mean[f"floor_{kind}"].iloc[0], color="grey", linestyle=":", label="two real halves")
        axes.axvline(25, color="0.85", zorder=0)
        axes.set(xscale="log", yscale="log", xlabel="steps", ylabel="Fréchet distance", title=kind)
        axes.legend(fontsize="small")
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
