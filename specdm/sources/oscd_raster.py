"""The pixels of one OSCD city: both dates on the 10 m grid of date 1, and the change map.

Native bands have 10, 20 or 60 m pixels; two rules bring them to 10 m:

    official    scipy.ndimage.zoom (cubic), cut or edge-padded to the 10 m size of its own date, then of date 1.
                Equal to the published imgs_*_rect bit for bit. Where the dates differ in size over the same bounds
                (abudhabi, hongkong, saclay_e, saclay_w) they drift apart by up to 7 pixels.
    registered  every band and date is resampled (cubic) straight from its native pixels to where the
                georeference of date 1 puts each 10 m pixel, so that dates and bands coincide.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from specdm import rasters
from specdm.bands import SENTINEL2
from specdm.errors import UserError
from specdm.labels import OSCD

DATES = (1, 2)
# ASSUME: dates of one city may differ in size by this share of it (the largest in the data set is 1.3 %).
SIZE_TOLERANCE = 0.03


def grid_of(city: Path) -> rasters.Grid:
    """The 10 m grid of date 1: size, and georeference where the native files are present (rect files carry none)."""
    native = city / "imgs_1"
    return rasters.read_grid(_native_path(city, 1, "B02") if native.is_dir() else _rect_path(city, 1, "B02"))


def read_dates(city: Path, bands: Sequence[str], grid: str) -> np.ndarray:
    """Both dates of a city.

    Args:
        city: folder with imgs_1, imgs_2 and/or imgs_1_rect, imgs_2_rect.
        bands: the bands to read, and no others are read.
        grid: "official" or "registered", see the module's text.

    Returns:
        (2,C,H,W) digital numbers in the files' type, on the 10 m grid of date 1.

    Raises:
        UserError: for a missing, damaged or ill-sized band file.
    """
    target = grid_of(city)
    read_band = {"official": _read_official, "registered": _read_registered}[grid]
    stack = None
    for t, date in enumerate(DATES):
        for c, band in enumerate(bands):
            pixels = read_band(city, date, band, target)
            if stack is None:
                stack = np.empty((len(DATES), len(bands), target.height, target.width), pixels.dtype)
            if pixels.dtype != stack.dtype:
                raise UserError(
                    f"{city}/imgs_{date}: band {band} is {pixels.dtype} but the first band {stack.dtype}: "
                    "fetch the city again."
                )
            stack[t, c] = pixels
    return stack


def read_change(folder: Path, city: str, shape: tuple[int, int]) -> np.ndarray:
    """The change map of a city, (H,W) uint8 ids of labels.OSCD.

    Args:
        folder: holds <city>-cm.tif (1 = no change, 2 = change) or cm.png (any colour mode, change is bright).
        city: name of the city.
        shape: (H,W) that the map must have, in pixels.

    Raises:
        UserError: when neither file is there, the codes are unknown or the size differs.
    """
    tif, png = folder / f"{city}-cm.tif", folder / "cm.png"
    path = tif if tif.is_file() else png
    ids = OSCD.remap(rasters.read(tif).pixels[0], tif) if tif.is_file() else _read_png(png)
    if ids.shape != shape:
        raise UserError(f"{path} is {ids.shape} pixels but the city's images are {shape}: fetch the labels again.")
    return ids


def _read_png(path: Path) -> np.ndarray:
    from PIL import Image, UnidentifiedImageError

    if not path.is_file():
        raise UserError(f"{path} does not exist, nor a -cm.tif beside it: fetch the city's labels.")
    try:
        with Image.open(path) as image:
            # The edges of some maps are smoothed; above the middle they equal the tif exactly.
            return (np.asarray(image.convert("L")) > 127).astype(np.uint8)
    except (UnidentifiedImageError, OSError) as error:
        raise UserError(f"{path} cannot be read, it is damaged or not a PNG: fetch it again.") from error


def _native_path(city: Path, date: int, band: str) -> Path:
    found = sorted((city / f"imgs_{date}").glob(f"*_{band}.tif"))
    if len(found) != 1:
        raise UserError(
            f"{city / f'imgs_{date}'} holds {len(found)} files *_{band}.tif instead of one: fetch the city again."
        )
    return found[0]


def _rect_path(city: Path, date: int, band: str) -> Path:
    return city / f"imgs_{date}_rect" / f"{band}.tif"


def _read_official(city: Path, date: int, band: str, target: rasters.Grid) -> np.ndarray:
    size = (target.height, target.width)
    rect = _rect_path(city, date, band)
    if rect.is_file():
        pixels = rasters.read(rect).pixels[0]
        if pixels.shape != size:
            raise UserError(f"{rect} is {pixels.shape} pixels but date 1 is {size}: fetch the city again.")
        return pixels
    path = _native_path(city, date, band)
    own = rasters.read_grid(_native_path(city, date, "B02"))
    _check_size(path, (own.height, own.width), size, slack=SIZE_TOLERANCE * max(size))
    pixels = rasters.read(path).pixels[0]
    factor = int(SENTINEL2[band].gsd_m // 10)
    _check_size(path, (pixels.shape[0] * factor, pixels.shape[1] * factor), (own.height, own.width), slack=factor)
    if factor > 1:
        from scipy import ndimage

        pixels = ndimage.zoom(pixels, factor, order=3)
    return _fit(_fit(pixels, own.height, own.width), *size)


def _read_registered(city: Path, date: int, band: str, target: rasters.Grid) -> np.ndarray:
    path = _native_path(city, date, band)
    source = rasters.read(path)
    if not source.transform or not target.transform or source.crs != target.crs:
        raise UserError(f"{path} has no georeference that matches date 1: use `grid: official` for this copy.")
    if source.transform == target.transform and source.pixels.shape[1:] == (target.height, target.width):
        return source.pixels[0]
    from scipy import ndimage

    a, _, c, _, e, f = source.transform
    to_a, _, to_c, _, to_e, to_f = target.transform
    # Pixel centres: index i of the target lies at to_f + to_e (i + 1/2), which is index (y - f) / e - 1/2 here.
    step = (to_e / e, to_a / a)
    first = ((to_f + to_e / 2 - f) / e - 0.5, (to_c + to_a / 2 - c) / a - 0.5)
    return ndimage.affine_transform(
        source.pixels[0], step, first, output_shape=(target.height, target.width), order=3, mode="nearest"
    )


def _check_size(path: Path, have: tuple[int, int], want: tuple[int, int], slack: float) -> None:
    if max(abs(h - w) for h, w in zip(have, want, strict=True)) > slack:
        raise UserError(f"{path} covers {have} pixels of 10 m where {want} are expected: fetch the city again.")


def _fit(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Cut at the bottom and right, or repeat the last row and column there."""
    pixels = pixels[:height, :width]
    missing = ((0, height - pixels.shape[0]), (0, width - pixels.shape[1]))
    return np.pad(pixels, missing, mode="edge") if np.any(missing) else pixels
