"""Fixtures shared by all tests: the real data, small patch sets, and the command line in this process."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from specdm.labels import OSCD, SEGMUNICH, LabelSet
from specdm.patches import PatchMeta, PatchRecord, PatchWriter

BANDS = ("B02", "B03", "B04", "B8A")
SIDE = 32
REAL_SETS = ("aberystwyth", "enmap", "oscd", "oscd_rect_check", "samson", "sen1floods11", "slovenia")

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tiny networks gain nothing from threads, and lose much on shared cores

# group -> (split, patches): five train groups of unequal size, two of validation, two of test
GROUPS = {
    "a": ("train", 12),
    "b": ("train", 6),
    "c": ("train", 4),
    "d": ("train", 2),
    "e": ("val", 4),
    "f": ("val", 4),
    "g": ("test", 5),
    "h": ("test", 3),
}


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data: SPECDM_REAL_DATA, or ../shared/data beside the repository."""
    default = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("SPECDM_REAL_DATA", default))
    missing = [name for name in REAL_SETS if not (folder / name).is_dir()]
    if missing:  # it is not ours to ship: without it these tests have nothing to read
        pytest.skip(f"no {', '.join(missing)} in {folder}: set SPECDM_REAL_DATA to a folder that holds them")
    return folder


def _scene(rng: np.random.Generator, dates: int, labels: LabelSet) -> tuple[np.ndarray, np.ndarray]:
    """Square fields whose class sets their spectrum, with a few ignored pixels: dn (T,C,H,W), ids (H,W)."""
    spectra = np.random.default_rng(99).uniform(300, 4000, (2, len(labels), len(BANDS)))
    ids = rng.integers(0, min(len(labels), 5), (4, 4)).repeat(SIDE // 4, 0).repeat(SIDE // 4, 1)
    images = np.stack([np.moveaxis(spectra[date, ids], -1, 0) for date in range(dates)])
    images = images + rng.normal(0, 60, images.shape)
    masks = ids.astype(np.uint8)
    masks[:2, :3] = 255
    return np.clip(np.rint(images), 1, 9999).astype(np.uint16), masks


@pytest.fixture(scope="session")
def write_patches():
    """Writes a small patch set: make(folder, dates, labels, groups, **fields of PatchMeta) -> folder."""

    def make(folder: Path, dates: int, labels: LabelSet, groups: dict | None = None, seed: int = 0, **meta) -> Path:
        described = dict(
            name=folder.name, sensor="Sentinel-2 MSI", level="BOA", bands=BANDS, scale=1e-4, offset=-0.1, nodata=0
        )
        rng = np.random.default_rng(seed)
        with PatchWriter(
            folder, PatchMeta(**described | meta, labels=labels), (dates, len(BANDS), SIDE, SIDE), "uint16"
        ) as writer:
            for group, (split, n) in (groups or GROUPS).items():
                pairs = [_scene(rng, dates, labels) for _ in range(n)]
                images, masks = (np.stack(arrays) for arrays in zip(*pairs, strict=True))
                writer.append(
                    images, masks, [PatchRecord(f"{group}{i}", split, group, f"{group}.tif") for i in range(n)]
                )
        return folder

    return make


@pytest.fixture(scope="session")
def segmentation_patches(tmp_path_factory, write_patches) -> Path:
    """Forty patches of one date with SegMunich's classes."""
    return write_patches(tmp_path_factory.mktemp("patches") / "fields", 1, SEGMUNICH)


@pytest.fixture(scope="session")
def change_patches(tmp_path_factory, write_patches) -> Path:
    """Forty patches of two dates with OSCD's classes."""
    return write_patches(tmp_path_factory.mktemp("patches") / "towns", 2, OSCD)


@pytest.fixture(scope="session")
def verb():
    """Runs a verb in this process: verb("encode", patches=folder, settings={...}) -> exit status."""
    from specdm import cli, files

    def run(verb: str, /, *arguments: object, **options: object) -> object:
        words = [verb, *map(str, arguments)]
        for key, value in options.items():
            for one in value if isinstance(value, list) else [value]:
                words += [f"--{key.replace('_', '-')}", files.to_json(one) if isinstance(one, dict) else str(one)]
        before, sys.argv = sys.argv, ["specdm", *words]
        try:
            cli.main()
        except SystemExit as stop:
            return stop.code or 0
        finally:
            sys.argv = before
        return 0

    return run


@pytest.fixture(scope="session")
def small_run(tmp_path_factory) -> Path:
    """The folder of a finished small run of the whole workflow."""
    from tests.workflow_runs import small_run as run

    return run(tmp_path_factory.mktemp("workflow"))
