"""The layout of OSCD as other people's code reads it."""

import numpy as np
import pytest
from PIL import Image

from specdm.bands import SENTINEL2
from specdm.errors import UserError
from specdm.exports.oscd import _dates_txt
from tests.exports.sets import make_cities, make_set

ROOT = "Onera Satellite Change Detection dataset - {}"


@pytest.fixture
def folder(export, towns):
    return export(towns, "oscd")


def test_every_city_has_thirteen_bands_of_two_dates(folder, towns):
    for i, patch_id in enumerate(towns.index["id"]):
        city = folder / ROOT.format("Images") / patch_id.replace(".", "%2E")
        for t in (0, 1):
            date = city / f"imgs_{t + 1}_rect"
            assert sorted(p.stem for p in date.iterdir()) == sorted(SENTINEL2)
            for band in SENTINEL2:
                with Image.open(date / f"{band}.tif") as file:  # not the library that wrote it
                    pixels = np.asarray(file)
                c = towns.meta.bands.index(band) if band in towns.meta.bands else None
                np.testing.assert_array_equal(pixels, 0 if c is None else towns.images[i, t, c])


def test_change_maps_have_the_benchmark_codes(folder, towns):
    for i, (patch_id, split) in enumerate(zip(towns.index["id"], towns.index["split"], strict=True)):
        part = ROOT.format("Test Labels" if split == "test" else "Train Labels")
        city, ids = patch_id.replace(".", "%2E"), towns.masks[i]
        with Image.open(folder / part / city / "cm" / f"{city}-cm.tif") as file:
            np.testing.assert_array_equal(np.asarray(file), np.select([ids == 0, ids == 1], [1, 2], 255))
        with Image.open(folder / part / city / "cm" / "cm.png") as file:
            np.testing.assert_array_equal(np.asarray(file.convert("L")), np.where(ids == 1, 255, 0))


def test_lists_and_dates(folder, towns):
    images = folder / ROOT.format("Images")
    listed = {part: (images / f"{part}.txt").read_text().strip().split(",") for part in ("train", "test", "val")}
    cities = np.array([i.replace(".", "%2E") for i in towns.index["id"]])
    assert listed["test"] == cities[towns.ids("test")].tolist()
    assert listed["val"] == cities[towns.ids("val")].tolist()
    assert sorted(listed["train"]) == sorted(cities[np.r_[towns.ids("train"), towns.ids("val")]].tolist())
    assert (images / "p%2E1" / "dates.txt").read_text() == "date_1: 20160315\ndate_2: 20170829\n"
    assert (images / "p%2E0" / "dates.txt").read_text() == ""
    readme = (folder / "README.md").read_text()
    for words in ("lacks B08, B09, B10", "3 patches of the split val", "3 cities have an empty dates.txt", "cm.png"):
        assert words in readme


@pytest.mark.parametrize("dates", ["2016-03-15", "2016,2017", "2016-03-15,?", "2016-03-15,2016-04-15,2016-05-15"])
def test_dates_that_are_not_two_days_are_not_written(dates):
    assert _dates_txt(dates) == ""


def test_torchgeo_reads_it(folder, towns):
    datasets = pytest.importorskip("torchgeo.datasets", reason="torchgeo is not installed")
    position = {i.replace(".", "%2E"): k for k, i in enumerate(towns.index["id"])}
    seen = []
    for split in ("train", "test"):
        every, some = (datasets.OSCD(str(folder), split, **o) for o in ({}, {"bands": ("B12", "B8A", "B04")}))
        for k in range(len(every)):
            i = position[every.files[k]["region"]]
            seen.append(i)
            columns = [datasets.OSCD.all_bands.index(band) for band in towns.meta.bands]
            np.testing.assert_array_equal(every[k]["image"][:, columns].numpy(), towns.images[i])
            np.testing.assert_array_equal(every[k]["mask"][0].numpy(), towns.masks[i] == 1)
            columns = [towns.meta.bands.index(band) for band in ("B12", "B8A", "B04")]
            np.testing.assert_array_equal(some[k]["image"].numpy(), towns.images[i][:, columns])
    assert sorted(seen) == list(range(len(towns)))


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"level": "BOA"}, "the level BOA, but OSCD has TOA"),
        ({"offset": -0.1}, "offset -0.1"),
        ({"scale": 1e-3}, "scale 0.001"),
        ({"dtype": "int16"}, "int16 pixels"),
        ({"nodata": 7}, "nodata value 7"),
        ({"bands": ("B02", "pan")}, "the band pan"),
    ],
)
def test_what_code_for_oscd_would_misread_is_refused(export, tmp_path, more, words):
    patches = make_cities(tmp_path / "set", n=1, **more)
    with pytest.raises(UserError, match=words) as caught:
        export(patches, "oscd")
    assert str(caught.value).endswith("export it as geotiff or webdataset.")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["set"]


def test_one_date_or_other_classes_are_refused(export, tmp_path, fields):
    with pytest.raises(UserError, match=r"has 1 date\(s\) a patch, but OSCD has 2"):
        export(fields, "oscd")
    patches = make_set(tmp_path / "set", dates=2, n=1)
    with pytest.raises(UserError, match="the classes of segmunich, but OSCD has its own"):
        export(patches, "oscd")
