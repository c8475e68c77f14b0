"""Tile a Sentinel-2-sized scene (10 980 x 10 980 x 10, uint16) with labels, beside plain windowed reads of its windows.

    python benchmarks/tile_scene.py FOLDER [--patch-px 128] [--side-px 10980] [--interleave band]

Writes the scene once below FOLDER (2.4 GB), then runs, each in a process of its own: rasterio reading the windows that
the patch set holds, one by one, without and with writing them; and `prepare`, from the files to the patch set on disk,
splits and checksums included.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

BANDS = ["B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12"]


def write_scene(folder: Path, side_px: int, interleave: str) -> None:
    """A scene with texture, a strip without data, and labels in blotches, compressed and tiled as such files are."""
    import rasterio
    from rasterio.windows import Window

    place = {"crs": "EPSG:32633", "transform": rasterio.Affine(10, 0, 400000, 0, -10, 5100000)}
    size = {"width": side_px, "height": side_px, "tiled": True, "blockxsize": 512, "blockysize": 512, "driver": "GTiff"}
    options = place | size | {"compress": "deflate", "zlevel": 1, "predictor": 2, "num_threads": "all_cpus"}
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 4, (side_px // 60 + 1, side_px // 60 + 1)).astype(np.uint8)
    with (
        rasterio.open(
            folder / "image.tif", "w", count=10, dtype="uint16", nodata=0, interleave=interleave, **options
        ) as image,
        rasterio.open(folder / "labels.tif", "w", count=1, dtype="uint8", **options) as labels,
    ):
        for row in range(0, side_px, 512):
            height = min(512, side_px - row)
            rows, cols = np.arange(row, row + height) // 60, np.arange(side_px) // 60
            ids = coarse[rows[:, None], cols]
            pixels = rng.integers(200, 400, (10, height, side_px), dtype=np.uint16)
            pixels += (ids.astype(np.uint16) * 600 + 100) * np.arange(1, 11, dtype=np.uint16)[:, None, None] // 4
            pixels[:, :, : side_px // 20] = 0
            image.write(pixels, window=Window(0, row, side_px, height))
            labels.write(ids + 1, 1, window=Window(0, row, side_px, height))


def settings(patch_px: int) -> dict:
    names = ("water", "forest", "fields", "town")
    return {
        "scenes": [{"images": "image.tif", "labels": "labels.tif"}],
        "bands": BANDS,
        "level": "BOA",
        "scale": 1e-4,
        "classes": [{"name": name, "codes": [i + 1]} for i, name in enumerate(names)],
        "patch_px": patch_px,
    }


def plain_reads(folder: Path, patches: Path, write: bool) -> int:
    """Read the windows of a patch set one by one with rasterio, and write them or not; returns their number."""
    import pandas as pd
    import rasterio
    from rasterio.windows import Window

    index = pd.read_parquet(patches / "index.parquet", columns=["row", "col"])
    shape = np.load(patches / "images.npy", mmap_mode="r").shape
    side = shape[-1]
    out = np.lib.format.open_memmap(folder / "plain.npy", "w+", np.uint16, shape) if write else None
    with rasterio.open(folder / "image.tif") as image, rasterio.open(folder / "labels.tif") as labels:
        for i, (row, col) in enumerate(index.itertuples(index=False)):
            pixels = image.read(window=Window(col, row, side, side))
            labels.read(1, window=Window(col, row, side, side))
            if out is not None:
                out[i, 0] = pixels
    return len(index)


def ours(folder: Path, patches: Path, patch_px: int) -> int:
    """Prepare the scene; returns the number of patches."""
    from specdm import config
    from specdm.settings import SceneSettings
    from specdm.sources import scene

    section = config.parse_section(SceneSettings, settings(patch_px))
    return sum(scene.prepare(folder, patches, section, name="tile").sizes.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--patch-px", type=int, default=128)
    parser.add_argument("--side-px", type=int, default=10980)
    parser.add_argument("--interleave", choices=["band", "pixel"], default="band")
    parser.add_argument("--step", choices=["ours", "plain", "copy"], help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    patches = args.folder / "patches"
    if args.step:
        started = time.perf_counter()
        if args.step == "ours":
            n = ours(args.folder, patches, args.patch_px)
        else:
            n = plain_reads(args.folder, patches, write=args.step == "copy")
        seconds = time.perf_counter() - started
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(json.dumps({"n": n, "s": seconds, "gib": peak}))
        return
    if not (args.folder / "image.tif").exists():
        write_scene(args.folder, args.side_px, args.interleave)
    names = {"ours": "prepare", "plain": "rasterio, one window after the other", "copy": "the same, written to .npy"}
    for step, name in names.items():
        done = subprocess.run([sys.executable, *sys.argv, "--step", step], check=True, capture_output=True, text=True)
        found = json.loads(done.stdout.splitlines()[-1])
        print(
            f"{name:38} {found['n']} patches, {found['s']:.1f} s, {found['n'] / found['s']:.0f}/s, "
            f"{found['gib']:.2f} GiB"
        )


if __name__ == "__main__":
    main()
