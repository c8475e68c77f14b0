from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from specdm.errors import UserError
from specdm.nn.autoencoder import AutoencoderSpec, JointAutoencoder, Posterior, StreamSpec, one_hot
from specdm.nn.losses import AutoencoderLossWeights, autoencoder_loss

IMAGE = StreamSpec(latent_channels=4, width=8, multipliers=(1, 2, 2), layers=1, norm_groups=4)
MASK = StreamSpec(latent_channels=3, width=8, multipliers=(1, 1, 2), layers=1, norm_groups=4)
TWO = AutoencoderSpec(bands=5, classes=3, dates=2, streams="two", image=IMAGE, mask=MASK)
SINGLE = AutoencoderSpec(bands=5, classes=3, dates=2, streams="single", image=IMAGE)
SHALLOW = replace(IMAGE, multipliers=(1, 2))  # what learns in seconds


def _data(n: int = 2, size: int = 16) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    masks = torch.randint(0, 3, (n, size, size), dtype=torch.uint8)
    return torch.randn(n, 2, 5, size, size), masks, one_hot(masks, 3)


@pytest.mark.parametrize("spec, channels", [(TWO, 11), (SINGLE, 4)])
def test_shapes(spec, channels):
    model = JointAutoencoder(spec)
    images, _, hot = _data()
    out = model(images, hot, torch.randn(2, channels, 4, 4))
    assert (model.latent_channels, model.downsampling) == (channels, 4)
    assert out.posterior.mean.shape == out.posterior.std.shape == (2, channels, 4, 4)
    assert out.images.shape == images.shape and out.mask_logits.shape == hot.shape
    assert (out.posterior.std > 0).all()


def test_stream_slices():
    assert JointAutoencoder(TWO).stream_slices == {
        "image1": slice(0, 4),
        "image2": slice(4, 8),
        "mask": slice(8, 11),
    }
    assert JointAutoencoder(SINGLE).stream_slices == {"joint": slice(0, 4)}


@torch.no_grad()
def test_dates_share_weights_and_streams_do_not_mix():
    model = JointAutoencoder(TWO).eval()
    images, _, hot = _data()
    slices = model.stream_slices
    mean, swapped = model.encode(images, hot).mean, model.encode(images.flip(1), hot).mean
    torch.testing.assert_close(swapped[:, slices["image1"]], mean[:, slices["image2"]], atol=1e-5, rtol=1e-4)
    other = model.encode(images, hot.flip(1)).mean
    torch.testing.assert_close(other[:, :8], mean[:, :8], atol=1e-5, rtol=1e-4)
    assert (other[:, slices["mask"]] - mean[:, slices["mask"]]).abs().max() > 1e-3
    decoded, logits = model.decode(mean)
    later = mean.clone()
    later[:, slices["image2"]] += 1
    changed, same = model.decode(later)
    torch.testing.assert_close(changed[:, 0], decoded[:, 0], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(same, logits)
    assert (changed[:, 1] - decoded[:, 1]).abs().max() > 1e-3


def test_single_stream_splits_the_channels_it_joined():
    model = JointAutoencoder(SINGLE)
    images, _, hot = _data()
    model.joint.encode = lambda x: pytest.fail("not decoded here")
    joined = torch.cat([images.flatten(1, 2), hot], dim=1)
    model.joint.decode = lambda z: type("Out", (), {"sample": joined})
    back, logits = model.decode(torch.zeros(2, 4, 4, 4))
    assert torch.equal(back, images) and torch.equal(logits, hot)


def test_posterior_sample():
    posterior = Posterior(torch.full((1, 2, 1, 1), 3.0), torch.full((1, 2, 1, 1), 0.5))
    assert posterior.sample(torch.full((1, 2, 1, 1), 2.0)).unique().tolist() == [4.0]


@pytest.mark.parametrize("spec", [TWO, SINGLE])
def test_spec_survives_json(spec):
    assert AutoencoderSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


def test_spec_refuses_what_cannot_be_built():
    deeper = StreamSpec(3, 8, (1, 2, 2, 2), norm_groups=4)
    with pytest.raises(UserError, match="downsamples by 4 and the mask stream by 8"):
        AutoencoderSpec(5, 3, 1, "two", IMAGE, deeper)
    with pytest.raises(UserError, match="needs mask stream"):
        AutoencoderSpec(5, 3, 1, "two", IMAGE)
    with pytest.raises(UserError, match="has no mask stream"):
        AutoencoderSpec(5, 3, 1, "single", IMAGE, MASK)
    with pytest.raises(UserError, match="norm groups"):
        StreamSpec(4, 24, (1, 2))
    with pytest.raises(UserError, match="surprise"):
        AutoencoderSpec.from_dict({**TWO.to_dict(), "surprise": 1})


def test_data_that_does_not_fit_is_refused():
    model = JointAutoencoder(TWO)
    images, _, hot = _data(size=18)
    with pytest.raises(UserError, match="18 x 18"):
        model.encode(images, hot)
    images, _, hot = _data()
    with pytest.raises(UserError, match="built for 2 date"):
        model.encode(images[:, :1], hot)


def test_one_hot_ignores_255_and_refuses_unknown_ids():
    mask = torch.tensor([[[0, 2, 255]]], dtype=torch.uint8)
    assert one_hot(mask, 3)[0, :, 0].T.tolist() == [[1, 0, 0], [0, 0, 1], [0, 0, 0]]
    with pytest.raises(UserError, match=r"outside 0\.\.1"):
        one_hot(mask, 2)


@pytest.mark.parametrize("spec", [replace(TWO, image=SHALLOW, mask=SHALLOW), replace(SINGLE, image=SHALLOW)])
def test_overfits_one_batch(spec):
    torch.manual_seed(0)
    model = JointAutoencoder(spec)
    masks = torch.zeros(2, 16, 16, dtype=torch.uint8)
    masks[0, :, 8:], masks[1, 8:] = 1, 2
    images = torch.stack([masks, 2 - masks], 1).unsqueeze(2).float() * torch.linspace(-1, 1, 5).view(1, 1, 5, 1, 1)
    hot = one_hot(masks, 3)
    optimiser = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(40):
        terms = autoencoder_loss(
            model(images, hot), images, masks, AutoencoderLossWeights(), [2.0] * 5, [1.0] * 5, model.autoencoder_slices
        )
        optimiser.zero_grad()
        terms["total"].backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
        optimiser.step()
    recon = model(images, hot)
    assert (recon.mask_logits.argmax(1) == masks).float().mean() > 0.99
    assert terms["l1"] < 0.25 and terms["sad_rad"] < 0.1


def test_image_stream_of_the_paper_has_55_34_million_parameters():
    stream = StreamSpec(latent_channels=4, width=128, multipliers=(1, 2, 4))
    with torch.device("meta"):
        model = JointAutoencoder(AutoencoderSpec(10, 13, 1, "two", stream, stream))
    assert sum(p.numel() for p in model.image.parameters()) == 55_342_062


@pytest.mark.parametrize("given", [("mask",), ("image1",), ("image1", "image2"), ("image1", "mask")])
def test_what_is_given_is_encoded_alone_and_the_rest_decoded_alone(given):
    model = JointAutoencoder(TWO).eval()
    images, _, hot = _data()
    dates = sum(name.startswith("image") for name in given)
    with torch.no_grad():
        whole = model.encode(images, hot).mean
        mean = model.encode_given(images[:, :dates] if dates else None, hot if "mask" in given else None)
        all_images, all_logits = model.decode(whole)
        some_images, some_logits = model.decode(whole, given)
    for name, channels in model.stream_slices.items():
        expected = whole[:, channels] if name in given else torch.zeros_like(whole[:, channels])
        torch.testing.assert_close(mean[:, channels], expected)
    for t, name in enumerate(("image1", "image2")):
        expected = torch.zeros_like(all_images[:, t]) if name in given else all_images[:, t]
        torch.testing.assert_close(some_images[:, t], expected)
    torch.testing.assert_close(some_logits, torch.zeros_like(all_logits) if "mask" in given else all_logits)
