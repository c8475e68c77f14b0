"""The verb export: what it refuses, what it leaves behind, what it says."""

import re

import numpy as np
import pytest

from specdm.patches import open_patches
from tests.exports.sets import make_cities, make_set


@pytest.fixture(scope="module")
def patches(tmp_path_factory):
    return make_set(tmp_path_factory.mktemp("sets") / "fields", n=4)


@pytest.mark.parametrize("to", ["geotiff", "segmunich", "webdataset"])
def test_each_format_is_one_command(tmp_path, verb, capsys, patches, to):
    assert verb("export", patches.folder, to=to, out=tmp_path / "out") == 0
    last = capsys.readouterr().out.splitlines()[-1]
    size = sum(path.stat().st_size for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert re.fullmatch(rf"export: 4 patches, {size / 1e6:.1f} MB in {re.escape(str(tmp_path / 'out'))}, .* s", last)
    assert (tmp_path / "out" / "README.md").read_text().count("# fields\n") == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out"]


def test_oscd_is_one_command_and_says_what_it_cannot_carry(tmp_path, verb, capsys):
    cities = make_cities(tmp_path / "towns", n=4)
    assert verb("export", cities.folder, to="oscd", out=tmp_path / "out", split="train") == 0
    said = capsys.readouterr().out
    for words in ("lacks B08, B09, B10", "The list test is empty", "export: 2 patches"):
        assert words in said


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"to": "zarr"}, "--to: there is no 'zarr', choose one of geotiff, segmunich, oscd, webdataset."),
        ({"split": "all2"}, "--split: there is no 'all2', choose one of all, train, val, test."),
        ({"compress": "lzw"}, "--compress: there is no 'lzw', choose one of none, deflate, zstd."),
        ({"table": "none.csv"}, "none.csv does not exist: it lists the licences of the data sets"),
    ],
)
def test_unknown_choices_name_the_known(tmp_path, verb, patches, options, words):
    status = verb("export", patches.folder, out=tmp_path / "out", **{"to": "geotiff"} | options)
    assert status.startswith(f"error: {words}")
    assert not list(tmp_path.iterdir())


def test_no_export_into_files_of_another(tmp_path, verb, patches):
    out = tmp_path / "out"
    out.mkdir()
    assert verb("export", patches.folder, to="geotiff", out=out) == 0  # an empty folder is free
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    for taken in (out, out / "README.md"):
        status = verb("export", patches.folder, to="webdataset", out=taken)
        assert status == f"error: {taken} exists and is not an empty folder: remove it, or choose another --out."
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("to", ["geotiff", "segmunich", "webdataset"])
def test_a_failure_leaves_nothing(tmp_path, verb, to):
    folder = make_set(tmp_path / "set", n=3).folder
    masks = np.load(folder / "masks.npy", mmap_mode="r+")
    masks[2, 0, 0] = 200
    masks.flush()
    status = verb("export", folder, to=to, out=tmp_path / "out")
    assert status == f"error: {folder}: mask id 200 is in no class: prepare it anew."
    assert sorted(p.name for p in tmp_path.iterdir()) == ["set"]


def test_what_is_no_patch_set(tmp_path, verb):
    status = verb("export", tmp_path / "none", to="geotiff", out=tmp_path / "out")
    assert status.startswith(f"error: {tmp_path}/none is not a patch set")


def test_shards_have_the_size_asked_for(tmp_path, verb, patches):
    assert verb("export", patches.folder, to="webdataset", out=tmp_path / "out", shard_mb=0.001) == 0
    assert len(list((tmp_path / "out").glob("*.tar"))) == len(open_patches(patches.folder))
