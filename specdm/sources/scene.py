"""The user's own scenes -> a patch set: any raster, any number of bands, labels of any kind or none, one or two dates.

The files are read twice, window by window: first what decides which windows stay and in which split, then what is
written. Memory does not grow with the scenes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from specdm import rasters
from specdm.errors import UserError
from specdm.labels import LabelSet
from specdm.patches import SPLITS, PatchMeta, PatchRecord, PatchWriter, valid_pixels
from specdm.patches.overlap import overlaps
from specdm.progress import Progress
from specdm.settings import SceneSettings
from specdm.sources import blocks as blocking
from specdm.sources.blocks import NONE, Ground
from specdm.sources.scene_bands import SceneBands, scene_bands
from specdm.sources.scene_classes import label_set
from specdm.sources.scene_declared import agreed_quantity, dated, strange_dates
from specdm.sources.scene_files import expand
from specdm.sources.scene_report import SceneCounts, SceneReport
from specdm.sources.scene_scan import (
    OpenScene,
    Scan,
    bytes_a_column,
    chunks,
    one_ahead,
    scan_scenes,
    survey_scenes,
    usual_stride,
)
from specdm.sources.scene_spectra import SpectraSeen
from specdm.sources.windows import moved


def prepare(root: Path, out: Path, settings: SceneSettings, *, name: str, seed: int = 0) -> SceneReport:
    """Cut scenes into a patch set.

    Scenes without labels give masks that are ignored everywhere. All their windows with any pixel of data on every date
    belong to the training split: nothing could be validated or tested on them.

    Args:
        root: folder that the paths of the settings start from.
        out: folder of the patch set.
        settings: files, bands, classes, tiling and splits.
        name: name of the data set.
        seed: of the assignment of blocks to splits.

    Returns:
        The counts, also stored in the set's provenance.

    Raises:
        UserError: for files that are missing, damaged or not what the settings declare, that contradict each other,
            classes without pixels, or too little ground for three splits.
    """
    root, out = Path(root), Path(out)
    scenes = expand(settings.scenes, root)
    bands, labels = (
        scene_bands(settings, [i for scene in scenes for i in scene.images]),
        label_set(name, settings.classes),
    )
    guard = settings.patch_px // 4 if settings.guard_px is None else settings.guard_px
    with rasters.block_cache():
        surveys = survey_scenes(scenes, settings, bands, labels)
        quantity = agreed_quantity(settings, [image for survey in surveys for image in survey.images])
        scenes = [
            dated(scene, [files for _, files in survey.images]) for scene, survey in zip(scenes, surveys, strict=True)
        ]
        stride = settings.stride_px or usual_stride(surveys, settings.patch_px)
        scans = scan_scenes(scenes, stride, settings, bands, labels)
        tiles = _divide(scans, settings, guard, seed)
        meta = PatchMeta(
            name=name,
            sensor=bands.sensor,
            level=quantity.level,
            bands=bands.names,
            scale=quantity.scale,
            offset=quantity.offset,
            nodata=scans[0].nodata,
            labels=labels,
            wavelengths_nm=bands.wavelengths_nm,
        )
        shape = (settings.n_dates, len(bands.names), settings.patch_px, settings.patch_px)
        with PatchWriter(out, meta, shape, scans[0].dtype) as writer:
            seen = _write(writer, scans, tiles, settings, bands, labels)
            strange = [*seen.sentences(quantity), *strange_dates(scenes)]
            report = _report(scans, tiles, settings, stride, guard, labels, strange)
            provenance = {"source": "scene", "root": str(root), **dataclasses.asdict(report)}
            leaks = report.sharing_lines() if any(report.shared.values()) else []
            writer.meta = dataclasses.replace(meta, provenance=provenance, warnings=(*leaks, *report.warnings))
    return report


@dataclass(frozen=True)
class _Tiles:
    """All windows of all scenes, scene by scene.

    Attributes:
        scene: number of the scene of each, (n,).
        classes: labelled pixels by class, (n,K).
        usable: whether enough of it is labelled, or without labels, whether any of it has data, (n,) bool.
        split: position in SPLITS, NONE for those left out, (n,).
        group: name of the spatial block, (n,); empty where it is not usable.
        shared: whether it shows ground of a training window, (n,) bool.
        block_px: smallest side of the blocks, 0 for fixed splits.
    """

    scene: np.ndarray
    classes: np.ndarray
    usable: np.ndarray
    split: np.ndarray
    group: np.ndarray
    shared: np.ndarray
    block_px: int


def _divide(scans: Sequence[Scan], settings: SceneSettings, guard: int, seed: int) -> _Tiles:
    """Give every window its split and group."""
    size = settings.patch_px
    scene = np.repeat(np.arange(len(scans)), [len(scan.windows) for scan in scans])
    corner = np.concatenate([scan.windows for scan in scans])
    classes = np.concatenate([scan.classes for scan in scans])
    if settings.labelled:
        usable = classes.sum(axis=1) >= max(settings.min_labelled * size**2, 1 if settings.min_labelled else 0)
        lack = f"{settings.min_labelled:.1%} labelled pixels with data: lower min_labelled or check the labels"
    else:
        usable = np.concatenate([scan.held for scan in scans]) > 0
        lack = "a pixel with data on every date: check nodata and the images"
    if not usable.any():
        raise UserError(f"No window has {lack}.")
    grounds = [_ground(scan) for scan in scans]
    fixed = scans[0].scene.split is not None
    place = blocking.find_places(grounds, 0 if fixed else guard)
    windows = blocking.on_frames(grounds, scene, np.hstack([corner, corner + size]), place)
    use = np.flatnonzero(usable)
    split = np.full(len(scene), NONE)
    if fixed:
        group = np.array([f"scene{s:04}" for s in scene], object)
        split[use] = [SPLITS.index(scans[s].scene.split) for s in scene[use]]
        empty = [s for i, s in enumerate(SPLITS) if not (split == i).any()]
        if empty and settings.labelled:
            raise UserError(
                f"No scene of the split {empty[0]!r} has a window with enough labels: give it another scene."
            )
        block_px = 0
    else:
        inhabited = np.unique(place[scene[use]], return_inverse=True)[1]  # places with any usable window
        fractions = {"val": settings.val_fraction, "test": settings.test_fraction}
        if settings.labelled:
            division = blocking.divide(
                inhabited, windows[use], classes[use], size, settings.block_px, guard, fractions, seed
            )
            split[use], blocks = division.split, division.blocks
        else:
            split[use] = SPLITS.index("train")
            blocks = blocking.make_blocks(inhabited, windows[use], size, settings.block_px)
        group = np.full(len(scene), "", object)
        group[use] = [blocks.name(b) for b in blocks.containing(inhabited, windows[use])]
        block_px = blocks.side_px
    return _Tiles(scene, classes, usable, split, group, _sharing(place[scene], windows, split), block_px)


def _ground(scan: Scan) -> Ground:
    """Where a scene lies; without georeference, scenes that share a file show one place."""
    files = [] if scan.grid.crs else filter(None, [*scan.scene.images, scan.scene.labels])
    names = [f"{file.path} {file.variable or ''}".strip() for file in files] + [scan.scene.place or ""]
    return Ground(scan.grid, frozenset(filter(None, names)))


def _sharing(place: np.ndarray, windows: np.ndarray, split: np.ndarray) -> np.ndarray:
    """Which windows (n,4) outside the training split overlap one of it, (n,) bool."""
    shared = np.zeros(len(split), bool)
    for p in np.unique(place):
        train = np.flatnonzero((place == p) & (split == SPLITS.index("train")))
        others = np.flatnonzero((place == p) & (split != SPLITS.index("train")) & (split != NONE))
        if len(train) and len(others):
            shared[others] = overlaps(windows[others], windows[train])
    return shared


def _write(
    writer: PatchWriter,
    scans: Sequence[Scan],
    tiles: _Tiles,
    settings: SceneSettings,
    bands: SceneBands,
    labels: LabelSet,
) -> SpectraSeen:
    """Write the windows that have a split; returns what their spectra look like."""
    size = settings.patch_px
    chosen = np.flatnonzero(tiles.split != NONE)
    seen = SpectraSeen(bands, labels, scans[0].nodata, settings.labelled, len(chosen) * size**2)
    progress, done = Progress("cutting patches", len(chosen)), 0
    for number, scan in enumerate(scans):
        own = np.flatnonzero(tiles.scene == number)
        first = own[0] if len(own) else 0
        own = own[tiles.split[own] != NONE]
        if not len(own):
            continue
        windows = scan.windows[own - first]
        seen.begin(len(windows) * size**2)
        with OpenScene(scan.scene, settings, bands, labels) as opened:
            for some, images, masks in one_ahead(_patches(opened, windows, size, bands)):
                records = [_record(scan, *windows[i], SPLITS[tiles.split[own[i]]], tiles.group[own[i]]) for i in some]
                writer.append(images, masks, records)
                seen.update(images, masks)
                done += len(some)
                progress.update(done)
        seen.end(scan.scene.name)
    return seen


def _patches(
    opened: OpenScene, windows: np.ndarray, size: int, bands: SceneBands
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Positions of windows (n,), their pixels (n,T,C,size,size) and ids (n,size,size), some at a time."""
    for some, row, left, right in chunks(windows, size, bytes_a_column(opened, bands, size)):
        pixels = opened.read_images(row, left, size, right - left)
        valid = valid_pixels(pixels, opened.nodata).all(axis=0)
        ids = opened.read_ids(row, left, size, right - left, valid)
        cols = windows[some, 1] - left
        yield some, np.stack([pixels[..., c : c + size] for c in cols]), np.stack([ids[:, c : c + size] for c in cols])


def _record(scan: Scan, row: int, col: int, split: str, group: str) -> PatchRecord:
    return PatchRecord(
        id=f"{scan.scene.name}_{row:05}_{col:05}",
        split=split,
        group=group,
        source=scan.scene.name,
        dates=",".join(scan.scene.dates),
        row=int(row),
        col=int(col),
        crs=scan.grid.crs,
        transform=moved(scan.grid.transform, int(row), int(col)),
    )


def _report(
    scans: Sequence[Scan],
    tiles: _Tiles,
    settings: SceneSettings,
    stride: int,
    guard: int,
    labels: LabelSet,
    strange: Sequence[str],
) -> SceneReport:
    kept = tiles.split != NONE
    members = {s: tiles.split == i for i, s in enumerate(SPLITS)}
    totals = {s: tiles.classes[m].sum(axis=0) for s, m in members.items()}
    absent = [
        f"The class {c.name!r} does not occur in {s}." for s in SPLITS for c in labels.classes if not totals[s][c.id]
    ]
    return SceneReport(
        patch_px=settings.patch_px,
        stride_px=stride,
        block_px=tiles.block_px,
        guard_px=guard,
        scenes=tuple(
            SceneCounts(
                scan.scene.name,
                scan.grid.height,
                scan.grid.width,
                windows=len(scan.windows),
                unlabelled=int((~tiles.usable[tiles.scene == i]).sum()),
                written=int(kept[tiles.scene == i].sum()),
            )
            for i, scan in enumerate(scans)
        ),
        between=int((tiles.usable & ~kept).sum()),
        sizes={s: int(m.sum()) for s, m in members.items()},
        groups={s: len(set(tiles.group[m])) for s, m in members.items()},
        class_percent={
            s: dict(zip(labels.names, (100 * t / max(t.sum(), 1)).round(3).tolist(), strict=True))
            for s, t in totals.items()
        },
        shared={s: int(tiles.shared[members[s]].sum()) for s in ("val", "test")},
        warnings=(*(absent if settings.labelled else ()), *strange),
        labelled=settings.labelled,
    )
