"""Quality of samples against the number of steps, on a trained generator: DPM-Solver++ beside DDIM and 1000-step DDPM.

    python benchmarks/sampling_steps.py MODEL PATCHES TEACHER OUT [--n 512] [--seeds 0 1] [--runs dpm++:25 ddpm:1000]

MODEL holds autoencoder/ and denoiser/; PATCHES is the patch set it was trained on; TEACHER its judge. OUT receives
steps.csv and steps.png. Distances are Fréchet distances in the judge's features of the image and of the mask, of all
samples to all real training patches: the sizes, and with them the bias, are those of every row. A row gives the
distance of one seed; every row of a seed starts from the same noise.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from specdm.metrics.coverage import coverage, fraction_errors, lost_classes
from specdm.metrics.frechet import frechet_distance
from specdm.model import Drawing, SpecDM
from specdm.nn.autoencoder import one_hot
from specdm.patches import class_counts, open_patches
from specdm.stages.batches import Mixture
from specdm.stages.train_teacher import load_teacher

BATCH = 512
RUNS = [
    *(("dpm++", n) for n in (5, 10, 15, 20, 25, 50)),
    *(("ddim", n) for n in (10, 25, 50, 200)),
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
    parser.add_argument("--runs", nargs="+", metavar="SAMPLER:STEPS", default=[f"{name}:{n}" for name, n in RUNS])
    arguments = parser.parse_args()
    model = SpecDM.from_pretrained(arguments.model)
    patches = open_patches(arguments.patches)
    teacher, normaliser, _ = load_teacher(arguments.teacher, torch.device("cpu"))
    classes = len(patches.meta.labels)
    real = real_features(patches, teacher, normaliser)
    rows_of_real = patches.ids("train")
    shares = coverage(np.stack(patches.index["class_counts"].to_numpy()[rows_of_real]))
    arguments.out.mkdir(parents=True, exist_ok=True)
    table = []
    for run in arguments.runs:
        sampler, n_steps = run.split(":")[0], int(run.split(":")[1])
        for seed in arguments.seeds:
            started = time.perf_counter()
            parts = [
                model.draw(range(s, min(s + BATCH, arguments.n)), seed, Drawing(sampler, n_steps))
                for s in range(0, arguments.n, BATCH)
            ]
            took = time.perf_counter() - started
            refl, masks, asked = (np.concatenate(column) for column in zip(*parts, strict=True))
            fake = features(teacher, normaliser, refl, masks, classes)
            counts = class_counts(masks, classes)
            met = fraction_errors(asked, counts / counts.sum(1, keepdims=True))
            row = {
                "sampler": sampler,
                "n_steps": n_steps,
                "seed": seed,
                "n": arguments.n,
                "fd_image": frechet_distance(fake[0], real[0]),
                "fd_mask": frechet_distance(fake[1], real[1]),
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
        axes.axvline(25, color="0.85", zorder=0)
        axes.set(xscale="log", yscale="log", xlabel="steps", ylabel="Fréchet distance", title=kind)
        axes.legend(fontsize="small")
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
