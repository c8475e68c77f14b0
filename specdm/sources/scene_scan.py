"""The first reading of the user's own scenes: which windows there are, what is labelled in them, where data is missing.

Images are looked at only where pixels can lack data.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from specdm.errors import UserError
from specdm.labels import IGNORE, LabelSet
from specdm.progress import Progress
from specdm.rasters import Declared, Grid
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
    """What is known of a scene after its first reading, by `scan_scenes`.

    Attributes:
        scene: its files.
        grid: size and georeference of its first image.
        dtype, nodata: type of its pixels as stored, and what pixels without data hold.
        windows: (row, col) of every window, (n,2).
        classes: labelled pixels with data by class of each window, (n,K).
        held: pixels of each window with data on all dates, (n,).
    """

    scene: Scene
    grid: Grid
    dtype: np.dtype
    nodata: float | None
    windows: np.ndarray
    classes: np.ndarray
    held: np.ndarray


@dataclass(frozen=True)
class Survey:
    """What the headers of a scene's files tell.

    Attributes:
        height, width: of its grid in pixels.
        images: path of each image, and what its raster files declare.
    """

    height: int
    width: int
    images: tuple[tuple[Path, tuple[Declared, ...]], ...]


class OpenScene(contextlib.AbstractContextManager):
    """The open images of a scene and its labels, if it has any, read together."""

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
            self._labels = None
            if scene.labels:
                codes = settings.ignore_codes, settings.unlisted_codes
                self._labels = stack.enter_context(SceneLabels(scene.labels, labels, first.grid, *codes))
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
        """Class ids (height,width) uint8 of a window; IGNORE where it is not `valid`, and without labels anywhere."""
        if self._labels is None:
            return np.full((height, width), IGNORE, np.uint8)
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


def survey_scenes(
    scenes: Sequence[Scene], settings: SceneSettings, bands: SceneBands, labels: LabelSet
) -> list[Survey]:
    """Open all scenes once, and look at the headers of their files.

    Raises:
        UserError: for files that cannot be read together, or when no scene holds a single window.
    """
    found = []
    for scene in scenes:
        with OpenScene(scene, settings, bands, labels) as opened:
            images = tuple((image.path, image.declared) for image in opened.images)
            found.append(Survey(opened.grid.height, opened.grid.width, images))
    largest = max(found, key=lambda s: min(s.height, s.width))
    if min(largest.height, largest.width) < settings.patch_px:
        raise UserError(
            f"No scene holds a window of {settings.patch_px} px, the largest, {largest.images[0][0]}, is "
            f"{largest.height} x {largest.width} pixels: choose a smaller patch_px, or give larger scenes."
        )
    return found


def scan_scenes(
    scenes: Sequence[Scene], stride: int, settings: SceneSettings, bands: SceneBands, labels: LabelSet
) -> list[Scan]:
    """Read the labels of all scenes in windows `stride` pixels apart, and the images where pixels can lack data.

    Raises:
        UserError: for whatever the files hold that the settings do not say, bands without any data, scenes of
            different types, or classes without pixels.
    """
    scans, alive = [], np.zeros((settings.n_dates, len(bands.kept)), bool)
    progress = Progress("reading labels" if settings.labelled else "looking for data", len(scenes), "scenes")
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
    _check_alike(scans)
    if settings.labelled:
        _check_classes(scans, labels)
    return scans


def usual_stride(surveys: Sequence[Survey], patch_px: int) -> int:
    """Pixels from window to window: a patch, or a half, a quarter or an eighth, until there are ENOUGH_WINDOWS."""
    strides = [max(patch_px // part, 1) for part in (1, 2, 4, 8)]
    sizes = [(survey.height, survey.width) for survey in surveys]
    counts = [sum(len(covering(h, patch_px, s)) * len(covering(w, patch_px, s)) for h, w in sizes) for s in strides]
    return next((s for s, n in zip(strides, counts, strict=True) if n >= ENOUGH_WINDOWS), strides[-1])


def _scan(
    scene: Scene, opened: OpenScene, patch_px: int, stride: int, bands: SceneBands, labels: LabelSet
) -> tuple[Scan, np.ndarray]:
    grid = opened.grid
    rows, cols = covering(grid.height, patch_px, stride), covering(grid.width, patch_px, stride)
    windows = np.array([(row, col) for row in rows for col in cols], int).reshape(-1, 2)
    classes, held = np.zeros((len(windows), len(labels)), np.int64), np.zeros(len(windows), np.int64)
    alive = np.zeros((len(opened.images), len(bands.kept)), bool)
    what = "reading labels of" if scene.labels else "looking for data in"
    progress = Progress(f"{what} {scene.name}", len(windows), "windows")
    for some, row, left, right in chunks(windows, patch_px, bytes_a_column(opened, bands, patch_px)):
        valid, alive = opened.look(row, left, patch_px, right - left, alive)
        ids = opened.read_ids(row, left, patch_px, right - left, valid)
        for i in some:
            col = windows[i, 1] - left
            held[i] = valid[:, col : col + patch_px].sum()
            classes[i] = np.bincount(ids[:, col : col + patch_px].ravel(), minlength=256)[: len(labels)]
        progress.update(int(some[-1]) + 1)
    return Scan(scene, grid, opened.dtype, opened.nodata, windows, classes, held), alive


def _check_alike(scans: Sequence[Scan]) -> None:
    first = scans[0]
    for other in scans[1:]:
        if (other.dtype, other.nodata) != (first.dtype, first.nodata):
            raise UserError(
                f"{other.scene.name} holds {other.dtype} with nodata {other.nodata}, {first.scene.name} {first.dtype} "
                f"with {first.nodata}: convert them to one type and declare nodata."
            )


def _check_classes(scans: Sequence[Scan], labels: LabelSet) -> None:
    files = list(dict.fromkeys(scan.scene.labels.path for scan in scans))
    where = files[0] if len(files) == 1 else f"{files[0]} and {len(files) - 1} more label files"
    found = sum(scan.classes.sum(axis=0) for scan in scans)
    for c in labels.classes:
        if not found[c.id]:
            raise UserError(
                f"No pixel with data is labelled {c.name!r} in {where}: check the codes of this class and that the "
                "labels show the place of the images, or remove the class."
            )
