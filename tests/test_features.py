"""Extractors: what reaches the networks, against the networks called directly; constants; mistakes in plain words."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x

from specdm import features, figures
from specdm.errors import UserError
from specdm.features import (
    InceptionFeatures,
    TeacherFeatures,
    UserFeatures,
    composite_limits,
    inception_views,
    open_extractors,
    stretched,
)
from specdm.labels import SEGMUNICH
from specdm.nn.autoencoder import one_hot
from specdm.nn.teacher import Teacher
from specdm.patches import Normaliser, PatchMeta, open_patches
from specdm.stages.batches import Mixture

CPU = torch.device("cpu")
BANDS = ("B02", "B03", "B04", "B8A", "B12")
RNG = np.random.default_rng(0)


def _meta(bands=BANDS, nm=(), **more):
    return PatchMeta("set", "s", "BOA", tuple(bands), 1e-4, 0.0, None, SEGMUNICH, wavelengths_nm=tuple(nm), **more)


def _patches(n=2, dates=1, bands=5, side=16):
    refl = RNG.uniform(0, 0.5, (n, dates, bands, side, side)).astype(np.float32)
    valid = np.ones((n, dates, side, side), bool)
    valid[0, 0, :3, :5] = False
    return refl, valid


# Teacher


@pytest.fixture
def teacher():
    torch.manual_seed(0)
    return Teacher(bands=4, classes=len(SEGMUNICH), dates=1, width=8).eval()


def test_the_teacher_sees_what_it_was_trained_on(teacher, segmentation_patches):
    """The same features as from the batches of its training, with pixels without data or label."""
    patches = open_patches(segmentation_patches)
    normaliser = Normaliser.fit(patches)
    extractor = TeacherFeatures(teacher, normaliser, "abc", len(SEGMUNICH), CPU)
    batch = Mixture([(patches, np.arange(4))]).batch(np.arange(4), normaliser)
    holes = torch.ones_like(batch.valid)
    holes[1, 0, 4:9, 2:7] = False
    refl, valid = patches.reflectance(np.arange(4)), patches.valid(np.arange(4)) & holes.numpy()
    refl[~np.broadcast_to(valid[:, :, None], refl.shape)] = -9999
    with torch.no_grad():
        expected = teacher.image_features(batch.images * holes.unsqueeze(2))
        of_masks = teacher.mask_features(one_hot(batch.masks, len(SEGMUNICH)))
    found = extractor.images(refl, valid)
    assert list(found) == ["bands"] and found["bands"].dtype == np.float32
    np.testing.assert_allclose(found["bands"], expected.numpy(), rtol=1e-6, atol=1e-7)
    masks = patches.masks[:4]
    assert (masks == 255).any()
    np.testing.assert_allclose(extractor.masks(masks), of_masks.numpy(), rtol=1e-6, atol=1e-7)
    assert extractor.id == "teacher abc"
    assert json.loads(json.dumps(extractor.constants))["mean"] == list(normaliser.mean)


# Inception


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    """Random weights of the network, of a size that keeps features away from zero."""
    torch.manual_seed(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("torch.load", lambda *_, **__: {})
        patch.setattr(FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
        network = FeatureExtractorInceptionV3("random", ["2048"], feature_extractor_weights_path="none")
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    path = tmp_path_factory.mktemp("inception") / "weights.pth"
    torch.save(network.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def network(weights):
    return FeatureExtractorInceptionV3("random", ["2048"], feature_extractor_weights_path=str(weights))


LIMITS = {
    title: np.array([[0.1, 0.4], [0.0, 0.5], [0.2, 0.3]])
    for title in ("true colour", "false colour", "short-wave infrared")
}


@pytest.fixture(scope="module")
def extractor(weights):
    return InceptionFeatures(weights, _meta(), LIMITS, CPU)


def test_images_give_torch_fidelitys_features_of_the_same_pictures(extractor, network):
    refl, valid = _patches(n=1, dates=2)
    found = extractor.images(refl, valid)
    assert list(found) == ["true colour", "false colour", "short-wave infrared"]
    assert all(view.shape == (1, 2, 2048) and view.dtype == np.float32 for view in found.values())
    channels = {"true colour": [2, 1, 0], "short-wave infrared": [4, 3, 2]}
    for title, places in channels.items():
        for date in range(2):
            picture = np.zeros((3, 16, 16), np.uint8)
            for colour, (channel, (low, high)) in enumerate(zip(places, LIMITS[title], strict=True)):
                value = np.clip((refl[0, date, channel].astype(float) - low) / (high - low), 0, 1)
                picture[colour] = np.rint(255 * value)
            picture[:, ~valid[0, date]] = 0
            (expected,) = network(torch.from_numpy(picture)[None])
            np.testing.assert_allclose(found[title][0, date], expected[0].numpy(), rtol=1e-3, atol=1e-4)
    assert np.abs(found["true colour"] - found["false colour"]).max() > 0.05


def test_masks_keep_their_colours_when_they_are_enlarged(extractor, network, monkeypatch):
    masks = RNG.integers(0, 13, (1, 13, 19)).astype(np.uint8)
    masks[0, :4, :6] = 255
    given = []
    monkeypatch.setattr(extractor, "_network", lambda x: given.append(x) or network(x))
    found = extractor.masks(masks)
    (picture,) = given
    assert picture.shape == (1, 3, 299, 299) and picture.dtype == torch.uint8
    # the network's own rule leaves a picture of this side as it is
    resized = interpolate_bilinear_2d_like_tensorflow1x(picture.float(), size=(299, 299), align_corners=False)
    assert torch.equal(resized, picture.float())
    nearest = torch.nn.functional.interpolate(torch.from_numpy(masks)[None].float(), size=299, mode="nearest-exact")[0]
    colours = figures.palette(SEGMUNICH)[nearest.numpy().astype(np.uint8)]
    assert np.array_equal(picture.numpy(), np.moveaxis(colours, -1, 1))
    assert (picture[0, :, :50, :50] == 128).all()  # grey without a label
    np.testing.assert_allclose(found, network(picture)[0].numpy(), rtol=1e-5)


def test_a_stretch_is_linear_between_limits_and_never_of_one_image():
    limits = np.array([[0.1, 0.3], [0.0, 1.0], [0.2, 0.2]])
    refl = np.array([[-1, 0.1, 0.15, 0.2, 0.31, 9]] * 3, np.float32).reshape(1, 1, 3, 1, 6)
    valid = np.ones((1, 1, 1, 6), bool)
    red, green, flat = stretched(refl, limits, valid)[0, 0, :, 0]
    assert red.tolist() == [0, 0, 64, 128, 255, 255]  # 63.75 and 127.5
    assert green.tolist() == [0, 26, 38, 51, 79, 255]
    assert set(flat) == {128}
    valid[..., 2:] = False
    assert not stretched(refl, limits, valid)[..., 2:].any()
    brighter = stretched(refl + np.float32(0.05), limits, np.ones_like(valid))
    assert brighter[0, 0, 1].mean() > green.mean()


def test_limits_are_those_of_valid_training_pixels_and_are_recorded(extractor):
    refl, valid = _patches(n=3)
    refl[0, 0, :, :3, :5] = 99  # not valid
    limits = composite_limits(_meta(), refl, valid)
    assert list(limits) == [c.title for c in inception_views(_meta())]
    red = refl[:, :, 2][valid]
    np.testing.assert_allclose(limits["true colour"][0], np.percentile(red, (2, 98)), rtol=1e-6)
    told = json.loads(json.dumps(extractor.constants))
    assert told["views"]["true colour"]["bands"].startswith("B04 665 nm, B03")
    np.testing.assert_allclose(told["views"]["true colour"]["limits_refl"], LIMITS["true colour"], rtol=1e-6)
    assert told["palette"]["forests"] == [30, 120, 40] and told["unlabelled"] == [128] * 3
    assert extractor.id == f"inception-v3 {told['weights_sha256'][:8]}"


@pytest.mark.parametrize(
    ("bands", "nm", "channels"),
    [
        (BANDS, (), [4, 3, 2]),
        (("B02", "B03", "B04", "B8A"), (), None),
        (("B11", "B12", "B04"), (), None),  # no infrared
        (("SWIR2", "red", "green", "blue", "nir"), (), [0, 4, 1]),
        ([f"{x}" for x in range(6)], (490, 560, 665, 842, 1600, 2200), [5, 3, 2]),
        ([f"{x}" for x in range(7)], (490, 560, 665, 842, 2100, 2200, 2300), [5, 3, 2]),
    ],
)
def test_the_shortwave_composite_is_there_where_its_bands_are(bands, nm, channels):
    meta = _meta(bands, nm)
    views = inception_views(meta)
    assert views[: len(figures.composites(meta))] == figures.composites(meta)
    more = [view.channels for view in views if view.title == "short-wave infrared"]
    assert more == ([] if channels is None else [channels])


def test_weights_that_are_missing_damaged_or_others_are_explained(weights, tmp_path):
    class Code:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    cut, other, code = tmp_path / "cut.pth", tmp_path / "other.pth", tmp_path / "code.pth"
    cut.write_bytes(weights.read_bytes()[:-1000])
    torch.save({"conv.weight": torch.zeros(3)}, other)
    torch.save({"x": Code()}, code)
    for path in (cut, other, code):
        with pytest.raises(UserError, match=rf"{path} is damaged or holds no weights of [^\n]*fetch it again\.$"):
            InceptionFeatures(path, _meta(), LIMITS, CPU)
    assert not (tmp_path / "ran").exists()
    for path in (tmp_path / "none.pth", tmp_path):
        with pytest.raises(UserError, match=rf"{path} cannot be read"):
            InceptionFeatures(path, _meta(), LIMITS, CPU)


# The user's own

MODULE = """
from __future__ import annotations
from dataclasses import dataclass
import torch
from torch import nn

@dataclass
class Setting:
    width: int = 3

class Mean(nn.Module):
    def __init__(self, bands):
        super().__init__()
        self.scale = nn.Parameter(torch.full((bands,), SCALE))
        self.calls = nn.Dropout(0.9)
    def forward(self, x):
        assert x.dtype == torch.float32
        return self.calls(x.mean((-2, -1)) * self.scale)

def mean(meta):
    return Mean(len(meta.bands))

def plain(meta):
    return lambda x: x.amax((-2, -1))[:, : Setting().width].double()
"""


@pytest.fixture
def own(tmp_path):
    """own(text) writes a file and gives its path."""

    def write(text: str, name: str = "mine.py") -> Path:
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


def test_a_function_of_the_user_gives_features_of_each_date(own):
    path = own(MODULE.replace("SCALE", "2.0"))
    refl, valid = _patches(n=2, dates=2)
    refl[~np.broadcast_to(valid[:, :, None], refl.shape)] = np.nan
    extractor = UserFeatures(f"{path}:mean", _meta(), CPU)
    found = extractor.images(refl, valid)["images"]
    seen = np.nan_to_num(refl)
    np.testing.assert_allclose(found, 2 * seen.mean((-2, -1)), rtol=1e-5)
    assert found.dtype == np.float32 and extractor.masks(np.zeros((2, 4, 4), np.uint8)) is None
    assert np.array_equal(found, UserFeatures(f"{path}:mean", _meta(), CPU).images(refl, valid)["images"])
    plain = UserFeatures(f"{path}:plain", _meta(), CPU)
    np.testing.assert_allclose(plain.images(refl, valid)["images"], seen.max((-2, -1))[..., :3], rtol=1e-6)
    json.dumps(extractor.constants)
    # the weights and the file are in the identity, whatever it is called
    same = UserFeatures(f"{path}:mean", _meta(), CPU)
    other = UserFeatures(f"{own(MODULE.replace('SCALE', '3.0'))}:mean", _meta(), CPU)
    assert extractor.id == same.id != other.id and extractor.id.startswith("mine.py:mean ")
    assert extractor.id != UserFeatures(f"{own(MODULE.replace('SCALE', '2.0'))}:mean", _meta(BANDS[:3]), CPU).id


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("lambda x: x", "shape (2, 5, 16, 16) for 2 images: let it return (2, D)"),
        ("lambda x: x.mean((0, 2, 3))", "shape (5,) for 2 images"),
        ("lambda x: x[:1, :, 0, 0]", "shape (1, 5) for 2 images"),
        ("lambda x: x[:, :0, 0, 0]", "shape (2, 0) for 2 images"),
        ("lambda x: x[:, :, 0, 0] / 0", "NaN or infinite"),
        ("lambda x: x[:, :, 0, 0] @ x", "fails (RuntimeError"),
        ("lambda x: 'text'", "fails ("),
        ("3", "returns int: let it return a callable"),
        ("meta.nothing", "fails (AttributeError"),
    ],
)
def test_what_a_function_does_wrong_is_said_with_its_name(own, body, words):
    path = own(f"def f(meta):\n    return {body}\n")
    with pytest.raises(UserError) as caught:
        UserFeatures(f"{path}:f", _meta(), CPU).images(*_patches())
    message = str(caught.value)
    assert message.startswith(f"{path}:f ") and words in message and "\n" not in message and message.endswith(".")


def test_a_function_keeps_its_number_of_features(own):
    path = own("def f(meta):\n    return lambda x: x.flatten(1)[:, : 3 + int(x[0, 0, 0, 0] > 1)]\n")
    extractor = UserFeatures(f"{path}:f", _meta(), CPU)
    refl, valid = np.zeros((1, 1, 5, 4, 4), np.float32), np.ones((1, 1, 4, 4), bool)
    assert extractor.images(refl, valid)["images"].shape == (1, 1, 3)
    with pytest.raises(UserError, match=r"shape \(1, 4\) for 1 images: let it return \(1, 3\)"):
        extractor.images(refl + 2, valid)


def test_files_and_functions_that_are_not_there(own, tmp_path):
    path = own("VALUE = 3\n")
    for name, words in (
        (f"{tmp_path / 'none.py'}:f", r"none\.py cannot be read \(No such file"),
        (f"{path}:f", "has no function 'f'"),
        (f"{path}:VALUE", "has no function 'VALUE'"),
        (f"{path}:", "has no function ''"),
        (f"{own('def f(:', 'broken.py')}:f", r"broken\.py:f cannot be loaded \(SyntaxError"),
        (f"{own('import nonesuch', 'importing.py')}:f", r"importing\.py:f cannot be loaded \(ModuleNotFoundError"),
    ):
        with pytest.raises(UserError, match=words):
            open_extractors([name], _meta(), CPU)


# All of them


def test_extractors_open_in_the_order_of_their_names(own, weights, teacher):
    path = own(MODULE.replace("SCALE", "1.0"))
    judge = TeacherFeatures(teacher, Normaliser((0.0,) * 4, (1.0,) * 4), "abc", 13, CPU)
    names = [f"{path}:mean", "inception", "teacher"]
    opened = open_extractors(names, _meta(), CPU, teacher=judge, inception_weights=weights, limits=LIMITS)
    assert [type(e) for e in opened] == [UserFeatures, InceptionFeatures, TeacherFeatures]
    with pytest.raises(UserError, match="'inception' need a file of weights"):
        open_extractors(["inception"], _meta(), CPU, limits=LIMITS)
    with pytest.raises(UserError, match="'teacher' need a trained teacher"):
        open_extractors(["teacher"], _meta(), CPU)
    with pytest.raises(UserError, match=r"no features 'dino': use teacher, inception or path/to/file\.py:function"):
        open_extractors(["dino"], _meta(), CPU)


def test_reflectance_that_is_no_number_is_refused(own, extractor, teacher):
    path = own(MODULE.replace("SCALE", "1.0"))
    refl, valid = _patches()
    refl[1, 0, 2, 3, 3] = np.nan
    judge = TeacherFeatures(teacher, Normaliser((0.0,) * 4, (1.0,) * 4), "abc", 13, CPU)
    for one in (judge, extractor, UserFeatures(f"{path}:mean", _meta(), CPU)):
        with pytest.raises(UserError, match="patch 1 of the batch has reflectance that is NaN"):
            one.images(refl, valid)


def test_nothing_is_fetched_in_this_room():
    assert "download" not in Path(features.__file__).read_text()
