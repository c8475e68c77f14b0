from __future__ import annotations

import math

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from torch import nn

from specdm.errors import UserError
from specdm.nn.downstream.common import Recipe
from specdm.nn.downstream.lovasz import lovasz_softmax
from specdm.nn.downstream.siamcrnn import RECIPE, VARIANTS, ConvLSTM, SiamCRNN, resnet_encoder


def _count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def _small(**options) -> SiamCRNN:
    torch.manual_seed(0)
    return SiamCRNN(**{"bands": 3, "classes": 2, "variant": "18", "hidden": 8, **options})


COUNTS = {  # one convolution (the authors' repository), residual blocks (the published SiamCRNN-101)
    "18": (18_405_314, 18_848_066),
    "34": (28_513_474, 28_956_226),
    "50": (44_007_874, 44_450_626),
    "101": (63_000_002, 63_442_754),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_it_has_the_parameters_of_the_original(variant):
    with torch.device("meta"):
        counts = [_count(SiamCRNN(3, 2, variant, smoothing)) for smoothing in ("conv", "resblock")]
        ten = _count(SiamCRNN(10, 2, variant))
        mapped = _count(SiamCRNN(10, 2, variant, adapter="map3"))
    assert (*counts,) == COUNTS[variant]
    assert (ten, mapped) == (counts[1] + 21_952, counts[1] + 33)


def test_the_default_is_the_published_one():
    with torch.device("meta"):
        assert _count(SiamCRNN(3)) == 63_442_754
    assert Recipe("adamw", 1e-4, 5e-4, (0.9, 0.999), 1.0, "constant", 1.0, 0.0) == RECIPE


@torch.no_grad()
@pytest.mark.parametrize("height, width", [(64, 64), (128, 128), (64, 96), (50, 70)])
def test_logits_have_the_size_of_the_images(height, width):
    assert _small(classes=3).eval()(torch.randn(2, 2, 3, height, width)).shape == (2, 3, height, width)


@pytest.mark.parametrize("options", [{}, {"smoothing": "conv"}, {"adapter": "map3"}, {"variant": "50"}])
def test_every_parameter_learns(options):
    network = _small(bands=4, classes=3, **options)
    loss = network.training_loss(torch.randn(2, 2, 4, 32, 32), torch.randint(0, 3, (2, 32, 32)))
    loss.backward()
    assert loss.dtype == torch.float32 and loss.isfinite() and loss.shape == ()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in network.parameters())


# (stride, dilation) of the 3x3 convolutions of a level: a basic block has two, a bottleneck one
LEVELS = {
    ("18", 16): {"layer3": [(2, 1), (1, 1), (1, 1), (1, 1)], "layer4": [(1, 2), (1, 1), (1, 2), (1, 1)]},
    ("18", 8): {"layer3": [(1, 2), (1, 1), (1, 2), (1, 1)], "layer4": [(1, 4), (1, 1), (1, 4), (1, 1)]},
    ("50", 16): {"layer3": [(2, 1)] + 5 * [(1, 1)], "layer4": 3 * [(1, 2)]},
    ("50", 8): {"layer3": 6 * [(1, 2)], "layer4": 3 * [(1, 4)]},
}


@torch.no_grad()
@pytest.mark.parametrize("variant, output_stride", LEVELS)
def test_strides_and_dilations_of_the_levels(variant, output_stride):
    encoder = resnet_encoder(variant, 3, output_stride)
    sizes = [64 // f.shape[-1] for f in encoder(torch.randn(2, 3, 64, 64))]
    assert sizes == [4, 8, output_stride, output_stride]
    for level, expected in LEVELS[variant, output_stride].items():
        found = [m for m in encoder[level].modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)]
        assert [(m.stride[0], m.dilation[0]) for m in found] == expected
        assert all(m.padding == m.dilation for m in found)
    assert SiamCRNN(3, 2, variant, output_stride=output_stride).encoder["layer4"][0].conv2.dilation == (
        encoder["layer4"][0].conv2.dilation
    )


def test_convolutions_and_batch_norms_start_like_the_originals():
    encoder = resnet_encoder("18", 10, 16)
    for convolution in (encoder["conv1"], encoder["layer4"][1].conv2):
        k, out = convolution.kernel_size[0], convolution.out_channels
        assert convolution.weight.std().item() == pytest.approx(math.sqrt(2 / (k * k * out)), rel=0.03)
    norms = [m for m in encoder.modules() if isinstance(m, nn.BatchNorm2d)]
    assert all((m.weight == 1).all() and (m.bias == 0).all() for m in norms)


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


def _convolve(x, weight, bias):
    """3x3 convolution with a border of zeros: x (C, H, W), weight (D, C, 3, 3), pixel by pixel."""
    _, height, width = x.shape
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    out = np.empty((len(weight), height, width))
    for r in range(height):
        for c in range(width):
            out[:, r, c] = (weight * padded[:, r : r + 3, c : c + 3]).sum((1, 2, 3)) + bias
    return out


@torch.no_grad()
def test_the_convlstm_is_that_of_a_loop_over_pixels():
    torch.manual_seed(0)
    layer = ConvLSTM(channels=2, hidden=3).double()
    for p in layer.parameters():
        p.mul_(4)  # far from the linear range of the gates
    x = torch.randn(2, 3, 2, 4, 5, dtype=torch.float64)
    weight, bias = layer.gates.weight.numpy(), layer.gates.bias.numpy()
    for sample, result in zip(x.numpy(), layer(x).numpy()):
        h, c = np.zeros((3, 4, 5)), np.zeros((3, 4, 5))
        for x_t in sample:
            z = _convolve(np.concatenate([x_t, h]), weight, bias)
            i, f, o, g = _sigmoid(z[0:3]), _sigmoid(z[3:6]), _sigmoid(z[6:9]), np.tanh(z[9:12])
            c = f * c + i * g
            h = o * np.tanh(c)
        np.testing.assert_allclose(result, h, atol=1e-12)


@torch.no_grad()
def test_dates_are_not_interchangeable_and_the_second_one_counts_last():
    network = _small().eval()
    x = torch.randn(1, 2, 3, 64, 64)
    assert (network(x.flip(1)) - network(x)).abs().max() > 1e-3
    for recurrence in network.recurrences:  # forget the first date: h = o tanh(i g) of the second alone
        recurrence.gates.weight[:, -network.recurrences[0].hidden :] = 0
        recurrence.gates.bias[8:16] = -1e9
    other = torch.cat([torch.randn(1, 1, 3, 64, 64), x[:, 1:]], dim=1)
    torch.testing.assert_close(network(other), network(x))


@torch.no_grad()
def test_the_pyramid_adds_finer_states_to_resized_coarser_ones():
    network = _small(smoothing="conv").eval()
    x = torch.randn(2, 2, 3, 64, 96)
    seen = {}

    def remember(name):
        return lambda _, inputs, output: seen.update({name: (inputs[0], output)})

    for k in range(4):
        network.recurrences[k].register_forward_hook(remember(f"state{k}"))
    for k in range(3):
        network.smoothings[k].register_forward_hook(remember(f"smooth{k}"))
    network.classifier.register_forward_hook(remember("classifier"))
    logits = network(x)
    first, second = (network.encoder(x[:, t]) for t in (0, 1))
    for k in range(4):  # fine to coarse, the first date first
        torch.testing.assert_close(seen[f"state{k}"][0], torch.stack([first[k], second[k]], dim=1))
    coarser = seen["state3"][1]
    for k in range(3):
        finer = seen[f"state{2 - k}"][1]
        resized = F.interpolate(coarser, size=finer.shape[-2:], mode="bilinear", align_corners=False)
        torch.testing.assert_close(seen[f"smooth{k}"][0], finer + resized)
        coarser = seen[f"smooth{k}"][1]
    torch.testing.assert_close(seen["classifier"][0], coarser)
    expected = F.interpolate(seen["classifier"][1], size=(64, 96), mode="bilinear", align_corners=False)
    torch.testing.assert_close(logits, expected)


@torch.no_grad()
def test_smoothing_layers():
    x = torch.randn(2, 8, 8, 8)
    block = _small().smoothings[0].eval()
    block.body[4].weight.fill_(0)
    torch.testing.assert_close(block(x), x.relu())  # the identity is added before the last ReLU
    assert [type(m).__name__ for m in block.body] == ["Conv2d", "BatchNorm2d", "ReLU", "Conv2d", "BatchNorm2d"]
    plain = _small(smoothing="conv").smoothings[0]
    assert [type(m).__name__ for m in plain] == ["Conv2d", "BatchNorm2d", "ReLU"]


@torch.no_grad()
def test_each_date_is_normalised_by_its_own_statistics():
    network = _small().train()
    x = torch.randn(2, 2, 3, 64, 64)
    brighter = x * torch.tensor([1.0, 5.0]).view(1, 2, 1, 1, 1)
    torch.testing.assert_close(network(brighter), network(x), atol=1e-3, rtol=0)


def _weighted_cross_entropy(logits, target, weights):
    log_p = logits.log_softmax(1)
    terms, norm = [], 0.0
    for n, r, c in np.argwhere(target.numpy() != 255):
        k = target[n, r, c]
        terms.append(-weights[k] * log_p[n, k, r, c])
        norm += weights[k]
    return torch.stack(terms).sum() / norm


@torch.no_grad()
@pytest.mark.parametrize(
    "classes, given, used", [(2, None, [1.0, 10.0]), (4, None, [1.0, 10, 10, 10]), (2, [0.5, 3.0], [0.5, 3.0])]
)
def test_the_loss_is_weighted_cross_entropy_and_lovasz(classes, given, used):
    network = _small(classes=classes).eval()
    x, target = torch.randn(2, 2, 3, 32, 32), torch.randint(0, classes, (2, 32, 32))
    target[:, :7] = 255
    logits = network(x)
    loss = network.training_loss(x, target.to(torch.uint8), None if given is None else torch.tensor(given))
    expected = _weighted_cross_entropy(logits, target, used) + 0.75 * lovasz_softmax(logits, target)
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=0)
    torch.testing.assert_close(
        loss - 0.75 * lovasz_softmax(logits, target),
        F.cross_entropy(logits, target, torch.tensor(used), ignore_index=255),
        rtol=1e-4,
        atol=0,
    )


@torch.no_grad()
def test_the_loss_is_computed_in_float32(monkeypatch):
    network, logits, target = _small(), torch.randn(2, 2, 8, 8).bfloat16(), torch.randint(0, 2, (2, 8, 8))
    monkeypatch.setattr(network, "forward", lambda _: logits)
    loss = network.training_loss(torch.empty(0), target)
    cross_entropy = F.cross_entropy(logits.float(), target, torch.tensor([1.0, 10.0]))
    torch.testing.assert_close(loss, cross_entropy + 0.75 * lovasz_softmax(logits.float(), target))


@pytest.mark.parametrize("weights", [None, torch.tensor([0.0, 0.0])])
def test_a_batch_without_any_label_costs_nothing_and_moves_nothing(weights):
    network = _small()
    loss = network.training_loss(torch.randn(2, 2, 3, 32, 32), torch.full((2, 32, 32), 255), weights)
    loss.backward()
    assert loss == 0
    assert all((p.grad == 0).all() for p in network.parameters())


def test_it_learns_four_samples():
    network = _small()
    target = torch.zeros(4, 32, 32, dtype=torch.long)
    target[:2, 8:24, :16] = 1
    target[2:, :, 20:] = 1
    x = torch.randn(4, 2, 3, 32, 32) * 0.3
    x[:, 1] += target[:, None]
    optimiser = torch.optim.AdamW(network.parameters(), 3e-3)
    losses = []
    for _ in range(12):
        optimiser.zero_grad()
        loss = network.training_loss(x, target)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.4 * losses[0], losses


def test_bfloat16_autocast_gives_a_finite_float32_loss():
    network = _small()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = network.training_loss(torch.randn(2, 2, 3, 32, 32), torch.randint(0, 2, (2, 32, 32)))
    loss.backward()
    assert loss.dtype == torch.float32 and loss.isfinite()
    assert all(p.grad.isfinite().all() for p in network.parameters())


@torch.no_grad()
def test_saved_and_loaded_weights_give_equal_logits(tmp_path):
    network = _small(bands=10).eval()
    torch.save(network.state_dict(), tmp_path / "weights.pt")
    torch.manual_seed(1)
    other = SiamCRNN(10, 2, "18", hidden=8).eval()
    other.load_state_dict(torch.load(tmp_path / "weights.pt"))
    x = torch.randn(1, 2, 10, 32, 32)
    assert torch.equal(other(x), network(x))
    assert not any("class_weights" in name for name in network.state_dict())


@torch.no_grad()
def test_weights_of_a_pretrained_resnet_are_loaded_and_widened():
    pretrained = timm.create_model("resnet18", pretrained=False).state_dict()
    assert "fc.weight" in pretrained
    mapped = _small(bands=10, adapter="map3", encoder_state=pretrained).encoder
    assert all(torch.equal(v, pretrained[k]) for k, v in mapped.state_dict().items())
    wide = _small(bands=6, encoder_state=pretrained).encoder["conv1"].weight
    torch.testing.assert_close(wide, pretrained["conv1.weight"].repeat(1, 2, 1, 1) / 2)
    with pytest.raises(UserError, match="do not fit"):
        _small(variant="34", encoder_state=pretrained)


def test_everything_outside_the_encoder_is_the_head():
    network = _small(bands=10, adapter="map3")
    assert {name for name, _ in network.named_children()} == {"encoder", *network.head_modules}
    assert [(g["lr"], g["weight_decay"]) for g in network.parameter_groups(RECIPE)] == [(1e-4, 5e-4)]


@pytest.mark.parametrize(
    "options", [{"variant": "152"}, {"smoothing": "none"}, {"adapter": "inflate"}, {"output_stride": 32}]
)
def test_mistakes_are_explained(options):
    (name,) = options
    with pytest.raises(UserError, match=f"siamcrnn: {name} must be one of .* not "):
        _small(**options)
