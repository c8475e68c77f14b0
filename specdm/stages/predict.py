"""Map a whole image, or a pair of images, with a trained downstream network: tile by tile, memory bounded by tiles."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from specdm import files
from specdm.errors import UserError
from specdm.labels import IGNORE
from specdm.nn import downstream
from specdm.nn.downstream.common import DownstreamNetwork
from specdm.patches import Normaliser, PatchMeta, to_reflectance, valid_pixels
from specdm.progress import Progress
from specdm.rasters import LabelMap, WindowedRaster, block_cache, read_bands
from specdm.weights import load_weights

MULTIPLE = 32  # sides of tiles: what every network takes
FAR = 5.0  # standard deviations between an image and the training data that are worth a warning


@dataclass(frozen=True)
class TrainedNetwork:
    """A downstream network with what it needs to see an image as it saw its training patches."""

    network: DownstreamNetwork
    normaliser: Normaliser
    meta: PatchMeta
    dates: int
    name: str
    id: str

    @classmethod
    def load(cls, folder: Path, device: torch.device) -> TrainedNetwork:
        """Load from the folder that train-downstream writes; UserError when it is no such folder."""
        weights, config = load_weights(folder, "downstream")
        data = config["data"]
        meta = PatchMeta.from_dict(data["meta"])
        dates, bands = data["shape"][:2]
        network = downstream.build(
            config["network"], bands=bands, classes=len(meta.labels), dates=dates, **config["options"]
        )
        network.load_state_dict(weights)
        normaliser = Normaliser(tuple(data["normaliser"]["mean"]), tuple(data["normaliser"]["std"]))
        return cls(network.to(device).eval(), normaliser, meta, dates, config["network"], config["id"])


@dataclass(frozen=True)
class Tiling:
    """How an image is cut.

    Attributes:
        tile_px: side of a tile, a multiple of 32.
        overlap_px: what a tile shares with its neighbour; each keeps its own half, where it saw the surroundings.
        batch: tiles predicted together.
    """

    tile_px: int = 512
    overlap_px: int = 64
    batch: int = 4

    def __post_init__(self) -> None:
        if self.tile_px < MULTIPLE or self.tile_px % MULTIPLE:
            raise UserError(f"--tile-px: {self.tile_px} is not a multiple of {MULTIPLE}, which the networks need.")
        if not 0 <= self.overlap_px <= self.tile_px // 2:
            raise UserError(f"--overlap-px: give 0 to half a tile ({self.tile_px // 2}), not {self.overlap_px}.")

    def along(self, length: int) -> list[tuple[int, int, int]]:
        """Tiles along a side of `length` pixels: first pixel, and the pixels (from, to) that it gives to the map."""
        if length <= self.tile_px:
            return [(0, 0, length)]
        step = self.tile_px - self.overlap_px
        starts = [*range(0, length - self.tile_px, step), length - self.tile_px]
        seams = [(a + self.tile_px + b) // 2 for a, b in pairwise(starts)]
        return list(zip(starts, [0, *seams], [*seams, length], strict=True))


@dataclass(frozen=True)
class Values:
    """How the numbers of the image are read; None: as those of the training data.

    Attributes:
        bands: names of the file's bands in their order; None: as the file says, or those of the training data.
        scale, offset: reflectance = number x scale + offset.
    """

    bands: tuple[str, ...] | None = None
    scale: float | None = None
    offset: float | None = None


def predict(
    model: Path, images: Sequence[Path], out: Path, tiling: Tiling | None = None, values: Values | None = None
) -> str:
    """Write the map of an image as a GeoTIFF of class ids on its grid, with colours and names; 255 where no data is.

    Args:
        model: folder of a network that train-downstream wrote.
        images: one raster file, or for change detection two, the earlier one first. The second one is resampled onto
            the grid of the first where that differs.
        out: the GeoTIFF, complete or not at all.
        tiling, values: how the image is cut, and how its numbers are read.

    Returns:
        What was made, in words.

    Raises:
        UserError: when the number of images, their sizes or their bands do not fit the network.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    trained = TrainedNetwork.load(model, device)
    tiling, values = tiling or Tiling(), values or Values()
    if len(images) != trained.dates:
        raise UserError(f"{model}: {trained.name} takes {trained.dates} image(s) of a place, {len(images)} given.")
    meta = replace(
        trained.meta,
        scale=trained.meta.scale if values.scale is None else values.scale,
        offset=trained.meta.offset if values.offset is None else values.offset,
    )
    with contextlib.ExitStack() as stack:
        stack.enter_context(block_cache())
        dates = []
        for path in images:
            onto = dates[0].raster.grid if dates else None
            raster = stack.enter_context(WindowedRaster(path, onto))
            dates.append(_Date(raster, _band_positions(path, raster, meta.bands, values.bands), meta))
            if (raster.grid.height, raster.grid.width) != (dates[0].raster.grid.height, dates[0].raster.grid.width):
                raise UserError(f"{path} has another size than {images[0]}: give two images on one grid.")
        grid = dates[0].raster.grid
        temporary = stack.enter_context(files.new_file(out))
        target = stack.enter_context(LabelMap(temporary, grid, meta.labels.palette(), meta.labels.names, IGNORE))
        places = [
            (*row, *col) for row in tiling.along(grid.height) for col in tiling.along(grid.width)
        ]  # row by row: a file's blocks are decoded once
        progress, far = Progress(f"mapping {images[0].name}", len(places), "tiles"), np.zeros(len(meta.bands))
        for start in range(0, len(places), tiling.batch):
            some = places[start : start + tiling.batch]
            refl, valid = _read(dates, some, tiling.tile_px)
            standardised = trained.normaliser.apply(refl) * valid[:, :, None]
            far = np.maximum(far, _distances(standardised, valid))
            ids = _classify(trained.network, standardised, device)
            ids[~valid.all(1)] = IGNORE
            for mask, (top, row0, row1, left, col0, col1) in zip(ids, some, strict=True):
                target.write(row0, col0, mask[row0 - top : row1 - top, col0 - left : col1 - left])
            progress.update(start + len(some))
    size = f"{grid.height} x {grid.width} pixels, {len(places)} tiles"
    return f"{size} in {out}{_warning(far, meta.bands)}"


@dataclass(frozen=True)
class _Date:
    raster: WindowedRaster
    positions: list[int]
    meta: PatchMeta

    def read(self, top: int, left: int, side: int) -> tuple[np.ndarray, np.ndarray]:
        """Reflectance (C,side,side) and where there is data; a smaller image is mirrored beyond its rim."""
        height, width = min(side, self.raster.grid.height), min(side, self.raster.grid.width)
        dn = self.raster.read(top, left, height, width, self.positions)
        nodata = self.meta.nodata if self.raster.nodata is None else self.raster.nodata
        around = ((0, side - height), (0, side - width))
        valid = np.pad(valid_pixels(dn, nodata), around, mode="symmetric")
        return to_reflectance(np.pad(dn, ((0, 0), *around), mode="symmetric"), self.meta), valid


def _read(dates: list[_Date], places: list[tuple], side: int) -> tuple[np.ndarray, np.ndarray]:
    """Tiles (n,T,C,side,side) of reflectance, and where they hold data (n,T,side,side)."""
    tiles = [[date.read(top, left, side) for date in dates] for top, _, _, left, _, _ in places]
    return tuple(np.stack([np.stack([date[k] for date in tile]) for tile in tiles]) for k in (0, 1))


@torch.no_grad()
def _classify(network: DownstreamNetwork, standardised: np.ndarray, device: torch.device) -> np.ndarray:
    half = torch.autocast("cuda", torch.bfloat16) if device.type == "cuda" else contextlib.nullcontext()
    with half:
        logits = network(torch.from_numpy(standardised).to(device))
    return logits.argmax(1).to(torch.uint8).cpu().numpy()


def _band_positions(
    path: Path, raster: WindowedRaster, wanted: tuple[str, ...], given: tuple[str, ...] | None
) -> list[int]:
    """Where the network's bands lie in a file: by their names, or all of them in order."""
    names = given or read_bands(path).names
    if given and len(given) != raster.count:
        raise UserError(f"--bands: {len(given)} names, but {path} has {raster.count} bands: name each of them.")
    if set(wanted) <= set(names):
        return [names.index(name) for name in wanted]
    if not given and raster.count == len(wanted):
        return list(range(raster.count))
    missing = ", ".join(name for name in wanted if name not in names)
    raise UserError(
        f"{path} has {raster.count} bands ({', '.join(names) or 'without names'}), the network needs {missing} of "
        f"{', '.join(wanted)}: name the file's bands with --bands."
    )


def _distances(standardised: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """How far the mean of each band lies from the training data's, in their standard deviations, (C,)."""
    n = max(int(valid.sum()), 1)
    return np.abs(standardised.sum((0, 1, 3, 4), dtype=np.float64)) / n


def _warning(far: np.ndarray, bands: Sequence[str]) -> str:
    worst = int(far.argmax())
    if far[worst] < FAR:
        return ""
    return (
        f"; in places {bands[worst]} lies {far[worst]:.0f} standard deviations from the training data: check the "
        "order of the bands, --scale and --offset"
    )
