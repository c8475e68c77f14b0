"""The settings of the user's own scenes: short forms, and sentences for what cannot be meant."""

import json

import pytest

from specdm import config
from specdm.errors import UserError
from specdm.settings import Scene, SceneSettings

SHORT = {
    "scenes": [{"images": "a.tif", "labels": "b.tif"}],
    "bands": ["red", "nir"],
    "level": "BOA",
    "scale": 1e-4,
    "classes": [{"name": "wood", "codes": [1]}, {"name": "lake", "codes": [2, "sea"]}],
}


def _read(**changed) -> SceneSettings:
    return config.parse_section(SceneSettings, SHORT | changed)


def _scene(**changed) -> Scene:
    return _read(scenes=[SHORT["scenes"][0] | changed]).scenes[0]


def test_short_forms_stand_for_the_long_ones():
    long = {"images": [{"path": "a.tif"}], "labels": {"path": "b.tif"}}
    assert _read() == _read(scenes=[long])
    assert _scene(images=["a.tif", {"path": "c.mat", "variable": "Y"}]).images[1].variable == "Y"
    assert _scene(images="a.tif", dates="2021-05-27").dates == ("2021-05-27",)


def test_settings_survive_the_way_through_the_command_line():
    settings = _read(wavelengths_nm={"first": 400, "last": 900}, bands=None, nodata=None, ignore_codes=[0, "none"])
    for short in (False, True):
        text = settings.model_dump_json(exclude_defaults=short)
        assert config.parse_section(SceneSettings, json.loads(text)) == settings


@pytest.mark.parametrize(
    ("labels", "kind"),
    [
        ({"path": "b.tif"}, "codes"),
        ({"path": "b.mat", "order": ["lake", "wood"]}, "abundances"),
        ({"path": "b.gpkg", "attribute": "use"}, "shapes"),
        ({"path": "b.gpkg", "covered": "lake", "uncovered": "wood"}, "shapes"),
    ],
)
def test_what_labels_are_is_told_by_their_keys(labels, kind):
    assert _scene(labels=labels).labels.kind == kind


def test_two_images_make_a_change_detection_set():
    assert _read().n_dates == 1
    assert _read(scenes=[{"images": ["a.tif", "b.tif"], "labels": "c.tif"}]).n_dates == 2


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"bands": None}, "name the bands, or give their centre wavelengths: bands or wavelengths_nm"),
        ({"ignore_codes": [1]}, "the code 1 occurs twice: use each once"),
        ({"classes": [{"name": "a", "codes": [1]}] * 2}, "the class 'a' occurs twice: use each once"),
        ({"classes": [{"name": "a"}, {"name": "b", "codes": [1]}]}, "the class 'a' has no codes"),
        ({"val_fraction": 0.5, "test_fraction": 0.5}, "val_fraction and test_fraction leave nothing for training"),
        ({"level": "L2A"}, "level: Input should be 'TOA', 'BOA' or 'unitless' (got 'L2A')"),
        ({"wavelengths_nm": {"frist": 400, "last": 900}}, "wavelengths_nm.frist: there is no such key, did you mean"),
        ({"wavelengths_nm": [400, "x"]}, "wavelengths_nm.1: Input should be a valid number"),
        ({"nodata": "zero"}, "nodata: Input should be a valid number, unable to parse string as a number or 'file'"),
        ({"scale": 0}, "scale: Input should be greater than 0"),
        ({"drop_bands": "red"}, "drop_bands: Input should be a valid tuple"),
    ],
)
def test_settings_that_cannot_be_meant_are_told(changed, sentence):
    with pytest.raises(UserError) as caught:
        _read(**changed)
    assert str(caught.value).startswith(sentence)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"images": ["a", "b", "c"]}, "scenes.0.images: 3 images: give one for segmentation or two for change"),
        ({"images": []}, "scenes.0.images: 0 images"),
        ({"image": "a.tif"}, "scenes.0.image: there is no such key, did you mean 'images'?"),
        ({"images": {"pth": "a"}}, "scenes.0.images.0.pth: there is no such key, did you mean 'path'?"),
        ({"images": {"path": "a", "crs": "EPSG:32633"}}, "crs and bounds go together"),
        ({"images": {"path": "a", "crs": "EPSG:32633", "bounds": [2, 0, 1, 1]}}, "east and north edges must be"),
        ({"images": {"path": "a", "axes": ["row", "column"]}}, "axes.1: Input should be 'band', 'class', 'row', 'col'"),
        ({"labels": {"path": "g", "attribute": "k", "order": ["wood"]}}, "exclude each other: give one of them"),
        ({"labels": {"path": "g", "layer": "k"}}, "layer and uncovered are for vector files"),
        ({"labels": {"path": "g", "order": ["wood", "sand"]}}, "labels name 'sand', which is none of the classes"),
        ({"labels": {"path": "g", "covered": "sand"}}, "labels name 'sand'"),
        ({"dates": ["2020-01-01", "2021-01-01"]}, "2 dates for 1 images: give one an image"),
        ({"images": "{name}.tif", "name": "x"}, "name and {name} exclude each other"),
        ({"split": "train"}, "fixed splits must name train, val and test scenes"),
        ({"split": "validation"}, "split: Input should be 'train', 'val' or 'test'"),
    ],
)
def test_scenes_that_cannot_be_meant_are_told(changed, words):
    with pytest.raises(UserError) as caught:
        _scene(**changed)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value) and str(caught.value)[-1] in ".?"


def test_scenes_must_agree_on_dates_and_on_having_splits():
    one = SHORT["scenes"][0]
    with pytest.raises(UserError, match="some scenes have one image and some two: make two data sets"):
        _read(scenes=[one, one | {"images": ["a", "b"]}])
    with pytest.raises(UserError, match="some scenes have a split and some none"):
        _read(scenes=[one, *(one | {"split": s} for s in ("train", "val", "test"))])


def test_a_data_set_of_scenes_stands_beside_the_others():
    own = {
        "source": "scene",
        "raw": "x",
        "n_real": 8,
        "regimes": {"real": {"real": 1, "synthetic": 0}},
        "networks": ["segformer-b0"],
        "prepare": SHORT,
    }
    methods = {"specdm": {}}
    dataset = config.validate({"methods": methods, "datasets": {"mine": own}}).datasets["mine"]
    assert (dataset.task, dataset.origin) == ("segmentation", "given")
    change = own | {"prepare": SHORT | {"scenes": [{"images": ["a", "b"], "labels": "c"}]}}
    with pytest.raises(UserError, match="segformer-b0 solves segmentation, this data set is change"):
        config.validate({"methods": methods, "datasets": {"mine": change}})
    with pytest.raises(UserError, match=r"mine\.prepare\.bands: There is no band set 'papr': use 'paper'"):
        config.validate({"methods": methods, "datasets": {"mine": own | {"prepare": SHORT | {"bands": "papr"}}}})
    with pytest.raises(UserError, match="40 is not a multiple of 32"):
        config.validate({"methods": methods, "datasets": {"mine": own | {"prepare": SHORT | {"patch_px": 40}}}})
    with pytest.raises(UserError, match=r"mine\.origin: Input should be 'given'"):
        config.validate({"methods": methods, "datasets": {"mine": own | {"origin": "download"}}})
