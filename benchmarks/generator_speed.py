"""Speed of the generator: training samples and sampled pairs a second, beside the plain way of doing the same.

    python benchmarks/generator_speed.py [--method specdm] [--dataset segmunich] [--batch 4] [--steps 6]

Trains both stages of a method of config/config.yaml for some steps on latents and patches of noise of the data set's
size: as configured, then in float32 without compilation and channels-last. Draws pairs with the method's sampler, then
with DDPM; a sample of 1000 steps is timed over `--ddpm-steps` of them, every step costs the same.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from noise import patch_set

from specdm import config
from specdm.model import Drawing, SpecDM, TrainedAutoencoder
from specdm.nn.autoencoder import JointAutoencoder, one_hot
from specdm.nn.conditions import condition_width, encode_condition
from specdm.nn.denoiser import Denoiser
from specdm.nn.diffusion import LossForm, sample_losses
from specdm.nn.losses import AutoencoderLossWeights, autoencoder_loss
from specdm.patches import Normaliser, open_patches
from specdm.settings import MethodSettings
from specdm.stages.batches import Mixture
from specdm.stages.train_autoencoder import autoencoder_spec
from specdm.stages.train_diffusion import denoiser_spec, noise_schedule
from specdm.training import Part, Plan, Task, fit

ROOT = Path(__file__).parents[1]
N = 64  # patches and latents of noise
CUDA = torch.cuda.is_available()


def timed_fit(model, task: Task, plan: Plan, folder: Path, warm: int) -> dict[str, float]:
    """Samples a second after `warm` steps, the share of time spent waiting for data, and peak memory in GiB."""
    marks = []

    def losses(model, data, device):
        if CUDA:
            torch.cuda.synchronize()
        marks.append(time.perf_counter())
        return task.losses(model, data, device)

    if CUDA:
        torch.cuda.reset_peak_memory_stats()
    optimiser = torch.optim.AdamW(model.parameters(), 1e-5, fused=True)
    plan = dataclasses.replace(plan, steps=plan.steps + warm)
    trained = fit(
        model, optimiser, dataclasses.replace(task, losses=losses), lambda s: 1.0, plan, folder, {}, name="timing"
    )
    done = (len(marks) - 1 - warm) * task.batch
    return {
        "samples_per_s": done / (marks[-1] - marks[warm]),
        "data_wait": trained.waited,
        "gpu_gib": torch.cuda.max_memory_allocated() / 2**30 if CUDA else float("nan"),
    }


def autoencoder_task(settings: MethodSettings, patches, batch: int) -> tuple[JointAutoencoder, Task]:
    dates, n_bands = patches.images.shape[1:3]
    classes = len(patches.meta.labels)
    network = JointAutoencoder(autoencoder_spec(settings.autoencoder, n_bands, classes, dates))
    normaliser = Normaliser.fit(patches)
    mixture = Mixture([(patches, np.arange(N))])

    def losses(model, data, device):
        there = data.to(device)
        recon = model(there.images, one_hot(there.masks, classes))
        weights, scale = AutoencoderLossWeights(), (normaliser.mean, normaliser.std)
        return autoencoder_loss(
            recon, there.images, there.masks, weights, *scale, network.autoencoder_slices, there.valid
        )

    return network, Task(lambda part: mixture.training_batch(part, batch, "d4", normaliser, 0), losses, batch)


def denoiser_task(settings: MethodSettings, patches, channels: int, side: int, batch: int) -> tuple[Denoiser, Task]:
    told = condition_width(len(patches.meta.labels)) if settings.diffusion.conditioning else 0
    network = Denoiser(denoiser_spec(settings.diffusion.unet, channels, side, told))
    schedule, form = noise_schedule(settings.diffusion, side), LossForm("min_snr")
    mean = np.random.default_rng(0).normal(size=(N, channels, side, side)).astype(np.float16)

    def data_at(part: Part):
        rng = np.random.default_rng(part.step)
        rows, t = rng.integers(N, size=batch), torch.from_numpy(rng.integers(1000, size=batch))
        noise = torch.randn(2, batch, channels, side, side)
        return torch.from_numpy(mean[rows].astype(np.float32)) + 0.1 * noise[0], t, noise[1]

    def losses(model, data, device):
        clean, t, noise = (x.to(device, non_blocking=True) for x in data)
        asked = torch.full((batch, len(patches.meta.labels)), torch.nan, device=device)
        condition = (encode_condition(asked),) if told else ()
        return {"total": sample_losses(lambda z, s: model(z, s, *condition), clean, t, noise, schedule, form).mean()}

    return network, Task(data_at, losses, batch)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--method", default="specdm")
    parser.add_argument("--dataset", default="segmunich")
    parser.add_argument("--batch", type=int, default=32 if CUDA else 4)
    parser.add_argument("--steps", type=int, default=100 if CUDA else 6)
    parser.add_argument("--ddpm-steps", type=int, default=100 if CUDA else 10)
    given = parser.parse_args()
    whole = config.load([ROOT / "config" / "config.yaml"])
    settings, dataset = whole.method(given.dataset, given.method), whole.datasets[given.dataset]
    dates = 2 if dataset.task == "change" else 1
    print("device:", torch.cuda.get_device_name() if CUDA else f"CPU, {torch.get_num_threads()} threads")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        patches = open_patches(patch_set(folder / "patches", dates, dataset.prepare.patch_px, ["train"] * N))
        torch.manual_seed(0)
        autoencoder, first = autoencoder_task(settings, patches, given.batch)
        side = dataset.prepare.patch_px // autoencoder.downsampling
        denoiser, second = denoiser_task(settings, patches, autoencoder.latent_channels, side, given.batch)
        plans = {
            "as configured": Plan(given.steps, precision="auto", compile=True, channels_last=True, ema_decay=0.999),
            "float32, plain": Plan(given.steps, ema_decay=0.999),
        }
        for stage, model, task in (("autoencoder", autoencoder, first), ("denoiser", denoiser, second)):
            for name, plan in plans.items():
                model.to(memory_format=torch.contiguous_format)
                found = timed_fit(model, task, plan, folder / stage / name, warm=5 if CUDA else 1)
                print(f"training {stage}, {name}: " + "  ".join(f"{k} {v:.3g}" for k, v in found.items()), flush=True)
        trained = TrainedAutoencoder(
            autoencoder, Normaliser.fit(patches), patches.meta, np.dtype("uint16"), patches.images.shape[1:], {}
        )
        latents = {
            "mean": [0.0] * autoencoder.latent_channels,
            "std": [1.0] * autoencoder.latent_channels,
            "shape": [autoencoder.latent_channels, side, side],
        }
        classes = len(patches.meta.labels)
        generator = SpecDM.of(
            trained,
            denoiser,
            noise_schedule(settings.diffusion, side),
            latents,
            torch.full((1, classes), 1 / classes),
            settings.diffusion.conditioning,
            torch.device("cuda" if CUDA else "cpu"),
        )
        ours = Drawing(settings.sampling.sampler, settings.sampling.n_steps, half=CUDA)
        few = Drawing("ddpm", given.ddpm_steps)
        generator.draw(range(given.batch), 0, Drawing(n_steps=2, half=CUDA))
        seconds = {}
        for name, drawing in (("ours", ours), ("ddpm", few)):
            started = time.perf_counter()
            generator.draw(range(given.batch), 0, drawing)
            seconds[name] = time.perf_counter() - started
        started = time.perf_counter()
        generator.decode(torch.zeros(given.batch, *latents["shape"]))
        decode = time.perf_counter() - started
        whole_ddpm = (seconds["ddpm"] - decode) * 1000 / given.ddpm_steps + decode
        print(f"sampling, {ours.sampler} {ours.n_steps} steps: {given.batch / seconds['ours']:.3g} pairs/s")
        print(f"sampling, DDPM 1000 steps in float32: {given.batch / whole_ddpm:.3g} pairs/s")
        print(f"decoding is {decode / seconds['ours']:.0%} of the first")


if __name__ == "__main__":
    main()
