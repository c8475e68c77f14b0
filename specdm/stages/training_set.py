"""The training set of a regime: which patches a downstream network sees, and in which order."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from specdm.errors import UserError
from specdm.patches import PatchSet, check_masks, open_patches
from specdm.randomness import numpy_generator
from specdm.settings import Regime
from specdm.stages import derived_sets
from specdm.stages.batches import Mixture, require_alike, stratified_subset
from specdm.stages.filter_samples import Filter


@dataclass(frozen=True)
class Inputs:
    """Folders that a downstream training reads; None where its regime needs none.

    Attributes:
        patches: the real patch set.
        samples: the synthetic one, for drawn patches.
        autoencoder: of the generator, for reconstructed patches.
        teacher: the same network trained on real patches alone, for predicted masks.
        encoder_weights: file or folder of the encoder's first weights.
        filter: scores of the samples, for those that are kept.
    """

    patches: Path
    samples: Path | None = None
    autoencoder: Path | None = None
    teacher: Path | None = None
    encoder_weights: Path | None = None
    filter: Path | None = None


@dataclass(frozen=True)
class TrainingSet:
    """The patches of a regime.

    Attributes:
        everything: all of them.
        phases: what batches are drawn from, one after the other in equal shares of the steps.
        n_labels: labelled patches of the regime's choice, also where it leaves them out.
        n_real, n_synthetic: how many there are of either kind.
    """

    everything: Mixture
    phases: tuple[Mixture, ...]
    n_labels: int
    n_real: int
    n_synthetic: int

    def at(self, step: int, steps: int) -> Mixture:
        """What the batch of a step is drawn from."""
        return self.phases[min(step * len(self.phases) // steps, len(self.phases) - 1)]


def compose(
    patches: PatchSet,
    inputs: Inputs,
    regime: Regime,
    n_real: int,
    subset_seed: int,
    derived: Path,
    device: torch.device | str = "cpu",
) -> TrainingSet:
    """The training set of a regime: labelled patches, stratified by group, and synthetic ones.

    The labelled subset depends on subset_seed alone, so that all networks, regimes and seeds see the same labels.

    Args:
        patches: the real patch set.
        inputs: folders that the regime may need.
        regime: what is wanted.
        n_real: labelled patches of the data set's experiments.
        subset_seed: chooses them.
        derived: folder for sets that are made here (reconstructions, other masks).
        device: makes them.

    Raises:
        UserError: when a set holds fewer patches than the regime needs, sets cannot be mixed, or a folder is missing.
    """
    train = patches.ids("train")
    n_labels = len(train) if regime.labels == "all" else regime.labels or n_real
    needed = n_labels if regime.real or regime.images == "reconstructed" else 0
    labelled = stratified_subset(patches, needed, subset_seed)
    real = [(patches, labelled)] if regime.real else []
    synthetic = []
    if regime.synthetic:
        synthetic = [_synthetic(patches, labelled, inputs, regime, n_real, derived, device, subset_seed)]
    everything = Mixture([*real, *synthetic])
    phases = (Mixture(synthetic), Mixture(real)) if regime.order == "pretrain" else (everything,)
    n_synthetic = len(synthetic[0][1]) if synthetic else 0
    return TrainingSet(everything, phases, n_labels, needed if real else 0, n_synthetic)


def _synthetic(
    patches: PatchSet,
    labelled: np.ndarray,
    inputs: Inputs,
    regime: Regime,
    n_real: int,
    derived: Path,
    device: torch.device | str,
    seed: int,
) -> tuple[PatchSet, np.ndarray]:
    if regime.images == "reconstructed":
        folder = _given(inputs.autoencoder, "the generator's autoencoder", "--autoencoder")
        return derived_sets.reconstructed(patches, labelled, folder, derived, device), np.arange(len(labelled))
    folder = _given(inputs.samples, "synthetic patches", "--samples")
    samples, wanted = open_patches(folder), regime.synthetic * n_real
    pool = wanted * regime.pool
    if len(samples) < pool:
        raise UserError(f"{folder} holds {len(samples)} patches, the regime needs {pool}: sample more.")
    if not (samples.index["split"][:pool] == "train").all():
        raise UserError(
            f"{folder}: among its first {pool} patches some were drawn for validation or test patches, from which "
            "nothing may be learned: draw for training patches alone."
        )
    check_masks(samples)
    require_alike(patches, samples)  # also without real patches in the set: they give the normaliser and the test
    if regime.masks == "shuffled":
        samples = derived_sets.with_shuffled_masks(samples, wanted, seed, derived)
    elif regime.masks == "predicted":
        teacher = _given(inputs.teacher, "the network trained on real patches alone", "--teacher")
        samples = derived_sets.with_predicted_masks(samples, wanted, teacher, derived, device)
    elif regime.keep == "best":
        scores = Filter.open(_given(inputs.filter, "the scores of the samples", "--filter"), samples)
        return derived_sets.Relabelled(samples, scores.masks, scores.id), scores.best(wanted, pool)
    if regime.keep == "random":
        return samples, np.sort(numpy_generator(seed, "keep-random").permutation(pool)[:wanted])
    return samples, np.arange(wanted)


def _given(folder: Path | None, what: str, option: str) -> Path:
    if folder is None:
        raise UserError(f"This regime needs {what}: give its folder with {option}.")
    return folder
