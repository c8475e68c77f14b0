from __future__ import annotations

import io

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import nn

from specdm.errors import UserError
from specdm.nn.downstream.common import Recipe
from specdm.nn.downstream.pfsegnet import RECIPE, VARIANTS, PFSegNet, dilated_resnet
from tests.nn.downstream.slow_edges import slow_edge_loss, slow_edges, slow_ohem


@pytest.fixture(scope="module")
def network() -> PFSegNet:
    """R50 with four bands and three classes; its weights stay as they are, its statistics those of one batch."""
    torch.manual_seed(0)
    built = PFSegNet(bands=4, classes=3)
    norms = [m for m in built.modules() if isinstance(m, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        built(torch.randn(4, 1, 4, 64, 64))
    for norm in norms:
        norm.momentum = 0.1
    return built


def _count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def _blocks(n: int, side: int) -> torch.Tensor:
    """Masks (n, side, side): left and right half, a square of a third class across both, a few ignored pixels."""
    target = torch.zeros(n, side, side, dtype=torch.long)
    target[:, :, side // 2 :] = 1
    target[:, 4:12, side // 2 - 4 : side // 2 + 4] = 2
    target[:, :3, :5] = 255
    return target


# the network


@pytest.mark.parametrize(
    "variant, classes, expected",
    [
        ("r50", 13, 32_993_232),
        ("r50", 16, 32_994_003),
        ("r50", 6, 32_991_433),
        ("r101", 13, 51_985_360),
        ("r101", 16, 51_986_131),
        ("r101", 6, 51_983_561),
    ],
)
def test_parameters_are_as_many_as_in_the_original(variant, classes, expected):
    with torch.device("meta"):
        network = PFSegNet(3, classes, variant, adapter="wide")
    assert _count(network) == expected


def test_ten_bands_enter_through_a_mapping_or_a_wide_stem():
    with torch.device("meta"):
        assert _count(PFSegNet(10, 13)) == 32_993_232 + 33
        assert _count(PFSegNet(10, 13, adapter="wide")) == 32_997_264


def test_parts_have_the_parameters_of_the_original():
    with torch.device("meta"):
        network = PFSegNet(3, 13, adapter="wide")
    parts = {name: _count(child) for name, child in network.named_children()}
    assert parts == {
        "adapter": 0,
        "encoder": 23_631_808,
        "pyramid": 2_886_144,
        "laterals": 461_056,
        "flows": 1_880_067,
        "smooth": 1_771_008,
        "classifier": 2_363_149,
    }
    assert set(parts) == {"encoder", *network.head_modules}


@torch.no_grad()
def test_backbone_keeps_its_strides_and_dilates_the_last_two_stages():
    encoder = dilated_resnet("r50", 3).eval()
    assert [f.shape for f in encoder(torch.randn(1, 3, 64, 96))] == [
        (1, 256, 16, 24),
        (1, 512, 8, 12),
        (1, 1024, 4, 6),
        (1, 2048, 2, 3),
    ]
    for stage, dilation in (("layer1", 1), ("layer2", 1), ("layer3", 2), ("layer4", 4)):
        for i, block in enumerate(encoder[stage]):
            conv = block.conv2
            assert conv.dilation == conv.padding == (dilation, dilation)
            assert conv.stride == ((2, 2) if i == 0 and stage != "layer1" else (1, 1))
            assert (block.bn3.weight == 1).all()


@pytest.mark.parametrize("height, width", [(64, 64), (128, 128), (64, 96)])
@torch.no_grad()
def test_logits_have_the_size_of_the_images(network, height, width):
    logits = network.eval()(torch.randn(1, 1, 4, height, width))
    assert logits.shape == (1, 3, height, width) and logits.isfinite().all()


@pytest.mark.parametrize("options", [{}, {"point_budget": "relative", "adapter": "wide"}])
def test_every_parameter_gets_a_gradient(options):
    torch.manual_seed(0)
    network = PFSegNet(bands=4, classes=3, **options)
    loss = network.training_loss(torch.randn(2, 1, 4, 64, 64), _blocks(2, 64))
    loss.backward()
    assert loss.dtype == torch.float32 and loss.isfinite() and loss.ndim == 0
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    assert all(p.grad.abs().max() > 0 for p in network.parameters() if p.ndim > 1)


def _stretch(x: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    return F.interpolate(x, size=size, mode="bilinear", align_corners=True)


def _normed(norm: nn.BatchNorm2d, x: torch.Tensor) -> torch.Tensor:
    return F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias)


def test_forward_follows_the_wiring_of_the_original(network):
    network.eval()
    x = torch.randn(2, 1, 4, 64, 96)
    c2, c3, c4, c5 = network.encoder(network.adapter(x[:, 0]))

    pooled = [c5]
    for (_, conv, norm), side in zip(network.pyramid.pools, (1, 2, 3, 6), strict=True):
        means = F.adaptive_avg_pool2d(c5, side)
        pooled.append(_stretch(_normed(norm, F.conv2d(means, conv.weight)), (2, 3)))
    (conv, norm, _), dropout = network.pyramid.fuse
    assert isinstance(dropout, nn.Dropout2d) and dropout.p == 0.1
    f = p5 = _normed(norm, F.conv2d(torch.cat(pooled, 1), conv.weight)).relu()

    levels, edges = [p5], []
    for level, feature in ((2, c4), (1, c3), (0, c2)):
        conv, norm, _ = network.laterals[level]
        low = _normed(norm, F.conv2d(feature, conv.weight, conv.bias)).relu()
        flowed, edge = network.flows[level](f, low)
        f = low + flowed
        conv, norm, _ = network.smooth[level]
        levels.append(_normed(norm, F.conv2d(f, conv.weight, padding=1)).relu())
        edges.append(_stretch(edge, (64, 96)))
    (conv, norm, _), last = network.classifier
    stacked = torch.cat([levels[3], *(_stretch(p, (16, 24)) for p in (levels[2], levels[1], p5))], 1)
    fused = _normed(norm, F.conv2d(stacked, conv.weight, padding=1)).relu()
    expected = _stretch(F.conv2d(fused, last.weight, last.bias), (64, 96))

    logits, edge_logits = network._logits_and_edges(x)
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(edge_logits, torch.cat(edges, 1), rtol=1e-4, atol=1e-4)
    assert torch.equal(network(x), logits)
    parameters = [network.adapter.weight, network.pyramid.fuse[0][0].weight, network.laterals[0][0].weight]
    gradients = torch.autograd.grad(logits.mean() + edge_logits.mean(), parameters)
    wanted = torch.autograd.grad(expected.mean() + torch.cat(edges, 1).mean(), parameters)
    for gradient, other in zip(gradients, wanted, strict=True):
        torch.testing.assert_close(gradient, other, rtol=1e-3, atol=1e-3 * other.abs().max().item())


@torch.no_grad()
def test_loss_adds_hard_pixels_and_weighted_edges(network):
    network.eval()
    x, target = torch.randn(2, 1, 4, 64, 64), _blocks(2, 64)
    logits, edge_logits = network._logits_and_edges(x)
    defaults = dict(ohem_threshold=0.7, ohem_min_kept=10_000, edge_weight=25.0, edge_target="multiclass", edge_width=2)
    assert {name: getattr(network, name) for name in defaults} == defaults
    for changed in ({}, {"ohem_threshold": 0.3, "ohem_min_kept": 5}, {"edge_target": "upstream", "edge_width": 3}):
        s = {**defaults, **changed}
        try:
            vars(network).update(s)
            weights = torch.tensor([1.0, 3.0, 0.5])
            loss = network.training_loss(x, target, weights)
        finally:
            vars(network).update(defaults)
        hard = slow_ohem(logits, target, s["ohem_threshold"], s["ohem_min_kept"], weights)
        edges = slow_edges(target, s["edge_target"], s["edge_width"])
        assert loss.item() == pytest.approx(hard + 25 * slow_edge_loss(edge_logits, edges), rel=1e-4)


def test_loss_is_finite_float32_in_bfloat16(network):
    network.train()
    x, target = torch.randn(2, 1, 4, 64, 64), _blocks(2, 64)
    with torch.autocast("cpu", torch.bfloat16):
        loss = network.training_loss(x, target)
    with torch.no_grad():
        full = network.training_loss(x, target)
    gradient = torch.autograd.grad(loss, network.flows[0].matcher.weight)[0]
    assert loss.dtype == torch.float32 and loss.isfinite() and gradient.isfinite().all()
    assert loss.item() == pytest.approx(full.item(), rel=0.1)


@pytest.mark.parametrize("weighted", [False, True])
def test_a_batch_without_any_label_costs_nothing_and_moves_nothing(network, weighted):
    ignored = torch.full((2, 32, 32), 255)
    loss = network.train().training_loss(torch.randn(2, 1, 4, 32, 32), ignored, torch.ones(3) if weighted else None)
    gradients = torch.autograd.grad(loss, list(network.parameters()))
    assert loss == 0 and all((g == 0).all() for g in gradients)


def test_a_batch_without_any_edge_learns_the_classes_only(network):
    loss = network.train().training_loss(torch.randn(2, 1, 4, 32, 32), torch.ones(2, 32, 32, dtype=torch.uint8))
    parameters = [network.flows[0].edge[3].weight, network.classifier[1].weight]
    edge, classifier = torch.autograd.grad(loss, parameters)
    assert loss.isfinite() and (edge == 0).all() and classifier.abs().max() > 0


def test_four_samples_are_learned():
    torch.manual_seed(0)
    network = PFSegNet(bands=3, classes=2, adapter="wide", edge_points=8, maxpool=3)
    target = torch.zeros(4, 32, 32, dtype=torch.long)
    for i in range(4):
        target[i, :, 8 * (i % 2) + 8 :] = 1
        target[i, : 8 * (i // 2) + 8] = 0
    x = torch.randn(4, 1, 3, 32, 32) * 0.1 + target[:, None, None]
    optimiser = torch.optim.SGD(network.parameter_groups(RECIPE), RECIPE.lr, momentum=0.9)
    losses = []
    for _ in range(14):
        optimiser.zero_grad()
        loss = network.training_loss(x, target)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    with torch.no_grad():
        right = (network(x).argmax(1) == target).float().mean()
    assert losses[-1] < 0.85 * losses[0] and right > 0.95


@torch.no_grad()
def test_saved_weights_give_the_same_logits(network):
    file = io.BytesIO()
    torch.save(network.state_dict(), file)
    file.seek(0)
    with torch.device("meta"):
        loaded = PFSegNet(bands=4, classes=3)
    loaded.load_state_dict(torch.load(file), assign=True)
    x = torch.randn(1, 1, 4, 64, 64)
    assert torch.equal(loaded.eval()(x), network.eval()(x))


def test_pretrained_weights_are_loaded_and_widened():
    with torch.device("meta"):
        published = timm.create_model("resnet50s").state_dict()
    pretrained = {k: torch.rand(v.shape).to(v.dtype) for k, v in published.items()}
    assert "fc.weight" in pretrained
    mapped = PFSegNet(10, 3, encoder_state=pretrained).encoder.state_dict()
    assert all(torch.equal(v, pretrained[k]) for k, v in mapped.items())
    wide = PFSegNet(6, 3, adapter="wide", encoder_state=pretrained).encoder.state_dict()
    kernel = pretrained["conv1.0.weight"]
    torch.testing.assert_close(wide["conv1.0.weight"], torch.cat([kernel, kernel], 1) / 2)
    assert torch.equal(wide["layer4.2.bn3.weight"], pretrained["layer4.2.bn3.weight"])
    with pytest.raises(UserError, match="do not fit"):
        PFSegNet(10, 3, "r101", encoder_state=pretrained)


def test_recipe_is_that_of_the_authors():
    assert Recipe("sgd", 0.01, 1e-4, schedule="poly", poly_power=0.9) == RECIPE and VARIANTS == ("r50", "r101")


@pytest.mark.parametrize(
    "options, message",
    [
        ({"variant": "r18"}, "unknown variant 'r18'; choose one of r50, r101"),
        ({"adapter": "inflate"}, "adapter must be one of map3, wide, not 'inflate'"),
        ({"point_budget": "all"}, "point_budget must be"),
        ({"edge_target": "binary"}, "edge_target must be"),
        ({"edge_points": 0}, "edge_points must be at least 1, not 0"),
        ({"edge_width": 0}, "edge_width must be at least 1"),
        ({"ohem_min_kept": 0}, "ohem_min_kept must be at least 1"),
    ],
)
def test_mistaken_options_are_explained(options, message):
    with pytest.raises(UserError, match=message), torch.device("meta"):
        PFSegNet(4, 3, **options)


def test_images_that_do_not_fit_are_explained(network):
    for height, width in ((64, 72), (48, 64)):
        with pytest.raises(UserError, match=f"{height} x {width} pixels; give sides that are multiples of 32"):
            network.eval()(torch.randn(2, 1, 4, height, width))
    with pytest.raises(UserError, match=r"batch of one image.*batch size >= 2"):
        network.train()(torch.randn(1, 1, 4, 64, 64))


# the point flow
