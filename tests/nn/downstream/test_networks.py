from __future__ import annotations

import pytest
import torch
from torch import nn

from specdm.errors import UserError
from specdm.nn.downstream import NETWORKS, build, names, recipe
from specdm.nn.downstream.common import Recipe, SpectralAdapter, load_encoder
from specdm.nn.downstream.segformer import mit_encoder


def _count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize("name, expected", [("b0", 3_717_518), ("b2", 27_356_654), ("b5", 84_603_374)])
def test_segformer_has_the_parameters_of_the_original(name, expected):
    assert _count(build(f"segformer-{name}", bands=10, classes=13)) == expected


@pytest.mark.parametrize("options, expected", [({}, 24_318_944), ({"adapter": "map3"}, 24_296_992 + 33)])
def test_changeformer_has_the_parameters_of_the_original(options, expected):
    assert _count(build("changeformer-v3", bands=10, classes=2, dates=2, **options)) == expected
    assert _count(build("changeformer-v3", bands=3, classes=2, dates=2)) == 24_296_992


@pytest.mark.parametrize("name, dates", [("segformer-b0", 1), ("changeformer-v3", 2)])
def test_logits_have_the_size_of_the_images_and_every_parameter_learns(name, dates):
    torch.manual_seed(0)
    network = build(name, bands=4, classes=3, dates=dates)
    x = torch.randn(2, dates, 4, 32, 64)
    assert network(x).shape == (2, 3, 32, 64)
    loss = network.training_loss(x, torch.randint(0, 3, (2, 32, 64)))
    loss.backward()
    assert loss.dtype == torch.float32 and loss.isfinite()
    assert all(p.grad is not None for p in network.parameters())
    assert next(iter(network.parameters())).grad.abs().max() > 0


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name, dates", [("segformer-b0", 1), ("changeformer-v3", 2)])
def test_a_batch_without_any_label_costs_nothing_and_moves_nothing(name, dates, weighted):
    network = build(name, bands=4, classes=3, dates=dates)
    ignored = torch.full((2, 32, 32), 255)
    weights = torch.tensor([1.0, 5.0, 0.5]) if weighted else None
    loss = network.training_loss(torch.randn(2, dates, 4, 32, 32), ignored, weights)
    loss.backward()
    assert loss == 0
    assert all((p.grad == 0).all() for p in network.parameters() if p.grad is not None)


def test_adapters_get_a_gradient_and_differ_in_width():
    wide = build("segformer-b0", bands=10, classes=3, adapter="inflate")
    mapped = build("segformer-b0", bands=10, classes=3)
    assert _count(wide) - _count(mapped) == 7 * 7 * 7 * 32 - 33
    mapped(torch.randn(2, 1, 10, 32, 32)).square().sum().backward()
    assert mapped.adapter.weight.grad.abs().max() > 0


@torch.no_grad()
def test_changeformer_is_symmetric_in_time_and_sees_change():
    network = build("changeformer-v3", bands=3, classes=2, dates=2, init="default", final_relu=False).eval()
    x = torch.randn(1, 2, 3, 64, 64)
    logits = network(x)
    torch.testing.assert_close(network(x.flip(1)), logits, atol=1e-5, rtol=0)
    same = network(x[:, :1].expand(-1, 2, -1, -1, -1))
    assert (logits - same).abs().max() > 1e-2


@torch.no_grad()
def test_changeformer_options():
    network = build("changeformer-v3", bands=3, classes=2, dates=2).eval()
    assert network.encoder.block1[0].attn.q.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert network.encoder.patch_embed1.proj.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert network.encoder.block3[0].attn.num_heads == 4
    x = torch.randn(1, 2, 3, 32, 32)
    assert network(x).min() >= 0
    network.final_relu = False
    assert network(x).min() < 0


def test_segformer_drops_whole_channels_before_the_classifier_in_training():
    network = build("segformer-b0", bands=3, classes=2, head_dropout=0.5)
    seen = []
    network.dropout.register_forward_hook(lambda _, inputs, output: seen.append((inputs[0], output)))
    network.train()(torch.randn(2, 1, 3, 32, 32))
    network.eval()(torch.randn(2, 1, 3, 32, 32))
    (before, after), (before_eval, after_eval) = seen
    dropped = (after == 0).all((2, 3))
    assert 0.3 < dropped.float().mean() < 0.8 and before.shape == (2, 256, 8, 8)
    torch.testing.assert_close(after[~dropped], 2 * before[~dropped])
    assert torch.equal(before_eval, after_eval)


def test_segformer_learns_four_samples():
    torch.manual_seed(0)
    network = build("segformer-b0", bands=3, classes=2, head_dropout=0.0)
    target = torch.zeros(4, 32, 32, dtype=torch.long)
    target[:, :, 16:] = 1
    x = torch.randn(4, 1, 3, 32, 32) * 0.1 + target[:, None, None]
    optimiser = torch.optim.AdamW(network.parameters(), 1e-3)
    for _ in range(25):
        optimiser.zero_grad()
        loss = network.training_loss(x, target)
        loss.backward()
        optimiser.step()
    assert loss < 0.15


def test_parameter_groups_follow_the_recipe_of_segformer():
    network = build("segformer-b0", bands=10, classes=3)
    groups = network.parameter_groups(recipe("segformer-b0"))
    settings = {id(p): (round(g["lr"], 9), g["weight_decay"]) for g in groups for p in g["params"]}
    assert len(settings) == sum(len(g["params"]) for g in groups) == len(list(network.parameters()))
    named = dict(network.named_parameters())

    def of(name):
        return settings[id(named[name])]

    assert of("adapter.weight") == of("classifier.weight") == of("decoder.mlp_stage.0.linear.weight") == (6e-4, 0.01)
    assert of("encoder.block1.0.attn.q.weight") == (6e-5, 0.01)
    assert of("encoder.block1.0.norm1.weight") == of("encoder.patch_embed1.norm.bias") == (6e-5, 0.0)
    network.encoder.requires_grad_(False)
    assert {round(g["lr"], 9) for g in network.parameter_groups(recipe("segformer-b0"))} == {6e-4}


def test_changeformer_has_one_group():
    network = build("changeformer-v3", bands=3, classes=2, dates=2)
    assert [(g["lr"], g["weight_decay"]) for g in network.parameter_groups(recipe("changeformer-v3"))] == [(1e-4, 0.01)]


def test_pretrained_weights_are_loaded_and_widened():
    pretrained = mit_encoder("b0", 3).state_dict()
    mapped = build("segformer-b0", bands=10, classes=3, encoder_state=pretrained)
    assert all(torch.equal(v, pretrained[k]) for k, v in mapped.encoder.state_dict().items())
    wide = build("segformer-b0", bands=6, classes=3, adapter="inflate", encoder_state=pretrained).encoder
    grey = torch.rand(1, 1, 32, 32)
    torch.testing.assert_close(
        wide.patch_embed1.proj(grey.expand(1, 6, 32, 32)),
        nn.functional.conv2d(
            grey.expand(1, 3, 32, 32), pretrained["patch_embed1.proj.weight"], wide.patch_embed1.proj.bias, 4, 3
        ),
        atol=1e-5,
        rtol=0,
    )
    assert pretrained["patch_embed1.proj.weight"].shape[1] == 3  # the caller's weights are left alone
    with pytest.raises(UserError, match="do not fit"):
        build("segformer-b1", bands=10, classes=3, encoder_state=pretrained)


def test_changeformer_takes_the_weights_of_mit_b2():
    pretrained = mit_encoder("b2", 3).state_dict()
    network = build("changeformer-v3", bands=10, classes=2, dates=2, encoder_state=pretrained)
    assert torch.equal(network.encoder.norm4.weight, pretrained["norm4.weight"])
    assert torch.equal(network.encoder.block3[2].attn.q.weight, pretrained["block3.2.attn.q.weight"])


def test_widening_refuses_a_state_without_the_stem():
    with pytest.raises(UserError, match="do not fit"):
        load_encoder(SpectralAdapter(4), {"bias": torch.zeros(3)}, "weight")


def test_registry_names_and_recipes():
    assert names("segmentation") == [f"segformer-b{i}" for i in range(6)] + ["pfsegnet-r50", "pfsegnet-r101", "unet"]
    siamcrnn = [f"siamcrnn-{depth}" for depth in (18, 34, 50, 101)]
    assert names("change") == [*siamcrnn, "changeformer-v3", "fc-siam-diff"] and set(names()) == set(NETWORKS)
    assert (recipe("pfsegnet-r50").optimiser, recipe("siamcrnn-101").weight_decay) == ("sgd", 5e-4)
    assert recipe("smp:fpn/resnet18") == recipe("unet")
    assert recipe("segformer-b5") == Recipe("adamw", 6e-5, 0.01, (0.9, 0.999), 10.0, "poly", 1.0, 0.009375)
    assert (recipe("changeformer-v3").lr, recipe("changeformer-v3").schedule) == (1e-4, "linear")


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"name": "segfomer-b5"}, "did you mean 'segformer-b5'.*changeformer-v3"),
        ({"name": "xyz"}, "unknown name 'xyz'; valid names"),
        ({"name": "segformer-b0", "dates": 2}, "data has 2; choose one of siamcrnn-18, .*changeformer-v3"),
        ({"name": "smp:unet/resnet18", "dates": 2}, "data has 2; choose one of"),
        ({"name": "smp:net/resnet18"}, "unknown architecture 'net'"),
        ({"name": "changeformer-v3"}, "2 date.*data has 1"),
        ({"name": "segformer-b0", "surprise": 1}, "surprise"),
        ({"name": "segformer-b0", "adapter": "wide"}, "adapter must be"),
        ({"name": "changeformer-v3", "dates": 2, "init": "zero"}, "init must be"),
    ],
)
def test_mistakes_are_explained(arguments, message):
    with pytest.raises(UserError, match=message):
        build(**{"bands": 10, "classes": 2, **arguments})
    with pytest.raises(UserError, match="unknown task"):
        names("regression")
