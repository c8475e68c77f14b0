from __future__ import annotations

import numpy as np
import pytest
import torch

from specdm.nn.downstream.lovasz import lovasz_softmax


def _jaccard_loss(truth, wrong):
    """1 - IoU of the set `truth` when exactly the pixels in `wrong` are mistaken, by counting sets."""
    truth, wrong = set(np.flatnonzero(truth)), set(np.flatnonzero(wrong))
    predicted = truth ^ wrong
    return 1 - len(truth & predicted) / len(truth | predicted)


def _lovasz_extension(errors, truth):
    """Lovasz extension of the Jaccard loss at `errors`: the pixels join the wrong ones in order of their error."""
    wrong, total, before = np.zeros(len(errors), bool), 0.0, 0.0
    for pixel in np.argsort(-errors, kind="stable"):
        wrong[pixel] = True
        after = _jaccard_loss(truth, wrong)
        total += errors[pixel] * (after - before)
        before = after
    return total


def _by_definition(logits, target):
    logits, target = logits.double().movedim(1, -1).flatten(0, -2).numpy(), target.flatten().numpy()
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    p, target = p[target != 255], target[target != 255]
    losses = [_lovasz_extension(np.abs((target == k) - p[:, k]), target == k) for k in np.unique(target)]
    return np.mean(losses)


def _batch(classes=3, size=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, classes, size, size, generator=generator)
    target = torch.randint(0, classes, (2, size, size), generator=generator)
    target[torch.rand(target.shape, generator=generator) < 0.2] = 255
    return logits, target


@pytest.mark.parametrize("classes, seed", [(2, 0), (3, 1), (5, 2)])
def test_it_is_the_extension_of_the_jaccard_loss(classes, seed):
    logits, target = _batch(classes, seed=seed)
    assert lovasz_softmax(logits, target).item() == pytest.approx(_by_definition(logits, target), rel=1e-5)


def test_classes_without_a_labelled_pixel_do_not_count():
    logits, target = _batch(4)
    target[target == 2] = 0
    assert lovasz_softmax(logits, target).item() == pytest.approx(_by_definition(logits, target), rel=1e-5)


def test_a_class_counts_once_a_batch_and_not_once_an_image():
    logits, target = _batch(2)
    target[1] = 0
    each = torch.stack([lovasz_softmax(a[None], b[None]) for a, b in zip(logits, target)]).mean()
    assert lovasz_softmax(logits, target).item() == pytest.approx(_by_definition(logits, target), rel=1e-5)
    assert abs(lovasz_softmax(logits, target) - each) > 1e-2


def test_hard_predictions_cost_one_minus_iou():
    _, target = _batch(3, seed=3)
    predicted = torch.randint(0, 3, target.shape, generator=torch.Generator().manual_seed(4))
    logits = torch.nn.functional.one_hot(predicted, 3).movedim(-1, 1) * 1000.0
    labelled = target != 255
    ious = []
    for k in range(3):
        a, b = (predicted == k) & labelled, target == k
        ious.append(((a & b).sum() / (a | b).sum()).item())
    assert lovasz_softmax(logits, target).item() == pytest.approx(1 - np.mean(ious), rel=1e-6)
    perfect = torch.nn.functional.one_hot(target.clamp_max(2), 3).movedim(-1, 1) * 1000.0
    assert lovasz_softmax(perfect, target) == 0


def test_the_order_of_pixels_and_what_is_predicted_where_nothing_is_labelled_do_not_matter():
    logits, target = _batch()
    order = torch.randperm(72, generator=torch.Generator().manual_seed(1))
    shuffled = logits.movedim(1, 0).flatten(1)[:, order].unflatten(1, (2, 6, 6)).movedim(0, 1)
    loss = lovasz_softmax(logits, target)
    torch.testing.assert_close(lovasz_softmax(shuffled, target.flatten()[order].view(2, 6, 6)), loss)
    elsewhere = torch.where((target == 255)[:, None], torch.randn(logits.shape), logits)
    torch.testing.assert_close(lovasz_softmax(elsewhere, target), loss)
    torch.testing.assert_close(lovasz_softmax(logits, torch.where(target == 255, 7, target), ignore=7), loss)


def test_the_gradient_is_that_of_the_definition():
    logits, target = _batch()
    logits.requires_grad_()
    lovasz_softmax(logits, target).backward()
    rng = np.random.default_rng(0)
    for _ in range(8):
        at = tuple(rng.integers(size) for size in logits.shape)
        step = torch.zeros_like(logits).double()
        step[at] = 1e-6
        up, down = (_by_definition(logits.detach().double() + sign * step, target) for sign in (1, -1))
        assert logits.grad[at].item() == pytest.approx((up - down) / 2e-6, rel=1e-3, abs=1e-6)
    assert (logits.grad.abs().sum(1)[target == 255] == 0).all()


def test_slopes_do_not_drown_in_rounding():
    """A million pixels of one class and one error: each gets the same gradient."""
    logits = torch.zeros(1, 2, 1000, 1000, requires_grad=True)
    target = torch.zeros(1, 1000, 1000, dtype=torch.uint8)
    loss = lovasz_softmax(logits, target)
    loss.backward()
    assert loss.item() == pytest.approx(0.5, rel=1e-4)
    expected = -0.25 / target.numel()  # all pixels are true: slope 1 / U, and p (1 - p) of the softmax
    assert logits.grad[0, 0].min().item() == pytest.approx(expected, rel=1e-4)
    assert logits.grad[0, 0].max().item() == pytest.approx(expected, rel=1e-4)


def test_nothing_labelled_costs_nothing_and_moves_nothing():
    logits = torch.randn(2, 3, 4, 4, requires_grad=True)
    loss = lovasz_softmax(logits, torch.full((2, 4, 4), 255))
    loss.backward()
    assert loss == 0 and loss.shape == ()
    assert (logits.grad == 0).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_it_is_computed_in_float32(dtype):
    logits, target = _batch()
    logits = logits.to(dtype)
    loss = lovasz_softmax(logits, target.to(torch.uint8))
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, lovasz_softmax(logits.float(), target))
