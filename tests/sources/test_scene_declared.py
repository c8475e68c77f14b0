"""What files declare of themselves: it is taken where the settings leave it open, and refused where it contradicts."""

import numpy as np
import pytest
import rasterio

SIZE = (64, 80)
ACQUIRED = {"level": "BOA", "sensor": "Sentinel-2 MSI", "harmonised": "yes"}
OPEN = {"scale": None, "offset": None, "level": None}


@pytest.fixture
def declare(lay, numbered, tmp_path):
    """Writes an image that declares a scale and offset of each band, and tags: declare(name, scale, offset, **tags)."""

    def write(name: str, scale=1e-4, offset=0.0, **tags) -> str:
        image = numbered(*SIZE)[0]
        lay(name, image)
        with rasterio.open(tmp_path / "raw" / name, "r+") as file:
            file.scales = np.broadcast_to(scale, 3).tolist()
            file.offsets = np.broadcast_to(offset, 3).tolist()
            file.update_tags(**tags)
        return name

    return write


@pytest.fixture
def labels(lay, numbered) -> str:
    return lay("l.tif", numbered(*SIZE)[1])


def test_null_takes_what_the_files_declare(declare, labels, cut, numbered):
    scene = {"images": declare("i.tif", 1e-4, -0.1, **ACQUIRED | {"level": "TOA"}), "labels": labels}
    patches = cut(scene, **OPEN)
    assert (patches.meta.scale, patches.meta.offset, patches.meta.level) == (pytest.approx(1e-4), -0.1, "TOA")
    stored = numbered(*SIZE)[0]
    row, col = patches.index.loc[0, ["row", "col"]]
    expected = stored[:, row : row + 16, col : col + 16] * 1e-4 - 0.1  # GDAL: number * scale + offset
    np.testing.assert_allclose(patches.reflectance([0])[0, 0], expected, rtol=1e-5)
    assert (cut(scene, **OPEN | {"offset": -0.1}).meta.offset, cut(scene, **OPEN | {"level": "TOA"}).meta.level) == (
        -0.1,
        "TOA",
    )


def test_settings_that_agree_with_the_files_are_kept(declare, labels, cut):
    scene = {"images": declare("i.tif", float(np.float32(1e-4)), -0.1, level="boa"), "labels": labels}
    meta = cut(scene, scale=1e-4, offset=-0.1, level="BOA").meta
    assert (meta.scale, meta.offset, meta.level) == (1e-4, -0.1, "BOA")


def test_files_that_declare_nothing_leave_it_to_the_settings(declare, labels, cut):
    scene = {"images": [declare("a.tif", 1, 0), declare("b.tif", 1e-3, 0.2)], "labels": labels}
    assert (meta := cut(scene, scale=1e-3, offset=0.2, level="TOA").meta).scale == 1e-3 and meta.offset == 0.2


SCALED = {"scale": 1e-4, "offset": 0.0, "level": "BOA"}


@pytest.mark.parametrize(
    ("offset", "settings", "words"),
    [
        (-0.1, SCALED, ("declares offset -0.1 but the settings say 0", "baseline 04.00 adds 1000", "null")),
        (0.0, SCALED | {"offset": -0.1}, ("declares offset 0 but the settings say -0.1",)),
        (0.0, SCALED | {"scale": 1.0}, ("declares scale 0.0001 but the settings say 1", "null")),
        (0.0, OPEN | {"scale": 1e-3}, ("declares scale 0.0001 but the settings say 0.001",)),
        (0.0, SCALED | {"level": "TOA"}, ("tagged level=BOA but the settings say TOA", "set level")),
        (0.0, SCALED | {"level": "unitless"}, ("tagged level=BOA", "unitless")),
    ],
)
def test_files_that_contradict_the_settings(offset, settings, words, declare, labels, refused):
    scene = {"images": declare("i.tif", 1e-4, offset, **ACQUIRED), "labels": labels}
    refused("i.tif", *words, scenes=[scene], **settings)


@pytest.mark.parametrize("alone", [True, False])
def test_null_needs_files_that_declare(alone, declare, labels, refused, lay, numbered, tmp_path):
    good = {"images": declare("good.tif", 1e-4, 0, **ACQUIRED), "labels": labels}
    bare = {"images": lay("i.tif", numbered(*SIZE)[0]), "labels": labels}
    scenes = [bare] if alone else [good, bare]
    refused("i.tif declares no scale and offset", "write down the scale", scenes=scenes, **OPEN)
    refused("i.tif declares no", "write down the offset", scenes=scenes, **SCALED | {"offset": None})
    refused("i.tif has no tag level", "write down the level", scenes=scenes, **SCALED | {"level": None})
    np.save(tmp_path / "raw" / "i.npy", numbered(*SIZE)[0])
    array = bare | {"images": {"path": "i.npy", "axes": ["band", "row", "col"]}}
    refused("i.npy declares no scale", scenes=[array], **OPEN | {"level": "BOA"})
    refused("i.npy has no tag level", scenes=[array], **SCALED | {"level": None})


def test_a_tag_of_another_software_is_no_level(declare, labels, cut, refused):
    scene = {"images": declare("i.tif", level="7"), "labels": labels}
    assert cut(scene, **SCALED).meta.level == "BOA"
    refused("i.tif has no tag level", scenes=[scene], **OPEN)


@pytest.mark.parametrize("settings", [OPEN, SCALED, SCALED | {"offset": -0.1}])
def test_dates_of_two_offsets(settings, declare, labels, refused):
    """No setting would mend it: the contradiction between the files is told, whatever the settings say."""
    images = [declare("a.tif", 1e-4, 0, **ACQUIRED), declare("b.tif", 1e-4, -0.1, **ACQUIRED)]
    words = ("b.tif declares offset -0.1 but", "a.tif 0", "baseline 04.00", "convert")
    refused(*words, scenes=[{"images": images, "labels": labels}], **settings)
    refused(*words, scenes=[{"images": image, "labels": labels} for image in images], **settings)


def test_bands_of_two_scales(declare, labels, refused, cut):
    scene = {"images": declare("i.tif", (1e-4, 1e-4, 1)), "labels": labels}
    refused("i.tif declares several scalings", "scale 0.0001, offset 0", "scale 1, offset 0", scenes=[scene], **SCALED)
    assert cut(scene, drop_bands=["c"], **SCALED).meta.scale == 1e-4  # a band that is left out does not matter


def test_dates_of_two_levels(declare, labels, refused):
    images = [declare("a.tif", level="TOA"), declare("b.tif", level="BOA")]
    scene = {"images": images, "labels": labels}
    refused("b.tif is tagged level=BOA but", "a.tif is TOA", scenes=[scene], **OPEN)
    refused("b.tif is tagged level=BOA but the settings say TOA", scenes=[scene], **SCALED | {"level": "TOA"})


@pytest.mark.parametrize("second", ["no", None, "No way"])
def test_harmonised_dates_do_not_go_with_others(second, declare, labels, refused, cut):
    tags = {"harmonised": second} if second else {}
    scene = {"images": [declare("a.tif", harmonised="yes"), declare("b.tif", **tags)], "labels": labels}
    if second == "no":
        refused("b.tif is tagged harmonised=no but", "a.tif harmonised=yes", "baseline 04.00", scenes=[scene], **SCALED)
    else:
        assert len(cut(scene, **SCALED))


def test_a_folder_declares_with_each_of_its_files(declare, labels, refused, cut, tmp_path):
    for band in "abc":
        declare(f"f/{band}.tif", 1e-4, -0.1, **ACQUIRED, acquired="2022-03-04T10:00:00Z")
        with rasterio.open(tmp_path / "raw" / f"f/{band}.tif") as file:
            pixels, profile, tags = file.read([1]), file.profile | {"count": 1}, file.tags()
        with rasterio.open(tmp_path / "raw" / f"f/{band}.tif", "w", **profile) as file:
            file.write(pixels)
            file.scales, file.offsets = (1e-4,), (-0.1,)
            file.update_tags(**tags)
    scene = {"images": {"path": "f", "band_files": "{band}.tif"}, "labels": labels}
    patches = cut(scene, **OPEN)
    assert (patches.meta.offset, set(patches.index["dates"])) == (-0.1, {"2022-03-04"})
    with rasterio.open(tmp_path / "raw" / "f/b.tif", "r+") as file:
        file.offsets = (0.0,)
    refused("b.tif declares offset 0 but", "a.tif -0.1", scenes=[scene], **OPEN)


def test_a_resampled_second_date_declares_too(declare, labels, lay, numbered, refused, tmp_path):
    lay("b.tif", numbered(*SIZE)[0], (10.0, 0.0, 500005.0, 0.0, -10.0, 4999995.0), nodata=None)
    with rasterio.open(tmp_path / "raw" / "b.tif", "r+") as file:
        file.scales, file.offsets = (1e-4,) * 3, (-0.1,) * 3
    scene = {"images": [declare("a.tif"), "b.tif"], "labels": labels}
    refused("b.tif declares offset -0.1", scenes=[scene], nodata=0, **SCALED)


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        (("2021-05-27T10:56:21Z,2021-05-29T10:56:21Z", "2022-01-02T00:00:00+00:00"), "2021-05-27,2022-01-02"),
        (("", "2022-01-02"), ",2022-01-02"),
        (("27 May 2021", "yesterday"), ""),
        (("2021-13-01T00:00:00Z", ""), ""),
    ],
)
def test_dates_are_those_of_the_tags(tags, expected, declare, labels, cut):
    images = [declare(f"{k}.tif", acquired=text) for k, text in enumerate(tags)]
    patches = cut({"images": images, "labels": labels}, **SCALED)
    assert set(patches.index["dates"]) == {expected} and patches.meta.warnings == ()
    given = cut({"images": images, "labels": labels, "dates": ["2019-01-01", "spring"]}, **SCALED)
    assert set(given.index["dates"]) == {"2019-01-01,spring"}


@pytest.mark.parametrize(
    ("dates", "words"),
    [
        (("2021-05-27", "2021-05-27"), "Both images have one date in 0 (2021-05-27)"),
        (("2022-01-02", "2021-05-27"), "The second image is earlier than the first in 0 (2022-01-02, 2021-05-27)"),
        (("2021-05-27", "2021-05-28"), None),
        (("summer", "spring"), None),
    ],
)
@pytest.mark.parametrize("tagged", [True, False])
def test_dates_in_a_strange_order_are_told(tagged, dates, words, declare, labels, cut):
    times = [f"{day}T23:59:59Z" for day in dates] if tagged else ["", ""]
    images = [declare(f"{k}.tif", acquired=time) for k, time in enumerate(times)]
    scene = {"images": images, "labels": labels} | ({} if tagged else {"dates": dates})
    warnings = cut(scene, **SCALED).meta.warnings
    assert len(warnings) == (words is not None)
    assert words is None or warnings[0].startswith(words)


def test_many_strange_scenes_are_one_sentence():
    from specdm.settings import Scene
    from specdm.sources.scene_declared import strange_dates

    scenes = [
        Scene(name=f"s{k}", images=["a", "b"], labels=None, dates=["2020-01-01", "2020-01-01"]) for k in range(40)
    ]
    (told,) = strange_dates(scenes)
    assert "s0 (2020-01-01), s1 (2020-01-01), s2 (2020-01-01) and 37 more scenes:" in told
