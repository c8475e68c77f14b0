import numpy as np
import pytest
import rasterio
import torch

from specdm import rasters
from specdm.errors import UserError
from specdm.labels import OSCD, LabelClass, LabelSet
from specdm.nn import downstream
from specdm.patches import Normaliser, PatchMeta
from specdm.stages.batches import described
from specdm.stages.predict import Tiling, Values, predict
from specdm.weights import save_weights

BANDS = ("B02", "B03", "B04", "B8A")
LABELS = LabelSet(
    "cover", tuple(LabelClass(i, n, (40 * i, 90, 200), (i,)) for i, n in enumerate(["land", "sea", "ice"]))
)
NORMALISER = Normaliser((0.1, 0.12, 0.15, 0.2), (0.05, 0.06, 0.07, 0.1))
TRANSFORM = (10.0, 0.0, 500000.0, 0.0, -10.0, 5000000.0)
CRS = "EPSG:32633"


def _model(folder, name, labels, dates, seed=0):
    torch.manual_seed(seed)
    network = downstream.build(name, bands=len(BANDS), classes=len(labels), dates=dates)
    for parameter in network.parameters():  # away from its start, where every pixel gets one class
        parameter.data += 0.02 * torch.randn_like(parameter)
    meta = PatchMeta("here", "Sentinel-2 MSI", "TOA", BANDS, 1e-4, -0.1, 0, labels)
    data = described(meta, np.dtype("uint16"), (dates, len(BANDS), 64, 64), NORMALISER)
    config = {"kind": "downstream", "id": "x", "network": name, "options": {}, "data": data}
    save_weights(folder, network.state_dict(), config, lambda _: None)
    return folder, network.eval()


@pytest.fixture(scope="module")
def cover(tmp_path_factory):
    """A network of one date, and its folder."""
    return _model(tmp_path_factory.mktemp("cover"), "segformer-b0", LABELS, 1)


@pytest.fixture(scope="module")
def change(tmp_path_factory):
    """A network of two dates, and its folder."""
    return _model(tmp_path_factory.mktemp("change"), "changeformer-v3", OSCD, 2)


def _image(path, height=64, width=64, seed=0, names=BANDS, place=TRANSFORM):
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(1500, 4000, (len(BANDS), -(-height // 8), -(-width // 8)))
    dn = coarse.repeat(8, 1).repeat(8, 2)[:, :height, :width] + rng.normal(0, 200, (len(BANDS), height, width))
    dn = np.rint(dn).astype(np.uint16)
    rasters.write(path, dn, CRS, place)
    with rasterio.open(path, "r+") as target:
        target.descriptions = names
    return dn


def _expected(network, *dates):
    """Class ids of whole images (C,H,W) dn, whose sides the network takes, by one call."""
    refl = np.stack([dn.astype(np.float32) * np.float32(1e-4) - np.float32(0.1) for dn in dates])
    with torch.no_grad():
        return network(torch.from_numpy(NORMALISER.apply(refl))[None])[0].argmax(0).numpy()


def _map(path):
    with rasterio.open(path) as source:
        return source.read(1)


@pytest.mark.parametrize("tiling", [Tiling(64, 0), Tiling(64, 32), Tiling(96, 16), Tiling(512, 64), Tiling(32, 15)])
@pytest.mark.parametrize("length", [1, 31, 64, 65, 96, 100, 127, 500, 513, 1024])
def test_tiles_give_every_pixel_once_from_within_themselves(tiling, length):
    tiles, given = tiling.along(length), []
    for start, begin, end in tiles:
        assert start == 0 or start + tiling.tile_px <= length
        assert start <= begin < end <= start + tiling.tile_px
        given += range(begin, end)
        # away from the image's rim a tile keeps off its own
        margin = tiling.overlap_px // 2
        assert begin == 0 or begin - start >= margin
        assert end == length or start + tiling.tile_px - end >= margin
    assert given == list(range(length))


def test_the_map_of_one_tile_is_what_the_network_says(tmp_path, cover):
    dn = _image(tmp_path / "image.tif")
    said = predict(cover[0], [tmp_path / "image.tif"], tmp_path / "map.tif", Tiling(64, 16))
    expected = _expected(cover[1], dn)
    assert len(np.unique(expected)) > 1
    np.testing.assert_array_equal(_map(tmp_path / "map.tif"), expected)
    assert said == f"64 x 64 pixels, 1 tiles in {tmp_path / 'map.tif'}"


def test_the_map_lies_on_the_image_and_says_what_its_numbers_are(tmp_path, cover):
    _image(tmp_path / "image.tif", 300, 280)
    predict(cover[0], [tmp_path / "image.tif"], tmp_path / "map.tif", Tiling(128, 32))
    with rasterio.open(tmp_path / "map.tif") as source:
        assert (source.shape, source.crs.to_string(), tuple(source.transform)[:6]) == ((300, 280), CRS, TRANSFORM)
        assert (source.dtypes, source.nodata, source.block_shapes) == (("uint8",), 255, [(256, 256)])
        assert source.colormap(1)[2] == (80, 90, 200, 255)
        assert source.tags()["classes"] == "0 land, 1 sea, 2 ice"


@pytest.mark.parametrize("batch", [1, 3])
def test_a_large_image_is_the_mosaic_of_its_tiles(tmp_path, cover, batch):
    dn = _image(tmp_path / "image.tif", 112, 150)
    predict(cover[0], [tmp_path / "image.tif"], tmp_path / "map.tif", Tiling(64, 16, batch))
    expected = np.full((112, 150), 99)
    rows, cols = [(0, 0, 56), (48, 56, 112)], [(0, 0, 56), (48, 56, 99), (86, 99, 150)]
    for top, row0, row1 in rows:
        for left, col0, col1 in cols:
            tile = _expected(cover[1], dn[:, top : top + 64, left : left + 64])
            expected[row0:row1, col0:col1] = tile[row0 - top : row1 - top, col0 - left : col1 - left]
    found = _map(tmp_path / "map.tif")
    assert (found != expected).mean() < 1e-3  # batches round differently


def test_an_image_smaller_than_a_tile_is_mirrored_beyond_its_rim(tmp_path, cover):
    dn = _image(tmp_path / "image.tif", 40, 50)
    predict(cover[0], [tmp_path / "image.tif"], tmp_path / "map.tif", Tiling(64, 0))
    mirrored = np.concatenate([dn, dn[:, :-25:-1]], 1)
    mirrored = np.concatenate([mirrored, mirrored[:, :, :-15:-1]], 2)
    np.testing.assert_array_equal(_map(tmp_path / "map.tif"), _expected(cover[1], mirrored)[:40, :50])


def test_where_no_data_is_no_class_is(tmp_path, cover):
    dn = _image(tmp_path / "image.tif")
    dn[:, :20, :30] = 0
    dn[0, 40, 40] = 0  # one band alone is data
    rasters.write(tmp_path / "holes.tif", dn, CRS, TRANSFORM)
    predict(cover[0], [tmp_path / "holes.tif"], tmp_path / "map.tif", Tiling(64, 0))
    found = _map(tmp_path / "map.tif") == 255
    assert found[:20, :30].all() and found.sum() == 600


def test_bands_are_found_by_their_names_whatever_their_order(tmp_path, cover):
    dn = _image(tmp_path / "image.tif")
    predict(cover[0], [tmp_path / "image.tif"], tmp_path / "map.tif", Tiling(64, 0))
    more = np.concatenate([dn[::-1], dn[:1] + 7])
    rasters.write(tmp_path / "more.tif", more, CRS, TRANSFORM)
    names = (*BANDS[::-1], "B12")
    predict(cover[0], [tmp_path / "more.tif"], tmp_path / "told.tif", Tiling(64, 0), Values(bands=names))
    with rasterio.open(tmp_path / "more.tif", "r+") as target:
        target.descriptions = names
    predict(cover[0], [tmp_path / "more.tif"], tmp_path / "read.tif", Tiling(64, 0))
    for name in ("told.tif", "read.tif"):
        np.testing.assert_array_equal(_map(tmp_path / name), _map(tmp_path / "map.tif"))


def test_numbers_of_another_scale_are_read_as_told(tmp_path, cover):
    dn = _image(tmp_path / "image.tif")
    predict(cover[0], [tmp_path / "image.tif"], tmp_path / "map.tif", Tiling(64, 0))
    rasters.write(tmp_path / "refl.tif", (dn * np.float32(1e-4) - np.float32(0.1)) * 2, CRS, TRANSFORM)
    predict(cover[0], [tmp_path / "refl.tif"], tmp_path / "told.tif", Tiling(64, 0), Values(scale=0.5, offset=0.0))
    assert (_map(tmp_path / "told.tif") != _map(tmp_path / "map.tif")).mean() < 1e-3


def test_numbers_far_from_the_training_data_are_warned_of(tmp_path, cover):
    _image(tmp_path / "image.tif")
    said = predict(cover[0], [tmp_path / "image.tif"], tmp_path / "m.tif", Tiling(64, 0), Values(scale=1.0))
    assert "standard deviations from the training data: check the order of the bands, --scale" in said


def test_two_dates_are_compared(tmp_path, change):
    before, after = (_image(tmp_path / f"{i}.tif", seed=i) for i in (0, 1))
    paths = [tmp_path / "0.tif", tmp_path / "1.tif"]
    predict(change[0], paths, tmp_path / "map.tif", Tiling(64, 0))
    np.testing.assert_array_equal(_map(tmp_path / "map.tif"), _expected(change[1], before, after))
    after[:, :5] = 0
    rasters.write(paths[1], after, CRS, TRANSFORM)
    predict(change[0], paths, tmp_path / "map.tif", Tiling(64, 0))
    assert (_map(tmp_path / "map.tif")[:5] == 255).all()  # one date without data is enough


def test_the_second_date_is_brought_onto_the_grid_of_the_first(tmp_path, change):
    before, after = (_image(tmp_path / f"{i}.tif", seed=i) for i in (0, 1))
    double = after.repeat(2, 1).repeat(2, 2)
    fine = (5.0, 0.0, TRANSFORM[2], 0.0, -5.0, TRANSFORM[5])
    rasters.write(tmp_path / "fine.tif", double, CRS, fine)
    predict(change[0], [tmp_path / "0.tif", tmp_path / "fine.tif"], tmp_path / "map.tif", Tiling(64, 0))
    found, expected = _map(tmp_path / "map.tif"), _expected(change[1], before, after)
    assert found.shape == (64, 64) and (found != expected).mean() < 0.1


@pytest.mark.parametrize(
    ("n", "change_names", "values", "message"),
    [
        (2, None, None, r"takes 1 image\(s\) of a place, 2 given"),
        (1, ("B02", "B03", "B04", "B05"), None, None),
        (1, None, Values(bands=("B02", "B03")), "--bands: 2 names, but .* has 4 bands"),
        (1, None, Values(bands=("B02", "B03", "B05", "B04")), "the network needs B8A of B02, B03, B04, B8A"),
    ],
)
def test_what_does_not_fit_is_said(tmp_path, cover, n, change_names, values, message):
    _image(tmp_path / "image.tif", names=change_names or BANDS)
    run = (cover[0], [tmp_path / "image.tif"] * n, tmp_path / "map.tif", Tiling(64, 0), values)
    if message is None:  # as many bands as the network has, under other names, are taken in order
        predict(*run)
        assert (tmp_path / "map.tif").is_file()
        return
    with pytest.raises(UserError, match=message):
        predict(*run)
    assert [p.name for p in tmp_path.iterdir()] == ["image.tif"]


def test_too_few_bands_and_other_sizes_are_refused(tmp_path, cover, change):
    dn = _image(tmp_path / "image.tif")
    rasters.write(tmp_path / "few.tif", dn[:3], CRS, TRANSFORM)
    with pytest.raises(UserError, match=r"has 3 bands \(without names\), the network needs B02, B03, B04, B8A of"):
        predict(cover[0], [tmp_path / "few.tif"], tmp_path / "map.tif")
    rasters.write(tmp_path / "a.tif", dn)
    rasters.write(tmp_path / "b.tif", dn[:, :32])
    with pytest.raises(UserError, match="another size"):
        predict(change[0], [tmp_path / "a.tif", tmp_path / "b.tif"], tmp_path / "map.tif")


@pytest.mark.parametrize(
    ("tile_px", "overlap_px", "message"), [(100, 0, "--tile-px: 100"), (0, 0, "--tile-px: 0"), (64, 40, "half a tile")]
)
def test_impossible_tiles_are_refused(tile_px, overlap_px, message):
    with pytest.raises(UserError, match=message):
        Tiling(tile_px, overlap_px)


def test_a_damaged_image_leaves_no_map(tmp_path, cover):
    _image(tmp_path / "image.tif", 128, 128)
    whole = (tmp_path / "image.tif").read_bytes()
    (tmp_path / "image.tif").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="damaged"):
        predict(cover[0], [tmp_path / "image.tif"], tmp_path / "map.tif", Tiling(64, 0))
    assert not (tmp_path / "map.tif").exists()
