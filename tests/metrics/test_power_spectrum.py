from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from specdm.errors import UserError
from specdm.metrics.power_spectrum import PowerSpectrum, fine_detail, log_spectral_distance_db


def _noise(n, seed, bands=2, size=(32, 32)):
    return 0.3 + 0.05 * np.random.default_rng(seed).standard_normal((n, 1, bands, *size))


def _blurred(images, sigma):
    return gaussian_filter(images, (0, 0, 0, sigma, sigma), mode="wrap")


def _spectrum(images, valid=None):
    found = PowerSpectrum(*images.shape[2:])
    found.update(images, valid)
    return found.spectrum()


@pytest.mark.parametrize("size", [(32, 32), (24, 40), (33, 31)])
def test_white_noise_is_flat_at_its_variance(size):
    found = _spectrum(_noise(300, 0, size=size))
    assert found.images == 300 and found.frequency_cpp[-1] <= 0.51
    # The mean under the window takes part of the power of the lowest ring.
    np.testing.assert_allclose(found.power[:, 1:], 0.05**2, rtol=0.12)
    np.testing.assert_allclose(found.power[:, 1:].mean(1), 0.05**2, rtol=0.02)


@pytest.mark.parametrize("size", [(32, 32), (24, 40), (33, 31)])
def test_all_power_is_the_variance_under_the_window(size):
    """Parseval, with the window written down anew."""
    images = _blurred(_noise(3, 1, size=size), 1.5)
    rows, columns = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n) / n) for n in size)
    window = np.outer(rows, columns)
    means = (images * window).sum((-2, -1), keepdims=True) / window.sum()
    expected = (np.square((images - means) * window).sum((-2, -1)) / np.square(window).sum()).mean((0, 1))
    np.testing.assert_allclose(_spectrum(images).variance, expected, rtol=1e-10)


def test_the_rings_are_those_of_the_full_transform():
    images = _noise(2, 2, bands=1)
    window = np.outer(*[np.sin(np.pi * np.arange(32) / 32) ** 2] * 2)
    power = np.zeros((32, 32))
    for image in images[:, 0, 0]:
        seen = (image - (image * window).sum() / window.sum()) * window
        power += np.abs(np.fft.fft2(seen)) ** 2 / np.square(window).sum() / 2
    radius = np.hypot(*np.meshgrid(np.fft.fftfreq(32), np.fft.fftfreq(32)))
    ring = np.rint(radius * 32)
    found = _spectrum(images)
    np.testing.assert_allclose(found.power[0], [power[ring == k].mean() for k in range(1, 17)])
    np.testing.assert_allclose(found.frequency_cpp, [radius[ring == k].mean() for k in range(1, 17)])
    assert found.fine_share[0] == pytest.approx(power[radius > 0.25].sum() / power[radius > 0].sum())


def test_a_wave_stands_at_its_frequency_whatever_its_direction():
    rows, columns = np.mgrid[:32, :32]
    for wave in (rows * 8 / 32, columns * 8 / 32, (rows * 5 + columns * 6) / 32):
        found = _spectrum(np.sin(2 * np.pi * wave)[None, None, None])
        assert found.frequency_cpp[found.power[0].argmax()] == pytest.approx(8 / 32, abs=0.01)


def test_blur_lowers_fine_detail_step_by_step_and_widens_the_distance():
    images = _blurred(_noise(40, 3), 0.5)
    real = _spectrum(images)
    scores = [
        (fine_detail(s, real), log_spectral_distance_db(s, real))
        for s in (_spectrum(_blurred(images, sigma)) for sigma in (0.01, 0.4, 0.7, 1.0, 1.5))
    ]
    detail, distance = (np.array(column) for column in zip(*scores, strict=True))
    np.testing.assert_allclose(detail[0], 1)
    assert (np.diff(detail, axis=0) < 0).all() and (detail[-1] < 0.05).all()
    np.testing.assert_allclose(distance[0], 0, atol=1e-9)
    assert (np.diff(distance, axis=0) > 0).all()


def test_a_gain_of_two_is_six_decibels_and_no_change_of_detail():
    images = _noise(5, 4)
    a, b = _spectrum(2 * images + 1), _spectrum(images)
    np.testing.assert_allclose(log_spectral_distance_db(a, b), 20 * np.log10(2))
    np.testing.assert_allclose(log_spectral_distance_db(b, a), 20 * np.log10(2))
    np.testing.assert_allclose(fine_detail(a, b), 1)


def test_pieces_dates_and_merged_parts_give_what_the_whole_gives():
    images = _noise(6, 5)
    whole = _spectrum(images)
    pieces, rest = PowerSpectrum(2, 32, 32), PowerSpectrum(2, 32, 32)
    pieces.update(images[:4].reshape(2, 2, 2, 32, 32))
    rest.update(images[4:])
    pieces.merge(rest)
    np.testing.assert_allclose(pieces.spectrum().power, whole.power)
    assert pieces.spectrum().images == whole.images == 6


def test_images_with_holes_are_left_out_and_counted():
    images = _noise(4, 6)
    valid = np.ones((4, 1, 32, 32), bool)
    valid[1, 0, 5, 5] = False
    images[1, 0, :, 5, 5] = np.nan
    found = _spectrum(images, valid)
    assert (found.images, found.left_out) == (3, 1)
    np.testing.assert_allclose(found.power, _spectrum(images[[0, 2, 3]]).power)
    with pytest.raises(UserError, match="all 4 images"):
        _spectrum(images, np.zeros_like(valid))
    with pytest.raises(UserError, match="finite"):
        _spectrum(images)


def test_constant_images_are_named_not_measured():
    flat = _noise(3, 7)
    flat[:, :, 1] = np.float32(0.1)
    real, found = _spectrum(_noise(3, 8)), _spectrum(flat)
    assert found.variance[1] == 0
    for score in (fine_detail, log_spectral_distance_db):
        with pytest.raises(UserError, match="band B03 are constant"):
            score(found, real, ("B02", "B03"))


def test_sets_that_do_not_match_are_refused():
    with pytest.raises(UserError, match="instead of"):
        PowerSpectrum(2, 16, 16).update(_noise(1, 0))
    with pytest.raises(UserError, match="too small"):
        PowerSpectrum(2, 3, 16)
    with pytest.raises(UserError, match="frequencies"):
        log_spectral_distance_db(_spectrum(_noise(1, 0)), _spectrum(_noise(1, 0, size=(16, 16))))
    with pytest.raises(UserError, match="sizes"):
        PowerSpectrum(2, 16, 17).merge(PowerSpectrum(2, 16, 16))
