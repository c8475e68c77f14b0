"""Map a Sentinel-2 tile (10 980 x 10 980 x 10, uint16) with `specdm predict`, beside the network alone.

    python benchmarks/predict_tile.py FOLDER [--network segformer-b0] [--side-px 10980] [--tile-px 512]

Writes the scene once below FOLDER (2.4 GB) and an untrained network, then runs, each in a process of its own:
`predict`, from file to map; and the same network on as many tiles of noise in memory, reading and writing nothing.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from tile_scene import BANDS, write_scene

OVERLAP, BATCH = 64, 4


def write_network(folder: Path, name: str) -> None:
    """An untrained network of four classes, as train-downstream writes one."""
    from specdm.labels import LabelClass, LabelSet
    from specdm.nn import downstream
    from specdm.patches import Normaliser, PatchMeta
    from specdm.stages.batches import described
    from specdm.weights import save_weights

    classes = tuple(
        LabelClass(i, n, (60 * i, 90, 200), ()) for i, n in enumerate(("water", "forest", "fields", "town"))
    )
    meta = PatchMeta("noise", "none", "BOA", tuple(BANDS), 1e-4, 0.0, 0, LabelSet("four", classes))
    normaliser = Normaliser((0.1,) * 10, (0.1,) * 10)
    network = downstream.build(name, bands=10, classes=4)
    data = described(meta, np.dtype("uint16"), (1, 10, 512, 512), normaliser)
    config = {"kind": "downstream", "id": "untrained", "network": name, "options": {}, "data": data}
    save_weights(folder, network.state_dict(), config, lambda _: None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--network", default="segformer-b0")
    parser.add_argument("--side-px", type=int, default=10980)
    parser.add_argument("--tile-px", type=int, default=512)
    parser.add_argument("--step", choices=["ours", "alone"], help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    model, image = args.folder / args.network, args.folder / "image.tif"
    if args.step:
        from specdm.stages.predict import Tiling, predict

        tiling = Tiling(args.tile_px, OVERLAP, BATCH)
        started = time.perf_counter()
        if args.step == "ours":
            predict(model, [image], args.folder / "map.tif", tiling)
        else:
            alone(model, len(tiling.along(args.side_px)) ** 2, args.tile_px)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(json.dumps({"s": time.perf_counter() - started, "gib": peak}))
        return
    if not image.exists():
        write_scene(args.folder, args.side_px, "band")
    write_network(model, args.network)
    for step, name in {"ours": "specdm predict", "alone": "the network alone, on noise in memory"}.items():
        done = subprocess.run([sys.executable, *sys.argv, "--step", step], check=True, capture_output=True, text=True)
        found = json.loads(done.stdout.splitlines()[-1])
        print(f"{name:38} {found['s']:.0f} s, {found['gib']:.2f} GiB", flush=True)


def alone(model: Path, tiles: int, side: int) -> None:
    """Predict as many tiles of noise."""
    import torch

    from specdm.stages.predict import TrainedNetwork

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = TrainedNetwork.load(model, device).network
    noise = torch.randn(BATCH, 1, 10, side, side, device=device)
    with torch.no_grad(), torch.autocast("cuda", torch.bfloat16, enabled=device.type == "cuda"):
        for start in range(0, tiles, BATCH):
            network(noise[: min(BATCH, tiles - start)]).argmax(1).to(torch.uint8).cpu()


if __name__ == "__main__":
    main()
