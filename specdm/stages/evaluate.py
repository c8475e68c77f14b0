"""Measure synthetic patches against real ones: distances with their floors, spectra, masks, reconstruction.

Every distance is told with its N, and beside its floor: the same between two halves of the real training split that
share no group. Whether masks fit images, and whether images are copies, are stages of their own. The test split is not
looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from specdm import features, figures, files, provenance, set_figures
from specdm.errors import UserError
from specdm.labels import IGNORE
from specdm.metrics.coverage import coverage, fraction_errors, lost_classes
from specdm.metrics.groups import halves
from specdm.metrics.mask_statistics import class_shares
from specdm.metrics.segmentation import slug
from specdm.model import TrainedAutoencoder
from specdm.patches import PatchSet, open_patches
from specdm.progress import Progress
from specdm.randomness import numpy_generator
from specdm.settings import EvaluationSettings
from specdm.stages import feature_distances, set_statistics
from specdm.stages.batches import Mixture, require_alike, some_of
from specdm.stages.reconstruction import reconstruct
from specdm.stages.scores import Scores
from specdm.stages.set_statistics import Statistics
from specdm.stages.train_teacher import load_teacher

STAGE_VERSION = 6
FOR_LIMITS = 256  # real training patches that the stretch of Inception's composites is measured on
DEGREES = 0.05  # a pixel's side below this is no metre but a part of a degree


def evaluate(
    patches_folder: Path,
    samples_folder: Path,
    model_folder: Path,
    teacher_folder: Path,
    out: Path,
    pictures: Path,
    dataset: str,
    method: str,
    settings: EvaluationSettings,
    seed: int,
    inception_weights: Path | None = None,
) -> str:
    """Write the metrics of a synthetic patch set as JSON to `out`, and pictures; return what was made, in words.

    Pictures in the folder `pictures`: samples.png (real beside synthetic pairs); spectra, classes, power and curves,
    each as .png and .pdf. A score that the sets cannot give is null, and `not_computable` says why.

    Args:
        patches_folder, samples_folder: the real and the synthetic patch set.
        model_folder: the generator, with autoencoder/ and denoiser/.
        teacher_folder: the network of the features "teacher".
        out, pictures: the JSON file and the folder of the pictures.
        dataset, method: their names, for the tables.
        settings: what is measured.
        seed: of draws and intervals.
        inception_weights: file of the features "inception".

    Raises:
        UserError: when the sets do not belong together or hold too few patches.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    patches, samples = open_patches(patches_folder), open_patches(samples_folder)
    network, normaliser, teacher_config = load_teacher(teacher_folder, device)
    autoencoder = TrainedAutoencoder.load(model_folder / "autoencoder", device)
    require_alike(patches, samples)
    for folder, config in ((teacher_folder, teacher_config), (model_folder / "autoencoder", autoencoder.config)):
        if config["data_hash"] != patches.hash:
            raise UserError(f"{folder} was trained on other patches than {patches_folder}: train it anew.")
    if not len(patches.ids("val")):
        raise UserError(f"{patches_folder}: the split 'val' is empty: prepare the data with another split.")
    real = some_of(patches.ids("train"), settings.n_samples, seed, "evaluate")
    held_out = some_of(patches.ids("val"), settings.n_samples, seed, "evaluate")
    drawn = np.arange(min(len(samples), settings.n_samples))
    groups = patches.index["group"].to_numpy()
    ignored = 100 * float((patches.masks[np.sort(real)] == IGNORE).mean())
    holes = _holes(patches, real, len(drawn), seed) if ignored else None

    teacher = features.TeacherFeatures(network, normaliser, teacher_config["id"], len(patches.meta.labels), device)
    extractors = features.open_extractors(
        settings.features,
        patches.meta,
        device,
        teacher=teacher,
        inception_weights=inception_weights,
        limits=_limits(patches, real) if "inception" in settings.features else None,
    )
    found = Scores()
    sides = (
        feature_distances.extract(extractors, *chosen)
        for chosen in ((patches, real), (patches, held_out), (samples, drawn, holes))
    )
    for name, of_real, of_held_out, of_drawn in zip(settings.features, *sides, strict=True):
        sets = feature_distances.Sets(of_real, of_held_out, of_drawn, groups[real])
        prefix = "" if name == settings.features[0] else f"{_short(name)}_"
        found.join(feature_distances.compare(sets, prefix, settings.n_bootstrap, seed))

    first = halves(len(real), groups[real], seed) if len(real) > 1 else np.ones(len(real), bool)
    bins = set_statistics.bins_of(patches, real)
    parts = [set_statistics.measure(patches, chosen, bins) for chosen in (real[first], real[~first])]
    of_drawn = set_statistics.measure(samples, drawn, bins, holes)
    ordered, parts_joined = np.concatenate([real[first], real[~first]]), set_statistics.joined(*parts)
    found.join(set_statistics.compare(*parts, of_drawn, patches.meta, groups[ordered], settings.n_bootstrap, seed))
    found.values |= _class_shares(patches, samples, real, drawn)
    found.add(["asked_error", "asked_error_shuffled"], lambda: _asked_for(samples, drawn))
    found.values |= _reconstruction(autoencoder, patches, held_out, device)

    figures.pairs(patches, samples, real[: settings.n_pictures], drawn[: settings.n_pictures], pictures / "samples.png")
    title = f"{dataset}: {method}"
    shares = {
        "real, training": (parts_joined.masks.pixels, groups[ordered]),
        "real, validation": (_class_counts(patches, held_out), groups[held_out]),
        "synthetic": (of_drawn.masks.pixels, None),
    }
    _draw(patches, parts_joined, of_drawn, shares, title, pictures, seed)
    trained = {part: model_folder / part / "history.csv" for part in ("autoencoder", "denoiser")}
    histories = {part: set_figures.read_history(path) for part, path in trained.items() if path.is_file()}
    set_figures.curves(histories, f"{title}: training", pictures / "curves")
    files.write_json(
        out,
        {
            "dataset": dataset,
            "method": method,
            "seed": seed,
            "streams": autoencoder.config["provenance"]["settings"]["streams"],
            "patch_px": patches.masks.shape[1],
            "sad_weight": autoencoder.config["provenance"]["settings"]["sad_weight"],
            "n": len(drawn),
            "n_real": len(real),
            "n_val": len(held_out),
            "features": [
                {"name": n, "id": e.id, **e.constants} for n, e in zip(settings.features, extractors, strict=True)
            ],
            "reference": "real training split; *_val and reconstruction: validation split",
            "ignored_percent": round(ignored, 3),
            "scores": found.values,
            "not_computable": found.reasons,
            "provenance": provenance.stamp("evaluate", STAGE_VERSION, seed, settings.model_dump(mode="json")),
        },
    )
    sparse = f" ({ignored:.1f} % of the real pixels without a label)" if ignored else ""
    return f"{len(drawn)} synthetic against {len(real)} real patches{sparse} in {out}"


def _short(name: str) -> str:
    """Name of features within those of scores: "a/path/file.py:function" -> "file_function"."""
    file, _, function = name.rpartition(":")
    return slug(f"{Path(file).stem}_{function}" if file else name)


def _limits(patches: PatchSet, real: np.ndarray) -> dict[str, np.ndarray]:
    chosen = real[:FOR_LIMITS]
    return features.composite_limits(patches.meta, patches.reflectance(chosen), patches.valid(chosen))


def _holes(patches: PatchSet, real: np.ndarray, n: int, seed: int) -> np.ndarray:
    """Where n patches drawn from the real ones have no label, (n,H,W) bool.

    Real masks may have holes, generated ones have none: without the same holes they differ for that alone.
    """
    chosen = numpy_generator(seed, "holes").choice(real, n, replace=n > len(real))
    return patches.masks[chosen] == IGNORE


def _class_shares(patches: PatchSet, samples: PatchSet, real: np.ndarray, drawn: np.ndarray) -> dict[str, float]:
    """Share of the pixels and of the patches of every class, and how many classes above 1 % the samples have lost."""
    scores: dict[str, float] = {}
    found = {}
    for kind, data, positions in (("real", patches, real), ("synthetic", samples, drawn)):
        found[kind] = coverage(_class_counts(data, positions))
        for name, share, presence in zip(data.meta.labels.names, found[kind].share, found[kind].presence, strict=True):
            scores[f"share_{kind}_{slug(name)}"] = float(share)
            scores[f"presence_{kind}_{slug(name)}"] = float(presence)
    return scores | {"classes_lost": len(lost_classes(found["real"], found["synthetic"]))}


def _class_counts(data: PatchSet, positions: np.ndarray) -> np.ndarray:
    return np.stack(data.index["class_counts"].to_numpy()[positions])


def _asked_for(samples: PatchSet, drawn: np.ndarray) -> dict[str, float]:
    """How far the class fractions of the samples lie from those asked for; UserError where nothing was asked."""
    path = samples.folder / "asked.npy"
    if not path.is_file():
        raise UserError("no class fractions were asked for")
    asked = np.load(path, allow_pickle=False)[drawn]
    counts = _class_counts(samples, drawn)
    got = counts / counts.sum(1, keepdims=True)
    met, by_chance = fraction_errors(asked, got), fraction_errors(asked, np.roll(got, 1, axis=0))
    if not len(met):
        raise UserError("no class fractions were asked for")
    return {"asked_error": float(met.mean()), "asked_error_shuffled": float(by_chance.mean())}


def _reconstruction(
    trained: TrainedAutoencoder, patches: PatchSet, positions: np.ndarray, device: torch.device
) -> dict[str, float]:
    """Round trip of held-out patches through the posterior mean, the columns of the paper's table 4."""
    mixture = Mixture([(patches, positions)])
    progress = Progress(f"reconstructing {patches.meta.name}", len(mixture))
    scores, _ = reconstruct(trained.network, mixture, trained.normaliser, device, n_shown=0, progress=progress)
    return {f"reconstruction_{key}": scores[key] for key in ("rmse", "sad_rad", "cross_entropy")}


def _draw(
    patches: PatchSet,
    real: Statistics,
    drawn: Statistics,
    shares: Mapping[str, tuple[np.ndarray, np.ndarray | None]],
    title: str,
    folder: Path,
    seed: int,
) -> None:
    """Draw spectra, classes (shares: name -> labelled pixels (N,K) and groups) and power; or why that is impossible."""
    meta = patches.meta

    def spectra(path: Path) -> None:
        set_figures.spectral_profiles(list(zip(real.dates, drawn.dates, strict=True)), meta, path)

    def classes(path: Path) -> None:
        found = {
            name: class_shares(counts, of, seed=seed, stream=i) for i, (name, (counts, of)) in enumerate(shares.items())
        }
        set_figures.class_distribution(found, meta.labels, f"{title}: classes", path)

    def power(path: Path) -> None:
        of_real, of_drawn = real.power.spectrum(), drawn.power.spectrum()
        set_figures.power_spectra(of_real, of_drawn, f"{title}: detail", path, _pixel_m(patches))

    for draw in (spectra, classes, power):
        try:
            draw(folder / draw.__name__)
        except UserError as error:
            set_figures.explanation(str(error), folder / draw.__name__)


def _pixel_m(patches: PatchSet) -> float | None:
    """The side of a pixel in metres, where patches lie in a projected system; None for degrees and without a place."""
    transform = patches.index["transform"].iloc[0]
    side = abs(float(transform[0])) if len(transform) else 0.0
    return side if side > DEGREES else None
