"""Pretrained weights from the disk into every network: read, stripped, widened, and really there."""

import collections
import functools
import re

import pytest
import segmentation_models_pytorch as smp
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from specdm.encoder_weights import load_encoder_weights
from specdm.errors import UserError
from specdm.networks import CHANGE, NETWORKS, encoder_of, task_of
from specdm.nn.downstream import build
from specdm.nn.downstream.common import load_encoder

SMALL = [
    "segformer-b0",
    "pfsegnet-r50",
    "siamcrnn-18",
    "unet",
    "fc-siam-diff",
    "changeformer-v3",
    "smp:fpn/mobilenet_v2",
]


@functools.cache
def shapes(encoder: str) -> dict[str, torch.Size]:
    """What the libraries publish for an encoder, in its pristine form with the classifier."""
    if encoder.startswith("resnet"):  # those with an s have a deep stem, which torchvision lacks
        with torch.device("meta"):
            model = timm.create_model(encoder) if encoder.endswith("s") else getattr(torchvision.models, encoder)()
        return {k: v.shape for k, v in model.state_dict().items()}
    state = smp.encoders.get_encoder(encoder, weights=None).state_dict()
    return {k: v.shape for k, v in state.items()} | {"head.weight": torch.Size([1000, 256])}


def zeros(encoder: str) -> dict[str, torch.Tensor]:
    return {k: torch.zeros(()).expand(shape) for k, shape in shapes(encoder).items()}


def random_weights(encoder: str) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {  # older files lack num_batches_tracked
        k: torch.rand(shape, generator=generator) for k, shape in shapes(encoder).items() if not k.endswith("tracked")
    }


def assemble(name: str, bands: int, state: dict) -> nn.Module:
    dates = 2 if task_of(name) == CHANGE else 1
    return build(name, bands=bands, classes=3, dates=dates, encoder_state=state)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_takes_the_published_weights_of_its_encoder(name):
    encoder = assemble(name, 10, zeros(encoder_of(name))).encoder
    assert not any(parameter.any() for parameter in encoder.parameters())


@pytest.mark.parametrize("name", ["segformer-b1", "siamcrnn-34", "pfsegnet-r101", "unet"])
def test_no_network_takes_the_weights_of_another_encoder(name):
    for other in ("mit_b0", "resnet18", "resnet50s"):
        with pytest.raises(UserError, match="do not fit"):
            assemble(name, 3, zeros(other))


def test_encoders_are_named_as_their_library_names_them():
    assert encoder_of("smp:unet/tu-convnext_atto.d2_in1k/diff") == "tu-convnext_atto.d2_in1k"
    assert encoder_of("smp:fpn/mit_b3") == "mit_b3"
    for name in NETWORKS:
        encoder = encoder_of(name)
        assert encoder in smp.encoders.encoders or timm.is_model(encoder)
    for name in ("resnet34", "smp:unet", "smp:net/resnet34", "smp:unet/resnet34/sum"):
        with pytest.raises(KeyError, match=re.escape(name)):
            encoder_of(name)


@torch.no_grad()
@pytest.mark.parametrize("name", SMALL)
def test_weights_of_a_file_stand_in_the_network(name, tmp_path):
    state = random_weights(encoder_of(name))
    save_file(state, tmp_path / "model.safetensors")
    loaded = load_encoder_weights(tmp_path)
    stem = next(k for k, v in state.items() if v.ndim == 4)
    for bands in (3, 10):
        found = assemble(name, bands, loaded).encoder.state_dict()
        assert found.keys() - state.keys() == {k for k in found if k.endswith("tracked")}
        for key in found.keys() & state.keys() - {stem}:
            assert torch.equal(found[key], state[key]), key
        inputs = found[stem].shape[1]
        assert inputs in (3, bands)
        expected = state[stem][:, [i % 3 for i in range(inputs)]] * (3 / inputs)
        torch.testing.assert_close(found[stem], expected)


class Encoder(nn.Module):
    """Some of its layers are called as a classifier or a prefix may be called elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 1)
        self.norm = nn.BatchNorm2d(4)
        self.fcs = nn.Linear(4, 4)
        self.block = nn.ModuleDict({"head": nn.Linear(4, 4)})
        self.backbone = nn.Linear(4, 4)


@pytest.mark.parametrize("prefix", ["", "encoder.", "backbone."])
@pytest.mark.parametrize("classifier", ["fc.weight", "head.fc.bias", "classifier.1.weight", None])
@pytest.mark.parametrize("inside", [True, False])
def test_prefix_and_classifier_are_left_out(prefix, classifier, inside):
    given = Encoder().state_dict()
    state = collections.OrderedDict((f"{prefix}{k}", v) for k, v in given.items() if "num_batches" not in k)
    state._metadata = given._metadata  # says that num_batches_tracked must be there
    if classifier:
        state[f"{prefix if inside else ''}{classifier}"] = torch.zeros(2)
    before = list(state)
    encoder = Encoder()
    load_encoder(encoder, state, "stem.weight")
    assert all(torch.equal(v, given[k]) for k, v in encoder.state_dict().items())
    assert list(state) == before


def test_a_prefix_that_not_all_names_have_is_kept():
    state = {f"encoder.{k}": v for k, v in Encoder().state_dict().items()} | {"decoder.weight": torch.zeros(2)}
    with pytest.raises(UserError, match="do not fit"):
        load_encoder(Encoder(), state, "stem.weight")


STATE = {"stem.weight": torch.arange(4.0), "stem.bias": torch.ones(1)}


@pytest.mark.parametrize("name", ["w.pth", "w.pt", "w.bin", "w.PTH"])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"state_dict": state, "epoch": 3},
        lambda state: {"model": collections.OrderedDict(state), "optimizer": {"lr": 1.0}},
    ],
)
def test_files_of_torch_hold_a_state_dict_bare_or_nested(tmp_path, name, wrap):
    torch.save(wrap(STATE), tmp_path / name)
    loaded = load_encoder_weights(tmp_path / name)
    assert loaded.keys() == STATE.keys() and all(torch.equal(loaded[k], STATE[k]) for k in STATE)
    assert type(loaded) is dict


def test_a_file_of_safetensors_may_have_any_name(tmp_path):
    save_file(STATE, tmp_path / "mine.safetensors")
    assert torch.equal(load_encoder_weights(tmp_path / "mine.safetensors")["stem.weight"], STATE["stem.weight"])


def refused(path, *words: str) -> None:
    with pytest.raises(UserError) as caught:
        load_encoder_weights(path)
    message = str(caught.value)
    assert message.endswith(".") and "\n" not in message
    assert all(word in message for word in (str(path), *words)), message


def test_a_missing_file_says_how_to_get_one(tmp_path):
    refused(tmp_path / "w.pth", "does not exist", "specdm fetch-encoder", "encoder_weights")
    refused(tmp_path, "model.safetensors does not exist")


def test_an_unknown_ending_names_the_known(tmp_path):
    (tmp_path / "w.h5").touch()
    refused(tmp_path / "w.h5", ".safetensors, .pth, .pt, .bin")


@pytest.mark.parametrize("name", ["model.safetensors", "w.pth"])
@pytest.mark.parametrize("damage", [lambda raw: raw[:-9], lambda raw: b"<html>no</html>", lambda raw: b""])
def test_a_damaged_file_is_told(tmp_path, name, damage):
    path = tmp_path / name
    save_file(STATE, path) if name.endswith("safetensors") else torch.save(STATE, path)
    path.write_bytes(damage(path.read_bytes()))
    refused(path, "cannot be read as weights", "again")


class Trap:
    def __reduce__(self):
        return (pytest.fail, ("code of the file was run",))


def test_code_in_a_file_is_never_run(tmp_path):
    torch.save({"stem.weight": Trap()}, tmp_path / "w.pth")
    refused(tmp_path / "w.pth", "cannot be read")
    torch.save(nn.Linear(2, 2), tmp_path / "module.pt")
    refused(tmp_path / "module.pt", "cannot be read", "state dict")


MAPPINGS = [{}, {"epoch": 3}, STATE | {"epoch": 3}, {3: torch.ones(2)}]


@pytest.mark.parametrize("held", [*MAPPINGS, *({"model": held} for held in MAPPINGS), [torch.ones(2)], torch.ones(2)])
def test_what_is_no_state_dict_is_told(tmp_path, held):
    torch.save(held, tmp_path / "w.pt")
    refused(tmp_path / "w.pt", "no state dict")


def test_weights_are_read_onto_the_cpu(tmp_path, monkeypatch):
    seen = {}
    real = torch.load
    monkeypatch.setattr(torch, "load", lambda path, **options: seen.update(options) or real(path, **options))
    torch.save(STATE, tmp_path / "w.pt")
    load_encoder_weights(tmp_path / "w.pt")
    assert seen == {"map_location": "cpu", "weights_only": True}
