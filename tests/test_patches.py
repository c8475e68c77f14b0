import builtins
import json
import pickle

import geopandas
import numpy as np
import pytest
from shapely.geometry import box

from specdm.errors import UserError
from specdm.labels import OSCD
from specdm.patches import (
    FILES,
    Normaliser,
    PatchMeta,
    PatchRecord,
    PatchWriter,
    check_masks,
    class_counts,
    open_patches,
    to_dn,
    to_reflectance,
)
from specdm.patches import writer as module

SIDE = 16
META = PatchMeta("tiny", "Sentinel-2 MSI", "TOA", ("B04", "B8A"), 1e-4, -0.1, 0, OSCD, warnings=("read me",))


def _records(n: int, start: int = 0, **fields) -> list[PatchRecord]:
    return [
        PatchRecord(**dict(id=f"p{start + i}", split="train", group="g", source="a.tif") | fields) for i in range(n)
    ]


def _data(n: int, dates: int = 1, dtype="uint16", seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    images = rng.integers(1, 9999, (n, dates, 2, SIDE, SIDE)).astype(dtype)
    return images, rng.choice([0, 1, 255], (n, SIDE, SIDE)).astype(np.uint8)


def _write(folder, images, masks, records, pieces=1, meta=META):
    with PatchWriter(folder, meta, images.shape[1:], images.dtype) as writer:
        for part in np.array_split(np.arange(len(images)), pieces):
            writer.append(images[part], masks[part], [records[i] for i in part])
    return open_patches(folder)


@pytest.mark.parametrize("dates", [1, 2])
@pytest.mark.parametrize("dtype", ["uint16", "int16", "float32"])
def test_what_is_written_is_read(tmp_path, dates, dtype):
    images, masks = _data(5, dates, dtype)
    if dtype == "float32":
        images = images / np.float32(7)
    records = [
        *_records(3, dates="2017-01-02", row=4, col=8),
        *_records(1, 3, split="val", group="h"),
        *_records(1, 4, split="test", group="i"),
    ]
    patches = _write(tmp_path / "set", images, masks, records)
    assert patches.images.dtype == dtype
    np.testing.assert_array_equal(patches.images, images)
    np.testing.assert_array_equal(patches.masks, masks)
    np.testing.assert_array_equal(patches[3][0], images[3])
    assert len(patches) == 5
    assert [patches.ids(split).tolist() for split in ("train", "val", "test")] == [[0, 1, 2], [3], [4]]
    row = patches.index.iloc[1]
    assert (row["id"], row["dates"], row["row"], row["col"], row["synthetic"]) == ("p1", "2017-01-02", 4, 8, False)
    assert list(row["class_counts"]) == [(masks[1] == 0).sum(), (masks[1] == 1).sum()]
    assert patches.meta.warnings == ("read me",)
    assert patches.meta.labels == OSCD
    np.testing.assert_allclose(patches.reflectance([2])[0], images[2] * 1e-4 - 0.1, rtol=1e-5)


def test_the_arrays_are_plain_npy_files_mapped_from_disk(tmp_path):
    patches = _write(tmp_path / "set", *_data(3), _records(3))
    assert isinstance(patches.images, np.memmap)
    assert np.load(tmp_path / "set" / "images.npy").shape == (3, 1, 2, SIDE, SIDE)
    assert {p.name for p in (tmp_path / "set").iterdir()} == set(FILES)


def test_pieces_give_the_same_bytes_as_one_piece(tmp_path):
    images, masks = _data(120)
    for name, pieces in (("one", 1), ("many", 17)):
        _write(tmp_path / name, images, masks, _records(120), pieces)
    for name in FILES:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "many" / name).read_bytes(), name


def test_written_data_leaves_memory(tmp_path):
    import tracemalloc

    images, masks = np.ones((8, 1, 2, 128, 128), np.uint16), np.zeros((8, 128, 128), np.uint8)
    tracemalloc.start()
    with PatchWriter(tmp_path / "set", META, images.shape[1:], images.dtype) as writer:
        for start in range(0, 160, 8):
            writer.append(images, masks, _records(8, start))
        held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert held < 20 * images.nbytes / 10


BAD = {
    "NaN": (np.full((2, 1, 2, SIDE, SIDE), np.nan, np.float32), 2, {}, "a.tif holds NaN"),
    "infinite": (np.full((2, 1, 2, SIDE, SIDE), np.inf, np.float32), 2, {}, "a.tif holds NaN or infinite"),
    "wrong shape": (np.ones((2, 1, 2, SIDE, 8), np.float32), 2, {}, "all patches of a set have one shape"),
    "fewer records": (np.ones((2, 1, 2, SIDE, SIDE), np.float32), 1, {}, "for 1 patches"),
    "twice the same id": (np.ones((2, 1, 2, SIDE, SIDE), np.float32), 2, {"id": "x"}, "'x' occurs twice"),
    "unknown split": (np.ones((2, 1, 2, SIDE, SIDE), np.float32), 2, {"split": "dev"}, "its split is unknown"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_patches_are_refused_and_leave_nothing(tmp_path, kind):
    images, n, fields, message = BAD[kind]
    with (
        pytest.raises(UserError, match=message),
        PatchWriter(tmp_path / "set", META, (1, 2, SIDE, SIDE), "float32") as writer,
    ):
        writer.append(*(a.astype(a.dtype) for a in _data(1, dtype="float32")), _records(1, 100))
        writer.append(images, np.zeros((2, SIDE, SIDE), np.uint8), _records(n, **fields))
    assert list(tmp_path.iterdir()) == []


def test_an_empty_set_is_refused_and_leaves_nothing(tmp_path):
    with pytest.raises(UserError, match="no patch is left"), PatchWriter(tmp_path / "s", META, (1, 2, 8, 8), "uint16"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_rewrite_keeps_the_old_set(tmp_path):
    old = _write(tmp_path / "set", *_data(2), _records(2))
    checksums = old.meta.checksums
    with pytest.raises(KeyboardInterrupt), PatchWriter(tmp_path / "set", META, (1, 2, SIDE, SIDE), "uint16") as writer:
        writer.append(*_data(3, seed=1), _records(3))
        raise KeyboardInterrupt
    assert open_patches(tmp_path / "set").meta.checksums == checksums
    assert [p.name for p in tmp_path.iterdir()] == ["set"]


def test_each_channel_needs_a_name(tmp_path):
    with pytest.raises(UserError, match="3 channels but 2 band names"):
        PatchWriter(tmp_path / "set", META, (1, 3, SIDE, SIDE), "uint16")


@pytest.mark.parametrize("name", ["images.npy", "masks.npy"])
@pytest.mark.parametrize("n", [1, 64])  # less than a buffer: the disk says no at the end; more: while appending
def test_a_full_disk_is_told_and_leaves_nothing(tmp_path, monkeypatch, name, n):
    def full(path, *rest):
        return builtins.open("/dev/full" if str(path).endswith(name) else path, *rest)

    monkeypatch.setattr(module, "open", full, raising=False)
    images, masks = _data(n)
    with (
        pytest.raises(UserError, match=r"The disk is full at .*set"),
        PatchWriter(tmp_path / "set", META, images.shape[1:], images.dtype) as writer,
    ):
        writer.append(images, masks, _records(n))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_forbids_writing_is_told(tmp_path, monkeypatch):
    def forbidden(**_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(module.files.tempfile, "mkdtemp", forbidden)
    with (
        pytest.raises(UserError, match="may not be read or written"),
        PatchWriter(tmp_path / "s", META, (1, 2, 8, 8), "uint16"),
    ):
        pass


def test_checksums_and_hash_change_with_content(tmp_path):
    images, masks = _data(4)
    base = _write(tmp_path / "base", images, masks, _records(4))
    assert _write(tmp_path / "same", images, masks, _records(4)).hash == base.hash
    changed_image, changed_mask = images.copy(), masks.copy()
    changed_image[2, 0, 1, 3, 3] += 1
    changed_mask[1, 0, 0] = 1 - min(changed_mask[1, 0, 0], 1)
    other = {
        "images": _write(tmp_path / "image", changed_image, masks, _records(4)),
        "masks": _write(tmp_path / "mask", images, changed_mask, _records(4)),
        "index": _write(tmp_path / "index", images, masks, [*_records(3), *_records(1, 3, split="val")]),
    }
    for part, patches in other.items():
        differing = {k for k in base.meta.checksums if base.meta.checksums[k] != patches.meta.checksums[k]}
        assert differing == {part}
        assert patches.hash != base.hash


def test_wavelengths_come_back_and_older_sets_have_none(tmp_path):
    described = {k: getattr(META, k) for k in META.__dataclass_fields__}
    patches = _write(
        tmp_path / "set", *_data(2), _records(2), meta=PatchMeta(**described | {"wavelengths_nm": (664.6, 864.7)})
    )
    assert patches.meta.wavelengths_nm == (664.6, 864.7)
    meta = json.loads((tmp_path / "set" / "meta.json").read_text())
    del meta["wavelengths_nm"]
    (tmp_path / "set" / "meta.json").write_text(json.dumps(meta))
    assert open_patches(tmp_path / "set").meta.wavelengths_nm == ()
    with pytest.raises(UserError, match="1 wavelengths for 2 bands"):
        PatchWriter(tmp_path / "x", PatchMeta(**described | {"wavelengths_nm": (664.6,)}), (1, 2, 8, 8), "uint16")


@pytest.mark.parametrize("field", [{"scale": 2e-4}, {"offset": 0.0}, {"nodata": None}, {"bands": ("B03", "B8A")}])
def test_the_hash_changes_with_what_the_numbers_mean(tmp_path, field):
    base = _write(tmp_path / "base", *_data(2), _records(2))
    meta = PatchMeta(**{k: getattr(META, k) for k in META.__dataclass_fields__} | field)
    assert _write(tmp_path / "other", *_data(2), _records(2), meta=meta).hash != base.hash


@pytest.mark.parametrize(
    ("nodata", "dtype"), [(-32768, "int16"), (0, "int16"), (-9999.0, "float32"), (65535, "uint16")]
)
def test_no_sample_ever_holds_the_value_that_means_nodata(nodata, dtype):
    meta = PatchMeta(**{k: getattr(META, k) for k in META.__dataclass_fields__} | {"nodata": nodata})
    dn = np.array([nodata, -40000, 0, 70000], np.float32)
    refl = dn * np.float32(meta.scale) + np.float32(meta.offset)
    made = to_dn(refl[:, None, None], meta, np.dtype(dtype))
    assert made.dtype == dtype
    assert not (made == nodata).any()
    np.testing.assert_allclose(made[0].astype(np.float64), nodata, atol=2)


def test_reflectance_and_back_is_exact_for_every_digital_number():
    dn = np.arange(1, 65535, dtype=np.uint16)[None, None, None]
    np.testing.assert_array_equal(to_dn(to_reflectance(dn, META), META, np.dtype("uint16")), dn)
    np.testing.assert_allclose(to_reflectance(dn[..., :3], META), [[[[1e-4 - 0.1, 2e-4 - 0.1, 3e-4 - 0.1]]]], rtol=1e-5)


def test_numbers_out_of_range_are_clipped_and_never_mean_nodata():
    refl = np.array([-5.0, -0.1, 0.0, 99.0], np.float32)
    assert to_dn(refl, META, np.dtype("uint16")).tolist() == [1, 1, 1000, 65534]
    without = PatchMeta(**{k: getattr(META, k) for k in META.__dataclass_fields__} | {"nodata": None})
    assert to_dn(refl, without, np.dtype("uint16"))[0] == 0
    assert to_dn(refl, META, np.dtype("float32"))[0] == pytest.approx(-49000)


def test_a_pixel_is_invalid_where_every_band_holds_nodata(tmp_path):
    images, masks = _data(2, dates=2)
    images[0, 1, :, :4, :2] = 0
    images[1, 0, 0, 5, 5] = 0  # one band only: still data
    patches = _write(tmp_path / "set", images, masks, _records(2))
    valid = patches.valid([0, 1])
    assert valid.shape == (2, 2, SIDE, SIDE)
    assert not valid[0, 1, :4, :2].any()
    assert (~valid).sum() == 8
    assert patches.index["valid_fraction"].tolist() == pytest.approx([1 - 8 / (2 * SIDE**2), 1])
    assert module.valid_pixels(images, None).all()


def test_the_normaliser_is_that_of_the_valid_training_pixels(tmp_path):
    images, masks = _data(70, dates=2)
    images[3, 0, :, :8] = 0
    records = [*_records(66), *_records(4, 66, split="test")]
    images[66:] = 60000
    patches = _write(tmp_path / "set", images, masks, records)
    normaliser = Normaliser.fit(patches)
    refl = np.moveaxis(images[:66].astype(np.float64) * 1e-4 - 0.1, 2, -1)[(images[:66] != 0).any(2)]
    np.testing.assert_allclose(normaliser.mean, refl.mean(0), rtol=1e-5)
    np.testing.assert_allclose(normaliser.std, refl.std(0), rtol=1e-5)
    again = normaliser.invert(normaliser.apply(patches.reflectance([0, 1])))
    np.testing.assert_allclose(again, patches.reflectance([0, 1]), atol=1e-6)


def test_a_normaliser_without_data_or_spread_is_refused(tmp_path):
    images, masks = _data(2)
    patches = _write(tmp_path / "a", images, masks, _records(2))
    with pytest.raises(UserError, match="'val' holds no valid pixel"):
        Normaliser.fit(patches, "val")
    images[:, :, 1] = 7
    with pytest.raises(UserError, match="the band B8A is constant"):
        Normaliser.fit(_write(tmp_path / "b", images, masks, _records(2)))


def test_located_patches_have_their_outline(tmp_path):
    images, masks = _data(2)
    here = dict(crs="EPSG:32632", transform=(10.0, 0.0, 691000.0, 0.0, -10.0, 5335000.0))
    _write(tmp_path / "set", images, masks, [*_records(1, 0, **here), *_records(1, 1)])
    table = geopandas.read_parquet(tmp_path / "set" / "index.parquet")
    assert table.crs == "EPSG:4326"
    outline = table.to_crs("EPSG:32632").geometry.iloc[0]
    truth = box(691000, 5335000 - 10 * SIDE, 691000 + 10 * SIDE, 5335000)
    assert outline.intersection(truth).area / outline.union(truth).area > 0.9
    assert 11.5 < table.geometry.iloc[0].centroid.x < 11.7  # Munich
    assert table.geometry.iloc[1] is None
    assert list(open_patches(tmp_path / "set").index["crs"]) == ["EPSG:32632", ""]


@pytest.mark.parametrize("name", FILES)
def test_an_incomplete_folder_is_refused(tmp_path, name):
    _write(tmp_path / "set", *_data(1), _records(1))
    (tmp_path / "set" / name).unlink()
    with pytest.raises(UserError, match=rf"{name} is missing: make it with `specdm prepare`"):
        open_patches(tmp_path / "set")


def test_another_schema_version_is_refused(tmp_path):
    _write(tmp_path / "set", *_data(1), _records(1))
    path = tmp_path / "set" / "meta.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema_version": 99, "new_key": 1}))
    with pytest.raises(UserError, match="schema version 99, not 1"):
        open_patches(tmp_path / "set")


def test_arrays_of_different_length_are_refused(tmp_path):
    _write(tmp_path / "set", *_data(3), _records(3))
    np.save(tmp_path / "set" / "masks.npy", np.zeros((2, SIDE, SIDE), np.uint8))
    with pytest.raises(UserError, match="3 images but 2 masks"):
        open_patches(tmp_path / "set")


def test_a_patch_set_travels_to_a_worker_without_its_arrays(tmp_path):
    patches = _write(tmp_path / "set", *_data(50), _records(50))
    assert len(patches.images) == len(patches.index)  # both are open now
    text = pickle.dumps(patches)
    assert len(text) < 10_000
    np.testing.assert_array_equal(pickle.loads(text).images, patches.images)


def test_masks_with_an_unknown_id_are_found(tmp_path):
    images, masks = _data(300)
    check_masks(_write(tmp_path / "good", images, masks, _records(300)))
    masks[299, 0, 0] = 2
    with pytest.raises(UserError, match="mask id 2 is in no class"):
        check_masks(_write(tmp_path / "bad", images, masks, _records(300)))


def test_classes_are_counted_without_the_ignored_pixels_also_of_no_masks():
    masks = np.array([[[0, 2], [2, 255]], [[1, 1], [255, 255]]], np.uint8)
    assert class_counts(masks, 3).tolist() == [[1, 0, 2], [0, 2, 0]]
    assert class_counts(masks[:0], 3).shape == (0, 3)
