"""SegMunich -> patch set: layouts, axis order, cleaning, splits that share ground and splits that do not."""

import numpy as np
import pytest
from PIL import Image

from specdm.bands import BAND_SETS
from specdm.labels import SEGMUNICH
from specdm.patches import open_patches
from specdm.sources import ground, segmunich

PATTERN = r"_r(?P<row>\d+)_c(?P<col>\d+)_"


def test_bands_keep_their_order_in_both_axis_orders(small_segmunich, tmp_path):
    first = np.repeat(100 * np.arange(1, 11, dtype=np.uint16), 32 * 32).reshape(10, 32, 32)
    forest = np.full((32, 32), 31, np.uint8)
    last = np.ascontiguousarray(np.moveaxis(first, 0, 2))  # stored as 32 bands of 32 x 10
    root = small_segmunich({"train": {"first": (first, forest), "last": (last, forest)}})
    segmunich.prepare(root, tmp_path / "out", patch_px=32, val_fraction=0)
    patches = open_patches(tmp_path / "out")
    assert patches.images.shape == (2, 1, 10, 32, 32)
    assert (patches.images == first).all()
    assert (patches.masks == 4).all()


def test_pages_written_by_naive_tools_are_stacked(small_segmunich, pair, tmp_path):
    image, codes = pair(0)
    root = small_segmunich({"train": {"a": (image, codes)}})
    pages = [Image.fromarray(page) for page in np.ascontiguousarray(np.moveaxis(image, 0, 2))]
    pages[0].save(root / "train" / "img" / "a.tif", save_all=True, append_images=pages[1:])
    segmunich.prepare(root, tmp_path / "out", patch_px=32, val_fraction=0)
    np.testing.assert_array_equal(open_patches(tmp_path / "out").images[0, 0], image)


def test_every_raw_code_becomes_its_class(small_segmunich, pair, tmp_path):
    codes = np.array([c.raw_codes[0] for c in SEGMUNICH.classes], np.uint8)
    raw = np.resize(codes, (32, 32))
    root = small_segmunich({"train": {"a": (pair(0)[0], raw)}})
    segmunich.prepare(root, tmp_path / "out", patch_px=32, val_fraction=0)
    mask = open_patches(tmp_path / "out").masks[0]
    np.testing.assert_array_equal(mask, np.resize(np.arange(13), (32, 32)))


@pytest.mark.parametrize("dtype", ["uint16", "int16", "float32"])
def test_types_are_kept(small_segmunich, pair, tmp_path, dtype):
    image, codes = pair(0)
    root = small_segmunich({"train": {"a": (image.astype(dtype), codes)}})
    segmunich.prepare(root, tmp_path / "out", patch_px=32, val_fraction=0)
    patches = open_patches(tmp_path / "out")
    assert patches.images.dtype == dtype
    np.testing.assert_array_equal(patches.images[0, 0], image)


def test_cleaning_counts_background_and_pixels_without_data(small_segmunich, pair, tmp_path):
    pairs = {name: pair(k) for k, name in enumerate(("half", "more", "nodata"))}
    pairs["half"][1][:16] = 0
    pairs["more"][1][:17] = 0
    pairs["nodata"][0][:, :, :17] = 0
    root = small_segmunich({"train": pairs})
    report = segmunich.prepare(root, tmp_path / "out", patch_px=32, val_fraction=0)
    assert list(open_patches(tmp_path / "out").index["source"]) == ["train/half"]
    assert (report.patches, report.blank) == (3, 2)
    assert "3 -> 1 (the paper: 49248 -> 27090)" in report.lines()[0]


def test_files_are_cut_into_tiles_of_one_group(small_segmunich, pair, tmp_path):
    image, codes = pair(0)
    root = small_segmunich({"train": {"a": (image, codes)}})
    segmunich.prepare(root, tmp_path / "out", patch_px=16, val_fraction=0)
    patches = open_patches(tmp_path / "out")
    assert len(patches) == 4 and patches.index["group"].nunique() == 1
    for i, row in patches.index.iterrows():
        r, c = row["row"], row["col"]
        np.testing.assert_array_equal(patches.images[i, 0], image[:, r : r + 16, c : c + 16])


def test_metadata_csv_and_val_folder_are_read_as_test(small_segmunich, pair, tmp_path):
    root = small_segmunich({"train": {"a": pair(0)}, "val": {"b": pair(1)}})
    segmunich.prepare(root, tmp_path / "lists", patch_px=32, val_fraction=0)
    for path in (root / "dataset").iterdir():
        path.unlink()
    (root / "dataset" / "metadata.csv").write_text("id,source\na,train\nb,val\n")
    segmunich.prepare(root, tmp_path / "csv", patch_px=32, val_fraction=0)
    for name in ("lists", "csv"):
        assert list(open_patches(tmp_path / name).index["split"]) == ["train", "test"]


def test_official_splits_count_the_test_patches_seen_in_training(small_segmunich, pair, tmp_path):
    seen, codes = pair(0)
    neighbour = np.roll(pair(2)[0], 0)
    neighbour[:, :, :16] = seen[:, :, 16:]  # shares the right half of a training window
    turned = np.ascontiguousarray(np.rot90(seen[:, :, ::-1], axes=(1, 2)))
    parts = {"train": {"a": (seen, codes), "b": pair(1)}}
    parts["test"] = {"turned": (turned, codes), "neighbour": (neighbour, codes), "elsewhere": pair(3)}
    root = small_segmunich(parts)
    report = segmunich.prepare(root, tmp_path / "out", patch_px=32, val_fraction=0)
    assert report.shared["test"] == 2
    assert "2 of 3 test patches share ground with training" in report.lines()
    assert "2 of 3 test patches share ground with training" in open_patches(tmp_path / "out").meta.warnings


@pytest.mark.parametrize("pattern", [None, PATTERN])
def test_grouped_splits_share_no_pixel(simulated_segmunich, tmp_path, pattern):
    report = segmunich.prepare(
        simulated_segmunich,
        tmp_path / "out",
        splits="grouped",
        position_pattern=pattern,
        block_px=128,
        test_fraction=0.15,
        val_fraction=0.1,
    )
    index = open_patches(tmp_path / "out").index
    assert all(n > 0 for n in report.sizes.values()), report.sizes
    assert report.shared == {"val": 0, "test": 0}
    assert not index.groupby("group")["split"].nunique().gt(1).any()
    # Judged by the names alone, whatever way the groups were found.
    place = index["source"].str.extract(PATTERN).astype(int)
    for split in ("val", "test"):
        for _, (row, col) in place[index["split"] == split].iterrows():
            others = place[index["split"] != split]
            overlap = ((others["row"] - row).abs() < 128) & ((others["col"] - col).abs() < 128)
            assert not overlap.any()


def test_seed_decides_the_split(simulated_segmunich, tmp_path):
    settings = {"splits": "grouped", "position_pattern": PATTERN, "block_px": 128}
    sets = []
    for k, seed in enumerate((1, 1, 2)):
        segmunich.prepare(simulated_segmunich, tmp_path / f"{k}", seed=seed, **settings)
        sets.append(open_patches(tmp_path / f"{k}").meta.checksums)
    assert sets[0] == sets[1] != sets[2]


def test_wrong_band_order_is_noticed(simulated_segmunich, tmp_path):
    right = segmunich.prepare(simulated_segmunich, tmp_path / "right", block_px=128)
    reversed_bands = BAND_SETS["paper"][::-1]
    wrong = segmunich.prepare(simulated_segmunich, tmp_path / "wrong", bands=reversed_bands, block_px=128)
    assert right.warnings == ()
    assert any("class forests" in w for w in wrong.warnings) and any("surface water" in w for w in wrong.warnings)


def test_quadrant_keys_survive_all_eight_turns_and_tell_grounds_apart(pair):
    image, _ = pair(0)
    keys = set(ground.quadrant_keys(image))
    assert len(keys) == 4
    for flip in (image, image[:, ::-1]):
        for k in range(4):
            assert set(ground.quadrant_keys(np.rot90(flip, k, axes=(1, 2)))) == keys
    assert not keys & set(ground.quadrant_keys(pair(1)[0]))
    assert ground.quadrant_keys(np.full((10, 32, 32), 7, np.uint16)) == []


def test_chains_are_cut_into_compact_blocks():
    n = 12  # windows at stride 1 over cells of 2 x 2: one chain over the whole scene
    keys = [ground.cell_keys(r, c, 2, 1) for r in range(n) for c in range(n)]
    group, largest = ground.blocks([*keys, [(99, 99)]], places=20)
    assert largest == n * n / (n * n + 1)
    sizes = np.bincount(group)
    assert sizes.max() <= 20 and group[-1] not in group[:-1]
    rows, cols = np.divmod(np.arange(n * n), n)
    spans = [np.ptp(rows[group[:-1] == g]) + np.ptp(cols[group[:-1] == g]) for g in np.unique(group[:-1])]
    assert np.mean(spans) < n  # a random cut would span the scene in both directions


def test_assignment_keeps_groups_whole_and_classes_even():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(40), 10)
    classes = np.zeros((400, 3))
    classes[np.arange(400), np.repeat(rng.integers(0, 3, 40), 10)] = 100
    split = ground.assign(groups, classes, {"val": 0.1, "test": 0.2}, seed=0)
    for g in range(40):
        assert len(set(split[groups == g])) == 1
    for name, fraction in (("val", 0.1), ("test", 0.2)):
        assert abs((split == name).mean() - fraction) < 0.03
        np.testing.assert_allclose(classes[split == name].sum(0) / classes.sum(0), fraction, atol=0.08)
