import pytest

from specdm.report.quality import classes_there, copies, distance, masks_fit
from tests.report.examples import copied, measured, scored


@pytest.mark.parametrize(
    ("intervals", "tone", "word"),
    [
        ([(0.9, 0.8, 1.1), (1.0, 0.9, 1.2)], "good", "like real pairs, within their intervals"),
        ([(0.9, 0.8, 1.1), (0.5, 0.4, 0.6)], "mixed", "partly: less than real pairs"),
        ([(0.9, 0.8, 1.1), (0.5, -0.1, 1.6)], "mixed", "unclear"),
        ([(-0.2, -0.4, -0.1), (-0.1, -0.3, 0.0)], "bad", "no better than exchanged masks"),
        ([(0.5, None, None)], "unknown", "no interval"),
    ],
)
def test_masks_fit_as_far_as_every_interval_allows(intervals, tone, word):
    verdict = masks_fit([scored(f"scorer {i}", *bounds) for i, bounds in enumerate(intervals)])
    assert (verdict.tone, verdict.word) == (tone, word)


def test_the_network_and_the_lowest_scorer_are_named_with_their_intervals():
    rows = [scored("spectra", 0.9, 0.8, 1.0), scored("network", 0.7, 0.6, 0.8), scored("edges", 0.35, 0.24, 0.56)]
    sentence = masks_fit(rows).sentence
    assert "0.70 [0.60, 0.80] by what networks read, and least, 0.35 [0.24, 0.56], by edges. " in sentence
    assert "every curve peaks at 0 px" in sentence
    assert "least" not in masks_fit(rows[1:2]).sentence


def test_a_displacement_counts_beyond_the_interval_of_the_score_only():
    moved = dict(peak_px=2, peak_direction="left")
    within = masks_fit([scored("network", 1.0, 0.9, 1.1, **moved, peak_score=0.64)])
    assert within.tone == "good" and "(network 2 px left), within their intervals" in within.sentence
    beyond = masks_fit([scored("network", 1.0, 0.9, 1.1, **moved, peak_score=0.66)])
    assert (beyond.tone, beyond.word) == ("bad", "displaced")
    assert "fit better when moved: network 2 px left" in beyond.sentence


def test_scorers_that_cannot_tell_say_why():
    silent = scored("area", because="real pairs do not score above exchanged masks")
    verdict = masks_fit([scored("network", 0.7, 0.6, 0.8), silent])
    assert verdict.more == ["area: not computable, because real pairs do not score above exchanged masks."]
    assert masks_fit([silent]).tone == "unknown"


def test_what_the_generator_says_of_itself_decides_nothing():
    own = scored("information", -0.5, -0.6, -0.4, peak_px=4, peak_direction="up", peak_score=2.0)
    others = [scored("network", 1.0, 0.9, 1.1), scored("area", because="too few pixels")]
    assert masks_fit([*others, own]) == masks_fit(others)
    assert masks_fit([own]).tone == "unknown"


def test_one_kind_of_copy_is_enough():
    verdict = copies([copied("image"), copied("pair", "copies", 0.2)])
    assert (verdict.tone, verdict.word) == ("bad", "copies found")
    assert verdict.sentence == (
        "pair: 20.0 % [0.2 %, 3.0 %] of 300 lie closer to a training patch than the threshold, 1.0 % expected."
    )
    clear = copies([copied("image"), copied("pair")])
    assert (clear.tone, clear.word) == ("good", "none found") and "no proof" in clear.more[-1]


def test_copied_masks_with_new_images_are_told_and_no_fault():
    verdict = copies([copied("images"), copied("images, reconstructed", share=0.02), copied("masks", "copies", 0.4)])
    assert (verdict.tone, verdict.word) == ("good", "none found")
    assert "images, reconstructed: 2.0 %" in verdict.sentence and "masks" not in verdict.sentence
    assert any(text.startswith("masks: 40.0 %") and "no fault" in text for text in verdict.more)
    silent = copied("masks", "not computable", None, low=None, high=None, because="all masks are alike")
    assert copies([copied("images"), silent]).tone == "good"  # masks decide nothing
    assert copies([silent]).tone == "unknown"


def test_kinds_of_copies_that_were_not_checked_are_told():
    silent = copied("date 1 alone", "not computable", None, low=None, high=None, because="all images are alike")
    verdict = copies([copied("image"), silent])
    assert (verdict.tone, verdict.word) == ("mixed", "none found, not all checked")
    assert "date 1 alone: not computable, because all images are alike." in verdict.more
    assert copies([silent]).tone == "unknown"


def test_a_class_is_lost_below_a_tenth_of_its_share():
    verdict = classes_there(measured())  # wood: 10 % of the real pixels, 0.1 % of the synthetic ones
    assert (verdict.tone, verdict.word) == ("bad", "1 lost")
    assert verdict.sentence == "1 of 2 classes above 1 % of the real pixels lost: wood."
    assert "3.4 points off" in verdict.more[0] and "(21.0 by chance)" in verdict.more[0]
    assert classes_there(measured(share_synthetic_wood=0.0101)).word == "none lost"
    rare = measured(share_real_wood=0.01, share_synthetic_wood=0.0)
    assert classes_there(rare).sentence == "Every class above 1 % of the real pixels is there (1)."


def test_a_distance_is_read_against_its_floor():
    verdict = distance(measured())
    assert (verdict.tone, verdict.word) == ("mixed", "masks 4.00 × the floor")
    assert "images 0.50 times (distance 1.5, floor 3); masks 4.00 times (distance 8, floor 2)" in verdict.sentence
    assert any("N = 40 is small" in text for text in verdict.more)
    close = distance(measured(fd_mask=1.0, fd_image1_n=5000, fd_mask_n=5000))
    assert close.tone == "good" and not any("small" in text for text in close.more)
    two_dates = distance(measured(fd_image2=1.0, fd_image2_floor=2.0))
    assert "images, date 1 0.50 times" in two_dates.sentence and "images, date 2 0.50 times" in two_dates.sentence


def test_without_a_floor_the_reason_stands():
    row = measured(fd_image1_floor=None, fd_mask_floor=None, not_computable="fd_mask: because N is 1")
    verdict = distance(row)
    assert verdict.tone == "unknown" and "fd_mask: because N is 1" in verdict.sentence
