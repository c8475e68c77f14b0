import numpy as np
import pytest
import torch

from specdm.training import Part, ema_decay_at, every, in_bfloat16, warmup_then


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


def test_a_linear_fall_ignores_the_power():
    assert warmup_then(100, "linear", 0, power=3)(50) == pytest.approx(0.5)


def test_the_fall_goes_on_during_the_warmup():
    assert warmup_then(100, "linear", 50)(24) == pytest.approx(0.5 * 0.76)


def test_no_rate_of_a_training_is_zero():
    for shape in ("constant", "poly", "linear"):
        factor = warmup_then(7, shape, 3, power=0.9)
        assert all(0 < factor(step) <= 1 for step in range(7))


def test_the_decay_rises_to_its_largest_value():
    assert ema_decay_at(0, 0.999) == pytest.approx(0.1)
    assert ema_decay_at(80, 0.999) == pytest.approx(0.9)
    assert ema_decay_at(10**6, 0.999) == 0.999


@pytest.mark.parametrize(
    ("steps", "times", "between"), [(100, 20, 5), (101, 20, 6), (6, 20, 1), (1, 1, 1), (20, 20, 1)]
)
def test_events_happen_at_most_so_many_times(steps, times, between):
    assert every(steps, times) == between
    assert steps // between <= times


@pytest.mark.parametrize("of", [1, 2, 4])
@pytest.mark.parametrize(
    "batch", [list("abcdefgh"), np.arange(16).reshape(8, 2), torch.arange(8)], ids=["list", "array", "tensor"]
)
def test_the_parts_are_the_batch_in_its_order(batch, of):
    parts = [Part(3, index, of).take(batch) for index in range(of)]
    assert all(type(part) is type(batch) and len(part) == 8 // of for part in parts)
    joined = [entry for part in parts for entry in part]
    assert all(np.array_equal(a, b) for a, b in zip(joined, batch, strict=True))


@pytest.mark.parametrize("gpu", [True, False])
def test_auto_is_bfloat16_on_a_gpu_that_has_it_and_others_are_what_they_say(monkeypatch, gpu):
    monkeypatch.setattr("torch.cuda.is_available", lambda: gpu)
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda: gpu)
    assert [in_bfloat16(p) for p in ("auto", "bf16-mixed", "32-true")] == [gpu, True, False]
