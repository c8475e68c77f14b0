"""Simulated raw data: deterministic, in the official layouts, with plausible spectra and labels."""

import filecmp

import numpy as np
import pytest

from specdm import rasters
from specdm.bands import BAND_SETS, SENTINEL2
from specdm.errors import UserError
from specdm.labels import SEGMUNICH
from specdm.patches import check_masks, open_patches
from specdm.sources import landscape, oscd, segmunich, simulate, spectra

IMAGES = "Onera Satellite Change Detection dataset - Images"
CITIES = (("alder", "train", 130, 150), ("birch", "train", 100, 131), ("cedar", "test", 140, 96))


@pytest.fixture(scope="module")
def mosaic():
    return simulate.mosaic(640, seed=1)


def test_same_seed_same_bytes(simulated_oscd, tmp_path):
    simulate.write_oscd(tmp_path / "again", seed=3, cities=CITIES)
    simulate.write_oscd(tmp_path / "other", seed=4, cities=CITIES)
    paths = [p.relative_to(simulated_oscd) for p in simulated_oscd.rglob("*") if p.is_file()]
    assert len(paths) == 3 * (26 + 1 + 2) + 2
    assert filecmp.cmpfiles(simulated_oscd, tmp_path / "again", paths, shallow=False)[0] == paths
    changed = filecmp.cmpfiles(simulated_oscd, tmp_path / "other", paths, shallow=False)[1]
    assert len(changed) >= 3 * 26


def test_mosaic_depends_on_the_seed_only(mosaic):
    again = simulate.mosaic(640, seed=1)
    np.testing.assert_array_equal(mosaic[0], again[0])
    np.testing.assert_array_equal(mosaic[1], again[1])


def test_every_class_occurs_with_plausible_shares(mosaic):
    shares = np.bincount(mosaic[1].ravel(), minlength=13) / mosaic[1].size
    assert (shares > 0.0005).all(), dict(zip(SEGMUNICH.names, shares, strict=True))
    assert 0.15 < shares[0] < 0.27
    assert shares[1] + shares[3] + shares[4] > 0.5  # fields, pastures and forest make up most of the land


def test_spectra_are_those_of_their_classes(mosaic):
    dn, labels = mosaic
    mean = {k: dict(zip(BAND_SETS["paper"], dn[:, labels == k].mean(axis=1), strict=True)) for k in (1, 4, 5, 11)}
    assert mean[4]["B8A"] > 4 * mean[4]["B04"]  # vegetation
    assert mean[5]["B12"] < mean[5]["B02"] and mean[5]["B8A"] < 600  # water
    assert mean[11]["B04"] > mean[11]["B02"] > mean[4]["B02"]  # roofs
    assert dn[:, labels > 0].min() > 0 and dn.max() < 10000
    assert not dn[:, labels == 0].any()


def test_borders_hold_mixed_pixels():
    table = np.zeros((len(spectra.COVERS) * spectra.VARIANTS, 1), np.float32)
    table[spectra.CODE["lake"] * spectra.VARIANTS] = 1.0
    cover = np.zeros((9, 9), np.uint16)
    cover[:, :4] = spectra.CODE["lake"] * spectra.VARIANTS
    np.testing.assert_allclose(spectra.render(cover, table, 3)[..., 0], np.tile([1, 1 / 3, 0], (3, 1)))


def test_parcels_can_be_seen_in_small_patches():
    scene = landscape.make(200, 200, np.random.default_rng(0), towns=0.05)
    fields = landscape.SUB // 2
    rows = scene.cover[fields :: landscape.SUB, fields :: landscape.SUB]
    arable = scene.labels() == 1
    runs = [len(run) for row, keep in zip(rows, arable, strict=True) for run in _runs(row, keep)]
    assert 4 < np.median(runs) < 25


def _runs(values, keep):
    cuts = np.flatnonzero((values[1:] != values[:-1]) | (keep[1:] != keep[:-1])) + 1
    return [v for v, k in zip(np.split(values, cuts), np.split(keep, cuts), strict=True) if k[0]]


def test_segmunich_files_carry_their_place_and_turn(simulated_segmunich):
    dn, labels = simulate.mosaic(512, seed=5)
    codes = np.array([c.raw_codes[0] for c in SEGMUNICH.classes], np.uint8)[labels]
    seen = set()
    for part in ("train", "test"):
        for name in (simulated_segmunich / "dataset" / f"{part}.txt").read_text().split():
            place, turn = name.rsplit("_", 1)
            row, col = (int(text[1:]) for text in place.removeprefix("munich_").split("_"))
            here = np.s_[..., row : row + 128, col : col + 128]
            for kind, scene in (("img", dn), ("label", codes[None])):
                window = scene[here][..., ::-1] if "flip" in turn else scene[here]
                window = np.rot90(window, int(turn.split("rot")[1]) // 90, axes=(-2, -1))
                stored = rasters.read(simulated_segmunich / part / kind / f"{name}.tif").pixels
                np.testing.assert_array_equal(stored, window)
            seen.add(name)
    assert len(seen) == 2 * 7 * 7


def test_segmunich_round_trip(simulated_segmunich, tmp_path):
    report = segmunich.prepare(simulated_segmunich, tmp_path / "out", block_px=128)
    patches = open_patches(tmp_path / "out")
    check_masks(patches)
    assert 0 < report.blank < report.patches == 98
    assert len(patches) == sum(report.sizes.values()) == 98 - report.blank
    assert report.shared["test"] > 0  # copies of one window stand in both lists, as in the real set


def test_oscd_round_trip(simulated_oscd, tmp_path):
    report = oscd.prepare(simulated_oscd, tmp_path / "out", patch_px=64, stride_px=32, val_cities=("birch",))
    patches = open_patches(tmp_path / "out")
    check_masks(patches)
    assert all(0.4 < c.changed_percent < 8 for c in report.cities)
    images, masks = patches.images.astype(float), patches.masks
    difference = np.abs(images[:, 1] - images[:, 0])[:, patches.meta.bands.index("B04")]
    assert difference[masks == 1].mean() > 2 * difference[masks == 0].mean()


def test_oscd_is_seen_through_an_atmosphere(simulated_oscd):
    folder = simulated_oscd / IMAGES / "alder" / "imgs_1"
    paths = {name: next(folder.glob(f"*_{name}.tif")) for name in SENTINEL2}
    mean = {name: rasters.read(path).pixels.mean() for name, path in paths.items()}
    assert mean["B10"] < 30 and mean["B01"] > 1000 and mean["B09"] < mean["B8A"] / 2
    sizes = [rasters.read_grid(paths[name]).width for name in ("B02", "B05", "B01")]
    assert sizes == [150, 75, 25]


def test_too_small_a_mosaic_is_refused(tmp_path):
    with pytest.raises(UserError, match="at least 128 px"):
        simulate.write_segmunich(tmp_path, seed=0, mosaic_px=100)
