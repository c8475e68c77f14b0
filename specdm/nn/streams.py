"""Noise levels of single streams: what is given is clean, what is absent is pure noise, the rest is drawn together.

The latent's streams are image1, image2, ..., mask (see `JointAutoencoder.stream_slices`). A level is an integer: a step
0..n_steps-1 of the schedule, CLEAN below them, where nothing is noise (alpha-bar 1), or n_steps above them, where
nothing but noise is left (alpha-bar 0).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

CLEAN = -1
MASK = "mask"


@dataclass(frozen=True)
class Streams:
    """Names of the streams of a latent, in the order of its channels, and how many channels each has."""

    names: tuple[str, ...]
    channels: tuple[int, ...]

    @classmethod
    def of(cls, slices: dict[str, Sequence[int]]) -> Streams:
        """From name -> (start, stop) on the channel axis, as models remember them."""
        return cls(tuple(slices), tuple(stop - start for start, stop in slices.values()))

    @property
    def images(self) -> tuple[str, ...]:
        return tuple(name for name in self.names if name != MASK)

    def chosen(self, names: Collection[str]) -> Tensor:
        """Which streams are among `names`, (S,) bool."""
        return torch.tensor([name in names for name in self.names])

    def channels_of(self, names: Collection[str]) -> Tensor:
        """Which channels belong to streams among `names`, (Z,) bool."""
        return by_channel(self.chosen(names)[None], self.channels)[0]

    @cached_property
    def conditionals(self) -> tuple[frozenset[str], ...]:
        """What can be given: the mask; all images; and of two dates the first, alone or with the mask."""
        given = [{MASK}, set(self.images)]
        if len(self.images) > 1:
            given += [{self.images[0]}, {self.images[0], MASK}]
        return tuple(map(frozenset, given))


def dropped(given: Collection[str]) -> frozenset[str]:
    """What guidance leaves out of what is given: the mask where there is one, so that a first date stays, else all."""
    return frozenset({MASK} if MASK in given else given)


def by_channel(values: Tensor, channels: Sequence[int]) -> Tensor:
    """Values of streams (N, S), repeated for the channels of each: (N, Z)."""
    return values.repeat_interleave(torch.tensor(channels, device=values.device), dim=1)


@dataclass(frozen=True)
class LevelMixture:
    """How often training meets which levels: the joint draw, or one of the conditionals with equal chances.

    joint_share: share of patches with one level for all streams. null_share: share of the others in which what
    guidance leaves out is absent.
    """

    joint_share: float = 0.5
    null_share: float = 0.2


def training_levels(
    rng: np.random.Generator, labelled: np.ndarray, streams: Streams, n_steps: int, mixture: LevelMixture
) -> np.ndarray:
    """Levels (n, S) int64 of a training batch; labelled (n,) bool: the mask of the others is absent, not given.

    Every row draws one step for the streams that are to be denoised. Rows without a mask are given the images that they
    would be given with one, unless nothing were left to draw.
    """
    n, kinds = len(labelled), (frozenset(), *streams.conditionals)
    step = rng.integers(n_steps, size=n)
    share = (1 - mixture.joint_share) / len(streams.conditionals)
    kind = rng.choice(len(kinds), size=n, p=[mixture.joint_share] + [share] * len(streams.conditionals))
    null = rng.random(n) < mixture.null_share
    images_only = [given - {MASK} for given in kinds]
    without = [kinds.index(given) if len(given) < len(streams.images) else 0 for given in images_only]
    kind = np.where(labelled, kind, np.array(without)[kind])
    given, left_out = (
        np.array([streams.chosen(of).numpy() for of in sets])[kind] for sets in (kinds, [dropped(g) for g in kinds])
    )
    levels = np.where(given, CLEAN, step[:, None])
    levels[left_out & given & (null & labelled)[:, None]] = n_steps
    levels[~labelled, streams.names.index(MASK)] = n_steps
    return levels


def fractions_may_be_told(levels: np.ndarray, streams: Streams, n_steps: int) -> np.ndarray:
    """Where class fractions tell no more than is there, (n,) bool, of levels (n, S).

    Not beside all images, else they would tell of the mask that is to be read from them; not where the mask is absent.
    """
    images = levels[:, [streams.names.index(name) for name in streams.images]]
    return (levels[:, streams.names.index(MASK)] != n_steps) & ~(images == CLEAN).all(1)


def may_tell(rng: np.random.Generator, levels: np.ndarray, streams: Streams, n_steps: int) -> np.ndarray:
    """Where a training batch may be told class fractions, (n,) bool, of levels (n, S).

    Where they tell no more than is there; of masks without any image in half, which are to be known untold as well.
    """
    images = levels[:, [streams.names.index(name) for name in streams.images]]
    untold = (images == n_steps).all(1) & (rng.random(len(levels)) < 0.5)
    return fractions_may_be_told(levels, streams, n_steps) & ~untold
