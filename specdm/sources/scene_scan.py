"""The first reading of the user's own scenes: which windows there are, what is labelled in them, where data is missing.

Images are looked at only where pixels can lack data.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from specdm.errors import UserError
from specdm.labels import IGNORE, LabelSet
from specdm.progress import Progress
from specdm.rasters import Grid
from specdm.settings import Scene, SceneSettings
from specdm.sources.scene_bands import SceneBands, runs
from specdm.sources.scene_image import SceneImage
from specdm.sources.scene_labels import SceneLabels
from specdm.sources.windows import covering

T = TypeVar("T")
CHUNK_BYTES = 48 << 20  # of an image read at once
ENOUGH_WINDOWS = 200


@dataclass(frozen=True)
class Scan:
    """What is known of a scene after its first reading.

    Attributes:
        scene: its files.
        grid: size and georeference of its first image.
        dtype, nodata: type of its pixels as stored, and what pixels without data hold.
        windows: (row, col) of every window, (n,2).
        classes: labelled pixels with data by class of each window, (n,K).
    """

    scene: Scene
    grid: Grid
    dtype: np.dtype
    nodata: float | None
    windows: np.ndarray
    classes: np.ndarray


class OpenScene(contextlib.AbstractContextManager):
    """The open images and labels of a scene, read together."""

    def __init__(self, scene: Scene, settings: SceneSettings, bands: SceneBands, labels: LabelSet):
        with contextlib.ExitStack() as stack:
            self.images: list[SceneImage] = []
            for file in scene.images:
                onto = self.images[0].grid if self.images else None
                image = SceneImage(file, bands.in_file, bands.kept, settings.nodata, onto, settings.resampling)
                self.images.append(stack.enter_context(image))
            first = self.images[0]
            for other in self.images[1:]:
                if (other.dtype, other.nodata) != (first.dtype, first.nodata):
                    raise UserError(
                        f"{other.path} holds {other.dtype} with nodata {other.nodata}, the first image {first.dtype} "
                        f"with {first.nodata}: convert them to one type and declare nodata."
                    )
            self.grid, self.dtype, self.nodata = first.grid, first.dtype, first.nodata
            self._labels = stack.enter_context(
                SceneLabels(scene.labels, labels, first.grid, settings.ignore_codes, settings.unlisted_codes)
            )
            self._stack = stack.pop_all()

    def read_images(self, row: int, col: int, height: int, width: int) -> np.ndarray:
        """Pixels (T,C,height,width) of a window."""
        return np.stack([image.read(row, col, height, width) for image in self.images])

    def look(self, row: int, col: int, height: int, width: int, alive: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where all images hold data, (height,width) bool, and the bands (T,C) known to hold any."""
        looks = [image.look(row, col, height, width, seen) for image, seen in zip(self.images, alive, strict=True)]
        valid, alive = zip(*looks, strict=True)
        return np.logical_and.reduce(valid), np.stack(alive)

    def read_ids(self, row: int, col: int, height: int, width: int, valid: np.ndarray) -> np.ndarray:
        """Class ids (height,width) uint8 of a window; IGNORE also where it is not `valid`."""
        return np.where(valid, self._labels.read(row, col, height, width), np.uint8(IGNORE))

    def __exit__(self, *error: object) -> None:
        self._stack.close()


def chunks(windows: np.ndarray, patch_px: int, bytes_a_column: int) -> Iterator[tuple[np.ndarray, int, int, int]]:
    """Windows side by side that are read at once.

    Args:
        windows: (n,2) row and column of each, row by row.
        patch_px: their side.
        bytes_a_column: bytes of one column of pixels of a window's height.

    Yields:
        Positions of some windows of one row, their row, and the columns they span, from and to.
    """
    widest = max(CHUNK_BYTES // bytes_a_column, patch_px)
    start = 0
    while start < len(windows):
        row, left = windows[start]
        stop = start + 1
        while stop < len(windows) and windows[stop, 0] == row and windows[stop, 1] + patch_px - left <= widest:
            stop += 1
        yield np.arange(start, stop), int(row), int(left), int(windows[stop - 1, 1]) + patch_px
        start = stop


def one_ahead(items: Iterator[T]) -> Iterator[T]:
    """The items of an iterator, each made in a second thread while the one before it is used."""
    end = object()
    with ThreadPoolExecutor(max_workers=1) as pool:
        coming = pool.submit(next, items, end)
        while (item := coming.result()) is not end:
            coming = pool.submit(next, items, end)
            yield item


def bytes_a_column(scene: OpenScene, bands: SceneBands, patch_px: int) -> int:
    """Bytes of a column of pixels of a window's height, all bands and dates."""
    return len(scene.images) * len(bands.kept) * patch_px * scene.dtype.itemsize


def scan_scenes(
    scenes: Sequence[Scene], settings: SceneSettings, bands: SceneBands, labels: LabelSet
) -> tuple[list[Scan], int]:
    """Read the labels of all scenes, and the images where pixels can lack data; also the distance of windows.

    Raises:
        UserError: for whatever the files hold that the settings do not say, bands without any data, scenes of
            different types, or classes without pixels.
    """
    sizes = []
    for scene in scenes:
        with OpenScene(scene, settings, bands, labels) as opened:
            sizes.append((opened.grid.height, opened.grid.width))
    if all(min(size) < settings.patch_px for size in sizes):
        raise UserError(f"No scene holds a window of {settings.patch_px} px: choose a smaller patch_px.")
    stride = settings.stride_px or _stride(sizes, settings.patch_px)
    scans, alive = [], np.zeros((settings.n_dates, len(bands.kept)), bool)
    progress = Progress("reading labels", len(scenes), "scenes")
    for number, scene in enumerate(scenes):
        with OpenScene(scene, settings, bands, labels) as opened:
            scan, seen = _scan(scene, opened, settings.patch_px, stride, bands, labels)
        scans.append(scan)
        alive |= seen
        progress.update(number + 1)
    if not alive.all():
        dead = [bands.kept[i] for i in np.flatnonzero(~alive.all(axis=0))]
        where = "on one of the dates" if settings.n_dates > 1 else "anywhere"
        raise UserError(f"These bands hold no data {where}: {runs(bands.in_file, dead)}; list them under drop_bands.")
    _check_alike(scans, labels)
    return scans, stride


def _stride(sizes: Sequence[tuple[int, int]], patch_px: int) -> int:
    """A patch, or a half, a quarter or an eighth of it, until there are ENOUGH_WINDOWS."""
    strides = [max(patch_px // part, 1) for part in (1, 2, 4, 8)]
    counts = [sum(len(covering(h, patch_px, s)) * len(covering(w, patch_px, s)) for h, w in sizes) for s in strides]
    return next((s for s, n in zip(strides, counts, strict=True) if n >= ENOUGH_WINDOWS), strides[-1])


def _scan(
    scene: Scene, opened: OpenScene, patch_px: int, stride: int, bands: SceneBands, labels: LabelSet
) -> tuple[Scan, np.ndarray]:
    grid = opened.grid
    rows, cols = covering(grid.height, patch_px, stride), covering(grid.width, patch_px, stride)
    windows = np.array([(row, col) for row in rows for col in cols], int).reshape(-1, 2)
    classes = np.zeros((len(windows), len(labels)), np.int64)
    alive = np.zeros((len(opened.images), len(bands.kept)), bool)
    progress = Progress(f"reading labels of {scene.name}", len(windows), "windows")
    for some, row, left, right in chunks(windows, patch_px, bytes_a_column(opened, bands, patch_px)):
        valid, alive = opened.look(row, left, patch_px, right - left, alive)
        ids = opened.read_ids(row, left, patch_px, right - left, valid)
        for i in some:
            col = windows[i, 1] - left
            classes[i] = np.bincount(ids[:, col : col + patch_px].ravel(), minlength=256)[: len(labels)]
        progress.update(int(some[-1]) + 1)
    return Scan(scene, grid, opened.dtype, opened.nodata, windows, classes), alive


def _check_alike(scans: Sequence[Scan], labels: LabelSet) -> None:
    first = scans[0]
    for other in scans[1:]:
        if (other.dtype, other.nodata) != (first.dtype, first.nodata):
            raise UserError(
                f"{other.scene.name} holds {other.dtype} with nodata {other.nodata}, {first.scene.name} {first.dtype} "
                f"with {first.nodata}: convert them to one type and declare nodata."
            )
    found = sum(scan.classes.sum(axis=0) for scan in scans)
    for c in labels.classes:
        if not found[c.id]:
            raise UserError(f"No pixel with data is labelled {c.name!r}: check the codes of this class, or remove it.")
