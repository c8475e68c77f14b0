"""SegMunich, the semantic segmentation data set of SpectralGPT: 128 px windows of one Sentinel-2 mosaic -> a patch set.

Hong et al., "SpectralGPT: Spectral Remote Sensing Foundation Model", TPAMI 2024. The files hold each window of a
mosaic (stride 64 px) about ten times, flipped and rotated, so that the official test list shows training ground.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from specdm.bands import BAND_SETS, wavelengths
from specdm.errors import UserError
from specdm.labels import SEGMUNICH
from specdm.patches import SPLITS, PatchMeta, PatchRecord, PatchWriter
from specdm.progress import Progress
from specdm.sources import ground
from specdm.sources.plausibility import strange_classes
from specdm.sources.segmunich_files import RawFile, find_files, read_image, read_label
from specdm.sources.segmunich_scan import NODATA, Scan, group_patches, scan_files

BATCH = 64


@dataclass(frozen=True)
class SegmunichReport:
    """Counts of patches and class shares.

    Attributes:
        files: listed files.
        patches: patches cut from them.
        blank: patches dropped because too much of them is background.
        straddling: patches dropped because they show ground of another split (grouped splits only).
        sizes: patches written by split.
        class_percent: percentage of pixels by class name, for each split.
        shared: for "val" and "test", how many of their patches show ground of the training split.
        groups: number of spatial groups.
        note: how the groups were found.
        warnings: sentences on implausible spectra.
    """

    splits: str
    max_background: float
    files: int
    patches: int
    blank: int
    straddling: int
    sizes: dict[str, int]
    class_percent: dict[str, dict[str, float]]
    shared: dict[str, int]
    groups: int
    note: str
    warnings: tuple[str, ...]

    def sharing_lines(self) -> list[str]:
        return [f"{n} of {self.sizes[s]} {s} patches share ground with training" for s, n in self.shared.items()]

    def lines(self) -> list[str]:
        shares = [
            f"{name:22}" + "".join(f"{self.class_percent[s][name]:8.2f} %" for s in SPLITS) for name in SEGMUNICH.names
        ]
        return [
            f"{self.files} files, {self.patches} patches; {self.blank} with more than {self.max_background:.0%} "
            f"background dropped: {self.patches} -> {self.patches - self.blank} (the paper: 49248 -> 27090)",
            f"{self.groups} spatial groups: {self.note}",
            *([f"{self.straddling} patches across the borders of splits dropped"] if self.splits == "grouped" else []),
            "written: " + ", ".join(f"{self.sizes[s]} {s}" for s in SPLITS),
            *self.sharing_lines(),
            f"{'class':22}" + "".join(f"{s:>10}" for s in SPLITS),
            *shares,
            *self.warnings,
        ]


def prepare(
    root: Path,
    out: Path,
    *,
    name: str = "segmunich",
    bands: Sequence[str] = BAND_SETS["paper"],
    patch_px: int = 128,
    max_background: float = 0.5,
    splits: str = "official",
    val_fraction: float = 0.1,
    test_fraction: float = 0.2,
    seed: int = 0,
    position_pattern: str | None = None,
    block_px: int = 512,
    scale: float = 1e-4,
) -> SegmunichReport:
    """Clean SegMunich, split it and write it as a patch set with one date.

    Args:
        root: folder with train/, test/ (or val/) and dataset/.
        out: folder of the patch set.
        name: name written into the set.
        bands: names of the channels of the files, in order.
        patch_px: size of a patch; larger files are cut into tiles without overlap, of the same group.
        max_background: a patch with a larger share of background or no data is dropped.
            ASSUME: the paper gives no threshold; 0.5 (docs/paper.md).
        splits: "official" (the lists; val is carved out of train by group) or "grouped" (no ground in two splits).
        val_fraction, test_fraction: shares of patches; test_fraction is for grouped splits only.
        seed: of the assignment of groups to splits.
        position_pattern: regular expression searched in the file names, with the named groups `row` and `col` (first
            pixel in the mosaic) or `position` (any text that copies of a window share). None: identical pixels tell.
        block_px: side of a spatial group in mosaic pixels.
        scale: reflectance of one digital number.

    Returns:
        The counts, also stored in the set's provenance.

    Raises:
        UserError: for missing, damaged or undeclared data, or when cleaning leaves nothing.
    """
    root, out = Path(root), Path(out)
    if splits not in ("official", "grouped"):
        raise UserError(f"There are no SegMunich splits {splits!r}: use 'official' or 'grouped'.")
    files = find_files(root)
    scan = scan_files(files, len(bands), patch_px, max_background, position_pattern)
    if len(scan.file) == 0:
        raise UserError(
            f"No patch of {root} is left: all hold more than {max_background:.0%} background or no data, "
            "so raise max_background or check the raw data."
        )
    group, note = group_patches(files, scan, position_pattern, block_px)
    keys = [scan.keys[f] for f in scan.file]
    shares_ground = ground.incidence(keys)
    straddling = np.zeros(len(group), bool)
    if splits == "grouped":
        wanted = {"val": val_fraction, "test": test_fraction}
        split = ground.assign(group, scan.classes, wanted, seed, shares_ground)
        straddling = ground.straddling(shares_ground, split)
    else:
        split = np.array([files[f].listed for f in scan.file], object)
        listed = np.flatnonzero(split == "train")
        if val_fraction > 0 and len(listed):
            split[listed] = ground.assign(group[listed], scan.classes[listed], {"val": val_fraction}, seed)
    kept = np.flatnonzero(~straddling)
    train = (split == "train") & ~straddling
    sizes = {s: int(np.count_nonzero(split[kept] == s)) for s in SPLITS}
    report = SegmunichReport(
        splits=splits,
        max_background=max_background,
        files=len(files),
        patches=len(scan.file) + scan.blank,
        blank=scan.blank,
        straddling=int(straddling.sum()),
        sizes=sizes,
        class_percent={s: _percent(scan.classes[kept][split[kept] == s]) for s in SPLITS},
        shared={
            s: int(ground.sharing(shares_ground, (split == s) & ~straddling, train).sum()) for s in ("val", "test")
        },
        groups=len(np.unique(group)),
        note=note,
        warnings=tuple(strange_classes(SEGMUNICH.names, scan.spectra, bands)),
    )
    meta = PatchMeta(
        name=name,
        sensor="Sentinel-2 MSI",
        level="BOA",  # ASSUME: no file states the level; the mirrors' statistics are those of L2A
        bands=tuple(bands),
        scale=scale,
        offset=0.0,  # ASSUME: acquired before processing baseline 04.00
        nodata=NODATA,
        labels=SEGMUNICH,
        wavelengths_nm=wavelengths(bands),
        provenance={"source": "segmunich", "root": str(root), **dataclasses.asdict(report)},
        warnings=(*report.sharing_lines(), *report.warnings),
    )
    _write(out, meta, files, scan, group, split, kept, patch_px)
    return report


def _percent(classes: np.ndarray) -> dict[str, float]:
    counts = classes.sum(axis=0)
    return dict(zip(SEGMUNICH.names, (100 * counts / max(counts.sum(), 1)).round(3).tolist(), strict=True))


def _write(
    out: Path,
    meta: PatchMeta,
    files: Sequence[RawFile],
    scan: Scan,
    group: np.ndarray,
    split: np.ndarray,
    kept: np.ndarray,
    patch_px: int,
) -> None:
    channels = len(meta.bands)
    dtype = read_image(files[scan.file[kept[0]]].image, channels).dtype
    progress = Progress(f"cutting {meta.name}", len(kept))
    with PatchWriter(out, meta, (1, channels, patch_px, patch_px), dtype) as writer:
        for start in range(0, len(kept), BATCH):
            images, masks, records = [], [], []
            for i in kept[start : start + BATCH]:
                raw, (row, col) = files[scan.file[i]], scan.corner[i].tolist()
                image = read_image(raw.image, channels)
                if image.dtype != dtype:
                    raise UserError(f"{raw.image} is {image.dtype} but the first file {dtype}: convert them to one.")
                here = np.s_[row : row + patch_px, col : col + patch_px]
                images.append(image[(None, slice(None), *here)])
                masks.append(read_label(raw.label, image.shape[1:])[here])
                tile = f"_{row:04}_{col:04}" if patch_px < max(image.shape[1:]) else ""
                records.append(PatchRecord(f"{raw.id}{tile}", str(split[i]), str(group[i]), raw.id, row=row, col=col))
            writer.append(np.stack(images), np.stack(masks), records)
            progress.update(min(start + BATCH, len(kept)))
