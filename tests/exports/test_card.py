"""The data card: numbers against the arrays, limits only where they hold."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from specdm.errors import UserError
from specdm.exports import Selection, card
from specdm.exports.card import limits
from specdm.labels import OSCD
from specdm.patches import PatchMeta, PatchRecord, PatchWriter, open_patches
from tests.exports.conftest import TABLE
from tests.exports.sets import make_set


def text_of(patches, layout="webdataset", notes=(), split="all"):
    return card(Selection(patches, split), layout, notes, TABLE)


def test_the_header_is_yaml_that_names_licence_and_files(drawn, fields):
    header = yaml.safe_load(text_of(fields).split("---\n")[1])
    assert header["license_name"].startswith("licence not stated by the authors")
    assert header["size_categories"] == ["n<1K"]
    files = {part["split"]: part["path"] for part in header["configs"][0]["data_files"]}
    assert files == {"train": "train-*.tar", "validation": "val-*.tar", "test": "test-*.tar"}
    header = yaml.safe_load(text_of(drawn).split("---\n")[1])
    assert header["configs"][0]["data_files"] == [{"split": "train", "path": "train-*.tar"}]
    assert "synthetic" in header["tags"]
    assert "configs" not in yaml.safe_load(text_of(drawn, "geotiff").split("---\n")[1])


def test_a_synthetic_set_names_its_generator_and_its_data(drawn):
    text = text_of(drawn, notes=["Mind this."])
    for words in (
        "generator: autoencoder a11ce, denoiser d3n0",
        "seed: 7",
        "commit: 0123456789ab",
        '{"n_steps": 12, "sampler": "ode"}',
        "learnt from the data set segmunich",
        "licence not stated by the authors",
        "no location and no date",
        "- Mind this.",
        "No patch stands in val or test.",
    ):
        assert words in text, words


def test_shares_of_classes_and_sizes_of_splits_are_those_of_the_arrays(fields):
    text = text_of(fields, split="train")
    masks = fields.masks[fields.ids("train")]
    for c in fields.meta.labels.classes:
        share = (masks == c.id).sum() / (masks != 255).sum()
        assert f"| {c.id} | {c.name} | {share:.3%} |" in text
    assert f"(255): {(masks == 255).mean():.3%}." in text
    assert "| train | 4 | 4 |" in text and "| test | 0 | 0 |" in text
    assert "Only the split train was exported." in text


def test_oscd_has_two_licences(towns):
    text = text_of(towns, "oscd")
    assert "CC BY-NC-SA" in text and "modified Copernicus Sentinel data" in text
    assert "dates from 2016-03-15 to 2017-08-29" in text


def test_unknown_sources_are_not_given_a_licence(tmp_path, fields):
    table = tmp_path / "datasets.csv"
    table.write_text("name,licence\nother,CC0\n")
    text = card(Selection(fields), "geotiff", [], table)
    assert "not recorded: ask its authors" in text and "CC0" not in text
    with pytest.raises(UserError, match="it lists the licences"):
        card(Selection(fields), "geotiff", [], tmp_path / "none.csv")


def test_a_real_set_tells_its_settings_but_no_path(tmp_path):
    told = {
        "source": "oscd",
        "root": "/secret/place",
        "grid": "official",
        "patch_px": 16,
        "cities": [{"name": "paris"}],
    }
    text = text_of(make_set(tmp_path / "set", n=1, provenance=told))
    assert "SpecDM's reader oscd." in text and "- grid: official\n- patch_px: 16\n" in text
    assert "secret" not in text and "paris" not in text


def _plain(folder: Path, masks, splits, groups, crs="", **meta):
    described = dict(name="plain", sensor="EnMAP", level="BOA", bands=("a",), scale=1.0, offset=0.0, nodata=None)
    described |= {"wavelengths_nm": (500.0,), "labels": OSCD} | meta
    with PatchWriter(folder, PatchMeta(**described), (1, 1, 16, 16), "uint8") as writer:
        for i, (ids, split, group) in enumerate(zip(masks, splits, groups, strict=True)):
            place = (10.0, 0.0, 160.0 * i, 0.0, -10.0, 0.0) if crs else ()
            record = PatchRecord(str(i), split, group, "s", col=16 * i, crs=crs, transform=place)
            writer.append(np.ones((1, 1, 1, 16, 16), np.uint8), ids[None].astype(np.uint8), [record])
    return Selection(open_patches(folder))


def test_limits_are_those_of_the_set(tmp_path):
    none, half, few = np.zeros((16, 16)), np.zeros((16, 16)), np.zeros((16, 16))
    half[:8], few[0, 0] = 1, 1
    fine = _plain(tmp_path / "fine", [half] * 3, ("train", "val", "test"), "abc", crs="EPSG:32633")
    assert limits(fine) == []
    poor = _plain(tmp_path / "poor", [none, few], ("train", "val"), "aa", level="unitless", wavelengths_nm=())
    assert limits(poor) == [
        "2 of 2 patches have no location.",
        "Less than 1% of the labelled pixels show change.",
        "No patch stands in test.",
        "1 groups stand in more than one split: scores on them flatter.",
        "The wavelengths of the bands are not recorded.",
        "The numbers are no reflectance.",
    ]
    bare = limits(_plain(tmp_path / "bare", [none], ["train"], "a"))
    assert "No pixel shows change." in bare and not any("Less than" in text for text in bare)


def test_shared_ground_is_a_limit(tmp_path):
    splits = ("train", "train", "test")
    apart = _plain(tmp_path / "apart", [np.eye(16)] * 3, splits, "abc")
    assert not any("ground" in text for text in limits(apart))
    told = {"shared": {"val": 0, "test": 1}}
    counted = _plain(tmp_path / "counted", [np.eye(16)] * 3, splits, "abc", provenance=told)
    words = "1 of 1 test patches show ground of a training patch: scores on them flatter."
    assert words in limits(counted)
    for split in ("train", "test"):
        assert not any("ground" in text for text in limits(Selection(counted.patches, split)))
    index = apart.patches.index
    index.loc[2, "col"] = 17  # as if it lay over the second one
    assert words in limits(apart)


def test_warnings_of_the_set_are_repeated(tmp_path):
    chosen = _plain(tmp_path / "set", [np.eye(16)], ["train"], "a", warnings=("Two cities overlap.",))
    assert "- Two cities overlap." in card(chosen, "geotiff", [], TABLE)
