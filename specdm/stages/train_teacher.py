"""Train a judge of the samples on real patches: on the whole training split, or without one of several parts of it."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import numpy as np
import torch

from specdm import files, provenance, training
from specdm.metrics.groups import folds
from specdm.metrics.segmentation import ConfusionMatrix
from specdm.nn.autoencoder import one_hot
from specdm.nn.teacher import Teacher
from specdm.patches import Normaliser, open_patches
from specdm.randomness import seed_of
from specdm.settings import TeacherSettings
from specdm.stages.batches import Batch, Mixture, described, seen_patches
from specdm.weights import load_weights, save_weights

STAGE_VERSION = 3


def train_teacher(
    patches_folder: Path,
    out: Path,
    state: Path,
    settings: TeacherSettings,
    seed: int,
    ends: float = math.inf,
    resume_only: bool = False,
    fold: tuple[int, int] | None = None,
    subset: tuple[int, int] | None = None,
) -> str:
    """Train a Teacher, keep the weights that read validation masks best, and write them to `out`.

    Args:
        patches_folder: the real patch set.
        out, state: folders of the result and of the resumable state.
        settings, seed: of the training.
        ends, resume_only: see specdm.training.fit.
        fold: (k, n): leave out the k-th (from 0) of n parts of the training patches, which hold whole groups; with a
            single group nothing is left out.
        subset: (number, seed) of the labelled patches that may be seen, as a generator of generator_data: subset does.

    Returns what was made, in words.

    Raises:
        UserError: see specdm.training.fit.
    """
    patches = open_patches(patches_folder)
    normaliser = Normaliser.fit(patches)
    shape = patches.images.shape[1:]
    spec = {"bands": shape[1], "classes": len(patches.meta.labels), "dates": shape[0], "width": settings.width}
    torch.manual_seed(seed_of(seed, "train-teacher", "weights"))
    network = Teacher(**spec)
    train = seen_patches(patches, subset)
    groups = patches.index["group"].to_numpy()[train]
    held_out: list[str] = []
    if fold is not None:
        parts = folds(groups, fold[1])
        held_out = sorted({str(name) for name in groups[parts == fold[0]]})
        train = train[parts != fold[0]]
    mixture, validation = Mixture([(patches, train)]), Mixture([(patches, patches.ids("val"))])
    weights = mixture.root_class_weights()

    key = (seed, "train-teacher")

    def losses(model, data: Batch, device: torch.device) -> dict[str, torch.Tensor]:
        batch = data.to(device)
        onehot = one_hot(batch.masks, spec["classes"])
        logits, predicted = model(batch.images, onehot)
        return Teacher.loss(logits, predicted, batch.images, batch.masks, weights.to(device), batch.valid)

    def validate(model, device: torch.device, step: int) -> dict[str, float]:
        confusion = ConfusionMatrix(spec["classes"])
        for start in range(0, len(validation), settings.batch):
            rows = np.arange(start, min(start + settings.batch, len(validation)))
            batch = validation.batch(rows, normaliser).to(device)
            confusion.update(model.predict_mask(batch.images).argmax(1).cpu().numpy(), batch.masks.cpu().numpy())
        return {"score": confusion.scores(patches.meta.labels.names)["miou_macro"]}

    stamp = provenance.stamp("train-teacher", STAGE_VERSION, seed, settings.model_dump(mode="json"))
    fingerprint = {"settings": stamp["settings"], "seed": seed, "data": patches.hash, "stage_version": STAGE_VERSION}
    fingerprint |= {"fold": list(fold) if fold else None, "subset": list(subset) if subset else None}
    trained = training.fit(
        network,
        torch.optim.AdamW(network.parameters(), settings.learning_rate, weight_decay=0.01, fused=True),
        training.Task(
            lambda part: mixture.training_batch(part, settings.batch, "d4", normaliser, *key),
            losses,
            settings.batch,
            lambda part: mixture.training_ids(part, settings.batch, *key),
            validate,
        ),
        training.warmup_then(settings.steps, "linear", settings.steps // 50),
        training.Plan(
            settings.steps,
            key,
            val_every=training.every(settings.steps, 10),
            keep="best",
            ends=ends,
            resume_only=resume_only,
        ),
        state,
        fingerprint,
        name=f"teacher of {patches.meta.name}",
    )
    if not trained.writes:
        return ""
    config = {
        "kind": "teacher",
        "id": files.digest(fingerprint),
        "spec": spec,
        "data": described(patches.meta, patches.images.dtype, shape, normaliser),
        "data_hash": patches.hash,
        "fold": fingerprint["fold"],
        "subset": fingerprint["subset"],
        "held_out": held_out,
        "provenance": stamp,
    }
    save_weights(
        out, trained.weights, config, lambda folder: training.write_history(folder / "history.csv", trained.history)
    )
    shutil.rmtree(state, ignore_errors=True)
    return training.made(network, settings.steps, out)


def load_teacher(folder: Path, device: torch.device) -> tuple[Teacher, Normaliser, dict]:
    """A trained Teacher, the normaliser of its inputs, and its config."""
    weights, config = load_weights(folder, "teacher")
    network = Teacher(**config["spec"])
    network.load_state_dict(weights)
    normaliser = config["data"]["normaliser"]
    return network.to(device).eval(), Normaliser(tuple(normaliser["mean"]), tuple(normaliser["std"])), config
