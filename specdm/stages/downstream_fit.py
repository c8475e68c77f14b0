"""Train a downstream network on the training set of a regime: what training and the search have in common."""

from __future__ import annotations

import dataclasses
import math
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from specdm import files, training
from specdm.encoder_weights import load_encoder_weights
from specdm.errors import UserError
from specdm.metrics.segmentation import ConfusionMatrix
from specdm.networks import encoder_of
from specdm.nn import downstream
from specdm.nn.downstream.common import DownstreamNetwork, Recipe
from specdm.patches import Normaliser, PatchSet, check_masks, open_patches, require_labels
from specdm.randomness import seed_of
from specdm.settings import DownstreamSettings, Regime
from specdm.stages.batches import Batch, Mixture
from specdm.stages.training_set import Inputs, TrainingSet, compose

TRAINING_VERSION = 1  # raised when trainings end otherwise; then raise those of train_downstream and the search too
EVAL_BATCH = 16
SIDE = 32  # what sides of patches are multiples of: networks halve them five times


@dataclass(frozen=True)
class Run:
    """Which training it is: one network on one regime with its seeds."""

    dataset: str
    network: str
    regime_name: str
    regime: Regime
    n_real: int
    seed: int = 0
    subset_seed: int = 0
    generator_seed: int = 0  # of the generator that drew the samples; only told in the metrics


@dataclass(frozen=True)
class Experiment:
    """A run with its data read and checked."""

    run: Run
    patches: PatchSet
    normaliser: Normaliser
    training_set: TrainingSet
    encoder_state: dict[str, torch.Tensor] | None
    encoder: str  # where its weights come from: none, imagenet, or a file's name; with their digest
    derived: Path

    @property
    def held_out(self) -> Mixture:
        return Mixture([(self.patches, self.patches.ids("val"))])

    @property
    def test(self) -> Mixture:
        return Mixture([(self.patches, self.patches.ids("test"))])

    def clean(self) -> None:
        """Remove the sets that were made for this run."""
        shutil.rmtree(self.derived, ignore_errors=True)


@dataclass(frozen=True)
class Fitted:
    """A trained network, on the device it was trained on, with the weights that were asked for.

    Attributes:
        network: in evaluation mode.
        trained: what the loop returned.
        recipe: optimiser and learning rate that were used.
        steps: optimiser steps planned.
        fingerprint: plain JSON of everything that decides the result.
    """

    network: DownstreamNetwork
    trained: training.Trained
    recipe: Recipe
    steps: int
    fingerprint: dict


def read(run: Run, inputs: Inputs, settings: DownstreamSettings, state: Path) -> Experiment:
    """Read and check what a run needs, before any training.

    Raises:
        UserError: for missing splits, masks of other classes, sides that networks cannot halve, too few patches, sets
            that cannot be mixed, and encoder weights that cannot be read.
    """
    patches = open_patches(inputs.patches)
    require_labels(patches)
    for split in ("val", "test"):
        if not len(patches.ids(split)):
            raise UserError(f"{inputs.patches}: the split {split!r} is empty: prepare the data with another split.")
    height, width = patches.images.shape[-2:]
    if height % SIDE or width % SIDE:
        raise UserError(
            f"{inputs.patches}: patches of {height} x {width} pixels; the networks need multiples of {SIDE}: "
            "prepare the data with another patch_px."
        )
    check_masks(patches)
    for text in unvalidated(patches):
        print(f"{run.dataset or inputs.patches}: {text}", flush=True)
    encoder_state, encoder = _encoder(run.network, inputs, settings)
    derived = state.with_name(f"{state.name}-data")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    training_set = compose(patches, inputs, run.regime, run.n_real, run.subset_seed, derived, device)
    return Experiment(run, patches, Normaliser.fit(patches), training_set, encoder_state, encoder, derived)


def unvalidated(patches: PatchSet) -> list[str]:
    """A sentence for each class of the training split that validation lacks: nothing chooses weights by it."""
    held = {split: _pixels(patches, split) for split in ("train", "val")}
    names = patches.meta.labels.names
    return [
        f"the class {names[k]} is absent from validation: the best weights are chosen without it"
        for k in np.flatnonzero((held["train"] > 0) & (held["val"] == 0))
    ]


def _pixels(patches: PatchSet, split: str) -> np.ndarray:
    return np.stack(patches.index["class_counts"].to_numpy()[patches.ids(split)]).sum(0)


def _encoder(name: str, inputs: Inputs, settings: DownstreamSettings) -> tuple[dict | None, str]:
    wanted = settings.encoder_weights
    if wanted == "none":
        return None, "none"
    path = inputs.encoder_weights or (None if wanted == "imagenet" else Path(wanted))
    if path is None:
        encoder = encoder_of(name)
        raise UserError(
            f"{name}: encoder_weights imagenet needs the file: `specdm fetch-encoder {encoder} --out FOLDER`, then "
            "--encoder-weights FOLDER."
        )
    state = load_encoder_weights(path)
    kind = "imagenet" if wanted == "imagenet" else path.name
    return state, f"{kind} {_digest(state)}"


def _digest(state: dict[str, torch.Tensor]) -> str:
    """A short hash of weights: their names, shapes and sums."""
    return files.digest({key: [list(v.shape), float(v.double().sum())] for key, v in sorted(state.items())})


def budget(settings: DownstreamSettings, training_set: TrainingSet, n_real: int) -> int:
    """Optimiser steps of a regime, see `DownstreamSettings.budget`."""
    if settings.budget == "iterations":
        return settings.steps
    return max(1, round(settings.steps * len(training_set.everything) / n_real))


def fit(
    experiment: Experiment,
    settings: DownstreamSettings,
    state: Path,
    name: str,
    ends: float = math.inf,
    resume_only: bool = False,
) -> Fitted:
    """Train the network of an experiment.

    All regimes get the same steps (or the same epochs) and the real training split's normaliser; the validation split
    is of real patches. The test split is not touched.

    Raises:
        UserError, Paused: see specdm.training.fit.
    """
    run, training_set, normaliser = experiment.run, experiment.training_set, experiment.normaliser
    labels = experiment.patches.meta.labels
    network = build(experiment, settings)
    recipe = downstream.recipe(run.network)
    if settings.learning_rate is not None:
        recipe = dataclasses.replace(recipe, lr=settings.learning_rate)
    class_weights = training_set.everything.root_class_weights() if settings.class_weights == "sqrt" else None
    key, held_out = (run.seed, "train-downstream"), experiment.held_out
    steps = budget(settings, training_set, run.n_real)
    strong = settings.strong if run.regime.augmentation == "strong" else None

    def data_at(part: training.Part) -> Batch:
        mixture = training_set.at(part.step, steps)
        return mixture.training_batch(part, settings.batch, settings.augment, normaliser, *key, strong=strong)

    def ids_at(part: training.Part) -> list[str]:
        return training_set.at(part.step, steps).training_ids(part, settings.batch, *key)

    def losses(model, data: Batch, device: torch.device) -> dict[str, torch.Tensor]:
        batch = data.to(device)
        weights = class_weights.to(device) if class_weights is not None else None
        return {"total": model.training_loss(batch.images, batch.masks, weights)}

    def validate(model, device: torch.device, step: int) -> dict[str, float]:
        confusion = ConfusionMatrix(len(labels))
        for _, predicted, batch in predictions(model, held_out, normaliser, device):
            confusion.update(predicted, batch.masks.numpy())
        return {"score": confusion.scores(labels.names)["mf1_macro"]}

    identity = fingerprint(experiment, settings)
    trained = training.fit(
        network,
        _optimiser(network, recipe),
        training.Task(data_at, losses, settings.batch, ids_at, validate),
        _learning_rate(recipe, steps, len(training_set.phases)),
        training.Plan(
            steps,
            key,
            accumulate=settings.accumulate,
            precision=settings.precision,
            channels_last=settings.channels_last,
            val_every=settings.val_every,
            keep=settings.select,
            patience=settings.patience,
            ends=ends,
            resume_only=resume_only,
        ),
        state,
        identity,
        forward_methods=("training_loss",),
        name=name,
    )
    network.load_state_dict(trained.weights)
    network.eval()
    return Fitted(network, trained, recipe, steps, identity)


def fingerprint(experiment: Experiment, settings: DownstreamSettings) -> dict:
    """Plain JSON of everything that decides how a training ends."""
    run = experiment.run
    return {
        "settings": settings.model_dump(mode="json", exclude={"search", "overrides"}),
        "network": run.network,
        "regime": run.regime.model_dump(mode="json", exclude={"networks"}),
        "n_real": run.n_real,
        "seed": run.seed,
        "subset_seed": run.subset_seed,
        "encoder": experiment.encoder,
        "data": [each.hash for each in experiment.training_set.everything.sets] + [experiment.patches.hash],
        "training_version": TRAINING_VERSION,
    }


def build(experiment: Experiment, settings: DownstreamSettings) -> DownstreamNetwork:
    """The untrained network of a run, its encoder as the settings start it."""
    run = experiment.run
    dates, bands = experiment.patches.images.shape[1:3]
    options = dict(settings.options.get(run.network, {}))
    if experiment.encoder_state is not None:
        options["encoder_state"] = experiment.encoder_state
    torch.manual_seed(seed_of(run.seed, "train-downstream", "weights"))
    classes = len(experiment.patches.meta.labels)
    network = downstream.build(run.network, bands=bands, classes=classes, dates=dates, **options)
    if settings.freeze_encoder:
        network.freeze_encoder()
    return network


def predictions(model, mixture: Mixture, normaliser: Normaliser, device: torch.device):
    """Predicted classes of patches, batch by batch: rows (n,), ids (n,H,W) int64, and the batch on the CPU."""
    for start in range(0, len(mixture), EVAL_BATCH):
        rows = np.arange(start, min(start + EVAL_BATCH, len(mixture)))
        batch = mixture.batch(rows, normaliser)
        yield rows, model(batch.images.to(device)).argmax(1).cpu().numpy(), batch


def _learning_rate(recipe: Recipe, steps: int, phases: int) -> Callable[[int], float]:
    """Factor of the learning rate: the recipe's schedule, anew in each of several phases of equal length."""
    ends = [-(-steps * (i + 1) // phases) for i in range(phases)]
    starts = [0, *ends[:-1]]
    factors = [
        training.warmup_then(
            end - start, recipe.schedule, round(recipe.warmup_fraction * (end - start)), recipe.poly_power
        )
        for start, end in zip(starts, ends, strict=True)
    ]

    def factor(step: int) -> float:
        phase = next(i for i, end in enumerate(ends) if step < end)
        return factors[phase](step - starts[phase])

    return factor


def _optimiser(network: DownstreamNetwork, recipe: Recipe) -> torch.optim.Optimizer:
    groups = network.parameter_groups(recipe)
    if recipe.optimiser == "sgd":
        return torch.optim.SGD(groups, recipe.lr, momentum=0.9)
    return torch.optim.AdamW(groups, recipe.lr, betas=recipe.betas, fused=True)
