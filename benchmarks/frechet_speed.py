"""The Fréchet distance from features to number, beside the textbook's square root of a matrix and its eigenvalues.

    python benchmarks/frechet_speed.py [--dimensions 2048] [--samples 1000 10000]

Features of two sets with a spectrum that falls as 1/i, float32, as an Inception network gives them. Each route starts
from the features, in a process of its own: `frechet_distance`; the same from batches of 64 by `FeatureMoments`; and
np.cov with scipy.linalg.sqrtm or with np.linalg.eigvals of the product of the covariances.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

BATCH = 64


def features(n: int, dimensions: int) -> tuple[np.ndarray, np.ndarray]:
    """Two correlated sets (n,D) of variances 1/i on different axes and of different means."""
    rng = np.random.default_rng(0)
    deviations = np.arange(1, dimensions + 1) ** -0.5
    sides = []
    for shift in (0.4, 0.45):
        axes, _ = np.linalg.qr(rng.standard_normal((dimensions, dimensions)))
        sides.append((rng.standard_normal((n, dimensions)) * deviations @ axes.T + shift).astype(np.float32))
    return sides[0], sides[1]


def ours(x: np.ndarray, y: np.ndarray) -> float:
    from specdm.metrics.frechet import frechet_distance

    return frechet_distance(x, y)


def streamed(x: np.ndarray, y: np.ndarray) -> float:
    from specdm.metrics.frechet import FeatureMoments, frechet_from_moments

    sides = []
    for side in (x, y):
        sides.append(FeatureMoments(side.shape[1]))
        for start in range(0, len(side), BATCH):
            sides[-1].update(side[start : start + BATCH])
    return frechet_from_moments(*sides)


def textbook(x: np.ndarray, y: np.ndarray, trace_of_root) -> float:
    s, t = (np.cov(side.astype(np.float64), rowvar=False) for side in (x, y))
    shift = x.mean(0, dtype=np.float64) - y.mean(0, dtype=np.float64)
    return float(shift @ shift + np.trace(s) + np.trace(t) - 2 * trace_of_root(s @ t))


def by_sqrtm(x: np.ndarray, y: np.ndarray) -> float:
    from scipy.linalg import sqrtm

    return textbook(x, y, lambda product: np.trace(sqrtm(product)).real)


def by_eigenvalues(x: np.ndarray, y: np.ndarray) -> float:
    return textbook(x, y, lambda product: np.sqrt(np.linalg.eigvals(product).astype(complex)).real.sum())


ROUTES = {"ours": ours, "ours, streamed": streamed, "scipy sqrtm": by_sqrtm, "eigvals": by_eigenvalues}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dimensions", type=int, default=2048)
    parser.add_argument("--samples", type=int, nargs="+", default=[1000, 10000])
    parser.add_argument("--step", nargs=2, help=argparse.SUPPRESS)  # a route or "write", and the folder of features
    args = parser.parse_args()
    if args.step:
        step(*args.step, args.samples[0], args.dimensions)
        return
    for n in args.samples:
        print(f"{n} samples a side, {args.dimensions} dimensions")
        with tempfile.TemporaryDirectory() as folder:
            # Also the features are made by a process of its own: memory that they take would be counted as a route's.
            command = [sys.executable, __file__, "--dimensions", str(args.dimensions), "--samples", str(n), "--step"]
            for route in ("write", *ROUTES):
                done = subprocess.run([*command, route, folder], check=True, capture_output=True, text=True)
                if route in ROUTES:
                    found = json.loads(done.stdout.splitlines()[-1])
                    figures = f"{found['s']:7.2f} s, {found['gib']:.2f} GiB, distance {found['distance']:.6f}"
                    print(f"  {route:16}{figures}", flush=True)


def step(name: str, folder: str, n: int, dimensions: int) -> None:
    paths = [Path(folder) / f"{side}.npy" for side in "xy"]
    if name == "write":
        for path, side in zip(paths, features(n, dimensions), strict=True):
            np.save(path, side)
        return
    x, y = (np.load(path) for path in paths)
    ROUTES[name](x[:64, :16], y[:64, :16])  # imports are not timed
    started = time.perf_counter()
    distance = ROUTES[name](x, y)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(json.dumps({"s": seconds, "gib": peak, "distance": distance}))


if __name__ == "__main__":
    main()
