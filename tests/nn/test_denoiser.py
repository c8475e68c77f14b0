from __future__ import annotations

import dataclasses
import json

import pytest
import torch

from specdm.errors import UserError
from specdm.nn.denoiser import Denoiser, DenoiserSpec, _features

SMALL = DenoiserSpec(6, 8, 16, (1, 2), (False, True), layers=1, head_dim=8, norm_groups=4, scale_shift=True)


def _count(spec: DenoiserSpec) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in Denoiser(spec).parameters())


@pytest.mark.parametrize("channels, millions", [(8, 288.49), (12, 288.50)])
def test_parameters_of_ldms_churches_layout(channels, millions):
    attention = (True, True, True, True, False)
    spec = DenoiserSpec(
        channels, 32, 192, (1, 2, 2, 4, 4), attention, head_dim=24, resnet_updown=True, scale_shift=True
    )
    assert round(_count(spec) / 1e6, 2) == millions


@pytest.mark.parametrize("channels, millions", [(3, 274.06), (8, 274.08), (12, 274.09)])
def test_parameters_of_ldms_bedrooms_layout(channels, millions):
    spec = DenoiserSpec(channels, 64, 224, (1, 2, 3, 4), (False, True, True, True), head_dim=32)
    assert round(_count(spec) / 1e6, 2) == millions


def test_output_depends_on_the_step_and_every_parameter_learns():
    model = Denoiser(SMALL).eval()
    z = torch.randn(2, 6, 8, 8)
    early, late = model(z, torch.tensor([1, 1])), model(z, torch.tensor([900, 1]))
    assert early.shape == z.shape
    assert (early[0] - late[0]).abs().max() > 1e-4 and torch.equal(early[1], late[1])
    early.square().sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_a_condition_changes_the_output_of_its_sample_alone_and_every_parameter_learns():
    torch.manual_seed(0)
    model = Denoiser(dataclasses.replace(SMALL, condition=5)).eval()
    z, t, condition = torch.randn(2, 6, 8, 8), torch.tensor([100, 100]), torch.rand(2, 5)
    plain = model(z, t, condition)
    changed = model(z, t, torch.stack([condition[0] + torch.eye(5)[4], condition[1]]))
    assert (plain[0] - changed[0]).abs().max() > 1e-3
    torch.testing.assert_close(plain[1], changed[1])
    plain.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in model.parameters())


def test_without_a_condition_there_are_no_weights_for_one():
    def shapes(spec):
        with torch.device("meta"):
            return {name: tuple(p.shape) for name, p in Denoiser(spec).named_parameters()}

    without, told = shapes(SMALL), shapes(dataclasses.replace(SMALL, condition=5))
    assert {name: told[name] for name in without} == without
    more = {name: told[name] for name in told.keys() - without.keys()}
    assert set(more.values()) == {(64, 5), (64, 64), (64,)} and len(more) == 4


def test_a_spec_written_before_conditions_and_streams_has_none():
    old = {key: value for key, value in SMALL.to_dict().items() if key not in ("condition", "streams")}
    assert DenoiserSpec.from_dict(old) == SMALL
    assert DenoiserSpec.from_dict(SMALL.to_dict() | {"condition": 6}).condition == 6


STREAMED = dataclasses.replace(SMALL, streams=3)


def test_output_depends_on_the_level_of_each_stream_and_every_parameter_but_the_own_time_learns():
    torch.manual_seed(0)
    model = Denoiser(STREAMED).eval()
    z, levels = torch.randn(2, 6, 8, 8), torch.tensor([[12.0, 3.0, -12.0], [0.5, 0.5, 0.5]])
    plain = model(z, levels)
    assert plain.shape == z.shape
    for stream in range(3):
        changed = levels.clone()
        changed[0, stream] -= 2
        other = model(z, changed)
        assert (plain[0] - other[0]).abs().max() > 1e-4
        torch.testing.assert_close(plain[1], other[1])
    plain.square().sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    assert all(p.grad.abs().max() > 0 for p in model.condition.parameters())


def test_streams_and_a_condition_are_told_together():
    torch.manual_seed(0)
    model = Denoiser(dataclasses.replace(STREAMED, condition=5)).eval()
    z, levels, condition = torch.randn(2, 6, 8, 8), torch.tensor([[12.0, 3.0, 3.0], [1.0, 1.0, 1.0]]), torch.rand(2, 5)
    plain = model(z, levels, condition)
    for k in range(5):
        changed = condition.clone()
        changed[0, k] += 1
        other = model(z, levels, changed)
        assert (plain[0] - other[0]).abs().max() > 1e-4
        torch.testing.assert_close(plain[1], other[1])
    assert (model(z, levels - 1, condition) - plain).abs().max() > 1e-4


def test_streams_add_weights_to_what_is_told_alone():
    def shapes(spec):
        with torch.device("meta"):
            return {name: tuple(p.shape) for name, p in Denoiser(spec).named_parameters()}

    shared, told = shapes(SMALL), shapes(dataclasses.replace(SMALL, condition=5))
    streamed, both = shapes(STREAMED), shapes(dataclasses.replace(STREAMED, condition=5))
    assert {name: streamed[name] for name in shared} == shared
    more = [streamed[name] for name in streamed.keys() - shared.keys()]
    assert sorted(more) == [(64,), (64,), (64, 39), (64, 64)]  # 13 features of each of three levels
    assert both.keys() == streamed.keys() == told.keys()
    assert {name for name in both if both[name] != streamed[name]} == {"condition.0.weight"}
    assert both["condition.0.weight"] == (64, 44)


def test_what_is_told_of_levels_stays_within_one_and_tells_them_apart():
    levels = torch.linspace(-12, 12, 2001)[:, None]
    features = _features(levels)
    assert features.shape == (2001, 13) and features.abs().max() <= 1 + 1e-6
    assert torch.pdist(features[::20]).min() > 0.01
    pair = torch.tensor([[3.0, -5.0]])
    assert torch.equal(_features(pair)[0], torch.cat([_features(pair[:, :1])[0], _features(pair[:, 1:])[0]]))
    for k in range(6):
        wave = torch.sin(levels[:, 0] * 2**k * torch.pi / 24)
        torch.testing.assert_close(features[:, 1 + k], wave, atol=1e-4, rtol=0)


def test_attention_stands_where_it_is_asked_for():
    spec = DenoiserSpec(6, 8, 16, (1, 2), (True, False), layers=1, head_dim=8, norm_groups=4)
    with torch.device("meta"):
        names = [n for n, _ in Denoiser(spec).named_parameters() if "attentions" in n]
    assert any("down_blocks.0" in n for n in names) and not any("down_blocks.1" in n for n in names)
    assert any("up_blocks.1" in n for n in names) and not any("up_blocks.0" in n for n in names)


@pytest.mark.parametrize("spec", [SMALL, STREAMED])
def test_spec_survives_json(spec):
    assert DenoiserSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


@pytest.mark.parametrize(
    "change, message",
    [
        ({"latent_size": 9}, "9 pixels does not divide by 2"),
        ({"attention_levels": (True,)}, "1 attention_levels for 2"),
        ({"norm_groups": 32}, "norm groups"),
        ({"head_dim": 24}, "heads of 24"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_spec_refuses_what_cannot_be_built(change, message):
    with pytest.raises(UserError, match=message):
        DenoiserSpec.from_dict({**SMALL.to_dict(), **change})
