"""Noise levels of single streams: how often training meets which, and where class fractions may be told."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from specdm.nn.streams import (
    CLEAN,
    MASK,
    LevelMixture,
    Streams,
    by_channel,
    dropped,
    fractions_may_be_told,
    may_tell,
    training_levels,
)

T = 40
PAIR = Streams(("image1", "image2", MASK), (2, 2, 3))
SINGLE = Streams(("image1", MASK), (4, 1))
N = 20_000


def _levels(streams, mixture=None, labelled=None, seed=0):
    labelled = np.ones(N, bool) if labelled is None else labelled
    return training_levels(np.random.default_rng(seed), labelled, streams, T, mixture or LevelMixture())


def _patterns(levels):
    """Each row in letters: c for clean, n for nothing but noise, d for drawn."""
    return np.array(["".join("c" if x == CLEAN else "n" if x == T else "d" for x in row) for row in levels])


def _require_share(found, share):
    """Within four standard deviations of a binomial."""
    n = len(found)
    assert abs(found.sum() - n * share) <= 4 * (n * share * (1 - share)) ** 0.5, (found.mean(), share)


def test_streams_are_read_from_what_models_remember():
    assert Streams.of({"image1": [0, 2], "image2": [2, 4], "mask": [4, 7]}) == PAIR
    assert PAIR.images == ("image1", "image2") and SINGLE.images == ("image1",)


def test_what_can_be_given_is_the_mask_all_images_or_the_first_date():
    assert set(PAIR.conditionals) == {
        frozenset({"mask"}),
        frozenset({"image1", "image2"}),
        frozenset({"image1"}),
        frozenset({"image1", "mask"}),
    }
    assert set(SINGLE.conditionals) == {frozenset({"mask"}), frozenset({"image1"})}
    assert len(PAIR.conditionals) == 4 and len(SINGLE.conditionals) == 2


@pytest.mark.parametrize(
    ("given", "left_out"),
    [
        ({"mask"}, {"mask"}),
        ({"image1", "mask"}, {"mask"}),
        ({"image1"}, {"image1"}),
        ({"image1", "image2"}, {"image1", "image2"}),
        (set(), set()),
    ],
)
def test_guidance_leaves_out_the_mask_or_else_everything(given, left_out):
    assert dropped(given) == left_out


@pytest.mark.parametrize("streams", [PAIR, SINGLE])
def test_channels_follow_their_streams(streams):
    values = torch.arange(2 * len(streams.names)).view(2, -1)
    spread = by_channel(values, streams.channels)
    for k in range(2):
        expected = [int(values[k, s]) for s, count in enumerate(streams.channels) for _ in range(count)]
        assert spread[k].tolist() == expected
    for names in itertools.chain(*(itertools.combinations(streams.names, k) for k in range(len(streams.names) + 1))):
        owner = [name for name, count in zip(streams.names, streams.channels, strict=True) for _ in range(count)]
        assert streams.channels_of(names).tolist() == [name in names for name in owner]
        assert streams.chosen(names).tolist() == [name in names for name in streams.names]


@pytest.mark.parametrize(("joint", "null"), [(0.5, 0.2), (0.1, 0.7), (0.0, 0.0), (1.0, 1.0)])
def test_pairs_meet_joint_draws_conditionals_and_absent_conditions_as_often_as_asked(joint, null):
    found = _patterns(_levels(PAIR, LevelMixture(joint, null)))
    each = (1 - joint) / 4
    expected = {
        "ddd": joint,
        "ddc": each * (1 - null),
        "ddn": each * null,
        "ccd": each * (1 - null),
        "nnd": each * null,
        "cdd": each * (1 - null),
        "ndd": each * null,
        "cdc": each * (1 - null),
        "cdn": each * null,
    }
    assert set(found) <= set(expected)
    for pattern, share in expected.items():
        _require_share(found == pattern, share)


def test_single_dates_meet_the_mask_and_the_image_given():
    found = _patterns(_levels(SINGLE))
    expected = {"dd": 0.5, "dc": 0.2, "dn": 0.05, "cd": 0.2, "nd": 0.05}
    assert set(found) == set(expected)
    for pattern, share in expected.items():
        _require_share(found == pattern, share)


@pytest.mark.parametrize("streams", [PAIR, SINGLE])
@pytest.mark.parametrize("share", [1.0, 0.5, 0.0])
def test_every_patch_has_one_step_for_all_that_is_drawn_and_something_to_draw(streams, share):
    labelled = np.random.default_rng(1).random(N) < share
    levels = _levels(streams, labelled=labelled)
    assert levels.dtype == np.int64 and levels.shape == (N, len(streams.names))
    drawn = (levels != CLEAN) & (levels != T)
    assert drawn.any(1).all()
    steps = np.where(drawn, levels, -9).max(1)
    assert (np.where(drawn, levels, steps[:, None]) == steps[:, None]).all()
    counts = np.bincount(steps, minlength=T)
    assert len(counts) == T and np.abs(counts - N / T).max() < 5 * (N / T) ** 0.5


@pytest.mark.parametrize("mixture", [LevelMixture(), LevelMixture(0.0, 1.0)])
@pytest.mark.parametrize("streams", [PAIR, SINGLE])
def test_patches_without_labels_have_no_mask_and_an_image_to_draw(streams, mixture):
    labelled = np.arange(N) % 3 > 0
    levels = _levels(streams, mixture, labelled)
    bare, mask = levels[~labelled], streams.names.index(MASK)
    assert (bare[:, mask] == T).all()
    images = np.delete(bare, mask, axis=1)
    assert ((images >= 0) & (images < T)).any(1).all()
    assert not (images == T).any()  # guidance leaves nothing out of them: the mask is absent already
    if streams is PAIR:  # of four conditionals two give the first date
        _require_share(images[:, 0] == CLEAN, (1 - mixture.joint_share) / 2)
        assert (images[:, 1] != CLEAN).all()
    else:
        assert (images != CLEAN).all()
    _require_share((levels[labelled][:, mask] == T), (1 - mixture.joint_share) / 2 * mixture.null_share)


def test_the_labels_of_some_do_not_change_the_levels_of_others():
    all_labelled, some = _levels(PAIR), _levels(PAIR, labelled=np.arange(N) % 2 == 0)
    np.testing.assert_array_equal(all_labelled[::2], some[::2])


# image1, image2, mask -> may the fractions be told
TRUTH = {
    (5, 5, 5): True,
    (5, 5, CLEAN): True,
    (5, 5, T): False,
    (CLEAN, CLEAN, 5): False,
    (CLEAN, CLEAN, T): False,
    (CLEAN, CLEAN, CLEAN): False,
    (T, T, 5): True,
    (CLEAN, 5, 5): True,
    (CLEAN, 5, CLEAN): True,
    (CLEAN, 5, T): False,
    (T, 5, 5): True,
}


@pytest.mark.parametrize(("row", "told"), TRUTH.items())
def test_fractions_are_told_only_of_a_mask_that_is_there_and_cannot_be_read_from_the_images(row, told):
    many = np.array([row] * 4000)
    assert (fractions_may_be_told(many, PAIR, T) == told).all()
    found = may_tell(np.random.default_rng(0), many, PAIR, T)
    if row[:2] == (T, T):
        _require_share(found, 0.5)
    else:
        assert (found == told).all()


@pytest.mark.parametrize(
    ("row", "told"), [((5, 5), True), ((CLEAN, 5), False), ((5, T), False), ((5, CLEAN), True), ((T, 5), True)]
)
def test_of_a_single_date_the_fractions_are_told_likewise(row, told):
    assert fractions_may_be_told(np.array([row]), SINGLE, T).tolist() == [told]
