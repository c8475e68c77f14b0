"""The generator as one object: patches drawn for a mask, for images, or for the first of two dates."""

import dataclasses

import numpy as np
import pytest
import torch

from specdm.errors import UserError
from specdm.labels import LabelClass, LabelSet
from specdm.model import Drawing, SpecDM, TrainedAutoencoder
from specdm.nn.autoencoder import AutoencoderSpec, JointAutoencoder, StreamSpec
from specdm.nn.conditions import condition_width
from specdm.nn.denoiser import Denoiser, DenoiserSpec
from specdm.nn.diffusion import NoiseSchedule
from specdm.patches import Normaliser, PatchMeta, class_counts

NAMES = ("water", "reed", "town")
LABELS = LabelSet("lake", tuple(LabelClass(k, n, (k, k, k), (k,)) for k, n in enumerate(NAMES)))
FRACTIONS = torch.tensor([[0.5, 0.5, 0.0], [0.2, 0.2, 0.6], [1.0, 0.0, 0.0]])
SIDE, N = 8, 3


def _model(dates=2, streams=True, conditioned=True) -> SpecDM:
    """An untrained generator in float32 of two bands, three classes and patches of eight pixels."""
    torch.manual_seed(0)
    stream = StreamSpec(2, 8, (1, 2), 1, 4, False)
    network = JointAutoencoder(AutoencoderSpec(2, 3, dates, "two", stream, stream))
    meta = PatchMeta("towns", "Sentinel-2 MSI", "TOA", ("B04", "B8A"), 1.0, 0.0, None, LABELS)
    normaliser, shape = Normaliser((0.1, 0.3), (0.05, 0.1)), (dates, 2, SIDE, SIDE)
    autoencoder = TrainedAutoencoder(network, normaliser, meta, np.dtype("float32"), shape, {})
    z, told = 2 * dates + 2, condition_width(3) if conditioned else 0
    spec = DenoiserSpec(z, 4, 8, (1, 2), (False, True), 1, 8, 4, condition=told, streams=streams * (dates + 1))
    latents = {"mean": [0.3] * z, "std": [1.5] * z, "shape": [z, 4, 4]}
    schedule, device = NoiseSchedule(n_steps=20), torch.device("cpu")
    return SpecDM.of(autoencoder, Denoiser(spec), schedule, latents, FRACTIONS, conditioned, device)


@pytest.fixture(scope="module")
def model() -> SpecDM:
    return _model()


RNG = np.random.default_rng(0)
MASK = RNG.integers(0, 3, (N, SIDE, SIDE)).astype(np.uint8)
MASK[0, :2] = 255
IMAGE = RNG.uniform(0, 0.6, (N, 2, 2, SIDE, SIDE)).astype(np.float32)
GIVEN = {
    "mask": {"mask": MASK},
    "image": {"image": IMAGE},
    "date1": {"date1": IMAGE[:, 0]},
    "date1 and mask": {"date1": IMAGE[:, 0], "mask": MASK},
}
each = pytest.mark.parametrize("given", GIVEN.values(), ids=GIVEN)


def _parts(samples):
    return {"mask": samples.masks, "date1": samples.images[:, 0], "date2": samples.images[:, 1]}


def _kept(given):
    """Names of the parts that are kept as they are, with what they must be."""
    dates = {"date1": given["image"][:, 0], "date2": given["image"][:, 1]} if "image" in given else {}
    return dates | {key: given[key] for key in ("date1", "mask") if key in given}


@each
def test_what_is_given_comes_back_unchanged_and_the_rest_is_drawn(model, given):
    one, other = (model.sample(given=given, seed=seed, n_steps=3) for seed in (0, 1))
    assert one.images.shape == (N, 2, 2, SIDE, SIDE) and one.masks.shape == (N, SIDE, SIDE)
    assert np.isfinite(one.images).all() and one.images.dtype == np.float32 and one.masks.dtype == np.uint8
    for name, part in _parts(one).items():
        if name in _kept(given):
            np.testing.assert_array_equal(part, _kept(given)[name])
        elif name != "mask":  # drawn ids of an untrained model may agree
            assert np.abs(part - _parts(other)[name]).max() > 1e-4
    if "mask" not in given:
        assert one.masks.max() < 3


@each
def test_the_rest_depends_on_what_is_given(model, given):
    turned = {key: np.ascontiguousarray(array[..., ::-1]) for key, array in given.items()}
    noted = []
    original = model.autoencoder.network.decode

    def decode(z, known):
        noted.append(z)
        return original(z, known)

    model.autoencoder.network.decode = decode
    try:
        model.sample(given=given, n_steps=3)
        model.sample(given=turned, n_steps=3)
    finally:
        del model.autoencoder.network.decode
    assert (noted[0] - noted[1]).abs().max() > 1e-4


@each
def test_more_patches_than_are_given_are_drawn_for_each_again(model, given):
    samples, first = model.sample(8, given=given, n_steps=2, batch=3), model.sample(given=given, n_steps=2)
    for name, array in _kept(given).items():
        np.testing.assert_array_equal(_parts(samples)[name], array[np.arange(8) % N])
    np.testing.assert_allclose(samples.images[:N], first.images, atol=1e-5)
    for name, part in _parts(samples).items():
        if name not in _kept(given) and name != "mask":
            assert np.abs(part[0] - part[N]).max() > 1e-4
    assert len(model.sample(2, given=given, n_steps=2).masks) == 2


@each
@pytest.mark.parametrize("sampler", ["dpm++", "ddim", "ddpm"])
def test_a_patch_does_not_depend_on_those_drawn_beside_it(model, given, sampler):
    one, many = (
        model.sample(5, given=given, seed=3, guidance=2.0, sampler=sampler, n_steps=3, batch=b) for b in (1, 5)
    )
    np.testing.assert_allclose(one.images, many.images, atol=1e-5)
    assert (one.masks == many.masks).mean() > 0.99
    np.testing.assert_array_equal(one.asked, many.asked)


@each
def test_guidance_of_one_is_the_limit_and_more_goes_further(model, given):
    latents, original = [], model.autoencoder.network.decode

    def decode(z, known):
        latents.append(z)
        return original(z, known)

    model.autoencoder.network.decode = decode
    try:
        for guidance in (1.0, 1.0001, 4.0):
            model.sample(given=given, guidance=guidance, n_steps=3)
    finally:
        del model.autoencoder.network.decode
    one, beyond, far = latents
    assert 0 < (one - beyond).abs().max() < 1e-4
    assert (one - far).abs().max() > 10 * (one - beyond).abs().max()


def test_the_fractions_told_of_a_given_mask_are_its_own(model):
    for given in (GIVEN["mask"], GIVEN["date1 and mask"]):
        asked = model.sample(5, given=given, n_steps=1, batch=2).asked
        counts = class_counts(MASK, 3)
        expected = counts / counts.sum(1, keepdims=True)  # of the labelled pixels
        np.testing.assert_allclose(asked, expected[np.arange(5) % N], atol=1e-6)


def test_beside_images_no_fractions_are_told_unless_they_are_wanted_for_a_first_date(model):
    for key in ("image", "date1"):
        assert np.isnan(model.sample(given=GIVEN[key], n_steps=1).asked).all()
    asked = model.sample(given=GIVEN["date1"], want={"town": 0.3}, n_steps=1).asked
    np.testing.assert_allclose(asked[:, 2], 0.3)
    np.testing.assert_allclose(asked.sum(1), 1, atol=1e-6)


def test_the_network_is_told_the_fractions_of_the_mask_and_in_guidance_neither(model, monkeypatch):
    told, forward = [], Denoiser.forward

    def noted(self, z, t, condition):
        told.append((t[0], condition[0]))
        return forward(self, z, t, condition)

    monkeypatch.setattr(Denoiser, "forward", noted)
    model.sample(1, given={"mask": np.full((1, SIDE, SIDE), 2)}, guidance=2.0, n_steps=1)
    model.sample(1, given=GIVEN["image"], n_steps=1)
    (without, nothing), (there, town), (_, untold) = told
    assert nothing.tolist() == [0.0] * 8 and untold.tolist() == [0.0] * 8
    assert town.tolist() == [0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.0]
    assert (without[2], there[2]) == (-12, 12) and torch.equal(without[:2], there[:2])


def test_a_model_that_was_told_no_fractions_is_told_none_of_a_given_mask():
    silent = _model(conditioned=False)
    samples = silent.sample(given=GIVEN["mask"], n_steps=2)
    np.testing.assert_array_equal(samples.masks, MASK)
    assert np.isnan(samples.asked).all()


def test_a_single_image_is_labelled_and_a_mask_painted():
    single = _model(dates=1)
    labelled = single.sample(given={"image": IMAGE[:, :1]}, n_steps=2)
    np.testing.assert_array_equal(labelled.images, IMAGE[:, :1])
    painted = single.sample(given=GIVEN["mask"], n_steps=2)
    np.testing.assert_array_equal(painted.masks, MASK)


def test_mask_first_paints_the_masks_that_it_draws(model, monkeypatch):
    drawn, original = [], SpecDM._drawn

    def noted(self, *arguments):
        drawn.append((arguments, original(self, *arguments)))
        return drawn[-1][1]

    monkeypatch.setattr(SpecDM, "_drawn", noted)
    samples = model.sample(4, n_steps=3, order="mask-first", want={"town": 0.25}, batch=4)
    (alone, (_, masks, asked)), (painted, (images, _, _)) = drawn
    assert alone[3] is None and alone[4] == {"image1", "image2"}
    np.testing.assert_array_equal(painted[3].masks, masks)
    np.testing.assert_array_equal(samples.masks, masks)
    np.testing.assert_array_equal(samples.images, images)
    np.testing.assert_array_equal(samples.asked, asked)
    np.testing.assert_allclose(samples.asked[:, 2], 0.25)
    together = model.sample(4, n_steps=3, want={"town": 0.25}, batch=4)
    assert np.abs(samples.images - together.images).max() > 1e-4


REFUSED = {
    "want with image": (
        {"given": GIVEN["image"], "want": {"town": 0.5}},
        "want: the image is given, its mask is what it shows: leave want out.",
    ),
    "want with mask": (
        {"given": GIVEN["mask"], "want": {"town": 0.5}},
        "want: the mask is given, and with it the fractions of its classes: leave want out.",
    ),
    "want with date1 and mask": (
        {"given": GIVEN["date1 and mask"], "want": {"town": 0.5}},
        "want: the mask is given, and with it the fractions of its classes: leave want out.",
    ),
    "neither": ({}, "sample: say how many patches to draw, or give something to draw them for."),
    "unknown": ({"given": {"map": MASK}}, "given: there is no 'map', choose among mask, image, date1."),
    "id": ({"given": {"mask": MASK % 2 * 3}}, "given mask: holds the id 3, this model knows 0 to 2 and 255 for none."),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_what_cannot_be_drawn_for_is_refused_in_one_sentence(model, fault):
    options, message = REFUSED[fault]
    with pytest.raises(UserError) as refusal:
        model.sample(**options, n_steps=1)
    assert str(refusal.value) == message


@pytest.mark.parametrize("options", [{"given": GIVEN["mask"]}, {"n": 2, "order": "mask-first"}])
def test_a_model_with_one_noise_level_for_all_draws_for_nothing(options):
    shared = _model(streams=False)
    with pytest.raises(UserError) as refusal:
        shared.sample(**options, n_steps=1)
    assert str(refusal.value) == (
        "given: this model has one noise level for image and mask, it draws both at once: train one with "
        "diffusion.levels: streams."
    )
    assert len(shared.sample(2, n_steps=1).masks) == 2


def test_half_precision_keeps_what_is_given_as_it_is(model):
    from specdm.given import given

    known = given(GIVEN["date1 and mask"], (2, 2, SIDE, SIDE), 3)
    full, half = (model.draw(range(N), 0, Drawing(n_steps=3, half=h), known) for h in (False, True))
    np.testing.assert_array_equal(half[0][:, 0], IMAGE[:, 0])
    np.testing.assert_array_equal(half[1], MASK)
    assert 0 < np.abs(full[0] - half[0]).mean() < 0.05 * full[0].std()


@pytest.mark.parametrize("options", [*({"given": given} for given in GIVEN.values()), {"order": "mask-first"}])
def test_no_pairs_are_made_of_what_was_left_out(model, options):
    with pytest.raises(UserError) as refusal:
        model.sample(2, guidance=0.0, n_steps=1, **options)
    assert str(refusal.value) == "guidance: 0 leaves out what is given as well, draw with 1 or more."


def test_what_is_drawn_for_a_mask_does_not_depend_on_the_fractions_of_training_patches(model):
    elsewhere = dataclasses.replace(model, fractions=torch.full((3, 3), 1 / 3))
    one, other = (of.sample(given=GIVEN["mask"], n_steps=2) for of in (model, elsewhere))
    np.testing.assert_array_equal(one.images, other.images)
