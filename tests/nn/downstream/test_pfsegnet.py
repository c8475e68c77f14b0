from __future__ import annotations

import io

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from torch import nn

from specdm.errors import UserError
from specdm.nn.downstream.common import Recipe
from specdm.nn.downstream.edges import balanced_edge_loss, edge_targets, ohem_cross_entropy
from specdm.nn.downstream.pfsegnet import RECIPE, VARIANTS, PFSegNet, dilated_resnet
from specdm.nn.downstream.point_flow import PointFlow, propagate, write_back


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
        hard = _slow_ohem(logits, target, s["ohem_threshold"], s["ohem_min_kept"], weights)
        edges = _slow_edges(target, s["edge_target"], s["edge_width"])
        assert loss.item() == pytest.approx(hard + 25 * _slow_edge_loss(edge_logits, edges), rel=1e-4)


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


def _small_flow(**options) -> PointFlow:
    torch.manual_seed(1)
    flow = PointFlow(**{"width": 6, "match_dim": 4, "maxpool": 4, "avgpool": 3, "edge_points": 9, **options})
    norm = flow.edge[1]
    for values in (norm.running_mean, norm.weight.data, norm.bias.data):
        values.normal_()
    norm.running_var.uniform_(0.5, 2.0)
    flow.matcher.weight.data.mul_(5)
    return flow.eval()


def _slow_conv(x: np.ndarray, conv: nn.Conv2d) -> np.ndarray:
    kernel = conv.weight.detach().double().numpy()
    margin = kernel.shape[-1] // 2
    padded = np.pad(x, ((0, 0), (margin, margin), (margin, margin)))
    out = np.zeros((kernel.shape[0], *x.shape[1:]))
    for row, col in np.ndindex(*x.shape[1:]):
        window = padded[:, row : row + 2 * margin + 1, col : col + 2 * margin + 1]
        out[:, row, col] = (kernel * window).sum((1, 2, 3))
    return out if conv.bias is None else out + conv.bias.detach().double().numpy()[:, None, None]


def _slow_stretch(x: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    out = np.zeros((x.shape[0], *size))
    for row, col in np.ndindex(*size):
        at = [i * (n - 1) / max(m - 1, 1) for i, n, m in zip((row, col), x.shape[1:], size, strict=True)]
        for i, j in np.ndindex(*x.shape[1:]):
            out[:, row, col] += x[:, i, j] * max(0, 1 - abs(at[0] - i)) * max(0, 1 - abs(at[1] - j))
    return out


def _slow_sample(x: np.ndarray, y01: float, x01: float) -> np.ndarray:
    """Bilinear sample at relative coordinates, pixel centres at (i + 0.5) / n, nothing outside."""
    row, col = y01 * x.shape[1] - 0.5, x01 * x.shape[2] - 0.5
    out = np.zeros(x.shape[0])
    for i, j in np.ndindex(*x.shape[1:]):
        out += x[:, i, j] * max(0, 1 - abs(row - i)) * max(0, 1 - abs(col - j))
    return out


def _slow_cells(n: int, bins: int) -> list[slice]:
    return [slice(int(np.floor(i * n / bins)), int(np.ceil((i + 1) * n / bins))) for i in range(bins)]


def _slow_propagate(high: list[np.ndarray], low: list[np.ndarray]) -> list[np.ndarray]:
    results = []
    for query in low:
        weights = np.exp([query @ key for key in high])
        results.append(query + sum(w * key for w, key in zip(weights / weights.sum(), high, strict=True)))
    return results


def _slow_flow(flow: PointFlow, high: np.ndarray, low: np.ndarray, grids=((4, 4), (3, 3)), points=9):
    """Flowed low map, edge logits, and the cells written along edges and at salient points, of one image."""
    _, h, w = high.shape
    r = low.shape[1] // h
    reduced = [_slow_conv(high, flow.reduce_high), _slow_stretch(_slow_conv(low, flow.reduce_low), (h, w))]
    certainty = 1 / (1 + np.exp(-_slow_conv(np.concatenate(reduced), flow.matcher)))

    def pool(grid, reduce):
        rows, cols = (_slow_cells(n, bins) for n, bins in zip((h, w), grid, strict=True))
        return np.array([[[reduce(certainty[0, i, j]) for j in cols] for i in rows]])

    high_e = high - high * _slow_stretch(pool(grids[1], np.mean), (h, w))
    first, norm, _, second = flow.edge
    mean, var, weight, bias = (
        v.detach().double().numpy()[:, None, None]
        for v in (norm.running_mean, norm.running_var, norm.weight, norm.bias)
    )
    hidden = (_slow_conv(high_e, first) - mean) / np.sqrt(var + norm.eps) * weight + bias
    edges = _slow_conv(np.maximum(hidden, 0), second)

    out = low.copy()
    edge_cells = [divmod(int(i), w) for i in np.argsort(-edges.ravel())[:points]]
    centres = [((row + 0.5) / h, (col + 0.5) / w) for row, col in edge_cells]
    flowed = _slow_propagate([_slow_sample(high, *c) for c in centres], [_slow_sample(low, *c) for c in centres])
    for (row, col), value in zip(edge_cells, flowed, strict=True):
        out[:, row * r, col * r] = value

    high_s = high + high * _slow_stretch(pool(grids[0], np.max), (h, w))
    salient_cells = []
    for i in _slow_cells(h, grids[0][0]):
        for j in _slow_cells(w, grids[0][1]):
            window = certainty[0, i, j]
            row, col = np.unravel_index(window.argmax(), window.shape)
            salient_cells.append((row + i.start, col + j.start))
    flowed = _slow_propagate(
        [high_s[:, row, col] for row, col in salient_cells], [low[:, row * r, col * r] for row, col in salient_cells]
    )
    for (row, col), value in zip(salient_cells, flowed, strict=True):
        out[:, row * r, col * r] = value
    return out, edges, set(edge_cells), [(int(row), int(col)) for row, col in salient_cells]


@pytest.mark.parametrize(
    "ratio, options, grids, points",
    [
        (2, {}, ((4, 4), (3, 3)), 9),
        (3, {}, ((4, 4), (3, 3)), 9),
        (2, {"maxpool": 20, "avgpool": 8, "reference_side": 40}, ((3, 4), (1, 1)), 1),
        (2, {"maxpool": 7, "avgpool": 5, "edge_points": 30, "reference_side": 10}, ((4, 5), (3, 4)), 11),
    ],
)
@torch.no_grad()
def test_point_flow_agrees_with_loops(ratio, options, grids, points):
    flow = _small_flow(**options)
    high, low = torch.randn(2, 6, 5, 7), torch.randn(2, 6, 5 * ratio, 7 * ratio)
    flowed, edges = flow(high, low)
    for i in range(2):
        expected, expected_edges, along_edges, salient = _slow_flow(
            flow, high[i].double().numpy(), low[i].double().numpy(), grids, points
        )
        np.testing.assert_allclose(edges[i].numpy(), expected_edges, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(flowed[i].numpy(), expected, rtol=1e-4, atol=1e-5)
        if not options:  # the example shows the order of overwriting, and repeated cells
            assert along_edges & set(salient) and len(set(salient)) < len(salient)


@pytest.mark.parametrize("edge_points, changed_most", [(9, 9 + 16), (2, 2 + 16), (500, 200)])
@torch.no_grad()
def test_point_flow_leaves_all_other_positions_alone(edge_points, changed_most):
    flow = _small_flow(edge_points=edge_points)
    low = torch.randn(3, 6, 20, 40)
    given = low.clone()
    flowed, _ = flow(torch.randn(3, 6, 10, 20), low)
    changed = (flowed != low).any(1)
    counts = changed.sum((1, 2))
    assert (counts <= changed_most).all() and (counts >= min(edge_points, 200)).all()
    assert torch.equal(low, given)
    changed[:, ::2, ::2] = False
    assert not changed.any()


@torch.no_grad()
def test_without_a_matcher_certainty_is_a_half_everywhere():
    flow = _small_flow()
    nn.init.zeros_(flow.matcher.weight)
    nn.init.zeros_(flow.matcher.bias)
    high = torch.randn(1, 6, 8, 8)
    _, edges = flow(high, torch.randn(1, 6, 16, 16))
    torch.testing.assert_close(edges, flow.edge(high / 2))


def test_budgets_of_the_levels():
    with torch.device("meta"):
        absolute = PFSegNet(4, 3)
        relative = PFSegNet(4, 3, point_budget="relative")
    for flow, side in zip(relative.flows, (112, 56, 28), strict=True):  # fine to coarse
        assert flow.budget(side, side) == ((14, 14), (9, 9), 128)
        assert flow.budget(side // 7, side // 7) == ((2, 2), (1, 1), 3)
        assert flow.budget(side // 2, side) == ((7, 14), (5, 9), 64)
        assert flow.budget(1, 1) == ((1, 1), (1, 1), 1)
    for flow in absolute.flows:
        assert flow.budget(28, 28) == flow.budget(16, 8) == ((14, 14), (9, 9), 128)
        assert flow.budget(4, 4) == ((14, 14), (9, 9), 16)
    assert _small_flow(edge_points=50, reference_side=5).budget(5, 5)[2] == 25


def test_point_flow_compiles_into_one_graph_and_stays_precise_in_bfloat16():
    flow = _small_flow()
    torch.manual_seed(2)
    high, low = (10 * torch.randn(2, 6, side, side).bfloat16().float() for side in (8, 16))
    compiled = torch.compile(flow, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(high, low), flow(high, low))
    with torch.autocast("cpu", torch.bfloat16):
        flowed, edges = compiled(high.bfloat16(), low.bfloat16())
        affine = propagate(high.bfloat16().flatten(2), low.bfloat16().flatten(2))
    assert flowed.dtype == edges.dtype == torch.bfloat16
    expected = propagate(high.bfloat16().float().flatten(2), low.bfloat16().float().flatten(2))
    assert affine.dtype == torch.float32 and torch.equal(affine, expected)


def test_repeated_cells_share_no_gradient():
    features = torch.zeros(1, 1, 2, 3)
    values = torch.tensor([[[1.0, 2.0, 3.0, 4.0]]], requires_grad=True)
    written = write_back(features, torch.tensor([[4, 0, 4, 5]]), values)
    assert written.flatten().tolist() == [2, 0, 0, 0, 3, 4]
    assert write_back(features.bfloat16(), torch.tensor([[4, 0, 4, 5]]), values).dtype == torch.bfloat16
    written.sum().backward()
    assert values.grad.flatten().tolist() == [0, 1, 1, 1]


# the loss


def _slow_edges(target: torch.Tensor, rule: str, width: int) -> np.ndarray:
    mask = target.numpy()
    out = np.zeros(mask.shape, np.uint8)
    n, height, wide = mask.shape

    def region(pixel):
        return pixel if rule == "multiclass" else pixel != 0

    for i, row, col in np.ndindex(n, height, wide):
        for down, right in ((1, 0), (0, 1)):
            if row + down == height or col + right == wide:
                continue
            here, there = int(mask[i, row, col]), int(mask[i, row + down, col + right])
            if 255 in (here, there) or region(here) == region(there):
                continue
            for step in range(width):  # half of the line, rounded up, on this side of the change
                offset = step - (width + 1) // 2 + 1
                y, x = row + down * offset, col + right * offset
                if 0 <= y < height and 0 <= x < wide:
                    out[i, y, x] = 1
    out[mask == 255] = 255
    return out


@pytest.mark.parametrize("width", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("rule", ["multiclass", "upstream"])
def test_edge_targets_agree_with_loops(rule, width):
    generator = torch.Generator().manual_seed(3)
    coarse = torch.tensor([0, 1, 2, 255])[torch.randint(0, 4, (3, 5, 7), generator=generator)]
    target = coarse.repeat_interleave(4, 1).repeat_interleave(5, 2)
    edges = edge_targets(target, rule, width)
    assert edges.dtype == torch.uint8 and edges.shape == target.shape
    np.testing.assert_array_equal(edges.numpy(), _slow_edges(target, rule, width))
    if width % 2 == 0:
        assert torch.equal(edge_targets(target.flip(1, 2), rule, width).flip(1, 2), edges)


def test_edges_are_lines_of_the_width_asked_for():
    target = torch.full((1, 12, 12), 1, dtype=torch.uint8)
    target[..., 6:] = 2
    assert edge_targets(target, "multiclass", 3)[0, 5].tolist() == [0] * 4 + [1] * 3 + [0] * 5
    assert edge_targets(target)[0, 5].tolist() == [0] * 5 + [1] * 2 + [0] * 5
    assert not edge_targets(target, "upstream", 3).any()
    target[..., 6:] = 255
    assert edge_targets(target)[0, 5].tolist() == [0] * 6 + [255] * 6


def _slow_edge_loss(logits: torch.Tensor, edges: np.ndarray) -> float:
    n_edge, n_rest = (edges == 1).sum(), (edges == 0).sum()
    total = 0.0
    for level in logits.detach().double().numpy().swapaxes(0, 1):
        p = 1 / (1 + np.exp(-level))
        edge, rest = -np.log(p[edges == 1]).sum(), -np.log(1 - p[edges == 0]).sum()
        total += (edge * n_rest + rest * n_edge) / (n_edge + n_rest) / edges.size
    return total


def test_edge_loss_agrees_with_numpy():
    generator = torch.Generator().manual_seed(4)
    logits = torch.randn(2, 3, 6, 5, generator=generator)
    edges = torch.tensor([0, 0, 0, 1, 255], dtype=torch.uint8)[torch.randint(0, 5, (2, 6, 5), generator=generator)]
    loss = balanced_edge_loss(logits.bfloat16(), edges)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(_slow_edge_loss(logits.bfloat16(), edges.numpy()), rel=1e-5)
    for nothing in (0, 1, 255):
        assert balanced_edge_loss(logits, torch.full_like(edges, nothing)) == 0


def _slow_ohem(logits, target, threshold, min_kept, weights=None) -> float:
    scores = np.exp(logits.detach().double().numpy())
    probabilities, losses = [], []
    for i, row, col in np.ndindex(*target.shape):
        label = int(target[i, row, col])
        if label != 255:
            p = scores[i, label, row, col] / scores[i, :, row, col].sum()
            probabilities.append(p)
            losses.append(-np.log(p) * (1.0 if weights is None else weights[label].item()))
    probabilities, losses = np.array(probabilities), np.array(losses)
    limit = max(threshold, np.sort(probabilities)[min(min_kept, len(losses)) - 1])
    return losses[probabilities <= limit].mean()


@pytest.mark.parametrize("weights", [None, torch.tensor([1.0, 4.0, 0.5])])
@pytest.mark.parametrize("threshold, min_kept", [(0.7, 1), (0.7, 60), (0.2, 30), (0.2, 10_000), (0.999, 1)])
def test_hard_pixels_agree_with_numpy(threshold, min_kept, weights):
    generator = torch.Generator().manual_seed(5)
    logits = 2 * torch.randn(2, 3, 7, 6, generator=generator)
    target = torch.tensor([0, 1, 2, 255])[torch.randint(0, 4, (2, 7, 6), generator=generator)]
    loss = ohem_cross_entropy(logits, target, threshold, min_kept, weights)
    assert loss.item() == pytest.approx(_slow_ohem(logits, target, threshold, min_kept, weights), rel=1e-5)


def test_hard_pixels_are_chosen_from_the_whole_batch_and_easy_ones_get_no_gradient():
    logits = torch.tensor([3.0, 2.0, -1.0, 4.0]).view(2, 1, 1, 2)
    logits = torch.cat((logits, torch.zeros_like(logits)), 1).requires_grad_()
    target = torch.zeros(2, 1, 2, dtype=torch.uint8)
    ohem_cross_entropy(logits, target, threshold=0.5, min_kept=2).backward()
    assert (logits.grad.abs().sum(1) > 0).flatten().tolist() == [False, True, True, False]
