"""Label rasters on grids of their own: what an image's pixels get from them."""

import numpy as np
import pytest
import rasterio.warp
from rasterio import Affine

from specdm import rasters
from specdm.labels import IGNORE
from specdm.rasters import Grid, SampledRaster, WindowedRaster
from specdm.rasters import sampled as module

UTM = "EPSG:32633"
IMAGE = Grid(64, 80, UTM, (10, 0, 500_000, 0, -10, 5_000_000))


def write(path, codes, place, crs=UTM, **options):
    rasters.write(path, codes[None], crs, place, **options)
    return WindowedRaster(path)


def nearest(codes, place, crs, grid=IMAGE, fill=255):
    """The same with every centre transformed by GDAL."""
    row, col = np.mgrid[: grid.height, : grid.width] + 0.5
    x, y = Affine(*grid.transform) @ (col.ravel(), row.ravel())
    x, y = np.array(rasterio.warp.transform(grid.crs, crs, x, y)) if crs != grid.crs else (x, y)
    at_col, at_row = (np.floor(v).astype(int) for v in ~Affine(*place) @ (x, y))
    inside = (at_row >= 0) & (at_row < codes.shape[0]) & (at_col >= 0) & (at_col < codes.shape[1])
    out = np.full(len(x), fill, codes.dtype)
    out[inside] = codes[at_row[inside], at_col[inside]]
    return out.reshape(grid.height, grid.width)


@pytest.mark.parametrize(
    ("crs", "place", "shape"),
    [
        (UTM, (20, 0, 499_990, 0, -20, 5_000_030), (50, 60)),  # coarser, and wider than the image
        (UTM, (3.1, 0, 500_100.75, 0, -3.1, 4_999_901.35), (150, 160)),  # finer, and over a part of it
        ("EPSG:4326", (0.0002, 0, 15.0005, 0, -0.0002, 45.1555), (60, 90)),
        ("EPSG:3857", (15, 0, 1_669_600, 0, -15, 5_646_000), (90, 120)),
        ("EPSG:32632", (10, 0, 971_600, 0, -10, 5_017_700), (120, 100)),
    ],
)
def test_every_pixel_gets_the_code_below_its_centre(tmp_path, crs, place, shape):
    codes = np.random.default_rng(0).integers(1, 250, shape).astype(np.uint8)
    with write(tmp_path / "l.tif", codes, place, crs) as raster:
        values, covered = SampledRaster(raster, IMAGE).read(0, 0, 64, 80, [0])
    expected = nearest(codes, place, crs)
    assert covered.mean() > 0.1
    differ = np.where(covered, values[0], 255) != expected
    assert differ.mean() < 0.001  # centres on the edge between two pixels, within rounding


def test_windows_do_not_change_what_is_read(tmp_path, monkeypatch):
    codes = np.random.default_rng(1).integers(1, 250, (200, 300)).astype(np.uint8)
    with write(tmp_path / "l.tif", codes, (0.00004, 0, 15.0001, 0, -0.00004, 45.1548), "EPSG:4326") as raster:
        sampled = SampledRaster(raster, IMAGE)
        whole, covered = sampled.read(0, 0, 64, 80, [0])
        parts = [sampled.read(row, col, 16, 20, [0]) for row in range(0, 64, 16) for col in range(0, 80, 20)]
        monkeypatch.setattr(module, "READ_BYTES", 500)
        in_pieces = sampled.read(0, 0, 64, 80, [0])
    for k, (values, seen) in enumerate(parts):
        rows, cols = slice(16 * (k // 4), 16 * (k // 4) + 16), slice(20 * (k % 4), 20 * (k % 4) + 20)
        assert (values[0] == whole[0, rows, cols]).all() and (seen == covered[rows, cols]).all()
    assert (in_pieces[0] == whole).all() and (in_pieces[1] == covered).all()


def test_a_lattice_is_as_good_as_every_centre(tmp_path, monkeypatch):
    codes = np.arange(90 * 90, dtype=np.uint16).reshape(90, 90)
    grid = Grid(700, 700, UTM, (10, 0, 500_000, 0, -10, 5_000_000))
    with write(tmp_path / "l.tif", codes, (0.001, 0, 15.0, 0, -0.001, 45.16), "EPSG:4326") as raster:
        coarse, _ = SampledRaster(raster, grid).read(0, 0, 700, 700, [0])
        monkeypatch.setattr(module, "LATTICE_PX", 1)
        fine, _ = SampledRaster(raster, grid).read(0, 0, 700, 700, [0])
    assert (coarse != fine).mean() < 1e-4


def test_a_land_cover_raster_of_another_system_labels_a_scene(lay, cut, numbered):
    pixels = numbered(64, 80)[0]
    crs, place = "EPSG:3035", (25, 0, 4_714_000, 0, -25, 2_462_500)  # a land-cover map of Europe
    codes = np.kron(np.arange(1, 4)[np.arange(80) % 3], np.ones((25, 1), int)).astype(np.uint8)
    lay("i.tif", pixels)
    lay("cover.tif", codes, place, crs)
    expected = nearest(codes, place, crs)
    assert set(np.unique(expected)) == {1, 2, 3, 255}  # it shows a part of the image
    patches = cut({"images": "i.tif", "labels": "cover.tif"}, stride_px=16, guard_px=0, min_labelled=0)
    for (image, mask), row, col in zip(patches, patches.index["row"], patches.index["col"], strict=True):
        wanted = expected[row : row + 16, col : col + 16]
        assert (mask != np.where(wanted == 255, IGNORE, wanted - 1)).mean() < 0.01
        assert (image[0] == pixels[:, row : row + 16, col : col + 16]).all()
