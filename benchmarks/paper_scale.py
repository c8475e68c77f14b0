"""Rates of everything that the paper's experiments compute, on this machine, as a CSV table for plan_scale.py.

    python benchmarks/paper_scale.py [--csv rates.csv] [--only 'downstream/*'] [--seconds 5] [--minutes 6] [--tiny]

Runs the stages themselves, at the sizes and with the settings of config/config.yaml, on patches of noise, each for some
seconds after a warm-up. The table is written after every item; rows of the same item are replaced, all others stay. An
item that fails leaves its error in the column `note`. On a GPU most of the time goes into compiling: `--ahead` compiles
the first networks of the selection side by side, each in a process of its own; PyTorch keeps the result on disk, where
the measurement finds it.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import fnmatch
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from measured_stages import STRONG, UNCHANGED, Item, Rate, Workplace, measure
from stage_timing import CUDA, in_words

from specdm import config, files

CONFIG = Path(__file__).parents[1] / "config" / "config.yaml"
COMPILED = ("autoencoder", "denoiser")
AHEAD_S = 240  # the longest that compiling side by side may take
KEY = ("machine", "what", "dataset", "name")  # of a row
COLUMNS = tuple(dict.fromkeys([*KEY, *(field.name for field in dataclasses.fields(Rate))]))

_SMALL_METHOD = {
    "autoencoder": {"image": {"width": 32}, "mask": {"width": 32}, "batch": 2},
    "diffusion": {"unet": {"width": 96}, "batch": 2, "augment": "none"},
    "sampling": {"n_steps": 2, "batch": 2},
}
_SMALL_DATASET = {
    "prepare": {"patch_px": 64},
    "method_overrides": _SMALL_METHOD,
    "teacher": {"width": 8, "batch": 2},
}
TINY = {"datasets": {"segmunich": _SMALL_DATASET, "oscd": _SMALL_DATASET}, "downstream": {"batch": 2}}


def items(whole: config.Config) -> list[Item]:
    """All of them, what matters most first: `specdm`, downstream networks, then the other generators."""

    def generator(method: str, *stages: str) -> list[Item]:
        return [Item(stage, dataset, method) for dataset in whole.datasets for stage in stages]

    networks = [(name, network) for name, dataset in whole.datasets.items() for network in dataset.networks]
    return [
        *generator("specdm", "autoencoder", "encoding", "denoiser"),
        *generator("specdm", "sampling"),
        *(Item("downstream", dataset, network) for dataset, network in networks),
        *(Item("teacher", dataset, "teacher") for dataset in whole.datasets),
        *(Item("loading", dataset, name) for dataset in whole.datasets for name in (UNCHANGED, STRONG)),
        *generator("ldm", "autoencoder", "encoding", "denoiser", "sampling"),
        *generator("specdm-paper", "autoencoder", "encoding", "denoiser", "sampling"),
    ]


def add(path: Path, row: dict) -> None:
    """Write a row into the table, in the place of one of the same key."""
    rows = []
    if path.exists():
        with path.open(newline="") as stream:
            rows = [old for old in csv.DictReader(stream) if any(old[key] != row[key] for key in KEY)]
    with files.new_file(path) as temporary, temporary.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS)
        writer.writeheader()
        writer.writerows([*rows, row])


def compile_ahead(chosen: list[Item], tiny: bool) -> None:
    """Run some trainings side by side until they are compiled, and wait for all."""
    started, running = time.monotonic(), {}
    with tempfile.TemporaryDirectory() as folder:
        for i, item in enumerate(chosen):
            command = [sys.executable, __file__, "--only", str(item), "--seconds", "0", "--ahead", "0"]
            command += ["--csv", f"{folder}/{i}.csv", *(["--tiny"] if tiny else [])]
            running[item] = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for item, process in running.items():
            try:
                process.wait(max(0.1, started + AHEAD_S - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                print(f"{item} was not compiled within {AHEAD_S} s", flush=True)
    print(f"compiled {', '.join(map(str, chosen))}: {time.monotonic() - started:.0f} s", flush=True)


def rates_of(workplace: Workplace, item: Item) -> Iterator[Rate]:
    """The rates of an item; one with a note when it fails as a whole."""
    try:
        yield from measure(workplace, item)
    except Exception as error:  # the other items go on
        yield Rate(item.stage, 0, "", note=in_words(error))


def said(row: dict) -> str:
    """A row in words."""
    speed = row["note"] or "too short to tell"
    if row["per_second"] is not None:
        speed = f"{row['per_second']:.4g} {row['unit']}/s at a batch of {row['batch']}"
        speed += f", {row['peak_gib']:.1f} GiB" if row["peak_gib"] is not None else ""
        speed += f", loading busy {row['loading']:.0%}" if row["loading"] is not None else ""
    return f"{row['what']}, {row['dataset']} {row['name']}: {speed}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--csv", type=Path, default=Path("rates.csv"))
    parser.add_argument("--only", nargs="+", default=["*"], metavar="PATTERN", help="stage/dataset/name, with * and ?")
    parser.add_argument("--seconds", type=float, default=5.0, help="to measure each, after its warm-up")
    parser.add_argument("--minutes", type=float, default=6.0, help="no item starts after this time")
    parser.add_argument("--ahead", type=int, default=4 if CUDA else 0, help="networks compiled side by side first")
    parser.add_argument("--tiny", action="store_true", help="small sizes, to see it run without a GPU")
    parser.add_argument("--list", action="store_true", help="print the items and end")
    given = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "tiny.yaml").write_text(json.dumps(TINY))
        whole = config.load([CONFIG, *([folder / "tiny.yaml"] if given.tiny else [])])
        chosen = [item for item in items(whole) if any(fnmatch.fnmatch(str(item), p) for p in given.only)]
        if given.list or not chosen:
            print(*(chosen or ["nothing fits --only"]), sep="\n")
            return
        first = [item for item in chosen if item.stage in COMPILED][: given.ahead]
        if len(first) > 1:
            compile_ahead(first, given.tiny)
        machine = torch.cuda.get_device_name() if CUDA else f"CPU, {torch.get_num_threads()} threads"
        machine += f", {os.cpu_count()} cores, PyTorch {torch.__version__}"
        workplace = Workplace(whole, folder / "work", given.seconds)
        for i, item in enumerate(chosen):
            minutes = (time.monotonic() - started) / 60
            if minutes > given.minutes:
                print(f"{given.minutes:g} minutes are over; left out: {', '.join(map(str, chosen[i:]))}", flush=True)
                break
            for rate in rates_of(workplace, item):
                row = {"machine": machine, "dataset": item.dataset, "name": item.name} | dataclasses.asdict(rate)
                add(given.csv, row)
                at = (time.monotonic() - started) / 60
                print(f"[{at:.1f} min, {i + 1}/{len(chosen)}] {said(row)}", flush=True)


if __name__ == "__main__":
    main()
