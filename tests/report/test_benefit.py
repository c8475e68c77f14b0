import pytest

from specdm.report.benefit import benefit
from tests.report.examples import trained

REAL = trained("real", 0.7)


def one(*rows):
    (verdict,) = benefit([REAL, *rows])
    return verdict


@pytest.mark.parametrize(
    ("difference", "tone", "word", "words"),
    [
        ((0.02, 0.01, 0.03), "good", "helped", "raised F1 by +0.020 [+0.010, +0.030], from 0.700 to 0.720."),
        ((-0.05, -0.12, -0.03), "bad", "hurt", "lowered F1 by −0.050 [−0.120, −0.030], from 0.700 to 0.720."),
        (
            (-0.05, -0.12, 0.03),
            "mixed",
            "no clear effect",
            "changed F1 by −0.050 [−0.120, +0.030], from 0.700 to 0.720",
        ),
        ((0.02, 0.0, 0.03), "mixed", "no clear effect", "no difference beyond chance."),
        (
            (0.02, None, None),
            "unknown",
            "no interval",
            "changed F1 by +0.020, from 0.700 to 0.720; without an interval",
        ),
    ],
)
def test_only_an_interval_without_zero_is_an_effect(difference, tone, word, words):
    verdict = one(trained("mixed-x5", 0.72, 500, 100, *difference))
    assert (verdict.tone, verdict.word) == (tone, word)
    assert words in verdict.sentence
    assert verdict.sentence.startswith("unet: adding 500 synthetic patches to 100 real ones (mixed-x5)")


def test_the_best_mixture_is_told_with_how_many_it_was_chosen_from():
    rows = [trained(f"x{n}", f1, n, 100, 0.01, 0.005, 0.02) for n, f1 in ((1, 0.71), (3, 0.74), (5, 0.72))]
    verdict = one(*rows)
    assert "(x3)" in verdict.sentence and any("best of 3" in text for text in verdict.more)
    assert not any("best of" in text for text in one(rows[0]).more)


def test_synthetic_patches_alone_are_no_mixture_but_told():
    alone = trained("synthetic", 0.9, 500, 0, 0.2, 0.1, 0.3)
    verdict = one(alone, trained("mixed", 0.6, 500, 100, -0.1, -0.2, -0.05))
    assert "(mixed)" in verdict.sentence and verdict.tone == "bad"
    assert "Synthetic patches alone (synthetic) raised F1 by +0.200 [+0.100, +0.300]." in verdict.more
    verdict = one(alone)
    assert "training on 500 synthetic patches alone (synthetic)" in verdict.sentence
    assert not any("Synthetic patches alone" in text for text in verdict.more)


def test_augmentation_that_does_as_well_takes_the_credit():
    mixed = trained("mixed", 0.75, 500, 100, 0.05, 0.02, 0.08)
    strong = trained("real-strong", 0.76, augmentation="strong")
    verdict = one(mixed, strong)
    assert (verdict.tone, verdict.word) == ("mixed", "no more than augmentation")
    assert any("strong augmentation, without a generator, reach as much or more: F1 0.760" in t for t in verdict.more)
    verdict = one(mixed, strong | {"mf1_macro_mean": 0.72})
    assert verdict.word == "helped" and any("reach less: F1 0.720" in text for text in verdict.more)
    assert one(mixed, trained("real-all", 0.9, real=4000)).word == "helped"  # more labels are no rival


def test_one_training_each_is_said():
    verdict = one(trained("mixed", 0.75, 500, 100, 0.05, 0.02, 0.08, n_pairs=1))
    assert any("One training each" in text for text in verdict.more)


def test_a_single_class_has_its_own_difference():
    more = {"f1_change_minus_baseline": -0.1, "f1_change_low": -0.2, "f1_change_high": -0.05}
    verdict = one(trained("mixed", 0.75, 500, 100, 0.05, 0.02, 0.08, **more))
    assert "Of the class change by itself it lowered F1 by −0.100 [−0.200, −0.050]." in verdict.more


def test_every_network_has_its_own_answer():
    other = [row | {"network": "fpn"} for row in (REAL, trained("mixed", 0.75, 500, 100, 0.05, 0.02, 0.08))]
    verdicts = benefit([REAL, trained("mixed", 0.6, 500, 100, -0.1, -0.2, -0.05), *other])
    assert [(v.about, v.word) for v in verdicts] == [("unet", "hurt"), ("fpn", "helped")]


def test_without_a_comparison_nothing_is_claimed():
    (verdict,) = benefit([REAL])
    assert verdict.tone == "unknown" and "no training with synthetic patches" in verdict.sentence
