from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from specdm.errors import UserError
from specdm.metrics.class_models import RIDGE, SHRINKAGE, ClassMoments, pixel_spectra


def _pixels(n=3000, dimensions=4, seed=0):
    rng = np.random.default_rng(seed)
    ids = rng.choice(3, n, p=(0.7, 0.25, 0.05))
    means = rng.normal(size=(3, dimensions)) * 2
    mixing = rng.normal(size=(3, dimensions, dimensions))
    return means[ids] + np.einsum("nij,nj->ni", mixing[ids], rng.normal(size=(n, dimensions))), ids


def _fitted(spectra, ids, classes=3):
    moments = ClassMoments(classes, spectra.shape[1])
    for rows in np.array_split(np.arange(len(ids)), 4):
        moments.add(spectra[rows], ids[rows])
    return moments


def test_the_likeliest_class_is_that_of_scipys_gaussians():
    spectra, ids = _pixels()
    scatter = [np.cov(spectra[ids == k].T, bias=True) for k in range(3)]
    within = sum(s * (ids == k).sum() for k, s in enumerate(scatter)) / len(ids)
    densities = [
        multivariate_normal(
            spectra[ids == k].mean(0), (1 - SHRINKAGE) * scatter[k] + SHRINKAGE * within + RIDGE * np.eye(4)
        ).logpdf(spectra)
        for k in range(3)
    ]
    read = _fitted(spectra, ids).gaussians().likeliest(spectra)
    assert (read == np.argmax(densities, 0)).mean() > 0.999
    assert np.mean([(read[ids == k] == k).mean() for k in range(3)]) > 0.75


def test_parts_add_up_and_what_is_taken_away_is_gone():
    spectra, ids = _pixels()
    whole, first, rest = (_fitted(spectra[s], ids[s]) for s in (slice(None), slice(1000), slice(1000, None)))
    for combined, expected in ((whole - first, rest), (first + rest, whole)):
        for name in ("counts", "sums", "products"):
            assert np.allclose(getattr(combined, name), getattr(expected, name))


def test_many_bands_are_read_in_few_components_and_ids_outside_the_classes_are_left_out():
    rng = np.random.default_rng(1)
    ids = rng.integers(0, 2, 2000)
    spectra = rng.normal(size=(2000, 1)) @ rng.normal(size=(1, 60)) + np.where(ids, 3.0, -3.0)[:, None]
    moments = _fitted(spectra + rng.normal(size=spectra.shape) * 0.1, np.where(np.arange(2000) < 100, 255, ids), 2)
    assert moments.counts.sum() == 1900
    gaussians = moments.gaussians()
    assert gaussians.basis.shape == (60, 16)
    assert (gaussians.likeliest(spectra) == ids).mean() > 0.95


def test_a_class_of_one_pixel_is_never_read_and_without_any_there_is_a_reason():
    spectra, ids = _pixels()
    lonely = np.where(ids == 2, 0, ids)
    lonely[0] = 2
    assert 2 not in _fitted(spectra, lonely).gaussians().likeliest(spectra)
    with pytest.raises(UserError, match="no class has two labelled pixels"):
        _fitted(spectra[:0], ids[:0]).gaussians()


def test_the_values_of_a_pixel_are_all_bands_of_all_dates():
    images = np.arange(2 * 2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 2, 3, 4, 5)
    flat = pixel_spectra(images).reshape(2, 4, 5, 6)
    assert (flat[1, 2, 3] == images[1, :, :, 2, 3].ravel()).all()
