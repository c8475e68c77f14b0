from __future__ import annotations

import pytest
import segmentation_models_pytorch as smp
import torch
from torch import nn

from specdm.errors import UserError
from specdm.nn.downstream.common import Recipe
from specdm.nn.downstream.smp_models import ARCHITECTURES, BASELINES, RECIPE, SmpChange, SmpSegmentation, parse

SHALLOW = {"encoder_depth": 3, "decoder_channels": (64, 32, 16)}  # a quick U-Net
HANDFUL = ("unet", "fpn", "deeplabv3plus", "segformer", "upernet")


def _count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def _segmentation(architecture="unet", encoder="resnet18", bands=4, **options) -> SmpSegmentation:
    torch.manual_seed(0)
    return SmpSegmentation(bands, 3, architecture, encoder, **options)


def _change(fusion, architecture="unet", encoder="resnet18", bands=4, **options) -> SmpChange:
    torch.manual_seed(0)
    return SmpChange(bands, 3, architecture, encoder, fusion, **options)


def _learns(network, x):
    loss = network.training_loss(x, torch.randint(0, 3, (len(x), *x.shape[-2:])))
    loss.backward()
    assert loss.dtype == torch.float32 and loss.isfinite()
    return [name for name, p in network.named_parameters() if p.grad is None or p.grad.abs().max() == 0]


@pytest.mark.parametrize("architecture", HANDFUL)
def test_segmentation_has_the_size_of_the_images_and_every_parameter_learns(architecture):
    network = _segmentation(architecture, bands=10)
    with torch.no_grad():
        assert network.eval()(torch.randn(2, 1, 10, 64, 96)).shape == (2, 3, 64, 96)
    assert _learns(network.train(), torch.randn(2, 1, 10, 64, 64)) == []


@pytest.mark.parametrize("fusion", ["diff", "conc", "early"])
@pytest.mark.parametrize("architecture", HANDFUL)
def test_change_has_the_size_of_the_images_and_every_parameter_learns(architecture, fusion):
    network = _change(fusion, architecture, bands=3)
    with torch.no_grad():
        assert network.eval()(torch.randn(2, 2, 3, 64, 96)).shape == (2, 3, 64, 96)
    assert _learns(network.train(), torch.randn(2, 2, 3, 64, 64)) == []


def test_the_levels_below_pspnets_depth_are_built_and_never_learn():
    """smp keeps all levels of the encoder, whatever the depth; what is not used has no gradient."""
    idle = _learns(_segmentation("pspnet"), torch.randn(2, 1, 4, 64, 64))
    assert {name.split(".")[1] for name in idle} == {"layer3", "layer4"}


@pytest.mark.parametrize("bands", [3, 10])
@pytest.mark.parametrize("architecture", HANDFUL)
def test_the_parameters_are_those_of_smp(architecture, bands):
    with torch.device("meta"):
        plain = _count(smp.create_model(architecture, "resnet18", encoder_weights=None, in_channels=bands, classes=3))
        early = smp.create_model(architecture, "resnet18", encoder_weights=None, in_channels=2 * bands, classes=3)
        assert _count(_segmentation(architecture, bands=bands)) == plain
        assert _count(_change("diff", architecture, bands=bands)) == plain
        assert _count(_change("early", architecture, bands=bands)) == _count(early) == plain + bands * 64 * 7 * 7
        assert _count(_change("conc", architecture, bands=bands)) > plain
    assert not any("twice" in name for name in smp.encoders.get_encoder_names())


@torch.no_grad()
def test_segmentation_gives_the_logits_of_smp():
    network = _segmentation("fpn", decoder_dropout=0.0)
    torch.manual_seed(0)
    model = smp.create_model("fpn", "resnet18", encoder_weights=None, in_channels=4, classes=3, decoder_dropout=0.0)
    x = torch.randn(2, 1, 4, 64, 64)
    assert torch.equal(network(x), model(x[:, 0]))


@torch.no_grad()
def test_the_fusions_are_what_they_are_called():
    x = torch.randn(2, 2, 4, 64, 64)
    for fusion in ("diff", "conc"):
        network = _change(fusion).eval()
        before, after = network.encoder(x[:, 0]), network.encoder(x[:, 1])
        if fusion == "diff":
            features = [(a - b).abs() for a, b in zip(before, after)]
        else:
            features = [torch.cat((a, b), dim=1) for a, b in zip(before, after)]
        torch.testing.assert_close(network(x), network.head(network.decoder(features)), atol=1e-4, rtol=0)
    early = _change("early").eval()
    features = early.encoder(torch.cat((x[:, 0], x[:, 1]), dim=1))
    torch.testing.assert_close(early(x), early.head(early.decoder(features)))


@torch.no_grad()
@pytest.mark.parametrize("architecture", ["unet", "segformer"])
@pytest.mark.parametrize("fusion", ["diff", "conc", "early"])
def test_only_the_difference_is_symmetric_in_time(architecture, fusion):
    network = _change(fusion, architecture).eval()
    x = torch.randn(1, 2, 4, 64, 64)
    gap = (network(x.flip(1)) - network(x)).abs().max()
    assert gap < 1e-5 if fusion == "diff" else gap > 1e-3
    same = network(x[:, :1].expand(-1, 2, -1, -1, -1))
    assert (network(x) - same).abs().max() > 1e-3


@torch.no_grad()
def test_both_dates_share_the_statistics_of_batch_norm():
    network = _change("diff").train()
    dates = torch.randn(2, 1, 4, 64, 64).expand(-1, 2, -1, -1, -1) * torch.tensor([1.0, 5.0]).view(1, 2, 1, 1, 1)
    seen = []
    network.decoder.register_forward_hook(lambda _, inputs, output: seen.append(inputs[0][1]))
    network(dates)
    assert seen[0].abs().mean() > 0.1  # statistics of each date alone would make them equal


@torch.no_grad()
@pytest.mark.parametrize("encoder", ["mit_b0", "tu-convnext_atto"])
def test_other_families_of_encoders(encoder):
    x = torch.randn(1, 2, 4, 64, 64)
    assert _segmentation("unet", encoder).eval()(x[:, :1]).shape == (1, 3, 64, 64)
    for fusion in ("diff", "conc"):
        assert _change(fusion, "unet", encoder).eval()(x).shape == (1, 3, 64, 64)


def test_smp_knows_an_encoder_of_vgg_with_twice_the_channels():
    with torch.device("meta"):
        for encoder, center in (("vgg11", "UnetCenterBlock"), ("resnet18", "Identity")):
            assert type(_segmentation("unet", encoder).decoder.center).__name__ == center
            assert type(_change("conc", "unet", encoder).decoder.center).__name__ == center


@torch.no_grad()
def test_dpt_reads_the_tokens_of_a_vision_transformer():
    options = {"decoder_intermediate_channels": (8, 8, 8, 8), "decoder_fusion_channels": 8, "dynamic_img_size": True}
    encoder = "tu-vit_tiny_patch16_224"
    assert _segmentation("dpt", encoder, **options).eval()(torch.randn(1, 1, 4, 64, 96)).shape == (1, 3, 64, 96)
    assert _change("early", "dpt", encoder, **options).eval()(torch.randn(1, 2, 4, 64, 64)).shape == (1, 3, 64, 64)
    with pytest.raises(UserError, match="tokens, which have no fusion; choose early"):
        _change("diff", "dpt", encoder)
    with pytest.raises(UserError, match=r"height \(64\) doesn't match model \(224\); cut patches .* dynamic_img_size"):
        _segmentation("dpt", encoder, **{**options, "dynamic_img_size": False})(torch.randn(1, 1, 4, 64, 64))


@torch.no_grad()
def test_sides_that_do_not_fit_are_refused_before_smp_sees_them():
    message = "smp:fpn/resnet18: images of 64 x 70 pixels do not fit; cut patches whose sides are multiples of 32."
    with pytest.raises(UserError, match=message):
        _segmentation("fpn")(torch.randn(2, 1, 4, 64, 70))
    with pytest.raises(UserError, match="smp:fpn/resnet18/conc: images of 70 x 64 pixels"):
        _change("conc", "fpn")(torch.randn(2, 2, 4, 70, 64))
    assert _segmentation("deeplabv3plus").eval()(torch.randn(1, 1, 4, 48, 80)).shape == (1, 3, 48, 80)  # of 16
    assert _segmentation("unet").eval()(torch.randn(1, 1, 4, 50, 71)).shape == (1, 3, 50, 71)
    with pytest.raises(UserError, match=r"64 x 128 pixels .* multiples of 16 of at least 128"):
        _segmentation("pan")(torch.randn(1, 1, 4, 64, 128))
    assert _segmentation("pan").eval()(torch.randn(1, 1, 4, 128, 144)).shape == (1, 3, 128, 144)


@torch.no_grad()
def test_logits_are_resized_where_options_change_the_stride_of_the_output():
    network = _segmentation("fpn", upsampling=2).eval()
    x = torch.randn(1, 1, 4, 64, 96)
    half = network.head(network.decoder(network.encoder(x[:, 0])))
    assert half.shape == (1, 3, 32, 48)
    expected = nn.functional.interpolate(half, size=(64, 96), mode="bilinear", align_corners=False)
    torch.testing.assert_close(network(x), expected)


def test_options_reach_smp_and_timm():
    assert _segmentation(decoder_channels=(32, 16, 8, 8, 4)).head[0].in_channels == 4
    network = _change("conc", "fpn", decoder_merge_policy="cat")
    assert network.head[0].in_channels == network.decoder.out_channels == 4 * 128
    assert _segmentation(encoder="tu-resnet18", act_layer="gelu").encoder.model.act1.__class__.__name__ == "GELU"


@pytest.mark.parametrize("option", ["surprise", "aux_params", "activation", "encoder_weights", "in_channels", "kwargs"])
def test_options_that_smp_would_swallow_or_that_are_ours_are_refused(option):
    with pytest.raises(UserError, match=f"smp:unet/resnet18: unknown option '{option}'; choose among .*decoder_ch"):
        _segmentation(**{option: 1})


def test_nothing_is_ever_downloaded(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a download was tried")

    monkeypatch.setattr(smp.encoders, "hf_hub_download", refuse)
    monkeypatch.setattr("timm.models._builder.load_pretrained", refuse)
    for encoder in ("resnet18", "mit_b0", "tu-resnet18.a1_in1k"):
        _segmentation(encoder=encoder)
    with pytest.raises(UserError, match="unknown option 'encoder_weights'"):
        _segmentation(encoder="tu-resnet18", encoder_weights=True)
    with pytest.raises(UserError, match="pretrained"):
        _segmentation(encoder="tu-resnet18", pretrained=True)
    with pytest.raises(UserError, match="unknown encoder"):
        _segmentation(encoder="tu-hf-hub:timm/resnet18.a1_in1k")


@torch.no_grad()
def test_pretrained_weights_are_loaded_and_widened():
    pretrained = _segmentation(bands=3).encoder.state_dict()
    torch.manual_seed(1)
    plain = SmpSegmentation(3, 2, "unet", "resnet18", pretrained).encoder.state_dict()
    assert all(torch.equal(v, pretrained[k]) for k, v in plain.items())
    kernel = pretrained["conv1.weight"]
    wide = SmpSegmentation(6, 2, "unet", "resnet18", pretrained).encoder.conv1.weight
    torch.testing.assert_close(wide, kernel.repeat(1, 2, 1, 1) / 2)
    for fusion, times in (("diff", 1), ("conc", 1), ("early", 2)):
        wide = SmpChange(3, 2, "unet", "resnet18", fusion, pretrained).encoder.conv1.weight
        torch.testing.assert_close(wide, kernel.repeat(1, times, 1, 1) / times)
    with pytest.raises(UserError, match="do not fit"):
        SmpSegmentation(3, 2, "unet", "mit_b0", pretrained)


@torch.no_grad()
def test_weights_of_a_timm_encoder_are_widened_too():
    pretrained = _segmentation(encoder="tu-convnext_atto", bands=3).encoder.state_dict()
    wide = _segmentation(encoder="tu-convnext_atto", bands=6, encoder_state=pretrained).encoder.model.stem_0.weight
    torch.testing.assert_close(wide, pretrained["model.stem_0.weight"].repeat(1, 2, 1, 1) / 2)


def test_an_encoder_without_a_convolution_of_the_bands_takes_no_weights():
    with pytest.raises(UserError, match="no convolution of the bands"):
        _segmentation(encoder="tu-tresnet_m", encoder_state={})


@torch.no_grad()
@pytest.mark.parametrize("name", ["smp:unet/resnet18", "smp:deeplabv3plus/resnet18/conc"])
def test_saved_and_loaded_weights_give_equal_logits(name, tmp_path):
    factory, task = parse(name)
    network = factory(bands=4, classes=2).eval()
    torch.save(network.state_dict(), tmp_path / "weights.pt")
    other = factory(bands=4, classes=2).eval()
    other.load_state_dict(torch.load(tmp_path / "weights.pt"))
    x = torch.randn(1, 2 if task == "change" else 1, 4, 64, 64)
    assert torch.equal(other(x), network(x))


@pytest.mark.parametrize("dates", [1, 2])
def test_bfloat16_autocast_gives_a_finite_float32_loss(dates):
    network = _segmentation(**SHALLOW) if dates == 1 else _change("diff", **SHALLOW)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = network.training_loss(torch.randn(2, dates, 4, 32, 32), torch.randint(0, 3, (2, 32, 32)))
    loss.backward()
    assert loss.dtype == torch.float32 and loss.isfinite()
    assert all(p.grad.isfinite().all() for p in network.parameters() if p.grad is not None)


@pytest.mark.parametrize("dates", [1, 2])
def test_it_learns_four_samples(dates):
    network = _segmentation(**SHALLOW) if dates == 1 else _change("diff", **SHALLOW)
    target = torch.zeros(4, 32, 32, dtype=torch.long)
    target[:2, 8:24, :16] = 1
    target[2:, :, 20:] = 1
    x = torch.randn(4, dates, 4, 32, 32) * 0.3
    x[:, -1] += target[:, None]
    optimiser = torch.optim.AdamW(network.parameters(), 3e-3)
    losses = []
    for _ in range(25):
        optimiser.zero_grad()
        loss = network.training_loss(x, target)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 < 0.7 < losses[0], losses


def test_names_of_the_baselines():
    assert BASELINES == {"unet": "smp:unet/resnet34", "fc-siam-diff": "smp:unet/resnet34/diff"}
    (unet, task), (siamese, change) = parse(BASELINES["unet"]), parse(BASELINES["fc-siam-diff"])
    assert (task, change) == ("segmentation", "change")
    with torch.device("meta"):
        one, two = unet(bands=10, classes=2), siamese(bands=10, classes=2)
        assert isinstance(one, SmpSegmentation) and isinstance(two, SmpChange) and two.fusion == "diff"
        assert (
            _count(one) == _count(two) == _count(smp.Unet("resnet34", encoder_weights=None, in_channels=10, classes=2))
        )


def test_recipe_and_what_it_calls_the_head():
    assert Recipe("adamw", 1e-4, 0.01, (0.9, 0.999), 1.0, "linear", 1.0, 0.01) == RECIPE
    network = _segmentation()
    assert {name for name, _ in network.named_children()} == {"encoder", *network.head_modules}


@pytest.mark.parametrize("fusion", ["diff", "conc", "early"])
def test_a_name_has_architecture_encoder_and_fusion(fusion):
    factory, task = parse(f"smp:fpn/resnet18/{fusion}")
    with torch.device("meta"):
        network = factory(bands=4, classes=2, decoder_merge_policy="cat")
    assert (task, network.fusion, network.name) == ("change", fusion, f"smp:fpn/resnet18/{fusion}")
    assert network.head[0].in_channels == 4 * 128


@pytest.mark.parametrize(
    "name, message",
    [
        ("unet/resnet18", "write smp:<architecture>/<encoder> for one date or smp:<architecture>/<encoder>/<fusion>"),
        ("smp:unet", "not a name of segmentation-models-pytorch"),
        ("timm:unet/resnet18", "not a name of segmentation-models-pytorch"),
        ("smp:unet/resnet18/diff/more", "not a name of segmentation-models-pytorch"),
        ("smp:unett/resnet18", f"unknown architecture 'unett'; choose one of {', '.join(ARCHITECTURES)}."),
        ("smp:unet/resnet81", "unknown encoder 'resnet81'; did you mean .*resnet18"),
        ("smp:unet/tu-convnext_ato", "did you mean .*tu-convnext_atto"),
        ("smp:unet/zzzzzzzz", r"unknown encoder 'zzzzzzzz'; see smp.encoders.get_encoder_names\(\)"),
        ("smp:unet/resnet18/dif", "unknown fusion 'dif'; choose one of diff, conc, early"),
        ("smp:dpt/tu-vit_tiny_patch16_224/conc", "choose early"),
    ],
)
def test_mistaken_names_are_explained(name, message):
    with pytest.raises(UserError, match=message):
        parse(name)


@pytest.mark.parametrize(
    "architecture, encoder, message",
    [
        ("linknet", "mit_b0", "smp:linknet/mit_b0: Encoder `mit_b0` is not supported for Linknet; choose another"),
        ("deeplabv3", "densenet121", "smp:deeplabv3/densenet121: DenseNet encoders do not support dilated mode"),
        ("deeplabv3", "tu-swin_tiny_patch4_window7_224", "unexpected keyword argument 'output_stride'; choose"),
        ("unett", "resnet18", "unknown architecture"),
        ("unet", "resnet", "unknown encoder"),
    ],
)
def test_what_smp_cannot_build_is_explained(architecture, encoder, message):
    with pytest.raises(UserError, match=message):
        _segmentation(architecture, encoder)
