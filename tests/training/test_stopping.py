import pytest

from specdm.errors import Paused
from tests.training.tiny import same, stops_at, train


class _Scores:
    """Validation that says given scores, one after the other, and remembers the weights it saw."""

    def __init__(self, *scores):
        self.scores, self.steps, self.seen = scores, [], []

    def __call__(self, model, device, step):
        assert not model.training
        self.steps.append(step)
        self.seen.append({key: value.clone() for key, value in model.state_dict().items()})
        return {"score": self.scores[len(self.steps) - 1]}


@pytest.mark.parametrize("ema_decay", [None, 0.9])
@pytest.mark.parametrize("pause_at", [None, 14])
def test_the_best_weights_are_kept_through_a_pause(tmp_path, pause_at, ema_decay):
    validate = _Scores(0.1, 0.9, 0.3, 0.2)
    plan = dict(val_every=5, keep="best", validate=validate, ema_decay=ema_decay)
    if pause_at:
        with pytest.raises(Paused):
            train(tmp_path, losses=stops_at(pause_at - 1), **plan)
    trained = train(tmp_path, **plan)
    assert validate.steps == [5, 10, 15, 20]
    assert same(trained.weights, validate.seen[1])
    assert not same(trained.weights, validate.seen[3])
    assert [row["score"] for row in trained.history if "score" in row] == [0.1, 0.9, 0.3, 0.2]


def test_the_first_of_equal_scores_is_the_best(tmp_path):
    validate = _Scores(0.5, 0.5, 0.4, 0.5)
    assert same(train(tmp_path, val_every=5, keep="best", validate=validate).weights, validate.seen[0])


def test_the_last_weights_are_kept_when_asked_for(tmp_path):
    trained = train(tmp_path / "a", val_every=5, validate=lambda model, device, step: {"score": -1.0})
    assert same(trained.weights, train(tmp_path / "b").weights)


def test_the_last_step_is_validated_though_it_ends_no_interval(tmp_path):
    validate = _Scores(0.1, 0.2, 0.3)
    train(tmp_path, 11, val_every=4, validate=validate)
    assert validate.steps == [4, 8, 11]


def test_no_validation_happens_when_none_is_asked_for(tmp_path):
    validate = _Scores()
    train(tmp_path, val_every=0, validate=validate, keep="best")
    assert validate.steps == []


@pytest.mark.parametrize("keep", ["best", "last"])
def test_patience_ends_a_training_that_no_longer_improves(tmp_path, capsys, keep):
    validate = _Scores(0.5, 0.4, 0.9, 0.9, 0.2)
    trained = train(tmp_path, val_every=2, patience=2, keep=keep, validate=validate)
    assert validate.steps == [2, 4, 6, 8, 10]
    assert trained.steps == 10
    assert trained.history[-1]["step"] == 10
    assert same(trained.weights, validate.seen[2 if keep == "best" else 4])
    assert "stopped at step 10, best 2 validations before" in capsys.readouterr().out


def test_one_better_score_restores_all_patience(tmp_path):
    validate = _Scores(0.5, 0.4, 0.6, 0.1, 0.7, 0.2, 0.8, 0.3, 0.9, 0.4)
    assert train(tmp_path, val_every=2, patience=2, validate=validate).steps == 20


def test_the_patience_used_up_survives_a_pause(tmp_path):
    validate = _Scores(0.5, 0.4, 0.3, 0.2)
    plan = dict(val_every=2, patience=3, keep="best", validate=validate)
    with pytest.raises(Paused, match="step 7 of 20"):
        train(tmp_path, losses=stops_at(6), **plan)
    trained = train(tmp_path, **plan)
    assert trained.steps == 8
    assert same(trained.weights, validate.seen[0])


def test_without_patience_no_training_ends_early(tmp_path, capsys):
    trained = train(tmp_path, val_every=2, patience=0, keep="best", validate=_Scores(*range(10, 0, -1)))
    assert trained.steps == 20
    assert "stopped" not in capsys.readouterr().out
