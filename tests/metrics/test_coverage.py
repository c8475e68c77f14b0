from __future__ import annotations

import numpy as np
import pytest

from specdm.metrics.coverage import Coverage, coverage, fraction_errors, lost_classes


def test_share_counts_pixels_and_presence_counts_patches():
    found = coverage([[90, 10, 0], [0, 100, 0], [100, 0, 0], [50, 50, 0]])
    np.testing.assert_allclose(found.share, [0.6, 0.4, 0.0])
    np.testing.assert_allclose(found.presence, [0.75, 0.75, 0.0])


def test_patches_with_few_labels_weigh_by_their_labelled_pixels():
    found = coverage([[1, 0], [0, 99], [0, 0]])
    np.testing.assert_allclose(found.share, [0.01, 0.99])
    np.testing.assert_allclose(found.presence, [1 / 3, 1 / 3])


def test_without_any_label_shares_are_undefined_and_no_class_is_present():
    found = coverage(np.zeros((2, 3), int))
    assert np.isnan(found.share).all()
    np.testing.assert_array_equal(found.presence, [0, 0, 0])


@pytest.mark.parametrize(
    ("real", "synthetic", "lost"),
    [
        ([0.5, 0.5], [0.96, 0.04], [1]),
        ([0.5, 0.5], [0.94, 0.06], []),
        ([0.5, 0.5], [0.95, 0.05], []),  # a tenth is not less than a tenth
        ([0.995, 0.005], [1.0, 0.0], []),  # too rare to be missed
        ([0.99, 0.01], [1.0, 0.0], [1]),
        ([0.5, 0.5, 0.0], [0.0, 0.0, 1.0], [0, 1]),
        ([0.5, 0.5], [np.nan, np.nan], [0, 1]),
        ([np.nan, np.nan], [0.5, 0.5], []),
    ],
)
def test_a_class_is_lost_below_a_tenth_of_its_real_share(real, synthetic, lost):
    real, synthetic = (Coverage(np.array(share), np.zeros(len(share))) for share in (real, synthetic))
    assert lost_classes(real, synthetic) == lost


def test_what_counts_as_rare_can_be_chosen():
    real, synthetic = (Coverage(np.array(share), np.zeros(2)) for share in ([0.95, 0.05], [1.0, 0.0]))
    assert lost_classes(real, synthetic, at_least=0.06) == []
    assert lost_classes(real, synthetic, at_least=0.001) == [1]


def test_fraction_errors_are_mean_absolute_differences_of_the_rows_that_asked():
    nothing = [np.nan] * 3
    asked = [[0.5, 0.5, 0.0], nothing, [1.0, 0.0, 0.0], [0.2, 0.3, 0.5]]
    got = [[0.2, 0.5, 0.3], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.2, 0.3, 0.5]]
    np.testing.assert_allclose(fraction_errors(asked, got), [0.2, 2 / 3, 0.0])


def test_no_errors_where_nothing_was_asked():
    assert fraction_errors(np.full((3, 2), np.nan), np.full((3, 2), 0.5)).shape == (0,)
