"""OSCD -> patch set: windows, bands, grids, guard strip; counts and bits against the real data."""

import numpy as np
import pytest
from PIL import Image

from specdm import rasters
from specdm.bands import SENTINEL2
from specdm.errors import UserError
from specdm.patches import open_patches
from specdm.sources import oscd, oscd_raster
from specdm.sources.windows import gap, moved, windows

IMAGES = "Onera Satellite Change Detection dataset - Images"


def test_windows_lie_fully_inside_and_reach_the_last_pixel():
    assert windows(10, 7, 4, 3) == [(0, 0), (0, 3), (3, 0), (3, 3), (6, 0), (6, 3)]
    assert windows(3, 9, 4, 1) == []


def test_gap_is_measured_on_the_axis_that_separates():
    assert gap((0, 0, 4, 4), (0, 4, 4, 8)) == 0
    assert gap((0, 0, 4, 4), (2, 9, 4, 12)) == 5
    assert gap((0, 0, 4, 4), (1, 1, 2, 2)) == 0


def test_bands_come_in_the_order_of_their_names(small_oscd, tmp_path):
    root = small_oscd({"alder": ("train", 64, 72, 2.0), "cedar": ("test", 64, 64, 3.0)})
    oscd.prepare(root, tmp_path / "out", bands=("B12", "B8A", "B01"), patch_px=32, stride_px=16, val_cities=())
    patches = open_patches(tmp_path / "out")
    order = [list(SENTINEL2).index(name) for name in ("B12", "B8A", "B01")]
    for date in (0, 1):
        expected = np.array([100 * (k + 1) + date + 1 for k in order])
        assert (patches.images[:, date] == expected[None, :, None, None]).all()


def test_index_masks_and_meta_tell_the_truth(small_oscd, tmp_path):
    root = small_oscd({"alder": ("train", 64, 72, 2.0), "cedar": ("test", 64, 64, 3.0)})
    report = oscd.prepare(root, tmp_path / "out", patch_px=32, stride_px=16, val_cities=())
    patches = open_patches(tmp_path / "out")
    assert report.kept("train") == 9 and report.kept("test") == 9
    assert set(patches.index["dates"]) == {"2016-03-15,2017-08-29"}
    on_top = (patches.index["row"] == 0).to_numpy()
    assert (patches.masks[on_top, 0] == 1).all()
    assert not patches.masks[~on_top].any() and not patches.masks[:, 1:].any()
    assert (patches.meta.level, patches.meta.scale, patches.meta.offset) == ("TOA", 1e-4, 0.0)
    assert patches.meta.provenance["cities"][0]["changed_px"] == 72


def test_transform_of_a_patch_leads_back_to_the_scene(simulated_oscd, tmp_path):
    oscd.prepare(simulated_oscd, tmp_path / "out", patch_px=64, stride_px=30, val_cities=())
    patches = open_patches(tmp_path / "out")
    for i in (0, len(patches) - 1):
        row = patches.index.iloc[i]
        folder = simulated_oscd / IMAGES / row["source"]
        scene = rasters.read(next((folder / "imgs_1").glob("*_B02.tif")))
        assert row["crs"] == scene.crs
        np.testing.assert_allclose(row["transform"], moved(scene.transform, row["row"], row["col"]))
        # The ground position of the patch, not its row and column, must find its pixels in the scene.
        a, _, west, _, e, north = scene.transform
        c, r = round((row["transform"][2] - west) / a), round((row["transform"][5] - north) / e)
        band = patches.meta.bands.index("B02")
        np.testing.assert_array_equal(patches.images[i, 0, band], scene.pixels[0, r : r + 64, c : c + 64])


def test_training_windows_beside_a_test_city_are_dropped(small_oscd, tmp_path):
    # alder's left edge is cedar's right edge, 64 px of 1e-4 degrees from cedar's left edge.
    root = small_oscd({"alder": ("train", 64, 96, 2.0064), "cedar": ("test", 64, 64, 2.0)})
    report = oscd.prepare(root, tmp_path / "out", patch_px=32, stride_px=16, val_cities=(), guard_px=20)
    patches = open_patches(tmp_path / "out")
    train = patches.index[patches.index["split"] == "train"]
    assert set(train["col"]) == {32, 48, 64}  # 0 touches, 16 is 16 px away
    assert [c.guarded for c in report.cities] == [6, 0]
    assert "6 dropped by the guard strip" in report.lines()[0]


def test_registered_grid_brings_the_dates_together(small_oscd, tmp_path):
    root = small_oscd({"alder": ("train", 120, 120, 2.0), "cedar": ("test", 64, 64, 3.0)})
    city = root / IMAGES / "alder"
    # A ramp over the same ground, seen with 120 pixels at date 1 and 118 at date 2.
    for date, width in ((1, 120), (2, 118)):
        for path in (city / f"imgs_{date}").glob("*.tif"):
            n = {"B02": width}.get(path.stem[-3:])
            if n is None:
                continue
            step = 120e-4 / n
            ramp = np.round(1000 + 30 * (np.arange(n) + 0.5) * 120 / n).astype(np.uint16)
            path.unlink()
            place = (step, 0.0, 2.0, 0.0, -1e-4, 48.0)
            rasters.write(path, np.broadcast_to(ramp, (1, 120, n)), "EPSG:4326", place)
    first, second = oscd_raster.read_dates(city, ("B02",), "registered")[:, 0].astype(int)
    assert np.abs(first - second)[:, 3:-3].max() <= 2
    first, second = oscd_raster.read_dates(city, ("B02",), "official")[:, 0].astype(int)
    assert np.abs(first - second)[:, 100].max() > 30  # more than one pixel of drift


def test_paris_and_bercy_are_one_group(small_oscd, tmp_path):
    root = small_oscd({"paris": ("train", 64, 64, 2.0), "bercy": ("train", 64, 64, 2.5), "rio": ("test", 64, 64, 3.0)})
    oscd.prepare(root, tmp_path / "out", patch_px=32, stride_px=32, val_cities=())
    index = open_patches(tmp_path / "out").index
    assert set(index[index["split"] == "train"]["group"]) == {"paris+bercy"}
    with pytest.raises(UserError, match="one group"):
        oscd.prepare(root, tmp_path / "other", patch_px=32, stride_px=32, val_cities=("paris",))


CITIES = {name: ("train", 64, 64, 2.0 + k / 4) for k, name in enumerate(("alder", "birch", "cedar", "elm"))}
CITIES |= {"fir": ("test", 64, 64, 4.0)}


@pytest.mark.parametrize(
    ("val", "train", "expected"),
    [
        (("elm",), None, ["alder train", "birch train", "cedar train", "elm val", "fir test"]),
        (("elm",), ("cedar", "alder"), ["alder train", "cedar train", "elm val", "fir test"]),
        (("elm",), ("elm", "birch"), ["birch train", "elm val", "fir test"]),  # one of both lists is for validation
        ((), ("birch",), ["birch train", "fir test"]),
    ],
)
def test_of_the_training_cities_only_the_chosen_ones_are_kept(small_oscd, val, train, expected):
    cities = oscd.find_cities(small_oscd(CITIES), val, train)
    assert [f"{city.name} {city.split}" for city in cities] == expected


@pytest.mark.parametrize(
    ("val", "train", "message"),
    [
        (("elm",), ("alder", "oslo"), "The training city 'oslo' is not in {}: choose among alder, birch, cedar, elm."),
        (("elm",), ("fir",), "The training city 'fir' is not in {}: choose among alder, birch, cedar, elm."),
        (("oslo",), None, "The validation city 'oslo' is not in {}: choose among alder, birch, cedar, elm."),
    ],
)
def test_unknown_cities_are_refused_in_one_sentence(small_oscd, val, train, message):
    root = small_oscd(CITIES)
    with pytest.raises(UserError) as refusal:
        oscd.find_cities(root, val, train)
    assert str(refusal.value) == message.format(root / IMAGES / "train.txt")


def test_a_set_of_few_training_cities_holds_the_windows_of_these_alone(small_oscd, tmp_path):
    root, cut = small_oscd(CITIES), dict(patch_px=32, stride_px=32, val_cities=("elm",))
    report = oscd.prepare(root, tmp_path / "few", train_cities=("cedar",), **cut)
    oscd.prepare(root, tmp_path / "all", **cut)
    few, every = (open_patches(tmp_path / name) for name in ("few", "all"))
    assert set(few.index["group"]) == {"cedar", "elm", "fir"}
    rows = every.index["group"].isin(["cedar", "elm", "fir"]).to_numpy()
    assert few.index["id"].tolist() == every.index["id"][rows].tolist()
    np.testing.assert_array_equal(few.images, every.images[rows])
    assert [city.name for city in report.cities] == ["cedar", "elm", "fir"]


@pytest.mark.parametrize("layout", ["short", "merged"])
def test_other_layouts_give_the_same_set(simulated_oscd, tmp_path, layout):
    copy = tmp_path / "copy"
    names = {"Images": "images", "Train Labels": "train_labels", "Test Labels": "test_labels"}
    for part, short in names.items():
        source = simulated_oscd / IMAGES.replace("Images", part)
        for path in source.rglob("*"):
            if path.is_file():
                target = copy / (short if layout == "short" else "") / path.relative_to(source)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.symlink_to(path)
    settings = {"patch_px": 64, "stride_px": 30, "val_cities": ("birch",)}
    oscd.prepare(simulated_oscd, tmp_path / "a", **settings)
    oscd.prepare(copy, tmp_path / "b", **settings)
    a, b = open_patches(tmp_path / "a"), open_patches(tmp_path / "b")
    assert a.meta.checksums == b.meta.checksums
    assert not a.index.groupby("group")["split"].nunique().gt(1).any()


def test_png_and_tif_maps_agree(simulated_oscd):
    folder = simulated_oscd / IMAGES.replace("Images", "Train Labels") / "alder" / "cm"
    tif = oscd_raster.read_change(folder, "alder", (130, 150))
    png = oscd_raster.read_change(folder, "no tif of this name", (130, 150))
    assert tif.any()
    np.testing.assert_array_equal(tif, png)


def test_soft_edges_of_a_png_are_cut_in_the_middle(tmp_path):
    grey = np.array([[0, 1, 127, 128, 255]], np.uint8)
    for mode in ("L", "RGB", "RGBA"):
        Image.fromarray(grey).convert(mode).save(tmp_path / "cm.png")
        np.testing.assert_array_equal(oscd_raster.read_change(tmp_path, "any", (1, 5)), [[0, 0, 0, 1, 1]])


def test_rect_files_are_used_where_present(small_oscd):
    city = small_oscd({"alder": ("train", 64, 72, 2.0), "cedar": ("test", 64, 64, 3.0)}) / IMAGES / "alder"
    (city / "imgs_2_rect").mkdir()
    rasters.write(city / "imgs_2_rect" / "B05.tif", np.full((1, 64, 72), 4242, np.uint16))
    pixels = oscd_raster.read_dates(city, ("B04", "B05"), "official")
    assert pixels[:, :, 0, 0].tolist() == [[401, 501], [402, 4242]]


def test_dates_may_be_missing(small_oscd, tmp_path):
    root = small_oscd({"alder": ("train", 64, 72, 2.0), "cedar": ("test", 64, 64, 3.0)})
    (root / IMAGES / "alder" / "dates.txt").unlink()
    oscd.prepare(root, tmp_path / "out", patch_px=64, stride_px=64, val_cities=())
    assert list(open_patches(tmp_path / "out").index["dates"]) == ["", "2016-03-15,2017-08-29"]


@pytest.mark.parametrize(("stride", "train", "test"), [(102, 331, 116), (127, 234, 86)])
def test_real_window_counts(real_data, stride, train, test):
    cities = oscd.find_cities(real_data / "oscd", ())
    count = {"train": 0, "test": 0}
    for city in cities:
        grid = oscd_raster.grid_of(city.images)
        count[city.split] += len(windows(grid.height, grid.width, 256, stride))
    assert (len(cities), count) == (24, {"train": train, "test": test})


def test_real_norcia_equals_the_official_files_bit_for_bit(real_data):
    official = real_data / "oscd_rect_check" / "norcia"
    ours = oscd_raster.read_dates(real_data / "oscd" / IMAGES / "norcia", tuple(SENTINEL2), "official")
    for date in (1, 2):
        for band, pixels in zip(SENTINEL2, ours[date - 1], strict=True):
            np.testing.assert_array_equal(
                pixels, rasters.read(official / f"imgs_{date}_rect" / f"{band}.tif").pixels[0]
            )


def test_real_png_equals_tif_where_both_are_published(real_data, tmp_path):
    city = next(c for c in oscd.find_cities(real_data / "oscd", ()) if c.name == "aguasclaras")  # soft edges
    tif = oscd_raster.read_change(city.labels, "aguasclaras", (471, 525))
    np.testing.assert_array_equal(tif, oscd_raster.read_change(city.labels, "no tif of this name", (471, 525)))


def test_real_saclay_is_guarded_and_its_maps_are_read(real_data, tmp_path):
    """The whole real set: counts of the brief, and four windows of saclay_e that touch saclay_w."""
    report = oscd.prepare(real_data / "oscd", tmp_path / "out", stride_px=127, bands=("B04",))
    by_name = {c.name: c for c in report.cities}
    assert {name: c.guarded for name, c in by_name.items() if c.guarded} == {"saclay_e": 4}
    assert (by_name["aguasclaras"].changed_px, by_name["dubai"].changed_px) == (4056, 48689)
    assert sum(c.changed_px for c in report.cities) == 149190 + 159077
    assert report.kept("train", "val") == 234 - 4 and report.kept("test") == 86
