"""Speed of the downstream networks: images a second in training and inference, beside a plain reference.

    python benchmarks/downstream_speed.py [NETWORK ...] [--px 128] [--batch 8] [--steps 6] [--runs 3]

Ours trains by the project's loop, on batches from a patch set, in the configuration's number format and memory layout
(bfloat16 where a GPU has it, channels-last). The reference has the same parameters: for SegFormer the model of
segmentation-models-pytorch with the paper's mapping layer before it, for the others our network; it trains in a bare
loop, in float32 and the usual layout, on one batch that lies on the device. Both take turns; medians of the runs.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import segmentation_models_pytorch as smp
import torch
from noise import patch_set
from torch import nn

from specdm import bands
from specdm.networks import NETWORKS, task_of
from specdm.nn import downstream
from specdm.patches import Normaliser, open_patches
from specdm.settings import DownstreamSettings, Regime
from specdm.stages import downstream_fit
from specdm.stages.downstream_fit import Experiment, Run
from specdm.stages.training_set import Inputs, compose

NAMES = bands.resolve("paper")
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
WARM = 2  # steps that are not timed
PAPERS = ["segformer-b5", "pfsegnet-r101", "unet", "changeformer-v3", "siamcrnn-101", "fc-siam-diff"]


class Plain(nn.Module):
    """The mapping layer and SegFormer of segmentation-models-pytorch, with the original's width of the head."""

    def __init__(self, variant: str, classes: int):
        super().__init__()
        width = 256 if variant in ("b0", "b1") else 768
        self.adapter = nn.Conv2d(len(NAMES), 3, 1)
        self.model = smp.Segformer(
            f"mit_{variant}", encoder_weights=None, decoder_segmentation_channels=width, classes=classes
        )

    def forward(self, x):
        return self.model(self.adapter(x[:, 0]))

    def training_loss(self, x, masks):
        return nn.functional.cross_entropy(self(x), masks)


def experiment(folder: Path, network: str, px: int) -> Experiment:
    """An experiment on patches of noise with the classes of the network's task."""
    dates = downstream.TASK_DATES[task_of(network)]
    patches = open_patches(patch_set(folder / "patches", dates, px, ["val", *["train"] * 31]))
    regime = Regime(real=1, synthetic=0)
    chosen = compose(patches, Inputs(patches.folder), regime, 31, 0, folder / "derived")
    run = Run("noise", network, "real", regime, 31)
    return Experiment(run, patches, Normaliser.fit(patches), chosen, None, "none", folder / "derived")


def train_ours(made: Experiment, folder: Path, batch: int, steps: int) -> float:
    """Images a second of the project's loop: a run with `steps` more steps than another takes so much longer."""
    seconds = []
    for n in (WARM, WARM + steps):
        settings = DownstreamSettings(
            steps=n, batch=batch, precision="auto", channels_last=True, val_every=n, select="last"
        )
        started = time.perf_counter()
        downstream_fit.fit(made, settings, folder / f"{n}", "timing")
        _wait()
        seconds.append(time.perf_counter() - started)
    return steps * batch / (seconds[1] - seconds[0])


def train_plain(model: nn.Module, made: Experiment, batch: int, steps: int) -> float:
    """Images a second of a bare loop in float32 on one batch."""
    data = made.training_set.everything.batch(np.arange(batch), made.normaliser).to(DEVICE)
    model = model.to(DEVICE).train()
    optimiser = torch.optim.AdamW(model.parameters(), 1e-5)
    for step in range(steps + WARM):
        if step == WARM:
            _wait()
            started = time.perf_counter()
        model.training_loss(data.images, data.masks).backward()
        optimiser.step()
        optimiser.zero_grad()
    _wait()
    return steps * batch / (time.perf_counter() - started)


@torch.no_grad()
def infer(model: nn.Module, made: Experiment, batch: int, steps: int, ours: bool) -> float:
    """Images a second of predictions, data on the device."""
    images = made.training_set.everything.batch(np.arange(batch), made.normaliser).images.to(DEVICE)
    model = model.to(DEVICE).eval()
    if ours:
        model = model.to(memory_format=torch.channels_last)
    with torch.autocast(DEVICE.type, torch.bfloat16, enabled=ours and DEVICE.type == "cuda"):
        for step in range(steps + WARM):
            if step == WARM:
                _wait()
                started = time.perf_counter()
            model(images).argmax(1)
    _wait()
    return steps * batch / (time.perf_counter() - started)


def _wait() -> None:
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


def reference(made: Experiment) -> nn.Module:
    name = made.run.network
    classes = len(made.patches.meta.labels)
    if name.startswith("segformer-"):
        return Plain(name.removeprefix("segformer-"), classes)
    return downstream_fit.build(made, DownstreamSettings())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="*", default=PAPERS, help=", ".join(NETWORKS))
    parser.add_argument("--px", type=int, default=128)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--runs", type=int, default=3)
    args = parser.parse_args()
    where = torch.cuda.get_device_name() if DEVICE.type == "cuda" else f"CPU, {torch.get_num_threads()} thread(s)"
    print(f"{where}, {args.px} px, batch {args.batch}; images a second (medians of {args.runs} runs)")
    print(f"{'network':18} {'parameters':>12} {'training':>9} {'plain':>7} {'inference':>10} {'plain':>7}")
    for name in args.networks:
        found: dict[str, list[float]] = {}
        for _ in range(args.runs):
            with tempfile.TemporaryDirectory() as folder:
                made = experiment(Path(folder), name, args.px)
                network, plain = downstream_fit.build(made, DownstreamSettings()), reference(made)
                n = sum(p.numel() for p in network.parameters())
                assert n == sum(p.numel() for p in plain.parameters()), "not the same network"
                figures = {
                    "ours": train_ours(made, Path(folder), args.batch, args.steps),
                    "plain": train_plain(plain, made, args.batch, args.steps),
                    "ours_inference": infer(network, made, args.batch, args.steps, True),
                    "plain_inference": infer(plain, made, args.batch, args.steps, False),
                }
            for key, value in figures.items():
                found.setdefault(key, []).append(value)
        a, b, c, d = (statistics.median(values) for values in found.values())
        print(f"{name:18} {n:12,d} {a:9.2f} {b:7.2f} {c:10.2f} {d:7.2f}", flush=True)


if __name__ == "__main__":
    main()
