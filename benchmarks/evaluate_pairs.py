"""Where the time goes when synthetic pairs are measured, step by step.

    python benchmarks/evaluate_pairs.py FOLDER [--pairs 10000] [--real 2000] [--side-px 32] [--width 16]

Writes smooth random land of ten bands and four classes below FOLDER once, real and synthetic, with an untrained judge,
then times, in one process and from the memory-mapped files, what evaluate and check-alignment do: features, their
distances, statistics of bands, detail and masks, and the scores of alignment with three judges.
"""

from __future__ import annotations

import argparse
import resource
import time
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

BANDS = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")
GROUPS, CHUNK, SHIFTS_PX = 20, 250, (1, 2, 4, 8)


def write(folder: Path, n: int, side: int, split: str, seed: int) -> None:
    """A patch set of land whose classes have spectra of their own, with noise."""
    from specdm.labels import LabelClass, LabelSet
    from specdm.patches import PatchMeta, PatchRecord, PatchWriter

    colours = ((200, 40, 60), (30, 120, 40), (170, 220, 90), (50, 110, 220))
    labels = LabelSet("four", tuple(LabelClass(i, f"class {i}", c, ()) for i, c in enumerate(colours)))
    meta = PatchMeta(folder.name, "none", "BOA", BANDS, 1e-4, 0.0, 0, labels)
    spectra = np.random.default_rng(0).uniform(300, 4000, (4, len(BANDS)))
    rng = np.random.default_rng(seed)
    with PatchWriter(folder, meta, (1, len(BANDS), side, side), "uint16") as writer:
        for start in range(0, n, CHUNK):
            size = min(CHUNK, n - start)
            fields = gaussian_filter(rng.normal(size=(size, 4, side, side)), (0, 0, 4, 4))
            masks = fields.argmax(1).astype(np.uint8)
            images = np.moveaxis(spectra[masks], -1, 1) + rng.normal(0, 80, (size, len(BANDS), side, side))
            records = [
                PatchRecord(f"{folder.name}{i}", split, f"group{i % GROUPS}", f"{folder.name}{i}")
                for i in range(start, start + size)
            ]
            writer.append(np.clip(images, 1, 9999).astype(np.uint16)[:, None], masks, records)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pairs", type=int, default=10_000)
    parser.add_argument("--real", type=int, default=2000)
    parser.add_argument("--side-px", type=int, default=32)
    parser.add_argument("--width", type=int, default=16, help="of the judges")
    args = parser.parse_args()

    from specdm.features import TeacherFeatures
    from specdm.metrics.alignment import Tally, align, derangement
    from specdm.metrics.class_models import ClassMoments
    from specdm.metrics.groups import halves
    from specdm.metrics.scorers import scorers
    from specdm.nn.teacher import Teacher
    from specdm.patches import Normaliser, open_patches
    from specdm.stages import feature_distances, set_statistics
    from specdm.stages.judges import Judges, labelled_spectra, looks

    folders = {
        name: args.folder / f"{name}-{n}-{args.side_px}" for name, n in (("real", args.real), ("fake", args.pairs))
    }
    for i, (name, folder) in enumerate(folders.items()):
        if not (folder / "meta.json").is_file():
            write(folder, args.real if name == "real" else args.pairs, args.side_px, "train", i)
    real, fake = (open_patches(folder) for folder in folders.values())
    device, rows = torch.device("cpu"), (np.arange(len(real)), np.arange(len(fake)))
    torch.manual_seed(0)
    networks = tuple(Teacher(len(BANDS), 4, 1, args.width).eval() for _ in range(3))
    normaliser = Normaliser.fit(real)
    teacher, judges = (
        TeacherFeatures(networks[0], normaliser, "untrained", 4, device),
        Judges(("a", "b", "c"), networks, (frozenset(),) * 3, normaliser, device),
    )
    groups = real.index["group"].to_numpy()
    first = halves(len(real), groups)
    times: dict[str, float] = {}

    def timed(name, call):
        started = time.perf_counter()
        result = call()
        times[name] = time.perf_counter() - started
        return result

    of_real = feature_distances.extract([teacher], real, rows[0])[0]
    of_fake = timed("features", lambda: feature_distances.extract([teacher], fake, rows[1])[0])
    sets = feature_distances.Sets(of_real, of_real, of_fake, groups)
    timed("distances of features", lambda: feature_distances.compare(sets, "", 1000, 0))
    parts = [set_statistics.measure(real, rows[0][half]) for half in (first, ~first)]
    drawn = timed("statistics of bands, detail, masks", lambda: set_statistics.measure(fake, rows[1]))
    ordered = np.concatenate([groups[first], groups[~first]])
    timed("their distances", lambda: set_statistics.compare(*parts, drawn, real.meta, ordered, 1000, 0))
    moments = ClassMoments(4, len(BANDS))
    for _, seen, masks in looks(real, rows[0], judges, (), "spectra"):
        moments.add(*labelled_spectra(seen, masks))
    table, readers, others = scorers(4), (moments.gaussians(),) * 3, derangement(len(fake), 0)

    def judged(patches, positions):
        tally = Tally(table, SHIFTS_PX)
        for at, seen, masks in looks(patches, positions, judges, readers, "judging"):
            tally.add(seen, masks, patches.masks[others[at] % len(patches)])
        return tally

    above = judged(real, rows[0])
    below = timed("alignment: three judges, three scorers, shifts", lambda: judged(fake, rows[1]))
    timed("alignment: intervals", lambda: [align(s, below, above, groups, n_bootstrap=1000) for s in table])
    total = sum(times.values())
    for name, seconds in times.items():
        print(f"{name:50s} {seconds:8.1f} s  {100 * seconds / total:5.1f} %")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{args.pairs} pairs of {args.side_px} px: {total:.1f} s, {peak:.2f} GiB")


if __name__ == "__main__":
    main()
