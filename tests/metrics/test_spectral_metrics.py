from __future__ import annotations

import numpy as np
import pytest
import torch

from specdm.metrics.spectral import ReconstructionErrors, spectral_angle
from specdm.nn import losses

RNG = np.random.default_rng(0)


def test_angle_by_hand_and_at_the_ends():
    a = np.array([[1.0, 0], [1, 1], [2, 4], [1, 0], [0, 0]])
    b = np.array([[0.0, 5], [1, 0], [1, 2], [-1, 0], [1, 1]])
    assert spectral_angle(a, b) == pytest.approx([np.pi / 2, np.pi / 4, 0, np.pi, np.nan], nan_ok=True, abs=1e-15)


def test_small_angles_keep_their_digits():
    angle = spectral_angle([1.0, 0.0], [1.0, 1e-9])  # arccos returns 0
    assert angle == pytest.approx(1e-9, rel=1e-6)


def test_angle_agrees_with_the_loss():
    a, b = RNG.random((2, 50, 10))
    theirs = losses.spectral_angle(torch.tensor(a), torch.tensor(b), 1).numpy()
    assert spectral_angle(a, b) == pytest.approx(theirs, abs=1e-6)


def test_reconstruction_errors_by_independent_formulas():
    real = RNG.random((4, 2, 3, 6, 6)) + 0.1
    fake = real + 0.05 * RNG.standard_normal(real.shape)
    logits = RNG.standard_normal((4, 5, 6, 6)) * 30
    masks = RNG.choice([0, 1, 4, 255], (4, 6, 6)).astype(np.uint8)
    errors = ReconstructionErrors()
    for part in (slice(0, 3), slice(3, 4)):
        errors.update(real[part], fake[part], logits[part], masks[part])
    scores = errors.scores()
    cosine = (real * fake).sum(2) / np.linalg.norm(real, axis=2) / np.linalg.norm(fake, axis=2)
    nats = torch.nn.functional.cross_entropy(torch.tensor(logits), torch.tensor(masks).long(), ignore_index=255)
    assert scores["rmse"] == pytest.approx(np.sqrt(np.mean((real - fake) ** 2)))
    assert scores["sad_rad"] == pytest.approx(np.arccos(cosine).mean(), rel=1e-6)
    assert scores["cross_entropy"] == pytest.approx(nats.item())
    assert (scores["spectra"], scores["pixels"]) == (4 * 2 * 36, (masks != 255).sum())


def test_reconstruction_errors_skip_nodata_and_zero_spectra():
    real, logits, masks = np.ones((1, 1, 2, 2, 2)), np.zeros((1, 2, 2, 2)), np.full((1, 2, 2), 255)
    fake = real.copy()
    fake[..., 0, 0], fake[..., 0, 1] = 0, 9  # a zero spectrum and a nodata pixel
    valid = np.array([[[[True, False], [True, True]]]])
    errors = ReconstructionErrors()
    errors.update(real, fake, logits, masks, valid=valid)
    scores = errors.scores()
    assert scores["rmse"] == pytest.approx(np.sqrt(1 / 3)) and scores["sad_rad"] == 0 and scores["spectra"] == 2
    assert np.isnan(scores["cross_entropy"]) and np.isnan(ReconstructionErrors().scores()["rmse"])
