import csv
import json
import math
from types import SimpleNamespace

import pytest

from specdm.errors import Paused, UserError
from specdm.nn import downstream
from specdm.patches import open_patches
from specdm.settings import DownstreamSettings, Regime
from specdm.stages import downstream_fit, search_downstream
from specdm.stages.batches import Mixture
from specdm.stages.downstream_fit import Run
from specdm.stages.training_set import Inputs

SEARCH = {"learning_rates": [1, 20], "steps": [0.5, 1]}


@pytest.fixture
def search(tmp_path, segmentation_patches, settings):
    def run(ends=math.inf, **changed):
        changed = {"steps": 4, "val_every": 1, "search": SEARCH} | changed
        search_downstream.search_downstream(
            Run("fields", "segformer-b0", "real", Regime(real=1, synthetic=0), 6),
            Inputs(segmentation_patches),
            DownstreamSettings(**settings.downstream | changed),
            tmp_path / "out",
            tmp_path / "state",
            ends,
        )
        return tmp_path / "out"

    return run


def rows(out):
    return list(csv.DictReader((out / "search.csv").open()))


def test_the_candidate_that_validates_best_is_chosen_of_all(search, tmp_path):
    out = search()
    tried = rows(out)
    rate = downstream.recipe("segformer-b0").lr
    pairs = [(float(row["learning_rate"]), int(row["steps"])) for row in tried]
    assert pairs == [(rate, 2), (rate, 4), (20 * rate, 2), (20 * rate, 4)]
    choice = json.loads((out / "choice.json").read_text())
    best = max(tried, key=lambda row: float(row["score"]))
    assert (choice["learning_rate"], choice["steps"]) == (float(best["learning_rate"]), int(best["steps"]))
    assert choice["score"] == float(best["score"]) and len({row["score"] for row in tried}) > 1
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize(("select", "score"), [("best", 0.7), ("last", 0.4)])
def test_a_candidate_scores_what_the_weights_that_would_be_kept_validate(search, monkeypatch, select, score):
    history = [{"step": 1, "score": 0.2}, {"step": 2, "score": 0.7}, {"step": 3}, {"step": 4, "score": 0.4}]
    fitted = SimpleNamespace(trained=SimpleNamespace(history=history))
    monkeypatch.setattr(downstream_fit, "fit", lambda *rest: fitted)
    assert {float(row["score"]) for row in rows(search(select=select))} == {score}


def test_the_search_never_reads_the_test_split(search, monkeypatch, segmentation_patches):
    seen, original = set(), Mixture.batch

    def recorded(self, batch_rows, *rest):
        seen.update(self.positions[batch_rows])
        return original(self, batch_rows, *rest)

    monkeypatch.setattr(Mixture, "batch", recorded)
    search()
    patches = open_patches(segmentation_patches)
    assert seen and not seen & set(patches.ids("test"))


def test_an_interrupted_search_trains_no_candidate_twice(search, monkeypatch):
    trained, original = [], downstream_fit.fit

    def recorded(experiment, settings, state, *rest):
        if len(trained) == 2:
            trained.append("stopped")
            raise Paused("later")
        trained.append(state.name)
        return original(experiment, settings, state, *rest)

    monkeypatch.setattr(downstream_fit, "fit", recorded)
    with pytest.raises(Paused):
        search()
    search()
    names = [f"rate-{rate}-steps-{steps}" for rate in (1, 20) for steps in (0.5, 1)]
    assert trained == [*names[:2], "stopped", *names[2:]]


def test_the_time_of_all_candidates_together_is_limited(search):
    with pytest.raises(Paused):
        search(ends=0)


def test_a_candidate_that_is_lost_does_not_end_the_search(search, capsys):
    out = search(search={"learning_rates": [1, 1e30]})
    scores = [float(row["score"]) for row in rows(out)]
    assert scores[0] > 0 and (scores[1] == float("-inf") or scores[1] <= scores[0])
    assert json.loads((out / "choice.json").read_text())["learning_rate"] < 1


def test_a_search_without_any_finite_training_says_so(search):
    with pytest.raises(UserError, match="no candidate of the search could be trained"):
        search(learning_rate=1e30, steps=40, search={"learning_rates": [1, 10]})
