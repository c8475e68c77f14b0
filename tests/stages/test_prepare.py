import json

import pytest

from specdm.patches import open_patches

CITIES = [
    {"name": name, "split": split, "height": 96, "width": 96}
    for name, split in (("amsel", "train"), ("dachs", "train"), ("falke", "test"))
]


def test_simulated_cities_become_patches_of_two_dates(tmp_path, verb):
    raw, out = tmp_path / "raw", tmp_path / "patches"
    assert verb("simulate", source="oscd", out=raw, settings={"cities": CITIES}) == 0
    assert json.loads((raw / "simulate.json").read_text())["settings"]["cities"][2]["name"] == "falke"
    settings = {"patch_px": 32, "stride_px": 32, "val_cities": ["dachs"], "guard_px": 0, "bands": ["B4", "B3", "B02"]}
    assert verb("prepare", source="oscd", name="towns", raw=raw, out=out, settings=settings) == 0
    patches = open_patches(out)
    assert patches.meta.name == "towns"
    assert patches.meta.bands == ("B04", "B03", "B02")
    assert patches.images.shape[1:] == (2, 3, 32, 32)
    assert {split: len(patches.ids(split)) for split in ("train", "val", "test")} == {"train": 9, "val": 9, "test": 9}


def test_a_simulated_mosaic_becomes_patches_of_one_date(tmp_path, verb):
    raw, out = tmp_path / "raw", tmp_path / "patches"
    assert verb("simulate", source="segmunich", out=raw, settings={"mosaic_px": 384, "stride_px": 128}) == 0
    assert (raw / "simulate.json").is_file()
    settings = {"patch_px": 64, "max_background": 1, "splits": "grouped", "val_fraction": 0.2, "test_fraction": 0.2}
    settings |= {"position_pattern": r"r(?P<row>\d+)_c(?P<col>\d+)", "block_px": 128}
    assert verb("prepare", source="segmunich", name="fields", raw=raw, out=out, settings=settings) == 0
    patches = open_patches(out)
    assert patches.images.shape[1:] == (1, 10, 64, 64)
    splits = patches.index.groupby("group")["split"].nunique()
    assert (splits == 1).all()


@pytest.mark.parametrize("verb_name", ["simulate", "prepare"])
def test_an_unknown_source_names_the_choices(tmp_path, verb, verb_name):
    more = {"raw": tmp_path, "name": "x"} if verb_name == "prepare" else {}
    status = verb(verb_name, source="landsat", out=tmp_path / "out", **more)
    known = "segmunich, oscd, scene, unlabelled" if verb_name == "prepare" else "segmunich, oscd"
    assert status == f"error: --source: there is no 'landsat', choose one of {known}."
