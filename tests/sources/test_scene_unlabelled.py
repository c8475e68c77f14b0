"""Scenes without labels: all of their ground is for training, and nothing in it is labelled."""

import numpy as np
import pytest

from specdm.config import parse_section
from specdm.errors import UserError
from specdm.patches import open_patches
from specdm.settings import SceneSettings
from specdm.sources.scene_files import input_files

HEIGHT, WIDTH = 80, 112
FAR = (10.0, 0.0, 900000.0, 0.0, -10.0, 5000000.0)


@pytest.fixture
def bare(lay, numbered) -> dict:
    return {"images": lay("i.tif", numbered(HEIGHT, WIDTH)[0]), "labels": None}


def windows(patches) -> set[tuple[int, int]]:
    return set(zip(patches.index["row"], patches.index["col"], strict=True))


def test_every_window_is_for_training_and_ignored(bare, cut, numbered, same):
    patches = cut(bare, stride_px=16, val_fraction=0.9, test_fraction=0.05)
    same(patches, numbered(HEIGHT, WIDTH)[0], np.full((HEIGHT, WIDTH), 255))
    assert windows(patches) == {(row, col) for row in range(0, 80, 16) for col in range(0, 112, 16)}
    assert set(patches.index["split"]) == {"train"}
    assert patches.meta.warnings == () and patches.meta.provenance["labelled"] is False
    assert np.stack(patches.index["class_counts"].to_numpy()).sum() == 0


def test_the_same_windows_as_with_labels(bare, lay, cut, numbered):
    """Everything but masks and splits is as the labelled scene of the same settings gives it."""
    labelled = cut(bare | {"labels": lay("l.tif", numbered(HEIGHT, WIDTH)[1])}, guard_px=0)
    patches = cut(bare, guard_px=0)
    assert windows(labelled) <= windows(patches)
    index = patches.index.set_index("id").loc[labelled.index["id"]]
    for column in ("source", "crs", "row", "col"):
        assert (index[column].to_numpy() == labelled.index[column].to_numpy()).all(), column
    np.testing.assert_array_equal(patches.images[patches.index["id"].isin(labelled.index["id"])], labelled.images)


def test_groups_are_spatial_blocks(bare, cut):
    patches = cut(bare, stride_px=8, block_px=40)
    centre = np.array([(row + 8, col + 8) for row, col in sorted(windows(patches))])
    groups = patches.index.sort_values(["row", "col"])["group"].to_numpy()
    blocks = 2 * (centre[:, 0] >= 40) + (centre[:, 1] >= 56)  # 80 x 112 px in 2 x 2 blocks
    assert len(set(groups)) == 4
    assert len(set(zip(groups, blocks.tolist(), strict=True))) == 4


def test_scenes_far_apart_share_no_group(bare, lay, cut, numbered):
    other = {"images": lay("far.tif", numbered(HEIGHT, WIDTH)[0], FAR), "labels": None}
    index = cut(bare, other).index
    assert index.groupby("group")["source"].nunique().max() == 1
    assert index["source"].nunique() == 2


def test_a_pattern_makes_a_scene_of_every_image(bare, lay, cut, numbered):
    lay("far.tif", numbered(HEIGHT, WIDTH)[0], FAR)
    assert set(cut({"images": "{name}.tif", "labels": None}).index["source"]) == {"i", "far"}


def test_the_files_of_a_scene_are_its_images(bare, tmp_path):
    section = {"bands": ["a"], "level": "BOA", "scale": 1, "scenes": [bare]}
    files = input_files(parse_section(SceneSettings, section).scenes, tmp_path / "raw")
    assert files == [tmp_path / "raw" / "i.tif"]


def test_a_given_training_split_groups_by_scene(bare, cut):
    index = cut(bare | {"split": "train"}).index
    assert set(index["split"]) == {"train"} and index["group"].nunique() == 1


@pytest.mark.parametrize("second", ["whole", "half"])
def test_windows_without_any_data_on_every_date_are_dropped(second, lay, cut, numbered, tmp_path):
    image = numbered(HEIGHT, WIDTH)[0]
    early, late = image.copy(), image.copy()
    early[:, :, 60:] = 0
    if second == "half":
        late[:, :, :40] = 0
    scene = {"images": [lay("a.tif", early), lay("b.tif", late)], "labels": None}
    patches = cut(scene, stride_px=4, nodata=0, min_labelled=1)
    seen = (early > 0).any(0) & (late > 0).any(0)
    expected = {
        (row, col) for row in range(0, 65, 4) for col in range(0, 97, 4) if seen[row : row + 16, col : col + 16].any()
    }
    assert windows(patches) == expected and 0 < len(expected) < 17 * 25


def test_a_scene_without_any_data_is_refused(lay, refused, numbered):
    image = numbered(HEIGHT, WIDTH)[0]
    early, late = image.copy(), image.copy()
    early[:, :, 50:], late[:, :, :50] = 0, 0
    scene = {"images": [lay("a.tif", early), lay("b.tif", late)], "labels": None}
    refused("data on every date", "nodata", scenes=[scene], nodata=0)


def test_classes_that_are_declared_name_the_label_set(bare, cut):
    declared = cut(bare).meta.labels
    assert declared.names == ("ash", "birch", "cedar") and declared.classes[1].raw_codes == (2,)
    assert cut(bare, classes=[{"name": "ash"}]).meta.labels.names == ("ash",)  # nothing is looked up by codes
    assert cut(bare, classes=[]).meta.labels.names == ("unlabelled",)


def test_the_order_of_bands_is_judged_without_labels_too(lay, cut):
    from specdm.bands import BAND_SETS
    from specdm.sources import simulate

    paper = list(BAND_SETS["paper"])
    scene = {"images": lay("s.tif", simulate.mosaic(128, seed=4)[0]), "labels": None}
    settings = {"level": "BOA", "scale": 1e-4, "nodata": 0, "patch_px": 32, "classes": []}
    assert cut(scene, bands=paper, **settings).meta.warnings == ()
    assert any("declared order" in text for text in cut(scene, bands=paper[::-1], **settings).meta.warnings)


@pytest.mark.parametrize(
    ("scenes", "changed", "words"),
    [
        ([{"labels": None}, {"labels": "l.tif"}], {}, "some scenes have labels and some none: make two data sets"),
        ([{"labels": "l.tif"}], {"classes": []}, "labels need classes"),
        ([{"labels": "l.tif"}], {"classes": [{"name": "x", "codes": [1]}]}, "labels need classes"),
        ([{"labels": None, "split": "test"}], {}, "scenes without labels cannot validate or test"),
        ([{}], {}, "labels"),
        ([{"labels": None}], {"classes": [{"name": "x"}, {"name": "x"}]}, "the class 'x' occurs twice"),
    ],
)
def test_what_cannot_be_meant_is_told(scenes, changed, words):
    two = [{"name": "x", "codes": [1]}, {"name": "y", "codes": [2]}]
    usual = {"bands": ["a"], "level": "BOA", "scale": 1, "classes": two}
    with pytest.raises(UserError, match=words):
        parse_section(SceneSettings, usual | changed | {"scenes": [{"images": "i.tif"} | s for s in scenes]})


def test_the_report_speaks_of_no_splits(bare, prepare_scenes):
    folder, report = prepare_scenes(bare, stride_px=16)
    text = "\n".join(report.lines())
    assert f"written: {len(open_patches(folder))} train in " in text and "without labels" in text
    assert " val" not in text and "ash" not in text and "share ground" not in text


@pytest.mark.parametrize("classes", [[], [{"name": "ash"}, {"name": "birch"}]])
def test_info_and_show_describe_the_set(classes, bare, prepare_scenes, verb, capsys, tmp_path):
    folder, _ = prepare_scenes(bare, classes=classes, stride_px=16)
    capsys.readouterr()
    assert verb("info", folder) == 0
    text = capsys.readouterr().out
    assert "35 patches (35 train, 0 val, 0 test)" in text and "DIFFERS" not in text
    ignored = next(line for line in text.splitlines() if "ignored (of all pixels)" in line)
    assert ignored.split()[-3:] == ["100.0%", "-", "-"]
    assert "none: there are not both training and other patches" in text
    assert verb("show", folder, out=tmp_path / "show.png", n=3) == 0
    assert (tmp_path / "show.png").stat().st_size > 1000
