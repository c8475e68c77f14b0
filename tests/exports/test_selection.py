"""Reading what is exported: piece by piece, in bounded memory, with the checksums in sight."""

import json
import tracemalloc

import numpy as np
import pytest

from specdm.errors import UserError
from specdm.exports import Selection, geotiff, selection, webdataset
from specdm.patches import open_patches
from tests.exports.sets import make_set


def test_pieces_hold_the_patches_in_order(fields, monkeypatch):
    monkeypatch.setattr(selection, "CHUNK", 2)
    pieces = list(Selection(fields, "train"))
    assert [len(p.records) for p in pieces] == [2, 2]
    np.testing.assert_array_equal(np.concatenate([p.images for p in pieces]), fields.images[fields.ids("train")])
    assert [r.id for p in pieces for r in p.records] == fields.index["id"][fields.ids("train")].tolist()
    assert pieces[1].records[1].transform == tuple(fields.index["transform"][fields.ids("train")[3]])


def test_progress_counts_every_patch(fields, monkeypatch):
    told = []

    class Recorder(selection.Progress):
        def update(self, done, *more):
            told.append((self.total, done))

    monkeypatch.setattr(selection, "Progress", Recorder)
    monkeypatch.setattr(selection, "CHUNK", 4)
    list(Selection(fields))
    assert told == [(9, 4), (9, 8), (9, 9)]


@pytest.mark.parametrize("name", ["images", "masks"])
def test_arrays_that_are_not_those_that_were_written(tmp_path, name):
    patches = make_set(tmp_path / "set", n=2)
    array = np.load(patches.folder / f"{name}.npy", mmap_mode="r+")
    array[-1, ..., -1] = 3 if array[-1, ..., -1].flat[0] != 3 else 4
    array.flush()
    with pytest.raises(UserError, match=f"the {name} differ from the checksum"):
        list(Selection(open_patches(patches.folder)))


def test_a_mask_id_of_no_class(tmp_path):
    patches = make_set(tmp_path / "set", n=2)
    array = np.load(patches.folder / "masks.npy", mmap_mode="r+")
    array[1, 3, 3] = 13
    array.flush()
    with pytest.raises(UserError, match="mask id 13 is in no class"):
        list(Selection(open_patches(patches.folder)))


def test_arrays_that_are_cut_short(tmp_path):
    folder = make_set(tmp_path / "set", n=2).folder
    content = (folder / "images.npy").read_bytes()
    (folder / "images.npy").write_bytes(content[:-7])
    with pytest.raises(UserError, match="a file is cut short or damaged"):
        selection.select(folder, "all", "geotiff")


def test_an_empty_split_is_told(drawn):
    with pytest.raises(UserError, match="no patch in the split 'val'"):
        Selection(drawn, "val")


@pytest.mark.parametrize("layout", ["geotiff", "webdataset"])
def test_memory_does_not_grow_with_the_patches(tmp_path, monkeypatch, layout):
    monkeypatch.setattr(selection, "CHUNK", 4)
    monkeypatch.setattr(selection, "THREADS", 1)

    def peak(n: int) -> int:
        patches = make_set(tmp_path / f"set{n}", n=n)
        patches.index  # noqa: B018  it is as long as the set, here as in training
        (tmp_path / f"out{n}").mkdir()
        tracemalloc.start()
        write = geotiff.write if layout == "geotiff" else lambda *a: webdataset.write(*a, shard_bytes=50_000)
        write(Selection(patches), tmp_path / f"out{n}")
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(8)  # what is imported and cached on first use
    (tmp_path / "out8").rename(tmp_path / "first")
    (tmp_path / "set8").rename(tmp_path / "first-set")
    few, many = peak(8), peak(120)
    images = 112 * 10 * 16 * 16 * 2
    assert many - few < 0.4 * images


def test_the_index_of_a_split_has_its_rows_and_outlines(tmp_path, fields):
    import geopandas

    Selection(fields, "test").write_index(tmp_path / "index.parquet")
    rows = geopandas.read_parquet(tmp_path / "index.parquet")
    assert rows["id"].tolist() == fields.index["id"][fields.ids("test")].tolist()
    assert rows.geometry.notna().tolist() == (fields.index["crs"][fields.ids("test")] != "").tolist()


def test_checksums_are_known_after_reading_only(fields):
    chosen = Selection(fields)
    with pytest.raises(AssertionError):
        chosen.meta()
    list(chosen)
    assert chosen.meta().to_dict() == json.loads((fields.folder / "meta.json").read_text())
