"""Small patch sets that hold all an export must carry: odd ids, mixed splits, places and none, dates, gaps, no data."""

from pathlib import Path

import numpy as np

from specdm.bands import BAND_SETS, wavelengths
from specdm.labels import IGNORE, OSCD, SEGMUNICH, LabelSet
from specdm.patches import PatchMeta, PatchRecord, PatchSet, PatchWriter, open_patches

SIDE = 16
SPLITS = ("val", "train", "test", "train")  # of patch 0, 1, 2, 3, 4, ...
PLACES = (
    ("", ()),
    ("EPSG:32633", (10.0, 0.0, 500000.1, 0.0, -10.0, 5000000.0)),
    ("EPSG:4326", (1e-4, 0.0, 2.25, 0.0, -1.1e-4, 48.875)),
    ("EPSG:32632", (8.0, 6.0, 400000.0, 6.0, -8.0, 5.3e6)),  # turned
)
GENERATED = {
    "stage": "sample",
    "seed": 7,
    "settings": {"sampler": "ode", "n_steps": 12},
    "commit": "0123456789ab",
    "models": {"denoiser": "d3n0", "autoencoder": "a11ce"},
}


def make_set(
    folder: Path, labels: LabelSet = SEGMUNICH, dates: int = 1, n: int = 9, dtype="uint16", ids="p.{}", **meta
) -> PatchSet:
    """A patch set of noise, opened; real unless `meta` says synthetic, when it has no places."""
    bands = meta.pop("bands", BAND_SETS["paper"])
    described = dict(sensor="Sentinel-2 MSI", level="TOA" if dates == 2 else "BOA", scale=1e-4, offset=0.0, nodata=0)
    described |= {"name": folder.name, "wavelengths_nm": wavelengths(bands)} | meta
    rng = np.random.default_rng(n + dates)
    with PatchWriter(
        folder, PatchMeta(**described, bands=bands, labels=labels), (dates, len(bands), SIDE, SIDE), dtype
    ) as writer:
        for i in range(n):
            image = rng.integers(1, 9999, (1, dates, len(bands), SIDE, SIDE)).astype(dtype)
            if described["nodata"] is not None:
                image[..., :2, :3] = described["nodata"]
                image[..., 0, 5, 5] = described["nodata"]  # one band alone: a measurement
            mask = rng.choice([*range(len(labels)), IGNORE], (1, SIDE, SIDE)).astype(np.uint8)
            crs, transform = ("", ()) if described.get("synthetic") else PLACES[i % len(PLACES)]
            split = "train" if described.get("synthetic") else SPLITS[i % len(SPLITS)]
            days = "" if i % 3 == 0 else ",".join(("2016-03-15", "2017-08-29")[:dates])
            record = PatchRecord(
                ids.format(i), split, f"g{i // 2}{split}", f"scene{i}.tif", days, i, 2 * i, crs, transform
            )
            writer.append(image, mask, [record])
    return open_patches(folder)


def make_cities(folder: Path, n: int = 9, **more) -> PatchSet:
    """Such a set of two dates with OSCD's classes."""
    return make_set(folder, OSCD, dates=2, n=n, **more)


def same_bits(one: PatchSet, other: PatchSet) -> None:
    """Two sets are equal: arrays and meta.json byte by byte, the index value by value."""
    for name in ("images.npy", "masks.npy", "meta.json"):
        assert (one.folder / name).read_bytes() == (other.folder / name).read_bytes(), name
    for (_, a), (_, b) in zip(one.index.iterrows(), other.index.iterrows(), strict=True):
        for column in one.index.columns:
            np.testing.assert_array_equal(a[column], b[column], err_msg=column)
