"""Randomness derived from (seed, stage, index): the same draw whatever the batch size, worker or restart."""

from __future__ import annotations

import functools
import hashlib

import numpy as np


def seed_of(*keys: int | str) -> int:
    """A 63-bit seed from any number of keys, for example (seed, "train-diffusion", step)."""
    text = "\x1f".join(str(key) for key in keys)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def numpy_generator(*keys: int | str) -> np.random.Generator:
    """NumPy's generator keyed by `keys`."""
    return np.random.default_rng(seed_of(*keys))


def torch_generator(*keys: int | str):
    """A CPU torch.Generator keyed by `keys`; CPU, so that every device sees the same numbers."""
    import torch

    return torch.Generator().manual_seed(seed_of(*keys))


@functools.lru_cache(maxsize=4)
def _epoch_order(n: int, epoch: int, keys: tuple) -> np.ndarray:
    return numpy_generator(*keys, "epoch", epoch).permutation(n)


def batch_positions(n: int, batch: int, step: int, *keys: int | str) -> np.ndarray:
    """Positions in 0..n-1 of the batch of a step: shuffled epochs laid end to end, so that any step can be resumed."""
    flat = np.arange(step * batch, (step + 1) * batch)
    return np.array([_epoch_order(n, int(i // n), keys)[i % n] for i in flat])
