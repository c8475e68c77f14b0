"""Splits of the user's own scenes, judged from the index alone: no ground in two splits, a guard band, whole groups."""

import numpy as np
import pytest
import rasterio.warp
import shapely
from scipy import ndimage

from specdm.patches import SPLITS, open_patches
from specdm.sources import blocks

UTM, PLACE = "EPSG:32633", (10.0, 0.0, 500000.0, 0.0, -10.0, 5000000.0)


def canvases(patches) -> dict[str, np.ndarray]:
    """Which splits show each pixel of each source, {source: (3,H,W) bool}; sources are painted by row and column."""
    size = patches.masks.shape[1]
    found = {}
    for source, rows in patches.index.groupby("source"):
        canvas = np.zeros((3, rows["row"].max() + size, rows["col"].max() + size), bool)
        for split, row, col in zip(rows["split"], rows["row"], rows["col"], strict=True):
            canvas[SPLITS.index(split), row : row + size, col : col + size] = True
        found[source] = canvas
    return found


def assert_apart(canvas: np.ndarray, guard: int) -> None:
    """No pixel of (3,H,W) in two splits, and at least `guard` pixels between any of them, also diagonally."""
    assert canvas.sum(axis=0).max() == 1
    for one, others in ((0, canvas[1] | canvas[2]), (1, canvas[2])):
        if canvas[one].any() and others.any():
            steps = ndimage.distance_transform_cdt(~others, "chessboard")[canvas[one]].min()
            assert steps - 1 >= guard


def assert_groups_whole(patches) -> None:
    assert not patches.index.groupby("group")["split"].nunique().gt(1).any()


def assert_all_filled(patches) -> None:
    assert set(patches.index["split"]) == set(SPLITS)


@pytest.fixture
def scene(lay, numbered):
    def make(name: str, size=(96, 112), transform=PLACE, crs=UTM, **more) -> dict:
        image, codes = numbered(*size)
        files = {
            "images": lay(f"{name}.tif", image, transform, crs),
            "labels": lay(f"{name}_l.tif", codes, transform, crs),
        }
        return {"name": name} | files | more

    return make


@pytest.mark.parametrize("guard", [0, 1, 5, None])
@pytest.mark.parametrize("stride", [None, 5, 16])
@pytest.mark.parametrize("block", [None, 27])
def test_no_pixel_is_in_two_splits_and_the_guard_is_kept(guard, stride, block, scene, cut):
    patches = cut(scene("a", (128, 122)), guard_px=guard, stride_px=stride, block_px=block)
    assert_all_filled(patches)
    assert_groups_whole(patches)
    assert_apart(canvases(patches)["a"], 4 if guard is None else guard)


def test_the_guard_is_no_wider_than_it_must_be(scene, cut, monkeypatch):
    """Of windows at every pixel some come as near as they may, where blocks end with pixels."""
    monkeypatch.setattr(blocks, "LAYOUTS", 1)
    patches = cut(scene("a", (64, 120)), guard_px=3, stride_px=1, block_px=40)
    train, *others = canvases(patches)["a"]
    steps = ndimage.distance_transform_cdt(~np.logical_or(*others), "chessboard")[train].min()
    assert steps - 1 == 3


def test_every_pixel_is_in_a_window(scene, prepare_scenes, few_draws):
    _, report = prepare_scenes(scene("a", (101, 75)), stride_px=16, guard_px=0)
    assert report.scenes[0].windows == 7 * 5  # the last ones end at the edge
    assert report.between + sum(report.sizes.values()) == 35


def test_the_seed_decides(scene, cut):
    made = scene("a")
    sets = [cut(made, seed=seed).index["split"].tolist() for seed in (1, 1, 2, 3)]
    assert sets[0] == sets[1] and (sets[0] != sets[2] or sets[0] != sets[3])


def test_a_scene_of_95_px_gives_sixty_patches_of_32(scene, prepare_scenes):
    folder, report = prepare_scenes(scene("a", (95, 95), crs=None), patch_px=32)
    patches = open_patches(folder)
    assert len(patches) >= 60 and report.shared == {"val": 0, "test": 0}
    assert_all_filled(patches)
    assert_apart(canvases(patches)["a"], 8)


def test_rare_classes_are_learnt_and_tested(lay, numbered, prepare_scenes):
    """Two patches of a rare class far apart: one goes to training and one to testing."""
    image, codes = numbered(128, 128)
    codes = np.where(codes == 3, 1, codes)
    codes[20:26, 20:26] = codes[100:106, 100:106] = 3
    scene = {"images": lay("i.tif", image), "labels": lay("l.tif", codes)}
    for seed in range(3):
        folder, report = prepare_scenes(scene, seed=seed)
        masks, split = open_patches(folder).masks, open_patches(folder).index["split"].to_numpy()
        assert all((masks[split == s] == 2).any() for s in ("train", "test"))
        assert report.warnings == ("The class 'cedar' does not occur in val.",)
        assert report.class_percent["val"]["cedar"] == 0 < report.class_percent["test"]["cedar"]


def test_sizes_follow_the_fractions(scene, prepare_scenes):
    made = scene("a", (160, 160))
    for val, test in ((0.15, 0.2), (0.1, 0.4)):
        _, report = prepare_scenes(made, val_fraction=val, test_fraction=test, guard_px=0)
        total = sum(report.sizes.values())
        assert abs(report.sizes["val"] / total - val) < 0.08 and abs(report.sizes["test"] / total - test) < 0.08


def assert_dates_agree(patches, size) -> None:
    """Whatever scene a pixel is shown in, it is of one split."""
    together = np.zeros((3, *size), bool)
    for canvas in canvases(patches).values():
        together[:, : canvas.shape[1], : canvas.shape[2]] |= canvas
    assert_apart(together, 4)


@pytest.mark.parametrize("crs", [None, UTM])
def test_scenes_of_one_place_share_their_blocks(crs, scene, cut):
    """With a georeference they are found to overlap; without they have a name in common."""
    more = {} if crs else {"place": "here"}
    patches = cut(*(scene(f"d{k}", crs=crs, **more) for k in range(3)))
    assert set(patches.index["source"]) == {"d0", "d1", "d2"}
    assert_all_filled(patches)
    assert_groups_whole(patches)
    assert_dates_agree(patches, (96, 112))


def test_a_named_place_is_also_found_on_the_map(scene, cut):
    assert_dates_agree(cut(scene("a", place="here"), scene("b")), (96, 112))


def test_arrays_that_share_a_file_show_one_place(lay, numbered, tmp_path, cut):
    """Dates of one array, or labels of several images: nothing else would say that they show the same ground."""
    image, codes = numbered(96, 112)
    for name, array in (("times.npy", np.stack([image, image + 1])), ("other.npy", image + 2), ("codes.npy", codes)):
        (tmp_path / "raw").mkdir(exist_ok=True)
        np.save(tmp_path / "raw" / name, array)
    np.save(tmp_path / "raw" / "again.npy", codes)
    times = [
        {"path": "times.npy", "axes": ["time", "band", "row", "col"], "time": k}  # the same image file
        for k in (0, 1)
    ]
    other = {"path": "other.npy", "axes": ["band", "row", "col"]}
    patches = cut(
        {"name": "t0", "images": times[0], "labels": "codes.npy"},
        {"name": "t1", "images": times[1], "labels": "again.npy"},
        {"name": "o", "images": other, "labels": "codes.npy"},  # the same labels as the first
    )
    assert set(patches.index["source"]) == {"t0", "t1", "o"}
    assert patches.index["group"].str.startswith("place000").all()
    assert_dates_agree(patches, (96, 112))


def test_scenes_without_a_common_place_are_places_of_their_own(scene, cut):
    patches = cut(*(scene(f"d{k}", (48, 48), crs=None) for k in range(16)))
    assert patches.index["group"].nunique() == 16  # whole scenes
    assert not patches.index.groupby("source")["split"].nunique().gt(1).any()
    assert_all_filled(patches)


def outlines(patches, crs: str) -> tuple[np.ndarray, np.ndarray]:
    """The ground of each patch as a polygon in one reference system, and its split."""
    size = patches.masks.shape[1]
    found = []
    for own, (a, b, c, d, e, f) in zip(patches.index["crs"], patches.index["transform"], strict=True):
        col, row = np.array([0, size, size, 0]), np.array([0, 0, size, size])
        x, y = a * col + b * row + c, d * col + e * row + f
        found.append(shapely.polygons(np.c_[rasterio.warp.transform(own, crs, x, y)]))
    return np.array(found), patches.index["split"].to_numpy()


def nearest(patches, crs: str = UTM) -> float:
    """Metres between patches of two splits, at least."""
    ground, split = outlines(patches, crs)
    assert set(split) == set(SPLITS)
    pairs = (("train", "val"), ("train", "test"), ("val", "test"))
    return min(shapely.distance(ground[split == a][:, None], ground[split == b]).min() for a, b in pairs)


def shifted(east: float, south: float, pixel: float = 10.0) -> tuple[float, ...]:
    return (pixel, 0.0, 500000.0 + east, 0.0, -pixel, 5000000.0 - south)


OTHERS = {
    "overlap": (shifted(603, 402), UTM),
    "finer pixels": (shifted(303, 702, 5.0), UTM),
    "south up": ((10.0, 0.0, 500604.0, 0.0, 10.0, 4998700.0), UTM),
    "another zone": ((10.0, 0.0, 972250.0, 0.0, -10.0, 5017180.0), "EPSG:32632"),
    "degrees": ((1.2e-4, 0.0, 15.004, 0.0, -0.9e-4, 45.1522), "EPSG:4326"),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_overlapping_scenes_show_no_ground_in_two_splits(kind, scene, cut):
    transform, crs = OTHERS[kind]
    one, other = scene("a"), scene("b", (90, 100), transform, crs)
    for scenes in ((one, other), (other, one)):
        patches = cut(*scenes, guard_px=4)
        ground, _ = outlines(patches, UTM)
        source = patches.index["source"].to_numpy()
        assert shapely.intersects(ground[source == "a"][:, None], ground[source == "b"]).any()
        assert_groups_whole(patches)
        pixel = 10 if kind != "finer pixels" or scenes[0] is one else 5  # pixels of the first scene count
        assert nearest(patches) >= 4 * pixel * (0.9 if kind == "degrees" else 1) - 0.5


SEAMS = {
    "side by side": (1120.0, 0.0),
    "a gap of 2 px": (1140.0, 0.0),
    "below": (0.0, 960.0),
    "corner": (1120.0, 960.0),
}


@pytest.mark.parametrize("seam", SEAMS)
def test_the_guard_is_kept_across_the_seam_of_tiles(seam, scene, cut):
    patches = cut(scene("a"), scene("b", transform=shifted(*SEAMS[seam])), guard_px=6, block_px=32)
    assert nearest(patches) >= 60 - 1e-6


@pytest.mark.parametrize(("wide", "high"), [(10.0, 40.0), (40.0, 10.0)])
def test_the_guard_across_a_seam_counts_each_axis_in_its_pixels(wide, high, scene, cut):
    def place(east, south):
        return (wide, 0.0, 500000.0 + east, 0.0, -high, 5000000.0 - south)

    gap = 3  # pixels between tiles, fewer than the guard
    below, beside = (0, (48 + gap) * high), ((48 + gap) * wide, 0)
    for other in (below, beside):
        corners = [(k * 1000 * wide, 0) for k in range(8)]
        tiles = [scene(f"a{k}", (48, 48), place(*c)) for k, c in enumerate(corners)]
        tiles += [scene(f"b{k}", (48, 48), place(c[0] + other[0], other[1])) for k, c in enumerate(corners)]
        patches = cut(*tiles, guard_px=6)
        ground, split = outlines(patches, UTM)
        box = shapely.bounds(ground) / (wide, high, wide, high)
        for one in np.flatnonzero(split == "train"):
            others = box[split != "train"]
            gaps = np.maximum(others[:, :2] - box[one, 2:], box[one, :2] - others[:, 2:]).max(axis=1)
            assert gaps.min() >= 6 - 1e-6


def test_declared_splits_are_obeyed_and_their_overlap_is_counted(scene, prepare_scenes, few_draws):
    made = [
        scene("a", (64, 64), split="train"),
        scene("b", (64, 64), shifted(400, 0), split="test"),
        scene("c", (64, 64), shifted(5000, 0), split="val"),
    ]
    folder, report = prepare_scenes(*made, stride_px=16)
    index = open_patches(folder).index
    assert dict(zip(index["source"], index["split"], strict=True)) == {"a": "train", "b": "test", "c": "val"}
    assert report.sizes == {"train": 16, "val": 16, "test": 16} and report.between == 0
    assert report.shared == {"val": 0, "test": 8}  # columns 0 to 23 of 64 lie on a
    assert "8 of 16 test patches share ground with training" in report.lines()
    assert "8 of 16 test patches share ground with training" in open_patches(folder).meta.warnings
    assert index["group"].nunique() == 3


def test_the_report_adds_up(scene, lay, numbered, prepare_scenes, few_draws):
    bare = numbered(96, 112)[1]
    bare[:, 60:] = 0
    made = scene("a") | {"labels": lay("bare.tif", bare)}
    folder, report = prepare_scenes(made, scene("b", (64, 64), shifted(9000, 0)), ignore_codes=[0])
    patches = open_patches(folder)
    assert report.scenes[0].unlabelled > 0 == report.scenes[1].unlabelled
    assert report.sizes == {s: (patches.index["split"] == s).sum() for s in SPLITS}
    assert report.groups == {s: patches.index["group"][patches.index["split"] == s].nunique() for s in SPLITS}
    assert sum(s.written for s in report.scenes) == len(patches)
    assert sum(s.windows - s.unlabelled for s in report.scenes) == len(patches) + report.between
    for split in SPLITS:
        pixels = np.bincount(patches.masks[patches.index["split"] == split].ravel(), minlength=3)[:3]
        percent = list(report.class_percent[split].values())
        np.testing.assert_allclose(percent, 100 * pixels / pixels.sum(), atol=1e-3)
    assert patches.meta.provenance["sizes"] == report.sizes
