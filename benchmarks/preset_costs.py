"""Sizes and costs of the presets in config/config.yaml, as a Markdown table: parameters, GFLOP, memory of training.

    python benchmarks/preset_costs.py

Nothing is computed: networks are built and run without values. A multiplication and an addition are two FLOP. Memory
at batch 32 is an estimate: weights, gradients, two moments of AdamW and the average in float32, and what autograd keeps
of the forward pass under bfloat16 autocast; a GPU needs some more for workspaces.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from specdm import bands, config
from specdm.nn.autoencoder import JointAutoencoder
from specdm.nn.conditions import condition_width
from specdm.nn.denoiser import Denoiser
from specdm.stages.train_autoencoder import autoencoder_spec
from specdm.stages.train_diffusion import denoiser_spec

CONFIG = config.load([Path(__file__).parents[1] / "config" / "config.yaml"])
TASKS = {"segmunich": (13, 1), "oscd": (2, 2)}  # classes, dates
BATCH, COPIES = 32, 5  # copies of the weights: themselves, gradient, two moments, average


def millions(*modules: torch.nn.Module) -> float:
    return sum(p.numel() for module in modules for p in module.parameters()) / 1e6


def gflop(run) -> float:
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops() / 1e9


def training_gib(module: torch.nn.Module, run) -> float:
    """Memory of a training step of `run`, in GiB."""
    kept = {}

    def note(tensor):
        kept[tensor.untyped_storage()._cdata] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda t: t), torch.autocast("cpu", torch.bfloat16):
        run()
    weights = {p.untyped_storage()._cdata for p in module.parameters()}
    activations = sum(size for storage, size in kept.items() if storage not in weights)
    return (activations + COPIES * 4 * millions(module) * 1e6) / 2**30


def costs(dataset: str, method: str) -> list[str]:
    """A row of the table."""
    settings, px = CONFIG.method(dataset, method), CONFIG.datasets[dataset].prepare.patch_px
    classes, dates = TASKS[dataset]
    n_bands = len(bands.resolve("paper"))
    with FakeTensorMode():
        autoencoder = JointAutoencoder(autoencoder_spec(settings.autoencoder, n_bands, classes, dates))
        z, side = autoencoder.latent_channels, px // autoencoder.downsampling
        told = condition_width(classes) if settings.diffusion.conditioning else 0
        denoiser = Denoiser(denoiser_spec(settings.diffusion.unet, z, side, told))

        def encode(n):
            return autoencoder.encode(torch.empty(n, dates, n_bands, px, px), torch.empty(n, classes, px, px))

        def decode(n):
            return autoencoder.decode(torch.empty(n, z, side, side))

        def denoise(n):
            more = (torch.empty(n, told),) if told else ()
            return denoiser(torch.empty(n, z, side, side), torch.zeros(n, dtype=torch.long), *more)

        per_step, decoding = gflop(lambda: denoise(1)), gflop(lambda: decode(1))
        drawn = settings.sampling.n_steps * per_step + decoding
        first = training_gib(autoencoder, lambda: (encode(BATCH), decode(BATCH)))
        second = training_gib(denoiser, lambda: denoise(BATCH))
    streams = [autoencoder.joint] if settings.autoencoder.streams == "single" else [autoencoder.image, autoencoder.mask]
    return [
        dataset,
        method,
        f"{z} × {side} × {side}",
        " + ".join(f"{millions(stream):.1f}" for stream in streams),
        f"{millions(denoiser):.2f}",
        f"{per_step:.1f}",
        f"{decoding:.0f}",
        f"{settings.sampling.sampler} {settings.sampling.n_steps}",
        f"{drawn / 1000:.2f}",
        f"{first:.0f}",
        f"{second:.0f}",
    ]


def main() -> None:
    head = [
        "data set",
        "preset",
        "latent",
        "autoencoder (M)",
        "denoiser (M)",
        "GFLOP a step",
        "GFLOP decoding",
        "sampler",
        "TFLOP a pair",
        "autoencoder, GiB",
        "denoiser, GiB",
    ]
    print("| " + " | ".join(head) + " |\n" + "|---" * len(head) + "|")
    for dataset in TASKS:
        for method in CONFIG.methods:
            if method != "specdm-no-sad":  # of the same size
                print("| " + " | ".join(costs(dataset, method)) + " |", flush=True)


if __name__ == "__main__":
    main()
