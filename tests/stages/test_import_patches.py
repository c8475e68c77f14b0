"""The verb import: which reader a source gets, and what it refuses."""

import numpy as np
import pytest

from specdm import rasters
from specdm.patches import open_patches
from specdm.sources import blocks
from tests.exports.sets import make_set, same_bits


@pytest.fixture(scope="module")
def patches(tmp_path_factory):
    return make_set(tmp_path_factory.mktemp("sets") / "fields", n=4)


@pytest.mark.parametrize("to", ["geotiff", "webdataset"])
def test_an_export_comes_back_without_settings(tmp_path, verb, capsys, patches, to):
    assert verb("export", patches.folder, to=to, out=tmp_path / "there") == 0
    assert verb("import", tmp_path / "there", out=tmp_path / "back") == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith(f"import: 4 patches (2 train, 1 val, 1 test) in {tmp_path / 'back'}")
    same_bits(open_patches(tmp_path / "back"), patches)
    status = verb("import", tmp_path / "there", out=tmp_path / "again", settings={"level": "BOA"})
    assert "says all there is to say" in status and not (tmp_path / "again").exists()
    assert verb("import", tmp_path / "there", out=tmp_path / "named", name="meadows") == 0
    assert open_patches(tmp_path / "named").meta.name == "meadows"


def test_exported_files_without_their_meta_are_a_folder_of_files(tmp_path, verb, capsys, patches, monkeypatch):
    """Bands, scale, nodata, classes and places stand in the GeoTIFFs themselves."""
    monkeypatch.setattr(blocks, "STEPS", 20)
    there = tmp_path / "there"
    assert verb("export", patches.folder, to="geotiff", out=there) == 0
    (there / "meta.json").unlink()
    status = verb("import", there, out=tmp_path / "back")
    assert status == (
        f"error: {there} has no meta.json of an export: say with --settings what its files are, at least --settings "
        "'{level: BOA}'."
    )
    assert verb("import", there, out=tmp_path / "back", settings={"level": "BOA"}) == 0
    assert "1 of 4 files have no georeference" in capsys.readouterr().out
    back = open_patches(tmp_path / "back")
    np.testing.assert_array_equal(back.images, patches.images)
    np.testing.assert_array_equal(back.masks, patches.masks)
    for key in ("bands", "wavelengths_nm", "scale", "offset", "nodata", "sensor"):
        assert getattr(back.meta, key) == getattr(patches.meta, key), key
    assert back.meta.labels.names == patches.meta.labels.names
    assert [c.colour for c in back.meta.labels.classes] == [c.colour for c in patches.meta.labels.classes]
    for column in ("crs", "dates", "source"):
        assert back.index[column].tolist() == patches.index[column].tolist(), column
    assert back.meta.name == "there"


def test_scenes_are_described_in_a_file(tmp_path, verb):
    rng = np.random.default_rng(0)
    for part in ("train", "val", "test"):
        rasters.write(tmp_path / f"{part}.tif", rng.integers(1, 99, (2, 32, 32)).astype(np.uint16))
        rasters.write(tmp_path / f"{part}_labels.tif", rng.choice([1, 2], (1, 32, 32)).astype(np.uint8))
    scenes = [f"{{images: {s}.tif, labels: {s}_labels.tif, split: {s}}}" for s in ("train", "val", "test")]
    settings = tmp_path / "coast.yaml"
    settings.write_text(
        f"scenes: [{', '.join(scenes)}]\nbands: [a, b]\nlevel: unitless\nscale: 1\npatch_px: 16\nstride_px: 16\n"
        "classes: [{name: sea, codes: [1]}, {name: land, codes: [2]}]\n"
    )
    assert verb("import", settings, out=tmp_path / "out") == 0
    patches = open_patches(tmp_path / "out")
    assert patches.meta.name == "coast" and len(patches) == 12
    np.testing.assert_array_equal(patches.images[0, 0], rasters.read(tmp_path / "train.tif").pixels[:, :16, :16])
    assert "leave this option out" in verb("import", settings, out=tmp_path / "b", settings={"level": "BOA"})
    moved = tmp_path / "elsewhere" / "coast.yaml"
    moved.parent.mkdir()
    settings.rename(moved)
    assert verb("import", moved, out=tmp_path / "c", raw=tmp_path, name="shore") == 0
    assert open_patches(tmp_path / "c").meta.name == "shore"


def test_what_is_nothing_is_told(tmp_path, verb, patches):
    status = verb("import", tmp_path / "none", out=tmp_path / "out")
    assert status == f"error: {tmp_path}/none does not exist: name a folder, or a settings file with scenes."
    status = verb("import", patches.folder, out=tmp_path / "out")
    assert status == f"error: {patches.folder} is a patch set already: nothing is to be imported."
