"""Choose learning rate and steps of a downstream training on validation, at the same cost for every regime."""

from __future__ import annotations

import csv
import json
import math
import shutil
from pathlib import Path

from specdm import files, provenance
from specdm.errors import TrainingLost, UserError
from specdm.nn import downstream
from specdm.settings import DownstreamSettings
from specdm.stages import downstream_fit
from specdm.stages.downstream_fit import Experiment, Run
from specdm.stages.training_set import Inputs

STAGE_VERSION = 1


def search_downstream(
    run: Run,
    inputs: Inputs,
    settings: DownstreamSettings,
    out: Path,
    state: Path,
    ends: float = math.inf,
) -> str:
    """Train every candidate of settings.search with the run's seed, and keep the one that validates best.

    Writes choice.json (learning_rate, steps, score) and search.csv (a row a candidate) to `out`. The test split is not
    touched. Finished candidates are kept in `state`, so that the same command goes on.

    Returns:
        What was chosen, in words.

    Raises:
        UserError, Paused: see specdm.training.fit.
    """
    experiment = downstream_fit.read(run, inputs, settings, state)
    base = settings.learning_rate or downstream.recipe(run.network).lr
    rows = []
    for rate, length in settings.search.candidates:
        chosen = {"learning_rate": base * rate, "steps": max(1, round(settings.steps * length))}
        name = f"{run.network} on {run.dataset} {run.regime_name}, learning rate x {rate:g}, steps x {length:g}"
        place = state / f"rate-{rate:g}-steps-{length:g}"
        rows.append(chosen | {"score": _score(experiment, settings.model_copy(update=chosen), place, name, ends)})
    if all(row["score"] == -math.inf for row in rows):
        raise UserError(
            f"{run.network} on {run.dataset} {run.regime_name}: no candidate of the search could be trained."
        )
    best = max(rows, key=lambda row: row["score"])
    stamp = provenance.stamp("search-downstream", STAGE_VERSION, run.seed, settings.model_dump(mode="json"))
    with files.new_folder(out, last="choice.json") as temporary:
        with (temporary / "search.csv").open("w", newline="") as stream:
            writer = csv.DictWriter(stream, list(best))
            writer.writeheader()
            writer.writerows(rows)
        (temporary / "choice.json").write_text(files.to_json(best | {"provenance": stamp}))
    experiment.clean()
    shutil.rmtree(state, ignore_errors=True)
    return f"learning rate {best['learning_rate']:g} and {best['steps']} steps, the best of {len(rows)} candidates"


def _score(experiment: Experiment, settings: DownstreamSettings, place: Path, name: str, ends: float) -> float:
    """The validation score that a candidate would be chosen by; -inf where its loss is lost. Kept once known."""
    path, identity = place.with_suffix(".json"), files.digest(downstream_fit.fingerprint(experiment, settings))
    if path.is_file() and (known := json.loads(path.read_text()))["id"] == identity:
        return known["score"]
    try:
        history = downstream_fit.fit(experiment, settings, place, name, ends).trained.history
        scores = [row["score"] for row in history if "score" in row]
        score = max(scores) if settings.select == "best" else scores[-1]
    except TrainingLost as error:
        print(f"{name}: {error}", flush=True)
        score = -math.inf
    with files.new_file(path) as temporary:
        temporary.write_text(json.dumps({"id": identity, "score": score}))
    shutil.rmtree(place, ignore_errors=True)
    return score
