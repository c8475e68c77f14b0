"""Export a patch set of 10 x 128 x 128 uint16 to every format, beside a plain copy of its images.

    python benchmarks/export_formats.py FOLDER [--patches 10000] [--keep]

Writes the sets below FOLDER (3.4 GB each, one after the other), and runs each export in a process of its own: patches a
second, bytes of the files, largest memory of the process. The images are noise, which no compression makes smaller than
its 13.3 of 16 bits. For oscd the set has two dates of five bands: as many numbers, in 29 files a patch.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from specdm.bands import BAND_SETS, wavelengths
from specdm.labels import OSCD, SEGMUNICH
from specdm.patches import PatchMeta, PatchRecord, PatchWriter

SIZE, BATCH = 128, 100
TABLE = Path(__file__).parents[1] / "config" / "datasets.csv"
PAIRS = ("B02", "B03", "B04", "B08", "B11")
STEPS = {  # name -> set, format, options
    "plain copy of images.npy": ("fields", "copy", {}),
    "geotiff": ("fields", "geotiff", {}),
    "geotiff, deflate": ("fields", "geotiff", {"compression": "deflate"}),
    "geotiff, zstd": ("fields", "geotiff", {"compression": "zstd"}),
    "segmunich": ("fields", "segmunich", {}),
    "webdataset": ("fields", "webdataset", {}),
    "plain copy of images.npy (pairs)": ("pairs", "copy", {}),
    "oscd": ("pairs", "oscd", {}),
}


def write(folder: Path, patches: int) -> None:
    """A patch set of noise with labels in squares: "fields" of one date, "pairs" of two."""
    pairs = folder.name == "pairs"
    bands, labels, level = (PAIRS, OSCD, "TOA") if pairs else (BAND_SETS["paper"], SEGMUNICH, "BOA")
    meta = PatchMeta(folder.name, "Sentinel-2 MSI", level, bands, 1e-4, 0.0, 0, labels, wavelengths(bands))
    rng = np.random.default_rng(0)
    shape = (1 + pairs, len(bands), SIZE, SIZE)
    with PatchWriter(folder, meta, shape, "uint16") as writer:
        for start in range(0, patches, BATCH):
            n = min(BATCH, patches - start)
            images = rng.integers(1, 10000, (n, *shape), np.uint16)
            masks = rng.integers(0, len(labels), (n, 8, 8), np.uint8).repeat(16, 1).repeat(16, 2)
            records = [PatchRecord(f"p{start + i:06}", "train", "g", "noise") for i in range(n)]
            writer.append(images, masks, records)


def run(name: str, folder: Path) -> None:
    """One step: print its seconds, bytes and largest memory as JSON."""
    from specdm.stages.export import export

    source, to, options = STEPS[name]
    out = folder / "out"
    started = time.perf_counter()
    if to == "copy":
        out.mkdir()
        with open(folder / source / "images.npy", "rb") as one, open(out / "images.npy", "wb") as other:
            shutil.copyfileobj(one, other, 1 << 24)
    else:
        export(folder / source, to, out, table=TABLE, **options)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    files = [os.path.getsize(os.path.join(top, name)) for top, _, names in os.walk(out) for name in names]
    print(json.dumps({"s": seconds, "bytes": sum(files), "files": len(files), "gib": peak}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--patches", type=int, default=10000)
    parser.add_argument("--keep", action="store_true", help="keep the sets")
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    if args.step:
        return run(args.step, args.folder)
    made = None
    for name, (source, *_) in STEPS.items():
        if source != made:
            if made and not args.keep:
                shutil.rmtree(args.folder / made)
            write(args.folder / source, args.patches)
            made = source
        command = [sys.executable, *sys.argv, "--step", name]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        found = json.loads(done.stdout.splitlines()[-1])
        print(
            f"{name:32} {args.patches / found['s']:6.0f} patches/s, {found['s']:.1f} s, {found['bytes'] / 1e9:.2f} GB, "
            f"{found['files']} files, {found['gib']:.2f} GiB",
            flush=True,
        )
        shutil.rmtree(args.folder / "out")
    if not args.keep:
        shutil.rmtree(args.folder / made)


if __name__ == "__main__":
    main()
