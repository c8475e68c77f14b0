"""Measure synthetic patches against real ones: distances with their floors, spectra, reconstruction, alignment.

Every Fréchet distance is printed with its N, and beside its floor: the same distance between two disjoint halves of the
real training split at that N. The test split is not looked at.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from specdm import figures, files, provenance
from specdm.errors import UserError
from specdm.labels import IGNORE
from specdm.metrics.alignment import mask_agreement, normalised_score
from specdm.metrics.coverage import coverage, fraction_errors, lost_classes
from specdm.metrics.frechet import SizedDistance, equal_size_distance, halves_floor
from specdm.metrics.segmentation import slug
from specdm.metrics.spectral import ClassSpectra, msad
from specdm.model import TrainedAutoencoder
from specdm.nn.autoencoder import one_hot
from specdm.nn.teacher import Teacher
from specdm.patches import Normaliser, PatchSet, open_patches
from specdm.progress import Progress
from specdm.randomness import numpy_generator
from specdm.settings import EvaluationSettings
from specdm.stages.batches import Mixture, require_alike
from specdm.stages.reconstruction import reconstruct
from specdm.stages.train_teacher import load_teacher

STAGE_VERSION = 5
BATCH = 32
MIN_PIXELS = 100  # classes with fewer pixels in either set are left out of mSAD and counted


def evaluate(
    patches_folder: Path,
    samples_folder: Path,
    autoencoder_folder: Path,
    teacher_folder: Path,
    out: Path,
    picture: Path,
    spectra_picture: Path,
    dataset: str,
    method: str,
    settings: EvaluationSettings,
    seed: int,
) -> str:
    """Write the metrics of a synthetic patch set as JSON to `out`, and two pictures; return what was made, in words.

    `picture` shows real beside synthetic pairs, `spectra_picture` the mean spectra of their classes. A score that the
    sets cannot give (a class without pixels, fewer than two patches on a side) is null.

    Raises:
        UserError: when the sets do not belong together or hold too few patches.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    patches, samples = open_patches(patches_folder), open_patches(samples_folder)
    teacher, normaliser, teacher_config = load_teacher(teacher_folder, device)
    autoencoder = TrainedAutoencoder.load(autoencoder_folder, device)
    require_alike(patches, samples)
    for folder, config in ((teacher_folder, teacher_config), (autoencoder_folder, autoencoder.config)):
        if config["data_hash"] != patches.hash:
            raise UserError(f"{folder} was trained on other patches than {patches_folder}: train it anew.")
    if not len(patches.ids("val")):
        raise UserError(f"{patches_folder}: the split 'val' is empty: prepare the data with another split.")
    real = _subset(patches.ids("train"), settings.n_samples, seed)
    held_out = _subset(patches.ids("val"), settings.n_samples, seed)
    drawn = np.arange(min(len(samples), settings.n_samples))
    judged = {
        "train": _judge(patches, real, teacher, normaliser, device),
        "val": _judge(patches, held_out, teacher, normaliser, device),
        "synthetic": _judge(samples, drawn, teacher, normaliser, device, _holes(patches, real, len(drawn), seed)),
    }
    ignored = 100 * float((judged["train"].masks == IGNORE).mean())
    groups = patches.index["group"].to_numpy()[real]
    real_spectra, drawn_spectra = _class_spectra(patches, real), _class_spectra(samples, drawn)
    scores = {
        **_frechet(judged, groups, seed),
        **_msad(patches, real, groups, real_spectra, drawn_spectra, seed),
        **_class_shares(patches, samples, real, drawn),
        **_asked_for(samples, drawn),
        **_alignment(judged, len(patches.meta.labels), seed),
        **_reconstruction(autoencoder, patches, held_out, device),
    }
    figures.class_spectra(real_spectra.means(), drawn_spectra.means(), samples.meta, spectra_picture)
    figures.pairs(patches, samples, real[: settings.n_pictures], drawn[: settings.n_pictures], picture)
    files.write_json(
        out,
        {
            "dataset": dataset,
            "method": method,
            "seed": seed,
            "streams": autoencoder.config["provenance"]["settings"]["streams"],
            "patch_px": patches.masks.shape[1],
            "sad_weight": autoencoder.config["provenance"]["settings"]["sad_weight"],
            "features": f"teacher {teacher_config['id']}: pooled encoder features of a network trained on real data"
            + (
                f"; {ignored:.1f} % of the real pixels have no label, and synthetic masks the same holes"
                if ignored
                else ""
            ),
            "ignored_percent": round(ignored, 3),
            "reference": "real training split; reconstruction on the validation split",
            "scores": scores,
            "provenance": provenance.stamp("evaluate", STAGE_VERSION, seed, settings.model_dump(mode="json")),
        },
    )
    sparse = f" ({ignored:.1f} % of the real pixels without a label)" if ignored else ""
    return f"{len(drawn)} synthetic against {len(real)} real patches{sparse} in {out}"


@dataclass(frozen=True)
class _Judged:
    """What the teacher says of some patches: features (N,T,D) and (N,D), predicted and given masks (N,H,W)."""

    image_features: np.ndarray
    mask_features: np.ndarray
    predictions: np.ndarray
    masks: np.ndarray


@torch.no_grad()
def _judge(
    patches: PatchSet,
    positions: np.ndarray,
    teacher: Teacher,
    normaliser: Normaliser,
    device: torch.device,
    holes: np.ndarray | None = None,
) -> _Judged:
    """Judge some patches; the features of their masks do not see the `holes` (N,H,W), the given masks keep them."""
    mixture = Mixture([(patches, positions)])
    progress = Progress(f"judging {patches.meta.name}", len(mixture))
    parts = []
    for start in range(0, len(mixture), BATCH):
        rows = np.arange(start, min(start + BATCH, len(mixture)))
        batch = mixture.batch(rows, normaliser).to(device)
        seen = batch.masks
        if holes is not None:
            seen = seen.masked_fill(torch.from_numpy(holes[rows]).to(device), IGNORE)
        parts.append(
            (
                teacher.image_features(batch.images),
                teacher.mask_features(one_hot(seen, len(patches.meta.labels))),
                teacher.predict_mask(batch.images).argmax(1).to(torch.uint8),
                batch.masks.to(torch.uint8),
            )
        )
        progress.update(int(rows[-1]) + 1)
    return _Judged(*(torch.cat(column).cpu().numpy() for column in zip(*parts, strict=True)))


def _holes(patches: PatchSet, real: np.ndarray, n: int, seed: int) -> np.ndarray:
    """Where n patches drawn from the real ones have no label, (n,H,W) bool.

    Real masks may have holes, generated ones have none: without the same holes their features differ for that alone.
    """
    drawn = numpy_generator(seed, "holes").choice(real, n, replace=n > len(real))
    return patches.masks[drawn] == IGNORE


def _subset(positions: np.ndarray, n: int, seed: int) -> np.ndarray:
    return numpy_generator(seed, "evaluate").permutation(positions)[:n]


def _frechet(judged: dict[str, _Judged], groups: np.ndarray, seed: int) -> dict[str, float]:
    real, held_out, fake = judged["train"], judged["val"], judged["synthetic"]
    kinds = {f"image{t + 1}": (lambda j, t=t: j.image_features[:, t]) for t in range(real.image_features.shape[1])}
    kinds["mask"] = lambda j: j.mask_features
    scores: dict[str, float] = {}
    for kind, features in kinds.items():
        floor = _or_undefined(halves_floor, features(real), groups, len(features(fake)), seed)
        distance = _or_undefined(equal_size_distance, features(fake), features(real), floor.n, seed)
        to_held_out = _or_undefined(equal_size_distance, features(fake), features(held_out), floor.n, seed)
        scores |= {
            f"fd_{kind}": distance.distance,
            f"fd_{kind}_n": distance.n,
            f"fd_{kind}_floor": floor.distance,
            f"fd_{kind}_val": to_held_out.distance,
            f"fd_{kind}_val_n": to_held_out.n,
        }
    return scores


def _or_undefined(distance: Callable[..., SizedDistance], *arguments) -> SizedDistance:
    """A distance, or NaN and no size where a side has too few patches for one."""
    try:
        return distance(*arguments)
    except UserError:
        return SizedDistance(math.nan, None)


def _msad(
    patches: PatchSet,
    real: np.ndarray,
    groups: np.ndarray,
    real_spectra: ClassSpectra,
    drawn_spectra: ClassSpectra,
    seed: int,
) -> dict[str, float]:
    names = np.unique(groups)
    half = np.isin(groups, numpy_generator(seed, "halves").permutation(names)[: len(names) // 2])
    if not half.any():  # a single group
        half = np.arange(len(real)) % 2 == 0
    scores = msad(drawn_spectra, real_spectra, min_pixels=MIN_PIXELS)
    first, second = (_class_spectra(patches, part) for part in (real[half], real[~half]))
    return {
        "msad_rad": scores["msad_rad"],
        "msad_rad_floor": msad(first, second, min_pixels=MIN_PIXELS)["msad_rad"],
        "msad_classes": scores["classes_compared"],
    }


def _class_spectra(patches: PatchSet, positions: np.ndarray) -> ClassSpectra:
    spectra = ClassSpectra(len(patches.meta.labels), len(patches.meta.bands))
    for start in range(0, len(positions), BATCH):
        part = positions[start : start + BATCH]
        spectra.update(patches.reflectance(part), patches.masks[part], valid=patches.valid(part))
    return spectra


def _class_shares(patches: PatchSet, samples: PatchSet, real: np.ndarray, drawn: np.ndarray) -> dict[str, float]:
    """Share of the pixels and of the patches of every class, and how many classes above 1 % the samples have lost."""
    scores: dict[str, float] = {}
    found = {}
    for kind, data, positions in (("real", patches, real), ("synthetic", samples, drawn)):
        found[kind] = coverage(np.stack(data.index["class_counts"].to_numpy()[positions]))
        for name, share, presence in zip(data.meta.labels.names, found[kind].share, found[kind].presence, strict=True):
            scores[f"share_{kind}_{slug(name)}"] = float(share)
            scores[f"presence_{kind}_{slug(name)}"] = float(presence)
    return scores | {"classes_lost": len(lost_classes(found["real"], found["synthetic"]))}


def _asked_for(samples: PatchSet, drawn: np.ndarray) -> dict[str, float]:
    """How far the class fractions of the samples lie from those asked for; undefined where nothing was asked."""
    path = samples.folder / "asked.npy"
    if not path.is_file():
        return {"asked_error": math.nan, "asked_error_shuffled": math.nan}
    asked = np.load(path, allow_pickle=False)[drawn]
    counts = np.stack(samples.index["class_counts"].to_numpy()[drawn])
    got = counts / counts.sum(1, keepdims=True)
    met, by_chance = fraction_errors(asked, got), fraction_errors(asked, np.roll(got, 1, axis=0))
    return {
        "asked_error": float(met.mean()) if len(met) else math.nan,
        "asked_error_shuffled": float(by_chance.mean()) if len(met) else math.nan,
    }


def _alignment(judged: dict[str, _Judged], classes: int, seed: int) -> dict[str, float]:
    """Does the mask fit the image: agreement with the teacher, for synthetic pairs, unseen real ones, shuffled ones."""
    undefined = dict.fromkeys(("miou_matched", "miou_shuffled", "accuracy_matched", "accuracy_shuffled"), math.nan)
    fake, real = (
        mask_agreement(judged[k].predictions, judged[k].masks, classes, seed) if len(judged[k].masks) > 1 else undefined
        for k in ("synthetic", "val")
    )
    return {
        "agreement": fake["miou_matched"],
        "agreement_shuffled": fake["miou_shuffled"],
        "agreement_real": real["miou_matched"],
        "agreement_real_shuffled": real["miou_shuffled"],
        "agreement_accuracy": fake["accuracy_matched"],
        "agreement_accuracy_shuffled": fake["accuracy_shuffled"],
        "agreement_accuracy_real": real["accuracy_matched"],
        "agreement_normalised": normalised_score(fake["miou_matched"], real["miou_matched"], fake["miou_shuffled"]),
    }


def _reconstruction(
    trained: TrainedAutoencoder, patches: PatchSet, positions: np.ndarray, device: torch.device
) -> dict[str, float]:
    """Round trip of held-out patches through the posterior mean, the columns of the paper's table 4."""
    mixture = Mixture([(patches, positions)])
    progress = Progress(f"reconstructing {patches.meta.name}", len(mixture))
    scores, _ = reconstruct(trained.network, mixture, trained.normaliser, device, n_shown=0, progress=progress)
    return {f"reconstruction_{key}": scores[key] for key in ("rmse", "sad_rad", "cross_entropy")}
