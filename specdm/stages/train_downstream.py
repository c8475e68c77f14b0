"""Train a downstream network on real, synthetic or mixed patches and test it once on real ones (paper section 4.3)."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import torch

from specdm import files, provenance, training
from specdm.errors import UserError
from specdm.metrics.segmentation import ConfusionMatrix
from specdm.nn import downstream
from specdm.nn.downstream.common import DownstreamNetwork, Recipe
from specdm.patches import Normaliser, PatchSet, open_patches
from specdm.randomness import seed_of
from specdm.settings import DownstreamSettings, Regime
from specdm.stages.batches import Batch, Mixture, described, require_alike, stratified_subset
from specdm.weights import save_weights

STAGE_VERSION = 3
EVAL_BATCH = 16


def train_downstream(
    patches_folder: Path,
    samples_folder: Path | None,
    out: Path,
    state: Path,
    dataset: str,
    network_name: str,
    regime_name: str,
    regime: Regime,
    n_real: int,
    settings: DownstreamSettings,
    seed: int,
    subset_seed: int,
    max_minutes: float = 0,
    resume_only: bool = False,
) -> str:
    """Train one network on one regime with one seed.

    Writes weights.safetensors, config.json, history.csv, ids.json (what it was trained on), confusion.npy (true class
    x predicted class, int64, of the whole test split) and metrics.json to `out`. All regimes get the same steps and
    the real training split's normaliser; the test split is read once, after training. Returns what was made, in words.

    Raises:
        UserError: when there are too few patches for the regime, or sets that cannot be mixed.
    """
    patches = open_patches(patches_folder)
    normaliser = Normaliser.fit(patches)
    training_set = compose(patches, samples_folder, regime, n_real, subset_seed)
    held_out, test = Mixture([(patches, patches.ids("val"))]), Mixture([(patches, patches.ids("test"))])
    for split, mixture in (("val", held_out), ("test", test)):
        if not len(mixture):
            raise UserError(f"{patches_folder}: the split {split!r} is empty: prepare the data with another split.")
    dates, bands = patches.images.shape[1:3]
    labels = patches.meta.labels
    torch.manual_seed(seed_of(seed, "train-downstream", "weights"))
    options = settings.options.get(network_name, {})
    network = downstream.build(network_name, bands=bands, classes=len(labels), dates=dates, **options)
    recipe = downstream.recipe(network_name)
    if settings.learning_rate is not None:
        recipe = dataclasses.replace(recipe, lr=settings.learning_rate)

    class_weights = training_set.root_class_weights() if settings.class_weights == "sqrt" else None

    key = (seed, "train-downstream")

    def losses(model, data: Batch, device: torch.device) -> dict[str, torch.Tensor]:
        batch = data.to(device)
        weights = class_weights.to(device) if class_weights is not None else None
        return {"total": model.training_loss(batch.images, batch.masks, weights)}

    def score(model, mixture: Mixture, device: torch.device) -> ConfusionMatrix:
        confusion = ConfusionMatrix(len(labels))
        for start in range(0, len(mixture), EVAL_BATCH):
            rows = np.arange(start, min(start + EVAL_BATCH, len(mixture)))
            batch = mixture.batch(rows, normaliser).to(device)
            confusion.update(model(batch.images).argmax(1).cpu().numpy(), batch.masks.cpu().numpy())
        return confusion

    stamp = provenance.stamp("train-downstream", STAGE_VERSION, seed, settings.model_dump(mode="json"))
    fingerprint = {
        "settings": stamp["settings"],
        "network": network_name,
        "regime": regime.model_dump(mode="json"),
        "n_real": n_real,
        "seed": seed,
        "subset_seed": subset_seed,
        "data": [patches_set.hash for patches_set in training_set.sets] + [patches.hash],
        "stage_version": STAGE_VERSION,
    }
    trained = training.fit(
        network,
        _optimiser(network, recipe),
        training.Task(
            lambda part: training_set.training_batch(part, settings.batch, settings.augment, normaliser, *key),
            losses,
            settings.batch,
            lambda part: training_set.training_ids(part, settings.batch, *key),
            lambda model, device, step: {"score": score(model, held_out, device).scores(labels.names)["mf1_macro"]},
        ),
        training.warmup_then(
            settings.steps, recipe.schedule, round(recipe.warmup_fraction * settings.steps), recipe.poly_power
        ),
        training.Plan(
            settings.steps,
            key,
            precision=settings.precision,
            val_every=settings.val_every,
            keep=settings.select,
            max_minutes=max_minutes,
            resume_only=resume_only,
        ),
        state,
        fingerprint,
        forward_methods=("training_loss",),
        name=f"{network_name} on {dataset} {regime_name}, seed {seed}",
    )
    if not trained.writes:
        return ""
    network.load_state_dict(trained.weights)
    device = next(network.parameters()).device
    network.eval()
    with torch.no_grad():
        confusion = score(network, test, device)
    scores = confusion.scores(labels.names)
    n_synthetic = regime.synthetic * n_real
    metrics = {
        "dataset": dataset,
        "network": network_name,
        "regime": regime_name,
        "method": regime.method if regime.synthetic else "",
        "seed": seed,
        "n_real": regime.real * n_real,
        "n_synthetic": n_synthetic,
        "n_test": len(test),
        "steps": settings.steps,
        "split": "test",
        "convention": "one confusion matrix over the test split; macro = unweighted mean over all classes",
        "scores": scores,
        "provenance": stamp,
    }
    config = {
        "kind": "downstream",
        "id": files.digest(fingerprint),
        "network": network_name,
        "options": options,
        "data": described(patches.meta, patches.images.dtype, patches.images.shape[1:], normaliser),
        "provenance": stamp,
    }

    def write_more(folder: Path) -> None:
        training.write_history(folder / "history.csv", trained.history)
        (folder / "ids.json").write_text(json.dumps(training_set.ids()) + "\n")
        (folder / "metrics.json").write_text(files.to_json(metrics))
        np.save(folder / "confusion.npy", confusion.matrix)

    save_weights(out, trained.weights, config, write_more)
    shutil.rmtree(state, ignore_errors=True)
    return f"{training.made(network, settings.steps, out)}, mIoU {scores['miou_macro']:.3f} on {len(test)} test patches"


def _optimiser(network: DownstreamNetwork, recipe: Recipe) -> torch.optim.Optimizer:
    groups = network.parameter_groups(recipe)
    if recipe.optimiser == "sgd":
        return torch.optim.SGD(groups, recipe.lr, momentum=0.9)
    return torch.optim.AdamW(groups, recipe.lr, betas=recipe.betas, fused=True)


def compose(patches: PatchSet, samples_folder: Path | None, regime: Regime, n_real: int, subset_seed: int) -> Mixture:
    """The training set of a regime: n_real labelled patches, stratified by group, and the first synthetic ones.

    The labelled subset depends on subset_seed alone, so that all networks, regimes and seeds see the same labels.

    Raises:
        UserError: when a set holds fewer patches than the regime needs.
    """
    parts = []
    if regime.real:
        parts.append((patches, stratified_subset(patches, n_real, subset_seed)))
    if regime.synthetic:
        if samples_folder is None:
            raise UserError("This regime needs synthetic patches: give them with --samples.")
        samples, wanted = open_patches(samples_folder), regime.synthetic * n_real
        if len(samples) < wanted:
            raise UserError(f"{samples_folder} holds {len(samples)} patches, the regime needs {wanted}: sample more.")
        require_alike(patches, samples)  # also without real patches: they give the normaliser and the test
        parts.append((samples, np.arange(wanted)))
    return Mixture(parts)
