import re

import pytest
import torch

from specdm.errors import UserError
from tests.training.tiny import losses, plain, train, with_batch_norm

NAMES = [f"patch{i}" for i in range(16)]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_names_the_step(tmp_path, value):
    def broken(model, data, device):
        return {"total": losses(model, data, device)["total"] * (value if data[0] == 7 else 1)}

    with pytest.raises(UserError, match=rf"total is not finite at step 7 \(total {value}\): lower the learning rate"):
        train(tmp_path, losses=broken)


def test_a_loss_that_is_not_finite_for_itself_alone_is_told_though_its_gradient_is_fine(tmp_path):
    def broken(model, data, device):
        return {"total": losses(model, data, device)["total"] + (torch.inf if data[0] == 7 else 0)}

    with pytest.raises(UserError, match="total is not finite at step 7"):
        train(tmp_path, losses=broken)


def test_the_term_that_broke_the_total_is_named_with_the_numbers_of_all(tmp_path):
    def broken(model, data, device):
        sound = losses(model, data, device)["total"]
        angle = sound * (torch.nan if data[0] == 3 else 1)
        return {"total": sound + angle, "sound": sound * 0 + 2, "angle": angle}

    with pytest.raises(UserError, match=r"training: angle is not finite at step 3 \(total nan, sound 2, angle nan\)"):
        train(tmp_path, losses=broken)


@pytest.mark.parametrize("bad", [0, 1])
def test_the_part_with_the_broken_loss_is_named_by_its_patches(tmp_path, bad):
    turn = []

    def broken(model, data, device):
        turn.append(data[0])
        ill = data[0] == 5 and turn.count(5) == bad + 1
        return {"total": losses(model, data, device)["total"] * (torch.nan if ill else 1)}

    with pytest.raises(UserError) as told:
        train(tmp_path, losses=broken, accumulate=2, ids=lambda part: part.take(NAMES))
    assert re.findall(r"patch\d+", str(told.value)) == NAMES[8 * bad : 8 * bad + 8]


def _steep(model, data, device):
    """Finite, but its gradient is not: the square root at zero."""
    flat = (next(model.parameters()) * 0).abs().sum().sqrt()
    return {"total": losses(model, data, device)["total"] + (flat if data[0] == 4 else 0)}


def test_a_single_step_without_a_finite_gradient_is_left_out_and_told(tmp_path, capsys):
    model, seen = plain(), {}

    def noted(wrapped, data, device):
        seen[int(data[0])] = [p.detach().clone() for p in model.parameters()]
        return _steep(wrapped, data, device)

    trained = train(tmp_path, losses=noted, network=lambda: model)
    told = [line for line in capsys.readouterr().out.splitlines() if "left out" in line]
    assert len(told) == 1
    assert re.match(r"training: the gradient is not finite at step 4 \(total \d.*\): the step is left out", told[0])
    same = [all(torch.equal(a, b) for a, b in zip(seen[i], seen[i + 1], strict=True)) for i in range(len(seen) - 1)]
    assert [i for i, equal in enumerate(same) if equal] == [4]
    assert all(value.isfinite().all() for value in trained.weights.values())


def _ill_at(steps):
    def ill(model, data, device):
        return _steep(model, (4 if data[0] in steps else -1, *data[1:]), device)

    return ill


def test_a_gradient_that_stays_not_finite_ends_the_training(tmp_path, monkeypatch):
    monkeypatch.setattr("specdm.training.loop.LEFT_OUT_IN_A_ROW", 3)
    with pytest.raises(UserError, match=r"not finite at step 6 \(.*\), as in the 2 steps before: lower the learning"):
        train(tmp_path / "a", losses=_ill_at({4, 5, 6}))
    train(tmp_path / "b", losses=_ill_at({3, 4, 6, 7}))  # never three in a row


def _raising(error: Exception):
    def broken(model, data, device):
        if data[0] == 2:
            raise error
        return losses(model, data, device)

    return broken


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:118] . DefaultCPUAllocator: not enough memory: you tried"),
    ],
)
def test_too_little_memory_is_told_with_what_lowers_the_need(tmp_path, error):
    with pytest.raises(UserError, match=r"out of memory at a batch of 16 in 2 parts") as told:
        train(tmp_path, losses=_raising(error), accumulate=2)
    assert all(f"`{name}`" in str(told.value) for name in ("accumulate", "batch", "width"))
    assert told.value.__cause__ is error


@pytest.mark.parametrize("error", [RuntimeError("mat1 and mat2 shapes cannot be multiplied"), KeyError("total")])
def test_other_errors_pass_as_they_are(tmp_path, error):
    with pytest.raises(type(error)) as told:
        train(tmp_path, losses=_raising(error))
    assert told.value is error


def test_an_error_of_the_data_ends_the_training(tmp_path):
    def data_at(part):
        raise UserError("images.npy is damaged")

    with pytest.raises(UserError, match=r"images\.npy is damaged"):
        train(tmp_path, data_at=data_at, network=with_batch_norm)
