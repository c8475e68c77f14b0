import csv
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from specdm import training
from specdm.errors import TrainingPaused, UserError
from specdm.training import Part, Plan, Task, ema_decay_at, fit, warmup_then

FINGERPRINT = {"settings": {"lr": 0.05}, "data": "abc"}


class _Noisy(nn.Module):
    """A small network with a buffer that moves (batch norm), as the downstream networks have."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 1))

    def forward(self, x):
        return self.layers(x)


def _data_at(part: Part):
    """The step's number and the part's own rows of the step's batch."""
    generator = torch.Generator().manual_seed(part.step)
    return part.step, part.take(torch.randn(16, 3, generator=generator))


def _losses(model, data, device):
    x = data[1].to(device)
    return {"total": (model(x) - x.sum(1, keepdim=True)).square().mean()}


def _train(
    state: Path, steps=20, losses=_losses, fingerprint=FINGERPRINT, validate=None, factor=None, ids=None, **plan
):
    torch.manual_seed(0)
    model = _Noisy()
    return fit(
        model,
        torch.optim.AdamW(model.parameters(), 0.05),
        Task(_data_at, losses, 16, ids, validate),
        factor or warmup_then(steps, "poly", 4),
        Plan(steps, **plan),
        state,
        fingerprint,
    )


def _same(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def _stops_at(step_to_stop: int):
    def losses(model, data, device):
        if data[0] == step_to_stop:
            os.kill(os.getpid(), signal.SIGTERM)
        return _losses(model, data, device)

    return losses


@pytest.mark.parametrize("ema_decay", [None, 0.9])
def test_pausing_and_resuming_changes_no_bit(tmp_path, ema_decay):
    whole = _train(tmp_path / "a", ema_decay=ema_decay)
    with pytest.raises(TrainingPaused, match="saved at step 10 of 20"):
        _train(tmp_path / "b", losses=_stops_at(9), ema_decay=ema_decay)
    steps = []

    def recorded(model, data, device):
        steps.append(data[0])
        return _losses(model, data, device)

    parts = _train(tmp_path / "b", losses=recorded, ema_decay=ema_decay)
    assert steps == list(range(10, 20))
    assert _same(whole.weights, parts.weights)


def test_sigterm_ends_the_process_as_before_once_training_is_over(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(TrainingPaused):
        _train(tmp_path, losses=_stops_at(3))
    assert signal.getsignal(signal.SIGTERM) is before


def test_sigterm_in_the_last_step_does_not_throw_the_training_away(tmp_path):
    trained = _train(tmp_path / "a", losses=_stops_at(19))
    assert _same(trained.weights, _train(tmp_path / "b").weights)


def test_the_time_budget_pauses(tmp_path):
    with pytest.raises(TrainingPaused, match="saved at step 1 of 20"):
        _train(tmp_path, max_minutes=1e-9)


def test_a_finished_training_saves_nothing_more(tmp_path):
    _train(tmp_path / "state")
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["history.csv"]


@pytest.mark.parametrize(
    ("other", "key"),
    [
        ({"settings": {"lr": 0.1}, "data": "abc"}, "settings.lr"),
        ({"settings": {"lr": 0.05}, "data": "xyz"}, "data"),
        (FINGERPRINT | {"stage_version": 2}, "stage_version"),
    ],
)
def test_a_state_of_another_run_is_set_aside_and_named(tmp_path, capsys, other, key):
    with pytest.raises(TrainingPaused):
        _train(tmp_path / "state", losses=_stops_at(9))
    with pytest.raises(UserError, match=f"{key} differs: train without --resume-only"):
        _train(tmp_path / "state", fingerprint=other, resume_only=True)
    anew = _train(tmp_path / "state", fingerprint=other)
    assert _same(anew.weights, _train(tmp_path / "fresh").weights)
    assert f"set aside as stale-state-1: {key} differs" in capsys.readouterr().err
    assert torch.load(tmp_path / "stale-state-1" / "last.pt", weights_only=True)["step"] == 10


def test_stale_states_never_overwrite_each_other(tmp_path):
    for data in ("a", "b", "c"):
        with pytest.raises(TrainingPaused):
            _train(tmp_path / "state", losses=_stops_at(2), fingerprint={"data": data})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["stale-state-1", "stale-state-2", "state"]


def test_resume_only_accepts_the_same_run_and_a_first_one(tmp_path):
    with pytest.raises(TrainingPaused):
        _train(tmp_path / "state", losses=_stops_at(9), resume_only=True)
    assert _same(_train(tmp_path / "state", resume_only=True).weights, _train(tmp_path / "fresh").weights)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not a zip"])
def test_a_damaged_state_is_told(tmp_path, content):
    (tmp_path / "last.pt").write_bytes(content)
    with pytest.raises(UserError, match=r"last\.pt is damaged: remove the folder .* to train anew"):
        _train(tmp_path)


def test_a_truncated_state_is_told(tmp_path):
    with pytest.raises(TrainingPaused):
        _train(tmp_path, losses=_stops_at(2))
    whole = (tmp_path / "last.pt").read_bytes()
    (tmp_path / "last.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="is damaged"):
        _train(tmp_path)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_names_the_step(tmp_path, value):
    def losses(model, data, device):
        total = _losses(model, data, device)["total"]
        return {"total": total * (value if data[0] == 7 else 1)}

    with pytest.raises(UserError, match=rf"total is not finite at step 7 \(total {value}\): lower the learning rate"):
        _train(tmp_path, losses=losses)


def test_the_average_is_the_recursion_with_a_rising_decay(tmp_path):
    seen, key = [], "layers.0.weight"

    def losses(model, data, device):
        seen.append(next(v.detach().clone() for k, v in model.named_parameters() if k.endswith(key)))
        return _losses(model, data, device)

    averaged = _train(tmp_path / "a", losses=losses, ema_decay=0.5)
    last = _train(tmp_path / "b")
    weights = [*seen[1:], last.weights[key]]
    expected = weights[0].double()
    for n, weight in enumerate(weights[1:], start=1):
        decay = min(0.5, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * weight.double()
    torch.testing.assert_close(averaged.weights[key].double(), expected, rtol=1e-5, atol=1e-6)
    assert averaged.weights.keys() == last.weights.keys()


def test_the_decay_rises_to_its_largest_value():
    assert ema_decay_at(0, 0.999) == pytest.approx(0.1)
    assert ema_decay_at(80, 0.999) == pytest.approx(0.9)
    assert ema_decay_at(10**6, 0.999) == 0.999


@pytest.mark.parametrize("pause_at", [None, 14])
def test_the_best_weights_are_kept_through_a_pause(tmp_path, pause_at):
    scores = {5: 0.1, 10: 0.9, 15: 0.3, 20: 0.2}
    kept, counter = {}, []

    def validate(model, device, step):
        counter.append(5 * (1 + len(counter)))
        kept[counter[-1]] = {k: v.clone() for k, v in model.state_dict().items()}
        assert not model.training
        return {"score": scores[counter[-1]]}

    plan = dict(val_every=5, keep="best", validate=validate)
    if pause_at:
        with pytest.raises(TrainingPaused):
            _train(tmp_path, losses=_stops_at(pause_at - 1), **plan)
    trained = _train(tmp_path, **plan)
    assert _same(trained.weights, kept[10])
    assert not _same(trained.weights, kept[20])
    assert [row["score"] for row in trained.history if "score" in row] == list(scores.values())


def test_the_last_weights_are_kept_when_asked_for(tmp_path):
    trained = _train(tmp_path / "a", val_every=5, validate=lambda model, device, step: {"score": -1.0})
    assert _same(trained.weights, _train(tmp_path / "b").weights)


def test_the_learning_rate_warms_up_and_falls():
    poly, linear, constant = (
        warmup_then(100, "poly", 10, power=0.9),
        warmup_then(100, "linear", 0),
        warmup_then(100, "constant", 10),
    )
    assert [constant(step) for step in (0, 4, 9, 50, 99)] == pytest.approx([0.1, 0.5, 1, 1, 1])
    assert [linear(step) for step in (0, 50, 99)] == pytest.approx([1, 0.5, 0.01])
    assert poly(0) == pytest.approx(0.1)
    assert poly(50) == pytest.approx(0.5**0.9)


def test_the_factor_scales_each_groups_own_rate(tmp_path):
    rates = []
    model = _Noisy()
    groups = [{"params": model.layers[0].parameters(), "lr": 0.1}, {"params": model.layers[3].parameters(), "lr": 0.4}]
    optimiser = torch.optim.SGD(groups)

    def losses(model, data, device):
        rates.append([group["lr"] for group in optimiser.param_groups])
        return _losses(model, data, device)

    fit(model, optimiser, Task(_data_at, losses, 16), lambda step: 1 / (1 + step), Plan(3), tmp_path, FINGERPRINT)
    assert rates == [pytest.approx([0.1 / n, 0.4 / n]) for n in (1, 2, 3)]


def test_history_with_changing_columns_becomes_one_table(tmp_path):
    training.write_history(tmp_path / "h.csv", [{"step": 1, "total": 0.5}, {"step": 2, "total": 0.4, "score": 0.1}])
    assert list(csv.DictReader((tmp_path / "h.csv").open())) == [
        {"step": "1", "total": "0.5", "score": ""},
        {"step": "2", "total": "0.4", "score": "0.1"},
    ]


def test_a_killed_process_goes_on_from_its_last_saved_state(tmp_path):
    """SIGKILL leaves no time to save: the state of save_every_s is what the same command finds."""
    script = f"""
import importlib.util, os, signal, sys
spec = importlib.util.spec_from_file_location("tests_training", {__file__!r})
tests = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tests)

def losses(model, data, device):
    if data[0] == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    return tests._losses(model, data, device)

tests._train(tests.Path({str(tmp_path / "state")!r}), losses=losses, ema_decay=0.9, save_every_s=0.0)
"""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, timeout=120)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert 1 <= torch.load(tmp_path / "state" / "last.pt", weights_only=True)["step"] <= 7
    resumed = _train(tmp_path / "state", ema_decay=0.9)
    assert _same(resumed.weights, _train(tmp_path / "fresh", ema_decay=0.9).weights)
