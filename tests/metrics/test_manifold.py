"""Balls around nearest neighbours against torch-fidelity and against every distance taken by itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from torch_fidelity.metric_prc import prc_features_to_metric

from specdm.errors import UserError
from specdm.metrics import manifold
from specdm.metrics.manifold import manifold_overlap

RNG = np.random.default_rng(0)


@pytest.fixture(params=[2**22, 500])
def chunk(request, monkeypatch):
    """All rows of distances at once, and a few at a time."""
    monkeypatch.setattr(manifold, "CHUNK", request.param)


def _pair(n=90, m=70, d=5, shift=1.0):
    return RNG.standard_normal((n, d)), 0.7 * RNG.standard_normal((m, d)) + shift


def _scores(found):
    return found.precision, found.recall, found.density, found.coverage


def _brute_force(real, fake, k):
    def reach(z):
        distances = cdist(z, z)
        return np.array([np.sort(np.delete(row, i))[k - 1] for i, row in enumerate(distances)])

    between = cdist(real, fake)
    in_real, in_fake = between <= reach(real)[:, None], between <= reach(fake)[None]
    return in_real.any(0).mean(), in_fake.any(1).mean(), in_real.sum(0).mean() / k, in_real.any(1).mean()


@pytest.mark.parametrize("k", [1, 3, 5])
def test_it_is_torch_fidelitys_and_all_distances(chunk, k):
    real, fake = _pair()
    found = manifold_overlap(real, fake, k)
    theirs = prc_features_to_metric(torch.tensor(fake), torch.tensor(real), prc_neighborhood=k, verbose=False)
    assert (found.precision, found.recall) == pytest.approx((theirs["precision"], theirs["recall"]), abs=1e-6)
    assert _scores(found) == pytest.approx(_brute_force(real, fake, k), abs=1e-12)
    assert 0.1 < found.recall < found.precision and 0 < found.coverage < 1
    assert (found.k, found.n, found.m) == (k, 90, 70)


def test_a_set_with_itself(chunk):
    real, _ = _pair()
    for x in (real, real + 1e4, (real + 100).astype(np.float32)):
        assert _scores(manifold_overlap(x, x)) == pytest.approx((1, 1, 6 / 5, 1), abs=1e-12)


def test_copies_are_neighbours_and_do_not_shrink_the_balls_of_others():
    # on a line: 0 0 0 1 3 with k = 2: the copies reach 0, then 1 reaches 1, and 3 reaches 3
    real = np.array([0, 0, 0, 1, 3.0])[:, None] + 1000
    fake = np.array([0, -0.1, 0.3, 2, 6.5])[:, None] + 1000
    # real balls: 0 (three times), [0, 2], [0, 6]: they hold the fake 0 (5), -0.1 (0), 0.3 (2), 2 (2), 6.5 (0)
    found = manifold_overlap(real, fake, k=2)
    assert found.precision == 3 / 5 and found.density == pytest.approx(9 / 5 / 2) and found.coverage == 1
    # fake balls: 0 +- 0.3, -0.1 +- 0.4, 0.3 +- 0.4, 2 +- 2, 6.5 +- 6.2
    assert found.recall == 1
    assert manifold_overlap(real, fake[[1] * 5], k=2).recall == 0
    wide = RNG.standard_normal((30, 3))
    twice = np.repeat(wide, 2, axis=0)
    assert _scores(manifold_overlap(twice, twice, k=1)) == pytest.approx((1, 1, 2, 1))


def test_the_order_of_samples_rotation_and_scale_do_not_matter():
    real, fake = _pair()
    axes, _ = np.linalg.qr(RNG.standard_normal((5, 5)))
    expected = manifold_overlap(real, fake)
    moved = manifold_overlap(RNG.permutation(real) @ axes * 30 - 8, RNG.permutation(fake) @ axes * 30 - 8)
    assert _scores(moved) == pytest.approx(_scores(expected), abs=1e-12)


def test_each_score_sees_its_fault():
    real = np.concatenate([RNG.standard_normal((60, 4)), RNG.standard_normal((60, 4)) + 20])
    again = np.concatenate([RNG.standard_normal((60, 4)), RNG.standard_normal((60, 4)) + 20])
    good = manifold_overlap(real, again)
    collapsed = manifold_overlap(real, again[:60])  # one of two modes is lost
    noisy = manifold_overlap(real, again + 8 * RNG.standard_normal(again.shape))
    assert min(good.precision, good.recall, good.density, good.coverage) > 0.8
    assert collapsed.precision > 0.8 and collapsed.recall < 0.55 and collapsed.coverage < 0.55
    assert noisy.precision < 0.2 and noisy.density < 0.2
    beyond = RNG.standard_normal((60, 4)) + 60  # nothing real is there, but a real outlier's huge ball is
    misled = manifold_overlap(np.concatenate([real, [[500.0] * 4]]), beyond)
    assert misled.precision == 1 and misled.density == pytest.approx(1 / 5) and misled.coverage == 1 / 121


def test_mistakes_are_explained():
    real, fake = _pair()
    for pair in ((real[:5], fake), (real, fake[:5])):
        with pytest.raises(UserError, match=r"manifold with k = 5: needs at least 6 samples of D features a side"):
            manifold_overlap(*pair)
    assert manifold_overlap(real[:6], fake[:6]).n == 6
    with pytest.raises(UserError, match="5 and 4 dimensions"):
        manifold_overlap(real, fake[:, :4])
    with pytest.raises(UserError, match="sample 1 has a feature that is NaN"):
        manifold_overlap(real, np.where(np.arange(70)[:, None] == 1, np.nan, fake))
