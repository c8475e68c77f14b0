"""Exports read back: bit for bit by `specdm import`, images and masks by our readers of the benchmarks."""

import dataclasses

import numpy as np
import pytest

from specdm import files
from specdm.patches import open_patches
from specdm.settings import OscdSettings, SegMunichSettings
from specdm.sources import oscd, segmunich
from specdm.stages.import_patches import import_export, is_export
from tests.exports.sets import SIDE, make_cities, make_set, same_bits

ALL = ("geotiff", "webdataset")


def read_back(folder, out):
    assert is_export(folder)
    import_export(folder, out)
    return open_patches(out)


@pytest.mark.parametrize("to", ALL)
@pytest.mark.parametrize("which", ["fields", "drawn", "towns"])
def test_a_set_comes_back_bit_for_bit(export, tmp_path, request, which, to):
    patches = request.getfixturevalue(which)
    same_bits(read_back(export(patches, to), tmp_path / "back"), patches)


@pytest.mark.parametrize("to", ALL)
@pytest.mark.parametrize(
    ("dtype", "meta"),
    [
        ("float32", {"nodata": None, "scale": 1.0, "wavelengths_nm": (), "level": "unitless"}),
        ("int16", {"nodata": -9999, "offset": -0.1, "warnings": ("Mind the gap.",)}),
        ("uint8", {"bands": ("B02", "B03", "B04", "B08")}),
    ],
)
def test_other_types_come_back_bit_for_bit(export, tmp_path, to, dtype, meta):
    patches = make_set(tmp_path / "set", n=3, dtype=dtype, ids="a/b c,{}.x", **meta)
    same_bits(read_back(export(patches, to), tmp_path / "back"), patches)


@pytest.mark.parametrize("to", ALL)
@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_one_split_comes_back_alone(export, tmp_path, fields, to, split):
    back = read_back(export(fields, to, split=split), tmp_path / "back")
    chosen = fields.ids(split)
    np.testing.assert_array_equal(back.images, fields.images[chosen])
    np.testing.assert_array_equal(back.masks, fields.masks[chosen])
    assert back.index["id"].tolist() == fields.index["id"][chosen].tolist()
    assert set(back.index["split"]) == {split}
    assert dataclasses.replace(back.meta, checksums={}) == dataclasses.replace(fields.meta, checksums={})


def test_many_pieces_and_shards_keep_the_order(export, tmp_path, fields, monkeypatch):
    from specdm.exports import selection
    from specdm.sources import geotiff_export, webdataset_shards

    for module in (selection, geotiff_export, webdataset_shards):
        monkeypatch.setattr(module, "CHUNK", 2)
    same_bits(read_back(export(fields, "geotiff"), tmp_path / "a"), fields)
    same_bits(read_back(export(fields, "webdataset", shard_mb=0.001), tmp_path / "b"), fields)


@pytest.mark.parametrize("ids", ["p.{}", "{}"])
def test_segmunich_is_read_by_its_reader(export, tmp_path, ids):
    patches = make_set(tmp_path / "set", ids=ids)
    folder = export(patches, "segmunich")
    settings = SegMunichSettings().model_dump() | {"val_fraction": 0, "max_background": 1, "patch_px": SIDE}
    settings["bands"] = patches.meta.bands
    segmunich.prepare(folder, tmp_path / "back", **settings)
    back = open_patches(tmp_path / "back")
    names = {f"{'test' if s == 'test' else 'train'}/{i}".replace(".", "%2E"): k
             for k, (i, s) in enumerate(zip(patches.index["id"], patches.index["split"], strict=True))}  # fmt: skip
    order = [names[patch_id] for patch_id in back.index["id"]]
    assert sorted(order) == list(range(len(patches)))
    assert back.images.dtype == patches.images.dtype
    np.testing.assert_array_equal(back.images, patches.images[order])
    np.testing.assert_array_equal(back.masks, patches.masks[order])
    validation = (folder / "dataset" / "validation.txt").read_text().split()
    assert [names[f"train/{v}"] for v in validation] == patches.ids("val").tolist()


def test_segmunich_ids_come_back_from_what_its_reader_made(export, tmp_path):
    """A set read from SegMunich has ids train/a: its export has the file names of the original, and gives them back."""
    patches = make_set(tmp_path / "set", n=4, ids="train/w{}", synthetic=True)
    folder = export(patches, "segmunich")
    assert (folder / "dataset" / "train.txt").read_text().split() == ["w0", "w1", "w2", "w3"]
    assert (folder / "dataset" / "test.txt").read_text() == ""
    segmunich.prepare(folder, tmp_path / "back", val_fraction=0, max_background=1, patch_px=SIDE)
    back = open_patches(tmp_path / "back")
    assert back.index["id"].tolist() == patches.index["id"].tolist()
    assert files.digest(back.images[:].tolist()) == files.digest(patches.images[:].tolist())


def test_oscd_is_read_by_its_reader(export, tmp_path, towns):
    folder = export(towns, "oscd")
    images = folder / "Onera Satellite Change Detection dataset - Images"
    val = (images / "val.txt").read_text().strip().split(",")
    settings = OscdSettings().model_dump() | {"bands": towns.meta.bands, "patch_px": SIDE, "stride_px": SIDE}
    oscd.prepare(folder, tmp_path / "back", **settings | {"val_cities": val, "guard_px": 0})
    back = open_patches(tmp_path / "back")
    names = {i.replace(".", "%2E"): k for k, i in enumerate(towns.index["id"])}
    order = [names[city] for city in back.index["source"]]
    assert sorted(order) == list(range(len(towns)))
    np.testing.assert_array_equal(back.images, towns.images[order])
    np.testing.assert_array_equal(back.masks, towns.masks[order])
    for column in ("split", "dates", "crs"):
        assert back.index[column].tolist() == towns.index[column][order].tolist(), column
    for ours, theirs in zip(back.index["transform"], towns.index["transform"][order], strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert (back.meta.level, back.meta.scale, back.meta.nodata) == (towns.meta.level, towns.meta.scale, 0)


def test_a_synthetic_oscd_set_has_no_dates_and_no_places(export, tmp_path):
    patches = make_cities(tmp_path / "set", n=3, synthetic=True)
    folder = export(patches, "oscd") / "Onera Satellite Change Detection dataset - Images"
    assert (folder / "p%2E0" / "dates.txt").read_text() == ""
    assert not (folder / "val.txt").exists()
    assert (folder / "train.txt").read_text() == "p%2E0,p%2E1,p%2E2\n"
