"""Train a downstream network on real, synthetic or mixed patches and test it once on real ones (paper section 4.3)."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np

from specdm import files, provenance, training
from specdm.errors import UserError
from specdm.settings import AS_DRAWN, DownstreamSettings
from specdm.stages import downstream_fit, downstream_test
from specdm.stages.batches import described
from specdm.stages.downstream_fit import Experiment, Fitted, Run
from specdm.stages.training_set import Inputs
from specdm.weights import save_weights

STAGE_VERSION = 4
N_SHOWN = 6  # test patches whose predictions are kept to look at
CONVENTION = "one confusion matrix over the test split; macro = unweighted mean over all classes"


def train_downstream(
    run: Run,
    inputs: Inputs,
    settings: DownstreamSettings,
    out: Path,
    state: Path,
    choice: Path | None = None,
    ends: float = math.inf,
    resume_only: bool = False,
) -> str:
    """Train one network on one regime with one seed, and test it.

    Writes to `out`: weights.safetensors, config.json, history.csv, ids.json (what it was trained on), confusion.npy
    (true class x predicted class, int64, of the whole test split), confusion_groups.npy (the same for each group),
    predictions.npy (uint8 ids of some test patches), metrics.json. The test split is read once, after training.

    Args:
        run: what is trained.
        inputs: what it is trained on.
        settings: how.
        out: folder of the outputs.
        state: folder of the resumable state.
        choice: choice.json of a search, whose learning rate and steps take the place of those of the settings.
        ends: pause before time.monotonic() says so.
        resume_only: refuse a state of other settings.

    Returns:
        What was made, in words.

    Raises:
        UserError: when there are too few patches for the regime, or sets that cannot be mixed.
    """
    if choice is not None:
        settings = settings.model_copy(update=_chosen(choice))
    experiment = downstream_fit.read(run, inputs, settings, state)
    name = f"{run.network} on {run.dataset} {run.regime_name}, seed {run.seed}"
    fitted = downstream_fit.fit(experiment, settings, state, name, ends, resume_only)
    if not fitted.trained.writes:
        return ""
    device = next(fitted.network.parameters()).device
    tested = downstream_test.score(fitted.network, experiment.patches, experiment.normaliser, device, N_SHOWN)
    stamp = provenance.stamp("train-downstream", STAGE_VERSION, run.seed, settings.model_dump(mode="json"))
    metrics = _metrics(experiment, settings, fitted) | {
        "groups": tested.groups,
        "shown": _ids(experiment, downstream_test.showcase(experiment.patches, N_SHOWN)),
        "split": "test",
        "convention": CONVENTION,
        "scores": tested.scores,
        "provenance": stamp,
    }
    patches = experiment.patches
    config = {
        "kind": "downstream",
        "id": files.digest(fitted.fingerprint),
        "network": run.network,
        "options": settings.options.get(run.network, {}),
        "data": described(patches.meta, patches.images.dtype, patches.images.shape[1:], experiment.normaliser),
        "provenance": stamp,
    }

    def write_more(folder: Path) -> None:
        training.write_history(folder / "history.csv", fitted.trained.history)
        (folder / "ids.json").write_text(json.dumps(experiment.training_set.everything.ids()) + "\n")
        (folder / "metrics.json").write_text(files.to_json(metrics))
        np.save(folder / "confusion.npy", tested.by_group.sum(0))
        np.save(folder / "confusion_groups.npy", tested.by_group)
        np.save(folder / "predictions.npy", tested.shown)

    save_weights(out, fitted.trained.weights, config, write_more)
    experiment.clean()
    shutil.rmtree(state, ignore_errors=True)
    made = training.made(fitted.network, fitted.trained.steps, out)
    return f"{made}, mIoU {tested.scores['miou_macro']:.3f} on {metrics['n_test']} test patches"


def _metrics(experiment: Experiment, settings: DownstreamSettings, fitted: Fitted) -> dict:
    """What was trained, as a table needs it; generator and method are null where nothing synthetic is in it."""
    run, training_set = experiment.run, experiment.training_set
    regime = run.regime
    return {
        "dataset": run.dataset,
        "network": run.network,
        "regime": run.regime_name,
        "method": regime.method if regime.synthetic else "",
        "seed": run.seed,
        "subset_seed": run.subset_seed,
        "generator_seed": run.generator_seed if regime.synthetic else None,
        "n_real": training_set.n_real,
        "n_synthetic": training_set.n_synthetic,
        "n_labels": training_set.n_labels,
        "n_labels_usual": run.n_real,
        "kind": regime.model_dump(mode="json", include={"real", "augmentation", *AS_DRAWN}),
        "budget": settings.budget,
        "steps": fitted.steps,
        "steps_taken": fitted.trained.steps,
        "learning_rate": fitted.recipe.lr,
        "encoder": experiment.encoder,
        "n_test": len(experiment.test),
    }


def _ids(experiment: Experiment, positions: np.ndarray) -> list[str]:
    return experiment.patches.index["id"].iloc[positions].tolist()


def _chosen(path: Path) -> dict:
    """Learning rate and steps of a choice.json."""
    try:
        chosen = json.loads(path.read_text())
        return {"learning_rate": float(chosen["learning_rate"]), "steps": int(chosen["steps"])}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"--choice: {path} is no choice of a search: make it with `specdm search-downstream`."
        ) from error
