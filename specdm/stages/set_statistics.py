"""What patches look like without any network: spectra, bands, detail and masks, each distance beside its floor."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from specdm.labels import IGNORE
from specdm.metrics.band_statistics import (
    CHANGE_BINS,
    REFL_BINS,
    BandStatistics,
    Bins,
    between_dates,
    correlation_difference,
    impossible_shares,
    wasserstein,
)
from specdm.metrics.class_spectra import PatchSpectra, msad_floor, msad_interval
from specdm.metrics.mask_statistics import (
    MaskStatistics,
    area_number_distance,
    area_size_distance,
    boundary_distance_px,
    presence_difference,
    share_distances,
)
from specdm.metrics.power_spectrum import PowerSpectrum, fine_detail, log_spectral_distance_db
from specdm.metrics.segmentation import slug
from specdm.patches import PatchMeta, PatchSet
from specdm.progress import Progress
from specdm.stages.scores import Scores

BATCH = 32
MIN_PIXELS = 100  # classes with fewer pixels in either set are left out of mSAD and named
UNITLESS_BINS = 4096


@dataclass(frozen=True)
class Statistics:
    """What some patches hold, compactly.

    Attributes:
        dates: spectra of the classes, one entry a date.
        spectra: the same over all dates.
        masks: classes, areas, boundaries.
        bands: distributions of the bands.
        change: the same of the difference of two dates, None for one.
        power: power spectra.
    """

    dates: tuple[PatchSpectra, ...]
    spectra: PatchSpectra
    masks: MaskStatistics
    bands: BandStatistics
    change: BandStatistics | None
    power: PowerSpectrum


Distance = Callable[[Statistics, Statistics], float]


def measure(
    patches: PatchSet, positions: np.ndarray, bins: Bins = REFL_BINS, holes: np.ndarray | None = None
) -> Statistics:
    """Statistics of some patches, read in batches; masks count as unlabelled in their `holes` (n,H,W)."""
    classes = len(patches.meta.labels)
    dates, bands, height, width = patches.images.shape[1:]
    spectra: list[list[PatchSpectra]] = [[] for _ in range(dates)]
    masks, of_bands, power = [], BandStatistics(bands, bins), PowerSpectrum(bands, height, width)
    change = BandStatistics(bands, CHANGE_BINS) if dates == 2 else None
    progress = Progress(f"measuring {patches.meta.name}", len(positions))
    for start in range(0, len(positions), BATCH):
        part = positions[start : start + BATCH]
        refl, valid, ids = patches.reflectance(part), patches.valid(part), patches.masks[part]
        for t, of_date in enumerate(spectra):
            of_date.append(PatchSpectra.of(refl[:, t : t + 1], ids, classes, valid=valid[:, t : t + 1]))
        seen = ids if holes is None else np.where(holes[start : start + BATCH], IGNORE, ids)
        masks.append(MaskStatistics.of(seen, classes))
        of_bands.update(refl, valid)
        power.update(refl, valid)
        if change is not None:
            change.update(*between_dates(refl, valid))
        progress.update(start + len(part))
    of_dates = tuple(PatchSpectra.joined(parts) for parts in spectra)
    together = PatchSpectra(sum(s.sums for s in of_dates), sum(s.counts for s in of_dates))
    return Statistics(of_dates, together, MaskStatistics.joined(masks), of_bands, change, power)


def joined(first: Statistics, second: Statistics) -> Statistics:
    """The patches of both, in order."""

    def merged(a, b, empty):
        for part in (a, b):
            empty.merge(part)
        return empty

    bands = len(first.bands.mean)
    change = merged(first.change, second.change, BandStatistics(bands, CHANGE_BINS)) if first.change else None
    return Statistics(
        tuple(PatchSpectra.joined(pair) for pair in zip(first.dates, second.dates, strict=True)),
        PatchSpectra.joined([first.spectra, second.spectra]),
        MaskStatistics.joined([first.masks, second.masks]),
        merged(first.bands, second.bands, BandStatistics(bands, first.bands.bins)),
        change,
        merged(first.power, second.power, PowerSpectrum(bands, *first.power.size_px)),
    )


def bins_of(patches: PatchSet, positions: np.ndarray) -> Bins:
    """Bins for the bands of a set: of reflectance, or for unitless data over the range of its values."""
    if patches.meta.level != "unitless":
        return REFL_BINS
    low, high = np.inf, -np.inf
    for start in range(0, len(positions), BATCH):
        part = positions[start : start + BATCH]
        values = np.moveaxis(patches.reflectance(part), 2, -1)[patches.valid(part)]
        if values.size:
            low, high = min(low, float(values.min())), max(high, float(values.max()))
    margin = (high - low) / 2
    return Bins(low - margin, high + margin, UNITLESS_BINS) if margin > 0 else REFL_BINS


def compare(
    first: Statistics,
    second: Statistics,
    synthetic: Statistics,
    meta: PatchMeta,
    groups: Sequence[object],
    n_bootstrap: int,
    seed: int,
) -> Scores:
    """Scores of a synthetic set against a real one, given as two halves; `*_floor` is the same between the halves.

    Args:
        first, second: the halves of the real set, which share no group.
        synthetic: the synthetic set.
        meta: of the sets.
        groups: of the real patches, those of the first half before those of the second.
        n_bootstrap, seed: of the intervals.
    """
    real, found = joined(first, second), Scores()
    _add_msad(found, real, synthetic, meta, groups, n_bootstrap, seed)
    sides = {"": (synthetic, real), "_floor": (first, second)}
    for name, score in _distances(meta, len(real.dates)).items():
        for suffix, (a, b) in sides.items():
            found.add([name + suffix], lambda a=a, b=b, s=score, key=name + suffix: {key: float(s(a, b))})
    for name, a in (("synthetic", synthetic), ("real", real)):
        keys = [f"impossible_negative_{name}", f"impossible_above_one_{name}"]
        found.add(keys, lambda a=a, keys=keys: dict(zip(keys, _impossible(a, meta), strict=True)))
    for c, band in enumerate(meta.bands):
        key = f"wasserstein_refl_{slug(band)}"
        found.add([key], lambda c=c, key=key: {key: float(wasserstein(synthetic.bands, real.bands)[c])})
    return found


def _add_msad(
    found: Scores,
    real: Statistics,
    synthetic: Statistics,
    meta: PatchMeta,
    groups: Sequence[object],
    n_bootstrap: int,
    seed: int,
) -> None:
    names = ["msad_rad", "msad_rad_low", "msad_rad_high", "msad_classes"]

    def angles() -> dict[str, float]:
        a = msad_interval(synthetic.spectra, real.spectra, None, groups, MIN_PIXELS, n_bootstrap, seed)
        keys = [f"sad_rad_{slug(meta.labels.names[k])}" for k in a.classes]
        of_class = dict(zip(keys, map(float, a.sad_rad), strict=True))
        values = (a.msad_rad, a.msad_low_rad, a.msad_high_rad, len(a.classes))
        return dict(zip(names, values, strict=True)) | of_class

    found.add(names, angles)
    floor = "msad_rad_floor"
    found.add([floor], lambda: {floor: msad_floor(real.spectra, groups, MIN_PIXELS, seed).msad_rad})
    few = np.minimum(real.spectra.counts.sum(0), synthetic.spectra.counts.sum(0)) < MIN_PIXELS
    for k in np.flatnonzero(few):
        key = f"sad_rad_{slug(meta.labels.names[k])}"
        found.values[key] = math.nan
        found.reasons[key] = f"one of the sets has fewer than {MIN_PIXELS} pixels of it"


def _distances(meta: PatchMeta, dates: int) -> dict[str, Distance]:
    """Distances between two sets by name; those of change only where there are two dates."""
    change: dict[str, Distance] = {
        "change_wasserstein_refl": lambda a, b: wasserstein(a.change, b.change).mean(),
        "change_band_correlation_difference": lambda a, b: correlation_difference(a.change, b.change, meta.bands),
    }
    return {
        "wasserstein_refl": lambda a, b: wasserstein(a.bands, b.bands).mean(),
        "band_correlation_difference": lambda a, b: correlation_difference(a.bands, b.bands, meta.bands),
        "power_distance_db": lambda a, b: np.median(
            log_spectral_distance_db(a.power.spectrum(), b.power.spectrum(), meta.bands)
        ),
        "fine_detail_ratio": lambda a, b: np.median(fine_detail(a.power.spectrum(), b.power.spectrum(), meta.bands)),
        "class_total_variation": lambda a, b: share_distances(a.masks, b.masks).total_variation,
        "class_jensen_shannon": lambda a, b: share_distances(a.masks, b.masks).jensen_shannon,
        "presence_difference": lambda a, b: presence_difference(a.masks, b.masks).mean,
        "area_size_distance_log2px": lambda a, b: area_size_distance(a.masks, b.masks).mean,
        "area_number_distance": lambda a, b: area_number_distance(a.masks, b.masks).mean,
        "boundary_distance_px": lambda a, b: boundary_distance_px(a.masks, b.masks),
        **(change if dates == 2 else {}),
    }


def _impossible(of: Statistics, meta: PatchMeta) -> tuple[float, float]:
    shares = impossible_shares(of.bands, meta.level)
    return shares.negative_all, shares.above_one_all
