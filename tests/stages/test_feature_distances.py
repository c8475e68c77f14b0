import numpy as np
import pytest

from specdm.metrics.frechet import frechet_distance
from specdm.metrics.groups import halves
from specdm.metrics.kernel import kernel_distance
from specdm.metrics.manifold import manifold_overlap
from specdm.patches import open_patches
from specdm.stages.feature_distances import Sets, compare, extract


def _sets(n=60, m=40, v=12, shift=0.0, dimensions=3):
    rng = np.random.default_rng(0)
    real, held_out = rng.normal(size=(n, dimensions)), rng.normal(size=(v, dimensions))
    synthetic = rng.normal(size=(m, dimensions)) + shift
    return Sets({"mask": real}, {"mask": held_out}, {"mask": synthetic}, np.arange(n) // 5)


def test_distances_are_taken_at_the_size_of_the_halves():
    sets = _sets()
    scores = compare(sets, "", 50, 0).values
    assert (scores["fd_mask_n"], scores["fd_mask_val_n"]) == (30, 12)
    few = compare(_sets(m=9), "", 50, 0).values
    assert (few["fd_mask_n"], few["fd_mask_val_n"]) == (9, 9)
    first = halves(60, sets.groups, 0)
    real = sets.real["mask"]
    assert scores["fd_mask_floor"] == pytest.approx(frechet_distance(real[first], real[~first]), rel=1e-6)
    kid = kernel_distance(sets.synthetic["mask"], real, None, sets.groups, 50, 0)
    assert (scores["kid_mask"], scores["kid_mask_low"]) == (kid.distance, kid.low)
    between = kernel_distance(real[first], real[~first], n_bootstrap=50)
    assert scores["kid_mask_floor"] == pytest.approx(between.distance)
    floor = manifold_overlap(real[first], real[~first])
    assert scores["precision_mask_floor"] == pytest.approx(floor.precision)
    assert scores["coverage_mask_floor"] == pytest.approx(floor.coverage)


def test_what_is_farther_away_scores_worse():
    near, middle, far = (compare(_sets(shift=s), "", 20, 0).values for s in (0.0, 1.5, 6.0))
    for name in ("fd_mask", "fd_mask_val", "kid_mask"):
        assert near[name] < middle[name] < far[name]
    for name in ("precision_mask", "density_mask", "coverage_mask"):
        assert near[name] > middle[name] > far[name] == 0
    assert near["fd_mask_floor"] == far["fd_mask_floor"]


def test_other_extractors_have_a_prefix_and_too_few_patches_a_reason():
    found = compare(_sets(n=6, m=4, v=1), "inception_", 20, 0)
    assert all("inception_mask" in name for name in found.values)
    assert "at least 6 samples" in found.reasons["precision_inception_mask"]
    assert "at least 2 samples" in found.reasons["fd_inception_mask_val"]
    assert found.values["fd_inception_mask"] > 0


class _Mean:
    """An extractor of the mean of every band, in two views, and of the share of labelled pixels."""

    id, constants = "mean", {}

    def images(self, refl, valid):
        means = refl.mean((-2, -1))
        return {"true colour": means[..., :3], "false colour": means[..., 1:]}

    def masks(self, masks):
        return (masks != 255).mean((1, 2))[:, None].astype(np.float32)


class _Bands(_Mean):
    def images(self, refl, valid):
        return {"bands": refl.mean((-2, -1))}

    def masks(self, masks):
        return None


def test_features_are_named_by_view_and_date_in_the_order_of_the_patches(change_patches):
    patches = open_patches(change_patches)
    rows = patches.ids("train")[::-1]
    of_views, of_bands = extract([_Mean(), _Bands()], patches, rows)
    views = {f"{view}_image{t}" for view in ("true_colour", "false_colour") for t in (1, 2)}
    assert set(of_views) == views | {"mask"} and set(of_bands) == {"image1", "image2"}
    means = patches.reflectance(rows).mean((-2, -1))
    np.testing.assert_allclose(of_bands["image2"], means[:, 1])
    np.testing.assert_allclose(of_views["false_colour_image1"], means[:, 0, 1:])
    holes = np.zeros((len(rows), 32, 32), bool)
    holes[3] = True
    assert extract([_Mean()], patches, rows, holes)[0]["mask"][3] == 0 < of_views["mask"][3]
