from __future__ import annotations

import math

import pytest
import torch

from specdm.nn.conditions import ask, class_fractions, condition_width, encode_condition

NONE = [math.nan] * 3
PICKS = torch.linspace(0, 1, 50)[:-1]


def _rows(*rows):
    return torch.tensor(rows, dtype=torch.float32)


@pytest.mark.parametrize("classes", [1, 2, 13])
def test_a_condition_has_the_promised_width_and_values_between_zero_and_one(classes):
    torch.manual_seed(0)
    fractions = torch.distributions.Dirichlet(torch.full((classes,), 0.3)).sample((20,)) if classes > 1 else 1
    fractions = torch.cat([torch.ones(20, classes) * fractions, torch.eye(classes), torch.full((2, classes), math.nan)])
    swapped = torch.arange(len(fractions)) % 2 == 0
    condition = encode_condition(fractions, swapped)
    assert condition.shape == (len(fractions), condition_width(classes))
    assert condition.dtype == torch.float32
    assert condition.min() >= 0 and condition.max() <= 1


def test_a_condition_holds_fractions_then_logarithms_then_the_flags():
    condition = encode_condition(_rows([1.0, 0.0, 0.0], [0.9, 0.1, 0.0]), torch.tensor([False, True]))
    torch.testing.assert_close(
        condition,
        _rows([1, 0, 0, 1, 0, 0, 1, 0], [0.9, 0.1, 0, 1 + math.log10(0.9) / 4, 1 - 1 / 4, 0, 1, 1]),
    )


def test_a_row_that_asks_for_nothing_keeps_only_its_date_order():
    condition = encode_condition(_rows(NONE, NONE, [0.5, 0.5, 0.0]), torch.tensor([False, True, True]))
    assert condition[0].tolist() == [0.0] * 8
    assert condition[1].tolist() == [0.0] * 7 + [1.0]
    assert condition[2, 6:].tolist() == [1.0, 1.0]


def test_dates_are_in_order_unless_told_otherwise():
    assert encode_condition(_rows([0.5, 0.5, 0.0], NONE))[:, -1].tolist() == [0.0, 0.0]


def test_rare_fractions_lie_far_apart_by_their_logarithm():
    rare, rarer, least, none = encode_condition(
        _rows([0.99, 0.01, 0.0], [0.999, 0.001, 0.0], [1.0, 1e-4, 0.0], [1, 0, 0])
    )
    assert abs(rare[1] - rarer[1]) < 0.01
    assert rare[4] - rarer[4] == pytest.approx(0.25, abs=1e-6)
    assert least[4] == pytest.approx(0, abs=1e-6) and none[4] == 0


def test_class_fractions_are_those_of_the_labelled_pixels_and_undefined_without_any():
    fractions = class_fractions(torch.tensor([[3, 1, 0], [0, 0, 0], [0, 0, 1]]))
    assert fractions.dtype == torch.float32
    torch.testing.assert_close(fractions, _rows([0.75, 0.25, 0.0], NONE, [0, 0, 1.0]), equal_nan=True)


def test_without_a_wish_every_sample_follows_a_labelled_training_patch_and_each_equally_often():
    training = _rows([1.0, 0.0, 0.0], NONE, [0.2, 0.8, 0.0], [0.5, 0.25, 0.25], NONE)
    asked = ask(training, {}, (torch.arange(300) + 0.5) / 300)
    known = training[[0, 2, 3]]
    which = (asked[:, None] == known[None]).all(2)
    assert which.sum(1).tolist() == [1] * 300
    assert which.sum(0).tolist() == [100, 100, 100]


def test_the_pick_alone_says_which_patch_is_followed_in_the_order_of_their_contents():
    training = _rows([1.0, 0.0, 0.0], [0.2, 0.8, 0.0], [0.5, 0.25, 0.25])
    asked = ask(training, {}, torch.tensor([0.9999, 0.0, 0.5, 0.4]))
    assert torch.equal(asked, training[[1, 2, 0, 0]])


def test_picks_up_to_one_follow_the_last_patch():
    training = _rows([1.0, 0.0, 0.0], [0.2, 0.8, 0.0])
    assert torch.equal(ask(training, {}, torch.tensor([1.0])), training[[1]])  # what 1 - 1e-9 is in float32


def test_few_evenly_spread_picks_have_the_class_shares_of_all_training_patches():
    torch.manual_seed(0)
    change = torch.where(torch.rand(1000) < 0.5, 0.0, torch.rand(1000) ** 8)  # half without, few with much
    training = torch.stack([1 - change, change], 1)
    start, picks = 0.3, torch.arange(50)
    even = ask(training, {}, (start + picks * 0.618034) % 1)[:, 1]
    assert even.mean() == pytest.approx(change.mean().item(), rel=0.15)
    assert (even > 0).double().mean() == pytest.approx((change > 0).double().mean().item(), abs=0.03)


def test_asking_changes_no_training_patch():
    training = _rows([0.5, 0.5, 0.0], [0.2, 0.8, 0.0])
    before = training.clone()
    ask(training, {0: 0.1}, PICKS)
    assert torch.equal(training, before)


@pytest.mark.parametrize("want", [{}, {0: 0.3}])
def test_nothing_can_be_asked_of_a_training_set_without_labels(want):
    asked = ask(_rows(NONE, NONE), want, PICKS)
    assert asked.shape == (len(PICKS), 3) and asked.isnan().all()


@pytest.mark.parametrize("want", [{2: 0.3}, {2: 0.0}, {0: 0.7, 1: 0.3}, {0: 1.0}, {1: 0.05, 4: 0.2}, {3: 0.999}])
def test_wanted_classes_have_exactly_the_wanted_fraction_and_rows_are_fractions(want):
    torch.manual_seed(0)
    training = torch.distributions.Dirichlet(torch.full((5,), 0.5)).sample((100,))
    asked = ask(training, want, PICKS)
    for k, fraction in want.items():
        assert (asked[:, k] == torch.tensor(fraction)).all()
    torch.testing.assert_close(asked.sum(1), torch.ones(len(PICKS)), atol=1e-5, rtol=0)
    assert asked.min() >= 0


def test_the_other_classes_keep_the_proportions_of_the_followed_patch():
    training = _rows([0.4, 0.3, 0.3], [0.4, 0.6, 0.0])
    asked = ask(training, {0: 0.7}, torch.tensor([0.1, 0.9]))
    torch.testing.assert_close(asked, _rows([0.7, 0.15, 0.15], [0.7, 0.3, 0.0]))


def test_the_other_classes_come_from_the_patches_nearest_to_the_wish():
    wet = _rows([0.6, 0.4, 0.0]).repeat(32, 1)  # as many as are followed
    dry = _rows([0.0, 0.1, 0.9]).repeat(60, 1)
    training = torch.cat([dry, wet])[torch.randperm(92, generator=torch.Generator().manual_seed(0))]
    assert torch.equal(ask(training, {0: 0.5}, PICKS)[:, 2], torch.zeros(len(PICKS)))
    torch.testing.assert_close(ask(training, {0: 0.0}, PICKS)[:, 2], torch.full((len(PICKS),), 0.9))
    both = ask(training, {0: 0.5}, PICKS, nearest=60)[:, 2]
    assert (both == 0).any() and (both > 0.4).any()


def test_all_wanted_classes_count_for_what_is_near():
    training = _rows([0.5, 0.0, 0.5, 0.0], [0.5, 0.4, 0.0, 0.1], [0.1, 0.4, 0.5, 0.0])
    asked = ask(training, {0: 0.5, 1: 0.4}, PICKS, nearest=1)
    torch.testing.assert_close(asked, _rows([0.5, 0.4, 0.0, 0.1]).repeat(len(PICKS), 1))


def test_a_class_that_fills_a_patch_leaves_no_room_for_others():
    asked = ask(_rows([0.2, 0.3, 0.5], [0.9, 0.1, 0.0]), {0: 1.0}, PICKS)
    torch.testing.assert_close(asked, _rows([1, 0, 0]).repeat(len(PICKS), 1))


def test_a_patch_of_wanted_classes_only_is_filled_like_the_mean_of_the_others():
    training = _rows([1.0, 0.0, 0.0], [0.8, 0.2, 0.0], [0.4, 0.0, 0.6])
    asked = ask(training, {0: 0.6}, torch.tensor([0.0, 0.4, 0.9]))
    torch.testing.assert_close(asked[asked[:, 1] * asked[:, 2] > 0], _rows([0.6, 0.1, 0.3]))
    assert len(asked.unique(dim=0)) == 3


def test_where_only_the_wanted_class_is_known_the_others_share_what_is_left():
    asked = ask(_rows([1.0, 0.0, 0.0], [1.0, 0.0, 0.0]), {0: 0.4}, PICKS)
    torch.testing.assert_close(asked, _rows([0.4, 0.3, 0.3]).repeat(len(PICKS), 1))
