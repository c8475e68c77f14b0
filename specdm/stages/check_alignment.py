"""Do the synthetic masks fit their images? Scores between real pairs and exchanged masks, with intervals and curves.

Judges never saw synthetic data. Those of the readers are cross-fitted: each is trained without one part of the real
training split, so that a real pair can be judged by models that know it and by one that does not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from specdm import alignment_figure, files, provenance
from specdm.errors import UserError
from specdm.labels import IGNORE
from specdm.metrics.alignment import Alignment, Seen, Tally, align, between_bounds, derangement
from specdm.metrics.class_models import ClassGaussians, ClassMoments, pixel_spectra
from specdm.metrics.coverage import coverage, lost_classes
from specdm.metrics.groups import bootstrap_weights
from specdm.metrics.paired import mean_recall
from specdm.metrics.scorers import ReadingAgreement, change_angle_rad, change_magnitude, scorers
from specdm.patches import PatchSet, open_patches
from specdm.randomness import numpy_generator
from specdm.settings import EvaluationSettings
from specdm.stages.batches import require_alike, some_of
from specdm.stages.judges import Judges, labelled_spectra, load_judges, looks, part_of, with_readers

STAGE_VERSION = 1
PIXELS_A_PATCH = 256  # whose change places the levels of the magnitude
TSTR = "trained on synthetic"


def check_alignment(
    patches_folder: Path,
    samples_folder: Path,
    teacher_folders: Sequence[Path],
    out: Path,
    picture: Path,
    dataset: str,
    method: str,
    settings: EvaluationSettings,
    seed: int,
) -> str:
    """Write how well the masks of a synthetic set fit as JSON to `out` and as curves to `picture`; return it in words.

    Raises:
        UserError: when the sets do not belong together or hold too few patches.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    patches, samples = open_patches(patches_folder), open_patches(samples_folder)
    require_alike(patches, samples)
    judges = load_judges(teacher_folders, patches, device)
    train = some_of(patches.ids("train"), settings.n_samples, seed, "evaluate")
    held_out = some_of(patches.ids("val"), settings.n_samples, seed, "evaluate")
    drawn = np.arange(min(len(samples), settings.n_samples))
    for what, found in (("the training split", train), ("the validation split", held_out), ("the samples", drawn)):
        if len(found) < 2:
            raise UserError(f"{patches_folder}: alignment needs at least 2 patches in {what}; cut or draw more.")
    groups = patches.index["group"].to_numpy()
    classes = len(patches.meta.labels)
    known = _RealPixels.measure(patches, train, judges, classes, seed)
    table = scorers(classes, known.magnitudes, known.angles_rad, known.unchanged)
    fold = judges.fold_of(groups[train])
    crossed = bool((fold >= 0).all())

    real, seen = Tally(table, settings.shifts_px), Tally(table)
    if crossed:
        for rows, look, masks in looks(patches, train, judges, known.readers, "judging real pairs"):
            own = fold[rows]
            real.add(with_readers(look, [[k] for k in own]), masks)
            seen.add(with_readers(look, [[r for r in range(len(judges.networks)) if r != k] for k in own]), masks)
    unseen, unseen_groups = real, groups[train]
    if not crossed:  # one group: only the validation split is unknown to the judges
        unseen, unseen_groups = Tally(table, settings.shifts_px), groups[held_out]
    others = drawn[derangement(len(drawn), seed)]
    on_synthetic, on_exchanged = (ClassMoments(classes, known.whole.sums.shape[1]) for _ in range(2))
    synthetic = Tally(table, settings.shifts_px)
    for rows, look, masks in looks(samples, drawn, judges, known.readers, "judging synthetic pairs"):
        exchanged = samples.masks[others[rows]]
        synthetic.add(look, masks, exchanged)
        for moments, ids in ((on_synthetic, masks), (on_exchanged, exchanged)):
            moments.add(*labelled_spectra(look, ids))
    readers = {"synthetic": on_synthetic, "real": known.whole, "exchanged": on_exchanged}
    tstr = _Transfer(classes, {name: m.gaussians() for name, m in readers.items() if (m.counts >= 2).any()})
    for _, look, masks in looks(patches, held_out, judges, known.readers, "judging held-out pairs"):
        tstr.add(look, masks)
        if not crossed:
            unseen.add(look, masks)
    rows = {
        s.name: (
            s.title,
            align(s, synthetic, unseen, unseen_groups, seen if crossed else None, settings.n_bootstrap, seed),
        )
        for s in table
    }
    rows[TSTR] = (
        "mean recall on held-out real pixels of a Gaussian of each class's spectra, fitted to the pairs",
        tstr.compare(groups[held_out], settings.n_bootstrap, seed),
    )
    alignment_figure.curves([a for _, a in rows.values()], list(rows), picture, f"{dataset}: {method}")
    reference = "real training pairs unknown to the judge"
    if not crossed:
        reference = "real validation pairs (all training patches are one group)"
    lost = number_lost(patches, train, samples, drawn)
    files.write_json(
        out,
        {
            "dataset": dataset,
            "method": method,
            "seed": seed,
            "n": len(drawn),
            "n_real": len(unseen_groups),
            "judges": len(judges.networks),
            "reference": reference,
            "rows": [as_row(name, title, a) | {"classes_lost": lost} for name, (title, a) in rows.items()],
            "provenance": provenance.stamp("check-alignment", STAGE_VERSION, seed, settings.model_dump(mode="json")),
        },
    )
    return f"alignment of {len(drawn)} synthetic pairs by {len(rows)} scorers in {out}"


def number_lost(patches: PatchSet, train: np.ndarray, samples: PatchSet, drawn: np.ndarray) -> int:
    """Classes that the samples have lost: whoever drops hard ones scores higher, to be read beside."""
    found = [
        coverage(np.stack(of.index["class_counts"].to_numpy()[at])) for of, at in ((patches, train), (samples, drawn))
    ]
    return len(lost_classes(*found))


@dataclass(frozen=True)
class _RealPixels:
    """What real training pixels teach: class moments of all and readers without each judge's part, levels of change."""

    whole: ClassMoments
    readers: tuple[ClassGaussians, ...]
    magnitudes: np.ndarray | None
    angles_rad: np.ndarray | None
    unchanged: np.ndarray | None

    @classmethod
    def measure(cls, patches: PatchSet, train: np.ndarray, judges: Judges, classes: int, seed: int) -> _RealPixels:
        dates, bands = patches.images.shape[1:3]
        fold = judges.fold_of(patches.index["group"].to_numpy()[train])
        parts = [ClassMoments(classes, dates * bands) for _ in range(len(judges.networks) + 1)]
        drawn: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        rng = numpy_generator(seed, "check-alignment", "levels")
        for rows, seen, masks in looks(patches, train, judges, (), "measuring real spectra"):
            for k in np.unique(fold[rows]):
                here = fold[rows] == k
                parts[k].add(*labelled_spectra(part_of(seen, here), masks[here]))
            if dates > 1:
                flat = seen.valid.all(1).ravel() & (masks.ravel() != IGNORE)
                chosen = rng.permutation(np.flatnonzero(flat))[: PIXELS_A_PATCH * len(rows)]
                maps = (change_magnitude(seen), change_angle_rad(seen), masks == 0)
                drawn.append(tuple(m.ravel()[chosen] for m in maps))
        whole = parts[0]
        for part in parts[1:]:
            whole = whole + part
        change = [np.concatenate(column) for column in zip(*drawn, strict=True)] if drawn else [None] * 3
        if drawn and not change[2].any():
            raise UserError(
                f"{patches.folder}: no training pixel is labelled unchanged; alignment of change needs some."
            )
        return cls(whole, tuple((whole - part).gaussians() for part in parts[:-1]), *change)


class _Transfer:
    """Readers fitted to several kinds of pairs, tested on real ones: does synthetic data teach what real data does?"""

    def __init__(self, classes: int, readers: dict[str, ClassGaussians]) -> None:
        self._score = ReadingAgreement("", "", "", classes, mean_recall)
        self._readers = readers
        self._sums: dict[str, list[np.ndarray]] = {name: [] for name in readers}

    def add(self, seen: Seen, masks: np.ndarray) -> None:
        masks = np.where(seen.valid.all(1), masks, IGNORE)
        for name, reader in self._readers.items():
            read = reader.likeliest(pixel_spectra(seen.images)).reshape(len(masks), 1, *masks.shape[1:])
            self._sums[name].append(self._score.sums(read, masks))

    def compare(self, groups: np.ndarray, n_bootstrap: int, seed: int) -> Alignment:
        """As an alignment: trained on synthetic pairs, on real ones (above), on exchanged masks (below)."""
        sums = {name: np.concatenate(parts) for name, parts in self._sums.items()}
        weights = bootstrap_weights(len(groups), groups, n_bootstrap, seed)
        unknown = dict.fromkeys(("synthetic", "exchanged", "real"), math.nan)
        whole = unknown | {name: float(self._score.score(s.sum(0))) for name, s in sums.items()}
        drawn = {name: np.full(n_bootstrap, math.nan) for name in unknown}
        drawn |= {name: self._score.score(weights @ s) for name, s in sums.items()}
        return between_bounds(whole, drawn)


def as_row(name: str, title: str, a: Alignment) -> dict:
    """An alignment as a row of the report, plain JSON."""
    found = {"scorer": name, "title": title, "exchanged": a.exchanged, "seen": a.seen, "peak_px": None}
    if a.peak is not None:
        found |= {"peak_px": a.peak.px, "peak_direction": a.peak.direction, "peak_score": a.peak.score}
    for key in ("synthetic", "real", "scaled"):
        of = getattr(a, key)
        found |= {key: of.value, f"{key}_low": of.low, f"{key}_high": of.high}
    return found | {"curve": dict(a.curve), "real_curve": dict(a.real_curve), "because": a.because}
