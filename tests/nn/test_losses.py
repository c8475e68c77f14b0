from __future__ import annotations

import math

import pytest
import torch

from specdm.nn.autoencoder import Posterior, Reconstruction
from specdm.nn.losses import (
    AutoencoderLossWeights,
    autoencoder_loss,
    kl_mean,
    kl_weight_from_sums,
    l1,
    mask_cross_entropy,
    spectral_angle,
)


def test_angle_is_the_textbook_one_and_in_float32():
    a, b = torch.rand(2, 4, 10, 3, 3, dtype=torch.float64)
    cosine = (a * b).sum(1) / a.norm(dim=1) / b.norm(dim=1)
    angle = spectral_angle(a, b, 1)
    assert angle.dtype == torch.float32 and angle.shape == (4, 3, 3)
    torch.testing.assert_close(angle.double(), cosine.acos(), atol=1e-5, rtol=0)


def test_angle_of_perpendicular_and_opposite_spectra():
    a, b = torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.tensor([[0.0, 3.0], [-2.0, 0.0]])
    assert spectral_angle(a, b, 1).tolist() == pytest.approx([math.pi / 2, math.pi])


def test_angle_of_parallel_spectra_is_zero_with_finite_gradients():
    a = torch.rand(5, 10).add(0.1).requires_grad_()
    angle = spectral_angle(a, a.detach() * 2, 1)
    angle.sum().backward()
    assert angle.max() < 1e-6 and a.grad.isfinite().all()  # arccos in float32 stops at 3e-4


def test_angle_of_a_zero_spectrum_is_masked_with_finite_gradients():
    a = torch.zeros(2, 10, requires_grad=True)
    angle = spectral_angle(a, torch.tensor([[0.0] * 10, [0.3] * 10]), 1)
    angle.sum().backward()
    assert angle.tolist() == [0.0, 0.0] and (a.grad == 0).all()


def test_kl_is_torchs_kl_per_latent_value():
    mean, std = torch.randn(2, 4, 3, 3), torch.rand(2, 4, 3, 3) + 0.1
    normal = torch.distributions.Normal
    expected = torch.distributions.kl_divergence(normal(mean, std), normal(0.0, 1.0)).mean()
    torch.testing.assert_close(kl_mean(mean, std), expected)


def test_kl_weight_of_ldm_for_10_band_patches():
    assert kl_weight_from_sums(1e-6, 10 * 128 * 128, 4 * 32 * 32) == pytest.approx(2.5e-8, rel=1e-12)
    assert AutoencoderLossWeights().kl == pytest.approx(2.5e-8)


def test_converted_kl_weight_keeps_the_ratio_of_summed_losses():
    error, kl, n, m = torch.rand(163_840), torch.rand(4096), 163_840, 4096
    summed = error.sum() + 1e-2 * kl.sum()
    torch.testing.assert_close(summed / n, error.mean() + kl_weight_from_sums(1e-2, n, m) * kl.mean())


def test_cross_entropy_ignores_255_and_is_zero_when_all_is():
    logits = torch.randn(2, 3, 4, 4, requires_grad=True)
    target = torch.randint(0, 3, (2, 4, 4), dtype=torch.uint8)
    target[0] = 255
    expected = torch.nn.functional.cross_entropy(logits[1:], target[1:].long())
    torch.testing.assert_close(mask_cross_entropy(logits, target), expected)
    nothing = mask_cross_entropy(logits, torch.full((2, 4, 4), 255, dtype=torch.uint8))
    nothing.backward()
    assert nothing == 0 and (logits.grad == 0).all()


def test_l1_sees_only_valid_values_and_is_zero_without_any():
    a, b = torch.zeros(1, 2, 2, 2), torch.tensor([1.0, 9.0]).expand(1, 2, 2, 2)
    valid = torch.tensor([True, False]).expand(1, 1, 2, 2)
    assert l1(a, b, valid) == 1 and l1(a, b) == 5 and l1(a, b, torch.zeros(1, 1, 2, 2, dtype=bool)) == 0


STREAMS = {"image": slice(0, 6), "mask": slice(6, 8)}


def _case(dtype=torch.float32):
    refl = torch.rand(2, 1, 4, 8, 8) + 0.1
    mean, std = torch.tensor([0.1, 0.2, 0.3, 0.4]), torch.tensor([0.05, 0.1, 0.2, 0.1])
    images = (refl - mean.view(-1, 1, 1)) / std.view(-1, 1, 1)
    masks = torch.randint(0, 3, (2, 8, 8))
    posterior = Posterior(torch.randn(2, 8, 2, 2), torch.ones(2, 8, 2, 2))
    recon = Reconstruction((images + 0.1).to(dtype), torch.randn(2, 3, 8, 8).to(dtype), posterior)
    return refl, mean, std, images, masks, recon


def test_total_is_equations_one_and_two_with_the_angle_in_reflectance():
    refl, mean, std, images, masks, recon = _case()
    weights = AutoencoderLossWeights(sad=0.3, mask=2.0, kl=0.7)
    terms = autoencoder_loss(recon, images, masks, weights, mean, std, STREAMS)
    fake = refl + 0.1 * std.view(-1, 1, 1)
    torch.testing.assert_close(terms["sad_rad"], spectral_angle(refl, fake, 2).mean(), atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(terms["l1"], torch.tensor(0.1))
    total = (
        terms["l1"] + 0.3 * terms["sad_rad"] + 2 * terms["cross_entropy"] + 0.7 * (terms["kl_image"] + terms["kl_mask"])
    )
    torch.testing.assert_close(terms["total"], total)


def test_each_streams_kl_is_a_mean_over_its_own_latent_values():
    *_, images, masks, recon = _case()
    terms = autoencoder_loss(recon, images, masks, AutoencoderLossWeights(kl=1.0), [0.1] * 4, [0.2] * 4, STREAMS)
    mean, std = recon.posterior
    torch.testing.assert_close(terms["kl_image"], kl_mean(mean[:, :6], std[:, :6]))
    torch.testing.assert_close(terms["kl_mask"], kl_mean(mean[:, 6:], std[:, 6:]))
    assert not torch.isclose(terms["kl_image"], terms["kl_mask"], rtol=1e-3)


def test_nodata_pixels_change_no_image_term():
    _, mean, std, images, masks, recon = _case()
    valid = torch.ones(2, 1, 8, 8, dtype=torch.bool)
    valid[:, :, :3] = False
    before = autoencoder_loss(recon, images, masks, AutoencoderLossWeights(), mean, std, STREAMS, valid)
    recon.images[:, :, :, :3] = -50
    after = autoencoder_loss(recon, images, masks, AutoencoderLossWeights(), mean, std, STREAMS, valid)
    assert before == after
    assert autoencoder_loss(recon, images, masks, AutoencoderLossWeights(), mean, std, STREAMS)["l1"] > before["l1"]


def test_losses_upcast_half_precision_without_autocast():
    a, b = torch.rand(2, 2, 10, 4, 4).add(0.1).bfloat16()
    target = torch.randint(0, 10, (2, 4, 4))
    torch.testing.assert_close(spectral_angle(a, b, 1), spectral_angle(a.float(), b.float(), 1), atol=0, rtol=0)
    torch.testing.assert_close(l1(a, b), l1(a.float(), b.float()), atol=0, rtol=0)
    torch.testing.assert_close(kl_mean(a, b), kl_mean(a.float(), b.float()), atol=0, rtol=0)
    expected = torch.nn.functional.cross_entropy(a.float(), target)
    torch.testing.assert_close(mask_cross_entropy(a, target), expected)


def test_loss_is_float32_for_half_precision_outputs_under_autocast():
    _, mean, std, images, masks, recon = _case(torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        terms = autoencoder_loss(recon, images, masks, AutoencoderLossWeights(), mean, std, STREAMS)
    assert {v.dtype for v in terms.values()} == {torch.float32} and terms["total"].isfinite()


def test_class_weights_multiply_the_pixels_of_their_class():
    logits, target = torch.randn(2, 3, 4, 4), torch.randint(0, 3, (2, 4, 4))
    target[0, 0] = 255
    each = torch.nn.functional.cross_entropy(logits, target, ignore_index=255, reduction="none")
    weights = torch.tensor([1.0, 5.0, 0.0])
    known = target != 255
    expected = (each[known] * weights[target[known]]).sum() / known.sum()
    torch.testing.assert_close(mask_cross_entropy(logits, target, class_weights=weights), expected)
    torch.testing.assert_close(
        mask_cross_entropy(logits, target, class_weights=torch.ones(3)), mask_cross_entropy(logits, target)
    )
