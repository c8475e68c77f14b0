"""Speed of one model for every conditional: training with a noise level of each stream, and drawing what is not given.

    python benchmarks/conditional_speed.py [--batch 16] [--steps 10] [--rounds 5] [--n-steps 25] [config files]

Patches and latents are noise of OSCD's size in the configuration, the networks untrained. Rounds alternate between what
is compared, and medians over them are printed: training steps a second with levels of the streams beside one shared
level, data included, and pairs a second of each conditional beside the joint draw.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from noise import patch_set

from specdm import config
from specdm.given import given as check_given
from specdm.model import Drawing, SpecDM, TrainedAutoencoder
from specdm.nn.autoencoder import JointAutoencoder
from specdm.nn.conditions import condition_width
from specdm.nn.denoiser import Denoiser
from specdm.nn.diffusion import LossForm
from specdm.nn.streams import LevelMixture, Streams, may_tell, training_levels
from specdm.patches import Normaliser, PatchSet, open_patches
from specdm.settings import MethodSettings
from specdm.stages.encode import Latents, open_latents
from specdm.stages.noisy_latents import noisy
from specdm.stages.train_autoencoder import autoencoder_spec
from specdm.stages.train_diffusion import denoiser_spec, noise_schedule

ROOT = Path(__file__).parents[1]
DEMO = [ROOT / "config" / name for name in ("config.yaml", "demo.yaml", "oscd-cpu.yaml")]
N = 64  # patches and latents of noise
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def seconds(work) -> float:
    started = time.perf_counter()
    work()
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def noise_latents(folder: Path, network: JointAutoencoder, side: int, classes: int) -> Latents:
    rng, shape = np.random.default_rng(0), (network.latent_channels, side, side)
    folder.mkdir()
    np.save(folder / "mean.npy", rng.normal(size=(N, 1, *shape)).astype(np.float16))
    np.save(folder / "std.npy", np.full((N, 1, *shape), 0.1, np.float16))
    np.save(folder / "fractions.npy", np.full((N, classes), 1 / classes, np.float32))
    (folder / "ids.json").write_text(json.dumps([str(i) for i in range(N)]))
    streams = {name: [s.start, s.stop] for name, s in network.stream_slices.items()}
    meta = {"shape": shape, "mean": [0.0] * shape[0], "std": [1.0] * shape[0], "streams": streams, "swapped": [False]}
    (folder / "meta.json").write_text(json.dumps(meta))
    return open_latents(folder)


def training_step(settings: MethodSettings, latents: Latents, levels: str, batch: int):
    """A function that makes the data of a step, and takes it."""
    streams, (channels, side, _) = Streams.of(latents.meta["streams"]), latents.meta["shape"]
    told, diffusion = condition_width(latents.fractions.shape[1]), settings.diffusion
    spec = denoiser_spec(diffusion.unet, channels, side, told, len(streams.names) if levels == "streams" else 0)
    network = Denoiser(spec).to(DEVICE)
    schedule, form = noise_schedule(diffusion, side), LossForm(diffusion.weighting)
    optimiser, rng = torch.optim.AdamW(network.parameters(), 1e-5, fused=True), np.random.default_rng(0)

    def step() -> None:
        rows, views = rng.integers(N, size=batch), np.zeros(batch, np.int64)
        t, tells = rng.integers(diffusion.n_steps, size=batch), np.ones(batch, bool)
        if levels == "streams":
            t = training_levels(rng, np.ones(batch, bool), streams, diffusion.n_steps, LevelMixture())
            tells &= may_tell(rng, t, streams, diffusion.n_steps)
        data = noisy(latents, streams, rows, views, t, torch.randn(batch, 2, channels, side, side), tells)
        data.loss(network, schedule, form, streams, DEVICE).mean().backward()
        optimiser.step()
        optimiser.zero_grad()

    return network, step


def compare(title: str, unit: str, works: dict, amount: int, rounds: int) -> None:
    """Print the median rate of each work over alternating rounds, and its ratio to the first."""
    taken: dict[str, list[float]] = {name: [] for name in works}
    for i in range(rounds + 1):
        for name, work in works.items():
            found = seconds(work)
            if i:  # the first round warms up
                taken[name].append(found)
    first = next(iter(works))
    for name, times in taken.items():
        ratios = statistics.median(own / beside for own, beside in zip(times, taken[first], strict=True))
        rate = amount / statistics.median(times)
        print(f"{title} {name}: {rate:.3g} {unit}/s, {ratios:.3f} times the time of {first}", flush=True)


def conditions(patches: PatchSet, trained: TrainedAutoencoder, batch: int) -> dict:
    rows = np.arange(batch)
    refl, masks = patches.reflectance(rows), patches.masks[rows]
    arrays = {
        "joint": None,
        "mask": {"mask": masks},
        "image": {"image": refl},
        "date1": {"date1": refl[:, 0]},
        "date1 and mask": {"date1": refl[:, 0], "mask": masks},
    }
    classes = len(patches.meta.labels)
    return {name: of and check_given(of, trained.shape, classes) for name, of in arrays.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--n-steps", type=int, default=25)
    parser.add_argument("files", nargs="*", type=Path, default=DEMO)
    wanted = parser.parse_args()
    whole = config.load(wanted.files)
    settings, dataset = whole.method("oscd", "specdm"), whole.datasets["oscd"]
    print(
        "device:", torch.cuda.get_device_name() if DEVICE.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    )
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        patches = open_patches(patch_set(folder / "patches", 2, dataset.prepare.patch_px, ["train"] * N))
        dates, bands, height, _ = patches.images.shape[1:]
        classes = len(patches.meta.labels)
        torch.manual_seed(0)
        autoencoder = JointAutoencoder(autoencoder_spec(settings.autoencoder, bands, classes, dates))
        side = height // autoencoder.downsampling
        latents = noise_latents(folder / "latents", autoencoder, side, classes)
        networks = {levels: training_step(settings, latents, levels, wanted.batch) for levels in ("shared", "streams")}
        works = {
            levels: lambda step=step: [step() for _ in range(wanted.steps)] for levels, (_, step) in networks.items()
        }
        compare("training", "steps", works, wanted.steps, wanted.rounds)
        trained = TrainedAutoencoder(
            autoencoder, Normaliser.fit(patches), patches.meta, np.dtype("uint16"), patches.images.shape[1:], {}
        )
        model = SpecDM.of(
            trained,
            networks["streams"][0],
            noise_schedule(settings.diffusion, side),
            latents.meta,
            latents.fractions,
            True,
            DEVICE,
        )
        rows, drawing = range(wanted.batch), Drawing(n_steps=wanted.n_steps)
        works = {
            name: lambda known=known: model.draw(rows, 0, drawing, known)
            for name, known in conditions(patches, trained, wanted.batch).items()
        }
        compare("drawing", "pairs", works, wanted.batch, wanted.rounds)


if __name__ == "__main__":
    main()
