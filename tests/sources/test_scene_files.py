"""Which files belong to a scene: names, {name} patterns, folders, and files that are missing or twice there."""

import numpy as np
import pytest

from specdm.config import parse_section
from specdm.errors import UserError
from specdm.settings import Scene
from specdm.sources.scene_files import expand, input_files, matches

SIZE = (64, 64)


def scene(**keys) -> Scene:
    return parse_section(Scene, keys)


@pytest.fixture
def touch(tmp_path):
    def make(*names: str):
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return tmp_path

    return make


def test_only_files_that_fit_the_pattern_are_scenes(touch):
    root = touch("b_S2.tif", "a_S2.tif", "a_S1.tif", "a_S2.tif.aux.xml", "x/c_S2.tif", "_S2.tif", "._a_S2.tif")
    assert matches(root, "{name}_S2.tif") == ["a", "b"]
    assert matches(root, "{name}_S3.tif") == []
    assert matches(root, "{name}/c_S2.tif") == ["x"]


def test_a_name_may_occur_twice_in_a_pattern_and_be_a_folder(touch):
    root = touch("a/a.tif", "b/c.tif", "d/d.tif", "d/e.tif", "f/g/f.tif")
    assert matches(root, "{name}/{name}.tif") == ["a", "d"]


def test_signs_of_other_pattern_languages_are_plain_text(touch):
    root = touch("in [1]/a.b+c_(x).tif", "in [1]/aXb+c_(x).tif", "in 1/d.b+c_(x).tif", "in [1]/*.b+c_(x).tif")
    assert matches(root, "in [1]/{name}.b+c_(x).tif") == ["*", "a"]


def test_patterns_may_lie_outside_the_raw_folder(touch):
    root = touch("raw/x.txt", "other/a.tif", "other/a_l.tif")
    for folder in ("../other", str(root / "other")):
        found = expand([scene(images=f"{folder}/{{name}}.tif", labels="x.txt")], root / "raw")
        assert [s.name for s in found] == ["a", "a_l"]
        assert all((root / "other" / "a.tif").samefile(f.path) for f in found[0].images)


def test_each_match_has_its_files(touch):
    root = touch("a/t0.tif", "a/t1.tif", "b/t0.tif", "b/t1.tif", "l/a.png", "l/b.png", "all.gpkg")
    pattern = scene(images=["{name}/t0.tif", "{name}/t1.tif"], labels="l/{name}.png", split="train")
    shared = scene(name="c", images=["a/t0.tif", "b/t0.tif"], labels={"path": "all.gpkg", "covered": "x"})
    found = expand([pattern, shared], root)
    assert [s.name for s in found] == ["a", "b", "c"]
    assert [s.split for s in found] == ["train", "train", None]
    assert [f.path for f in found[1].images] == [str(root / "b/t0.tif"), str(root / "b/t1.tif")]
    assert found[1].labels.path == str(root / "l/b.png") and found[2].labels.covered == "x"
    paths = input_files([pattern, shared], root)
    assert len(paths) == 9 and all(p.is_file() for p in paths)


def test_labels_beside_the_images_are_no_scenes(touch):
    root = touch("a.tif", "a_labels.tif", "b.tif", "b_labels.tif")
    found = expand([scene(images="{name}.tif", labels="{name}_labels.tif")], root)
    assert [s.name for s in found] == ["a", "b"]


def test_a_name_is_filled_into_the_names_of_band_files(touch):
    root = touch("a/x", "l.tif")
    image = {"path": "{name}", "band_files": "{name}_{band}.tif"}
    (root / "l.tif").rename(root / "a/l.tif")
    found = expand([scene(images=image, labels="a/l.tif")], root)
    assert [s.images[0].band_files for s in found] == ["a_{band}.tif"]


def test_a_scene_is_called_like_its_image(touch):
    root = touch("T33.2020.tif", "l.tif")
    assert expand([scene(images="T33.2020.tif", labels="l.tif")], root)[0].name == "T33"


@pytest.mark.parametrize(
    ("scenes", "words"),
    [
        ([{"images": "{name}_S3.tif", "labels": "l.tif"}], ("{name}_S3.tif", "no file", "raw")),
        ([{"images": "{name}_S2.tif", "labels": "{name}_L.tif"}], ("b_L.tif", "does not exist", "scene b")),
        ([{"images": ["{name}_S2.tif", "{name}_S1.tif"], "labels": "l.tif"}], ("b_S1.tif", "scene b")),
        ([{"images": "nowhere.tif", "labels": "l.tif"}], ("nowhere.tif", "does not exist")),
        ([{"images": "a_S2.tif", "labels": "nowhere.gpkg"}], ("nowhere.gpkg", "scene a_S2")),
        ([{"images": "a_S2.tif", "labels": "l.tif"}] * 2, ("Two scenes", "a_S2")),
        (
            [{"images": "{name}_S2.tif", "labels": "l.tif"}, {"name": "a", "images": "l.tif", "labels": "l.tif"}],
            ("a:",),
        ),
    ],
)
def test_missing_files_and_names_that_repeat(scenes, words, touch):
    root = touch("a_S2.tif", "b_S2.tif", "a_L.tif", "a_S1.tif", "l.tif")
    with pytest.raises(UserError) as caught:
        expand([scene(**one) for one in scenes], root)
    message = str(caught.value)
    assert message.endswith(".") and "\n" not in message
    assert all(word in message for word in words), message


def test_a_pattern_cuts_every_match(lay, cut, numbered, same):
    image, codes = numbered(*SIZE)
    for k, name in enumerate("pq"):
        lay(f"{name}/t0.tif", image + np.uint16(k), crs=None)
        lay(f"{name}/t1.tif", image + np.uint16(2 + k), crs=None)
        lay(f"labels/{name}.tif", np.roll(codes, k, axis=0), crs=None)
    patches = cut({"images": ["{name}/t0.tif", "{name}/t1.tif"], "labels": "labels/{name}.tif"})
    for k, name in enumerate("pq"):
        dates = np.stack([image + np.uint16(k), image + np.uint16(2 + k)])
        same(patches, dates, np.roll(codes, k, axis=0) - 1, source=name)
    ids = patches.index["source"] + "_" + patches.index["row"].map("{:05}".format)
    assert (patches.index["id"] == ids + "_" + patches.index["col"].map("{:05}".format)).all()


def test_a_pattern_of_folders_of_bands(lay, cut, numbered, same):
    image, codes = numbered(*SIZE)
    for name in ("T31_p", "T31_q"):
        for band, plane in zip(("B1", "B08", "b8a"), image, strict=True):
            lay(f"{name}/x_{band}.tif", plane, crs=None)
        lay(f"{name}/x_B8.tif.aux", plane, crs=None)
    lay("l.tif", codes, crs=None)
    images = {"path": "T31_{name}", "band_files": "x_{band}.tif"}
    patches = cut({"images": images, "labels": "l.tif"}, bands=["B01", "B8", "B8A"])
    assert patches.meta.bands == ("B01", "B08", "B8A") and patches.meta.sensor == "Sentinel-2 MSI"
    for name in "pq":
        same(patches, image, codes - 1, source=name)
