import signal
from types import SimpleNamespace

import pytest
import torch

from specdm.errors import Paused, UserError
from specdm.training import Part, Plan, Task, fit, loop
from tests.training.tiny import (
    FINGERPRINT,
    alike,
    data_at,
    losses,
    plain,
    same,
    stops_at,
    train,
    two_terms,
    with_batch_norm,
    with_dropout,
)


@pytest.mark.parametrize("ema_decay", [None, 0.9])
@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("network", [with_batch_norm, with_dropout])
def test_pausing_and_resuming_changes_no_bit(tmp_path, network, accumulate, ema_decay):
    plan = dict(network=network, accumulate=accumulate, ema_decay=ema_decay)
    whole = train(tmp_path / "a", **plan)
    with pytest.raises(Paused, match="saved at step 10 of 20"):
        train(tmp_path / "b", losses=stops_at(9), **plan)
    steps = []

    def recorded(model, data, device):
        steps.append(data[0])
        return losses(model, data, device)

    parts = train(tmp_path / "b", losses=recorded, **plan)
    assert steps == [step for step in range(10, 20) for _ in range(accumulate)]
    assert same(whole.weights, parts.weights)
    assert whole.history == parts.history


def test_dropout_draws_anew_in_every_step_and_part(tmp_path):
    drawn = []

    def seen(model, data, device):
        drawn.append(model.layers[1](torch.ones(64)))
        return losses(model, data, device)

    train(tmp_path, steps=3, losses=seen, network=with_dropout, accumulate=2)
    assert len({tuple(mask.tolist()) for mask in drawn}) == 6


def test_the_key_of_the_training_sets_its_dropout(tmp_path):
    first, again, other = (
        train(tmp_path / str(i), 4, network=with_dropout, key=key).weights
        for i, key in enumerate([(0, "a"), (0, "a"), (1, "a")])
    )
    assert same(first, again)
    assert not same(first, other)


@pytest.mark.parametrize("pause_at", [7, 10])
def test_a_pause_within_an_interval_keeps_what_its_row_is_made_of(tmp_path, monkeypatch, pause_at):
    monkeypatch.setattr(loop, "N_ROWS", 4)
    whole = train(tmp_path / "a", losses=two_terms)
    assert [row["step"] for row in whole.history] == [5, 10, 15, 20]
    with pytest.raises(Paused):
        train(tmp_path / "b", losses=stops_at(pause_at - 1, two_terms))
    assert train(tmp_path / "b", losses=two_terms).history == whole.history


def test_a_resumed_training_asks_for_the_data_that_is_left(tmp_path):
    asked = []

    def noted(part):
        asked.append(part)
        return data_at(part)

    with pytest.raises(Paused):
        train(tmp_path, losses=stops_at(9), accumulate=2)
    train(tmp_path, data_at=noted, accumulate=2)
    assert asked == [Part(step, index, 2) for step in range(10, 20) for index in range(2)]


def test_sigterm_ends_the_process_as_before_once_training_is_over(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Paused):
        train(tmp_path, losses=stops_at(3))
    assert signal.getsignal(signal.SIGTERM) is before


def test_sigterm_in_the_last_step_does_not_throw_the_training_away(tmp_path):
    trained = train(tmp_path / "a", losses=stops_at(19))
    assert same(trained.weights, train(tmp_path / "b").weights)


@pytest.fixture
def clock(monkeypatch):
    """The loop's clock, moved by hand; each step of `slow` takes a second."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: clock.now))

    def slow(model, data, device):
        clock.now += 1
        return losses(model, data, device)

    clock.slow = slow
    return clock


def test_the_time_budget_pauses_each_run_anew(tmp_path, clock):
    for run in (1, 2):
        with pytest.raises(Paused, match=f"saved at step {30 * run} of 100"):
            train(tmp_path, 100, losses=clock.slow, ends=clock.now + 30)
    assert train(tmp_path, 100, losses=clock.slow, ends=clock.now + 42).steps == 100


def test_a_slow_step_such_as_a_validation_is_not_begun_too_late(tmp_path, clock):
    def validate(model, device, step):
        clock.now += 10
        return {"score": 0.0}

    with pytest.raises(Paused, match="saved at step 24 of 100"):  # 24 s and two validations; a third would end at 64
        train(tmp_path, 100, losses=clock.slow, ends=54, validate=validate, val_every=10)


def test_saving_takes_a_small_share_of_the_time_however_slow_it_is(tmp_path, clock, monkeypatch):
    saved_at, saving_s = [], 1.0

    def save(state, content):
        saved_at.append(content["step"])
        clock.now += saving_s

    monkeypatch.setattr(loop.states, "save", save)
    train(tmp_path, 100, losses=clock.slow, save_every_s=5.0)
    assert saved_at == [6, 27, 48, 69, 90]
    saved_at.clear()
    saving_s = 0.1
    train(tmp_path, 30, losses=clock.slow, save_every_s=5.0)
    assert saved_at == [6, 12, 18, 24]


def test_a_finished_training_saves_nothing_more(tmp_path):
    train(tmp_path / "state")
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["history.csv"]


def test_the_parts_of_a_batch_taken_in_turn_are_the_same_step(tmp_path):
    def by(accumulate):
        return train(tmp_path / str(accumulate), losses=two_terms, network=plain, accumulate=accumulate, ema_decay=0.5)

    whole = by(1)
    for accumulate in (2, 4):
        parts = by(accumulate)
        assert alike(parts.weights, whole.weights, rtol=1e-3, atol=1e-4)
        assert parts.history == [pytest.approx(row, rel=1e-3) for row in whole.history]


def test_the_gradient_of_the_parts_is_the_one_of_the_batch_and_clipped_once(tmp_path):
    """Plain descent shows the size of a gradient, which Adam's steps hide."""

    def after_one_step(accumulate, grad_clip):
        torch.manual_seed(0)
        model = plain()
        optimiser, task = torch.optim.SGD(model.parameters(), 0.1), Task(data_at, losses, 16)
        before = torch.cat([p.detach().flatten() for p in model.parameters()])
        plan = Plan(1, accumulate=accumulate, grad_clip=grad_clip)
        fit(model, optimiser, task, lambda step: 1.0, plan, tmp_path, FINGERPRINT)
        return torch.cat([p.detach().flatten() for p in model.parameters()]) - before

    whole, short = after_one_step(1, 1e9), after_one_step(1, 0.01)
    assert float(whole.norm()) > 0.01
    assert float(short.norm()) == pytest.approx(0.1 * 0.01, rel=1e-3)
    for accumulate in (2, 4):
        torch.testing.assert_close(after_one_step(accumulate, 1e9), whole, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(after_one_step(accumulate, 0.01), short, rtol=1e-4, atol=1e-6)


def test_a_batch_that_does_not_divide_is_told(tmp_path):
    with pytest.raises(UserError, match=r"a batch of 16 does not divide into 3 parts \(1 process.*, accumulate 3\)"):
        train(tmp_path, accumulate=3)
    assert not list(tmp_path.iterdir())


def test_the_average_is_the_recursion_with_a_rising_decay(tmp_path):
    seen, key = [], "layers.0.weight"

    def noted(model, data, device):
        seen.append(next(v.detach().clone() for k, v in model.named_parameters() if k.endswith(key)))
        return losses(model, data, device)

    averaged = train(tmp_path / "a", losses=noted, ema_decay=0.5)
    last = train(tmp_path / "b")
    weights = [*seen[1:], last.weights[key]]
    expected = weights[0].double()
    for n, weight in enumerate(weights[1:], start=1):
        decay = min(0.5, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * weight.double()
    torch.testing.assert_close(averaged.weights[key].double(), expected, rtol=1e-5, atol=1e-6)
    assert averaged.weights.keys() == last.weights.keys()


def test_the_average_has_the_buffers_of_the_network(tmp_path):
    averaged, last = train(tmp_path / "a", ema_decay=0.9), train(tmp_path / "b")
    for key in ("layers.1.running_mean", "layers.1.running_var", "layers.1.num_batches_tracked"):
        assert torch.equal(averaged.weights[key], last.weights[key])


def test_the_factor_scales_each_groups_own_rate(tmp_path):
    rates = []
    model = with_batch_norm()
    groups = [{"params": model.layers[0].parameters(), "lr": 0.1}, {"params": model.layers[3].parameters(), "lr": 0.4}]
    optimiser = torch.optim.SGD(groups)

    def noted(model, data, device):
        rates.append([group["lr"] for group in optimiser.param_groups])
        return losses(model, data, device)

    fit(model, optimiser, Task(data_at, noted, 16), lambda step: 1 / (1 + step), Plan(3), tmp_path, FINGERPRINT)
    assert rates == [pytest.approx([0.1 / n, 0.4 / n]) for n in (1, 2, 3)]


def test_a_resumed_training_starts_from_the_base_rates(tmp_path):
    """The optimiser's state holds the rates of the step it was saved at: they must not become the base."""
    rates = []

    def run(losses):
        model = plain()
        optimiser = torch.optim.SGD(model.parameters(), 0.1)

        def noted(model, data, device):
            rates.append(optimiser.param_groups[0]["lr"])
            return losses(model, data, device)

        fit(model, optimiser, Task(data_at, noted, 16), lambda step: 1 / (1 + step), Plan(6), tmp_path, FINGERPRINT)

    with pytest.raises(Paused):
        run(stops_at(2))
    run(losses)
    assert rates == pytest.approx([0.1 / n for n in range(1, 7)])


def test_each_step_trains_in_training_mode_though_a_validation_came_between(tmp_path):
    modes = []

    def noted(model, data, device):
        modes.append(all(module.training for module in model.modules()))
        return losses(model, data, device)

    def validate(model, device, step):
        assert not model.training
        assert not torch.is_grad_enabled()
        return {"score": 0.0}

    train(tmp_path, 6, losses=noted, validate=validate, val_every=2)
    assert modes == [True] * 6
