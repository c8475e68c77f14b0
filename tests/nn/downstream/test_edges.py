from __future__ import annotations

import numpy as np
import pytest
import torch

from specdm.nn.downstream.edges import balanced_edge_loss, edge_targets, ohem_cross_entropy
from tests.nn.downstream.slow_edges import slow_edge_loss, slow_edges, slow_ohem


@pytest.mark.parametrize("width", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("rule", ["multiclass", "upstream"])
def test_edge_targets_agree_with_loops(rule, width):
    generator = torch.Generator().manual_seed(3)
    coarse = torch.tensor([0, 1, 2, 255])[torch.randint(0, 4, (3, 5, 7), generator=generator)]
    target = coarse.repeat_interleave(4, 1).repeat_interleave(5, 2)
    edges = edge_targets(target, rule, width)
    assert edges.dtype == torch.uint8 and edges.shape == target.shape
    np.testing.assert_array_equal(edges.numpy(), slow_edges(target, rule, width))
    if width % 2 == 0:
        assert torch.equal(edge_targets(target.flip(1, 2), rule, width).flip(1, 2), edges)


def test_edges_are_lines_of_the_width_asked_for():
    target = torch.full((1, 12, 12), 1, dtype=torch.uint8)
    target[..., 6:] = 2
    assert edge_targets(target, "multiclass", 3)[0, 5].tolist() == [0] * 4 + [1] * 3 + [0] * 5
    assert edge_targets(target)[0, 5].tolist() == [0] * 5 + [1] * 2 + [0] * 5
    assert not edge_targets(target, "upstream", 3).any()
    target[..., 6:] = 255
    assert edge_targets(target)[0, 5].tolist() == [0] * 6 + [255] * 6


def test_edge_loss_agrees_with_numpy():
    generator = torch.Generator().manual_seed(4)
    logits = torch.randn(2, 3, 6, 5, generator=generator)
    edges = torch.tensor([0, 0, 0, 1, 255], dtype=torch.uint8)[torch.randint(0, 5, (2, 6, 5), generator=generator)]
    loss = balanced_edge_loss(logits.bfloat16(), edges)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(slow_edge_loss(logits.bfloat16(), edges.numpy()), rel=1e-5)
    for nothing in (0, 1, 255):
        assert balanced_edge_loss(logits, torch.full_like(edges, nothing)) == 0


@pytest.mark.parametrize("weights", [None, torch.tensor([1.0, 4.0, 0.5])])
@pytest.mark.parametrize("threshold, min_kept", [(0.7, 1), (0.7, 60), (0.2, 30), (0.2, 10_000), (0.999, 1)])
def test_hard_pixels_agree_with_numpy(threshold, min_kept, weights):
    generator = torch.Generator().manual_seed(5)
    logits = 2 * torch.randn(2, 3, 7, 6, generator=generator)
    target = torch.tensor([0, 1, 2, 255])[torch.randint(0, 4, (2, 7, 6), generator=generator)]
    loss = ohem_cross_entropy(logits, target, threshold, min_kept, weights)
    assert loss.item() == pytest.approx(slow_ohem(logits, target, threshold, min_kept, weights), rel=1e-5)


def test_hard_pixels_are_chosen_from_the_whole_batch_and_easy_ones_get_no_gradient():
    logits = torch.tensor([3.0, 2.0, -1.0, 4.0]).view(2, 1, 1, 2)
    logits = torch.cat((logits, torch.zeros_like(logits)), 1).requires_grad_()
    target = torch.zeros(2, 1, 2, dtype=torch.uint8)
    ohem_cross_entropy(logits, target, threshold=0.5, min_kept=2).backward()
    assert (logits.grad.abs().sum(1) > 0).flatten().tolist() == [False, True, True, False]
