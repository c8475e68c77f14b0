import json
import re

import numpy as np
import pytest

from specdm import files
from specdm.labels import OSCD, SEGMUNICH
from specdm.patches import PatchMeta, PatchRecord, PatchWriter, open_patches

UTM = "EPSG:32632"


@pytest.fixture
def told(verb, capsys):
    """Runs info on a patch set and returns its lines by their first word; lines without one belong to the last."""

    def run(folder, *options) -> dict[str, list[str]]:
        capsys.readouterr()
        assert verb("info", folder, *options) == 0
        found, word = {}, ""
        for line in capsys.readouterr().out.splitlines():
            word = line[:11].strip() or word
            found.setdefault(word, []).append(line[12:])
        return found

    return run


def _set(folder, records, channels=3, **meta):
    """A patch set with the given records, 8 px wide, labelled but for one corner pixel."""
    described = dict(name="set", sensor="EnMAP", level="BOA", scale=1e-4, offset=0.0, nodata=None, labels=OSCD)
    described |= {"bands": tuple(f"b{i + 1:03}" for i in range(channels))} | meta
    rng = np.random.default_rng(0)
    with PatchWriter(folder, PatchMeta(**described), (1, channels, 8, 8), "int16") as writer:
        for i, record in enumerate(records):
            mask = np.full((8, 8), i % 2, np.uint8)
            mask[0, 0] = 255
            image = rng.integers(1, 999, (1, channels, 8, 8)).astype(np.int16)
            writer.append(image[None], mask[None], [record])
    return folder


def _placed(i, split, x, **more):
    return PatchRecord(f"p{i}", split, f"g{i}", "scene.tif", crs=UTM, transform=(10.0, 0.0, x, 0.0, -10.0, 0.0), **more)


def test_a_set_is_described_by_its_own_numbers(told, segmentation_patches):
    lines, patches = told(segmentation_patches), open_patches(segmentation_patches)
    assert lines["name"] == ["fields: 40 patches (24 train, 8 val, 8 test), real"]
    assert lines["sensor"] == ["Sentinel-2 MSI, BOA"]
    assert lines["images"][0].startswith("40 patches x 1 date x 4 bands x 32 x 32 px, uint16; 0.4 MB on disk")
    assert lines["bands"] == ["B02 492 nm, B03 560 nm, B04 665 nm, B8A 865 nm"]
    assert lines["values"] == ["reflectance = stored number * 0.0001 - 0.1"]
    assert lines["groups"] == ["8; none stands in two splits"]
    rows = {line[:25].strip(): line.split()[-3:] for line in lines["splits"]}
    assert rows["patches"] == ["24", "8", "8"]
    assert rows["groups"] == ["4", "2", "2"]
    for column, split in enumerate(("train", "val", "test")):
        masks = patches.masks[patches.ids(split)]
        labelled = masks[masks != 255]
        for k in (0, 3, 12):
            share = (labelled == k).mean()
            assert rows[f"{k} {SEGMUNICH.names[k]}"][column] == f"{share:.1%}"
        assert next(v for k, v in rows.items() if k.startswith("ignored"))[column] == f"{(masks == 255).mean():.1%}"


def test_untouched_files_are_ok(told, change_patches):
    assert told(change_patches)["checksums"] == ["images ok", "masks ok", "index ok"]


@pytest.mark.parametrize("name", ["images", "masks"])
def test_one_changed_byte_is_told(told, tmp_path, name):
    folder = _set(tmp_path / "set", [PatchRecord(f"p{i}", "train", "g", "s") for i in range(70)])
    array = np.load(folder / f"{name}.npy", mmap_mode="r+")
    array[69, ..., 7] ^= 1
    array.flush()
    lines = told(folder)["checksums"]
    assert [line for line in lines if "DIFFERS" in line] == [
        f"{name} DIFFERS from meta.json: the file was changed or damaged"
    ]
    assert told(folder, "--no-verify")["checksums"] == ["not compared"]


def test_an_exchanged_index_is_told(told, tmp_path):
    folder = _set(tmp_path / "set", [PatchRecord("p0", "train", "g", "s"), PatchRecord("p1", "test", "h", "t")])
    other = _set(tmp_path / "other", [PatchRecord("p0", "train", "g", "s"), PatchRecord("p1", "train", "h", "t")])
    (other / "index.parquet").replace(folder / "index.parquet")
    assert told(folder)["checksums"][2] == "index DIFFERS from meta.json: the file was changed or damaged"


def test_a_file_cut_short_is_an_error_in_one_sentence(tmp_path, verb):
    folder = _set(tmp_path / "set", [PatchRecord("p0", "train", "g", "s")])
    whole = (folder / "images.npy").read_bytes()
    (folder / "images.npy").write_bytes(whole[:-100])
    assert verb("info", folder) == (f"error: {folder}: a file is cut short or damaged: prepare the set anew.")


def test_leaks_are_measured_on_the_ground(told, tmp_path):
    records = [_placed(0, "train", 0.0), _placed(1, "test", 70.0), _placed(2, "test", 80.0), _placed(3, "val", 900.0)]
    assert told(_set(tmp_path / "set", records))["leaks"] == [
        "0 of 1 val and 1 of 2 test patches share ground with a training patch (by their outlines on the ground)"
    ]


def test_leaks_without_a_location_are_measured_within_each_source(told, tmp_path):
    records = [PatchRecord("a", "train", "g", "s", col=0), PatchRecord("b", "val", "h", "s", col=7)]
    assert told(_set(tmp_path / "set", records))["leaks"] == [
        "1 of 1 val patches share ground with a training patch (by rows and columns within each source)"
    ]


def test_leaks_that_were_counted_from_the_raw_files_are_believed(told, tmp_path):
    """Copies of one window are different files: only whoever read them all could see it."""
    records = [PatchRecord("a", "train", "g", "s"), PatchRecord("b", "test", "h", "t")]
    folder = _set(tmp_path / "set", records, provenance={"source": "segmunich", "shared": {"val": 0, "test": 1}})
    assert told(folder)["leaks"] == [
        "1 of 1 test patches share ground with a training patch (counted when it was prepared)"
    ]


def test_a_group_in_two_splits_is_named(told, tmp_path):
    records = [PatchRecord("a", "train", "berlin", "s"), PatchRecord("b", "test", "berlin", "t")]
    assert told(_set(tmp_path / "set", records))["groups"] == ["1; 1 OF THEM STAND IN TWO SPLITS: berlin"]


def test_many_bands_fit_a_few_lines(told, tmp_path):
    nm = tuple(np.linspace(418.2, 2445.5, 224).tolist())
    records = [PatchRecord("a", "train", "g", "s")]
    known = told(_set(tmp_path / "known", records, 224, wavelengths_nm=nm))["bands"]
    text = " ".join(known)
    assert len(known) <= 2
    assert text.startswith("b001 418 nm, b002 427 nm, ")
    assert text.endswith("b224 2446 nm (224 in all); 418 to 2446 nm")
    unknown = told(_set(tmp_path / "unknown", records, 224))["bands"]
    assert " ".join(unknown) == "b001, b002, b003, ..., b222, b223, b224 (224 in all); wavelengths unknown"


def test_places_dates_origin_and_warnings_stand_in_the_text(told, tmp_path):
    records = [
        _placed(0, "train", 0.0, dates="2018-03-05,2020-01-09"),
        _placed(1, "val", 500.0, dates="2017-12-24,2020-01-09"),
    ]
    provenance = {"stage": "prepare", "source": "scene", "seed": 0, "commit": "abc123", "settings": {"a": 1}}
    lines = told(_set(tmp_path / "set", records, provenance=provenance, warnings=("Water is bright.",)))
    assert lines["sources"] == ["1 raw file(s) or scene(s); dates from 2017-12-24 to 2020-01-09", f"{UTM} (2 patches)"]
    assert lines["made by"] == ["source scene, stage prepare, seed 0, commit abc123"]
    assert lines["warnings"] == ["Water is bright."]


def test_the_share_of_valid_pixels_is_that_of_the_images(told, tmp_path):
    meta = PatchMeta("set", "s", "unitless", ("a", "b"), 1.0, 0.0, -9999, OSCD)
    images = np.ones((1, 1, 2, 8, 8), np.float32)
    images[..., :2, :] = -9999
    images[:, :, 0, 7] = -9999  # one band alone does not make a pixel empty
    with PatchWriter(tmp_path / "set", meta, (1, 2, 8, 8), "float32") as writer:
        writer.append(images, np.zeros((1, 8, 8), np.uint8), [PatchRecord("a", "train", "g", "s")])
    lines = told(tmp_path / "set")
    assert lines["no data"] == ["-9999 in all bands means no data; 75.0% of the pixels hold data"]
    assert lines["values"] == ["value = stored number * 1"]


def test_synthetic_sets_show_no_ground(told, tmp_path):
    records = [PatchRecord(f"p{i}", "train", f"p{i}", "specdm") for i in range(5)]
    lines = told(_set(tmp_path / "set", records, synthetic=True))
    assert lines["name"] == ["set: 5 patches (5 train, 0 val, 0 test), synthetic"]
    assert lines["leaks"] == ["none: synthetic patches show no ground"]
    assert lines["groups"] == ["5; none stands in two splits"]
    assert re.search(r"patches +5 +0 +0", lines["splits"][1])
    assert re.search(r"no change +60\.0% +- +-", lines["splits"][3])


def test_a_set_without_checksums_is_not_called_whole(told, tmp_path):
    folder = _set(tmp_path / "set", [PatchRecord("a", "train", "g", "s")])
    meta = json.loads((folder / "meta.json").read_text())
    (folder / "meta.json").write_text(files.to_json(meta | {"checksums": {}}))
    assert not any(line.endswith(" ok") for line in told(folder)["checksums"])
