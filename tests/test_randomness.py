import numpy as np
import pytest
import torch

from specdm.randomness import batch_positions, numpy_generator, seed_of, torch_generator


@pytest.mark.parametrize(("n", "batch"), [(10, 3), (7, 7), (5, 12), (1, 4)])
def test_every_epoch_holds_each_patch_exactly_once(n, batch):
    flat = np.concatenate([batch_positions(n, batch, step, 0, "stage") for step in range(40)])
    for epoch in flat[: len(flat) // n * n].reshape(-1, n):
        assert sorted(epoch) == list(range(n))


def test_a_step_has_one_batch_whatever_was_asked_before():
    direct = batch_positions(100, 8, 57, 1, "stage")
    for step in range(57):
        batch_positions(100, 8, step, 1, "stage")
    np.testing.assert_array_equal(batch_positions(100, 8, 57, 1, "stage"), direct)


def test_epochs_seeds_and_stages_are_shuffled_differently():
    orders = {tuple(batch_positions(30, 30, step, *keys)) for step in (0, 1) for keys in ((0, "a"), (1, "a"), (0, "b"))}
    assert len(orders) == 6


def test_keys_are_kept_apart():
    seeds = {seed_of(*keys) for keys in ((1, 2), (12,), (2, 1), ("1", "", "2"), (1, 2, 0), ("a",))}
    assert len(seeds) == 6
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_generators_repeat_their_numbers():
    assert numpy_generator(3, "x").random() == numpy_generator(3, "x").random()
    assert numpy_generator(3, "x").random() != numpy_generator(4, "x").random()
    first, again = (torch.randn(5, generator=torch_generator(3, "x")) for _ in range(2))
    assert torch.equal(first, again)


def test_a_seed_never_changes_between_versions():
    assert seed_of(0, "train-diffusion", 17) == 5219838792345253916
