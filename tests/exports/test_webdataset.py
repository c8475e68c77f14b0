"""Shards as readers of WebDataset see them, and damaged ones."""

import io
import json
import tarfile

import numpy as np
import pytest

from specdm.errors import UserError
from specdm.patches import open_patches
from specdm.stages.import_patches import import_export
from tests.exports.sets import make_set


def samples(shard):
    """The samples of a shard by the rule of the format: the key ends at the first dot of the file's name."""
    found = {}
    with tarfile.open(shard) as archive:
        for member in archive:
            key, _, extension = member.name.partition(".")
            found.setdefault(key, {})[extension] = archive.extractfile(member).read()
    return found


def test_samples_hold_image_mask_and_row(export, towns):
    folder, seen = export(towns, "webdataset"), []
    for split in ("train", "val", "test"):
        for sample in samples(folder / f"{split}-000000.tar").values():
            row = json.loads(sample["json"])
            i = row["position"]
            seen.append(i)
            assert set(sample) == {"image.npy", "mask.npy", "json"}
            np.testing.assert_array_equal(np.load(io.BytesIO(sample["image.npy"])), towns.images[i])
            np.testing.assert_array_equal(np.load(io.BytesIO(sample["mask.npy"])), towns.masks[i])
            assert (row["id"], row["split"], row["crs"]) == (towns.index["id"][i], split, towns.index["crs"][i])
    assert sorted(seen) == list(range(len(towns)))


def test_equal_sets_give_equal_bytes(export, tmp_path, fields):
    one, other = export(fields, "webdataset"), tmp_path / "again"
    one.rename(other)
    one = export(fields, "webdataset")
    for path in sorted(one.iterdir()):
        assert path.read_bytes() == (other / path.name).read_bytes()
    with tarfile.open(one / "train-000000.tar") as archive:
        assert {(m.mtime, m.uid, m.gid, m.uname, m.mode) for m in archive} == {(0, 0, 0, "", 0o644)}


def test_a_shard_ends_soon_after_its_size(export, fields):
    headers = 6 * 512  # of three files, and what fills their last blocks, about
    sample = fields.images[0].nbytes + fields.masks[0].nbytes + headers
    folder = export(fields, "webdataset", shard_mb=1.5 * sample / 1e6)
    counts = [len(samples(path)) for path in sorted(folder.glob("train-*.tar"))]
    assert counts == [2, 2] and len(list(folder.glob("*.tar"))) == 2 + 2 + 1
    assert sorted(p.name for p in folder.glob("train*")) == ["train-000000.tar", "train-000001.tar"]


def test_keys_have_no_dots_and_no_folders(export, tmp_path):
    folder = export(make_set(tmp_path / "set", n=2, ids="a/v1.{}"), "webdataset")
    keys = [key for shard in folder.glob("*.tar") for key in samples(shard)]
    assert sorted(keys) == ["a%2Fv1%2E0", "a%2Fv1%2E1"]


@pytest.fixture
def shards(export, fields):
    return export(fields, "webdataset", shard_mb=0.001)


def refused(folder, tmp_path, words):
    with pytest.raises(UserError, match=words) as caught:
        import_export(folder, tmp_path / "out")
    assert str(caught.value).endswith("fetch it again or export the set again.") and "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob(".*partial*"))


@pytest.mark.parametrize("keep", [700, 3000, 5632 + 512, 5632 + 1536])
def test_a_shard_that_is_cut_short(shards, tmp_path, keep):
    path = shards / "train-000001.tar"
    assert path.stat().st_size > keep
    path.write_bytes(path.read_bytes()[:keep])
    refused(shards, tmp_path, "train-000001.tar is damaged, cut short")


@pytest.mark.parametrize("name", ["train-000001.tar", "test-000000.tar"])
def test_a_missing_shard(shards, tmp_path, name):
    (shards / name).unlink()
    refused(shards, tmp_path, "a shard is missing")


def test_a_missing_last_shard(shards, tmp_path, fields):
    assert fields.index["split"].iloc[-1] == "val"
    sorted(shards.glob("val-*.tar"))[-1].unlink()
    refused(shards, tmp_path, "its last shard is missing")


def test_a_flipped_bit(shards, tmp_path):
    path = shards / "val-000000.tar"
    content = bytearray(path.read_bytes())
    content[2000] ^= 4
    path.write_bytes(content)
    refused(shards, tmp_path, "the images are not those that meta.json was written for")


def test_shards_of_another_layout(shards, tmp_path):
    with tarfile.open(shards / "val-000000.tar", "w") as archive:
        for name in ("a.jpg", "a.cls", "b.jpg"):
            archive.addfile(tarfile.TarInfo(name), io.BytesIO())
    refused(shards, tmp_path, "no shard of an export")


def test_a_damaged_meta(shards, tmp_path):
    (shards / "meta.json").write_text("{")
    with pytest.raises(UserError, match=r"meta\.json is damaged"):
        import_export(shards, tmp_path / "out")


def test_another_name_may_be_given(shards, tmp_path, fields):
    import_export(shards, tmp_path / "out", "meadows")
    assert open_patches(tmp_path / "out").meta.name == "meadows"
