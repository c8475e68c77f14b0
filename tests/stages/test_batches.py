import numpy as np
import pytest
import torch

from specdm.errors import UserError
from specdm.labels import OSCD, SEGMUNICH
from specdm.nn.views import view
from specdm.patches import Normaliser, PatchMeta, PatchRecord, PatchWriter, open_patches
from specdm.settings import StrongAugmentation
from specdm.stages import augmentation
from specdm.stages.batches import Mixture
from specdm.training import Part

FEW = {"a": ("train", 3)}


@pytest.fixture
def pair(tmp_path, write_patches):
    return tuple(open_patches(write_patches(tmp_path / name, 1, SEGMUNICH, FEW, i)) for i, name in enumerate("xy"))


def test_rows_of_two_sets_arrive_in_order_and_standardised(pair):
    first, second = pair
    mixture = Mixture([(first, np.array([2, 0])), (second, np.array([1]))])
    normaliser = Normaliser((0.1, 0.2, 0.3, 0.4), (1.0, 2.0, 3.0, 4.0))
    batch = mixture.batch(np.array([2, 0]), normaliser)
    for row, (patches, position) in enumerate([(second, 1), (first, 2)]):
        refl = patches.images[position] * 1e-4 - 0.1
        expected = (refl - np.array([0.1, 0.2, 0.3, 0.4])[:, None, None]) / np.array([1, 2, 3, 4])[:, None, None]
        np.testing.assert_allclose(batch.images[row], expected, atol=1e-5)
        np.testing.assert_array_equal(batch.masks[row], patches.masks[position])
    assert mixture.ids() == ["a2", "a0", "a1"]


def test_image_mask_and_validity_turn_together(tmp_path, pair):
    meta = pair[0].meta
    images = np.random.default_rng(0).integers(1, 999, (1, 1, 4, 32, 32)).astype(np.uint16)
    images[..., :3, :5] = 0
    masks = np.arange(32 * 32, dtype=np.int64).reshape(1, 32, 32) % len(SEGMUNICH)
    with PatchWriter(tmp_path / "z", meta, (1, 4, 32, 32), "uint16") as writer:
        writer.append(images, masks.astype(np.uint8), [PatchRecord("a", "train", "a", "a")])
    mixture, normaliser = Mixture([(open_patches(tmp_path / "z"), np.array([0]))]), Normaliser((0,) * 4, (1,) * 4)
    straight = mixture.batch(np.zeros(8, int), normaliser)
    turned = mixture.batch(np.zeros(8, int), normaliser, np.arange(8))
    assert (~straight.valid[0, 0]).sum() == 15
    for k in range(8):
        for name in ("images", "masks", "valid"):
            torch.testing.assert_close(getattr(turned, name)[k], view(getattr(straight, name)[k], k), rtol=0, atol=0)


@pytest.mark.parametrize("nodata", [0, -32768])
def test_pixels_without_data_look_like_the_mean_of_every_band(tmp_path, pair, nodata):
    described = {key: getattr(pair[0].meta, key) for key in pair[0].meta.__dataclass_fields__}
    images = np.full((1, 2, 4, 32, 32), 5000, np.int16)
    images[0, 1, :, :3, :5] = nodata
    images[0, 0, 1, 7, 7] = nodata  # in one band only: data
    meta = PatchMeta(**described | {"nodata": nodata})
    with PatchWriter(tmp_path / "z", meta, (2, 4, 32, 32), "int16") as writer:
        writer.append(images, np.zeros((1, 32, 32), np.uint8), [PatchRecord("a", "train", "a", "a")])
    mixture = Mixture([(open_patches(tmp_path / "z"), np.array([0]))])
    batch = mixture.batch(np.array([0]), Normaliser((0.1,) * 4, (0.5,) * 4))
    assert (batch.images[0, 1, :, :3, :5] == 0).all() and not batch.valid[0, 1, :3, :5].any()
    assert batch.images[0, 0, 1, 7, 7] != 0 and batch.valid.sum() == 2 * 32 * 32 - 15
    np.testing.assert_allclose(batch.images[0, 1, :, 3:], (5000 * 1e-4 - 0.1 - 0.1) / 0.5, rtol=1e-5)


def test_a_training_step_has_the_same_batch_whatever_came_before(pair):
    mixture, normaliser = Mixture([(pair[0], np.arange(3))]), Normaliser((0,) * 4, (1,) * 4)
    fifth = mixture.training_batch(Part(5), 2, "d4", normaliser, 0, "stage")
    mixture.training_batch(Part(0), 2, "d4", normaliser, 0, "stage")
    again = mixture.training_batch(Part(5), 2, "d4", normaliser, 0, "stage")
    other = mixture.training_batch(Part(5), 2, "d4", normaliser, 1, "stage")
    assert torch.equal(fifth.images, again.images)
    assert not torch.equal(fifth.images, other.images)


@pytest.mark.parametrize(
    ("what", "dates", "labels", "meta"),
    [
        ("processing level", 1, SEGMUNICH, {"level": "TOA"}),
        ("bands", 1, SEGMUNICH, {"bands": ("B02", "B03", "B04", "B08")}),
        ("classes", 1, OSCD, {}),
        ("patch shape", 2, SEGMUNICH, {}),
    ],
)
def test_sets_that_differ_are_never_mixed(tmp_path, write_patches, pair, what, dates, labels, meta):
    other = open_patches(write_patches(tmp_path / "other", dates, labels, FEW, **meta))
    with pytest.raises(UserError, match=f"differ in {what} .*cannot be mixed"):
        Mixture([(pair[0], np.arange(3)), (other, np.arange(3))])


STRONG = StrongAugmentation(zoom=1.3, gain=0.2, offset=0.1, band_dropout=0.2, cutmix=0.5)


@pytest.fixture
def strong_mixture(tmp_path, write_patches):
    patches = open_patches(write_patches(tmp_path / "x", 2, OSCD, {"a": ("train", 9)}))
    return Mixture([(patches, np.arange(9))]), Normaliser.fit(patches)


def test_strong_augmentation_is_the_same_however_the_batch_is_split(strong_mixture):
    mixture, normaliser = strong_mixture
    whole = mixture.training_batch(Part(3), 8, "flips", normaliser, 1, strong=STRONG)
    parts = [mixture.training_batch(Part(3, i, 4), 8, "flips", normaliser, 1, strong=STRONG) for i in range(4)]
    for name in ("images", "masks", "valid"):
        together = torch.cat([getattr(part, name) for part in parts])
        torch.testing.assert_close(together, getattr(whole, name), rtol=0, atol=0)
    basic = mixture.training_batch(Part(3), 8, "flips", normaliser, 1)
    assert not torch.equal(whole.images, basic.images)
    other = mixture.training_batch(Part(4), 8, "flips", normaliser, 1, strong=STRONG)
    assert not torch.equal(whole.images, other.images)


def test_strong_augmentation_gets_partners_randomness_and_the_bands_means(strong_mixture, monkeypatch):
    mixture, normaliser = strong_mixture
    calls = []

    def recorded(patch, other, rng, mean_over_std, settings):
        calls.append((other.images.tobytes(), rng.random(), mean_over_std, settings))
        return patch

    monkeypatch.setattr(augmentation, "strong", recorded)
    got = mixture.training_batch(Part(0), 9, "none", normaliser, 1, strong=STRONG)
    basic = mixture.training_batch(Part(0), 9, "none", normaliser, 1)
    assert torch.equal(got.images, basic.images) and torch.equal(got.masks, basic.masks)
    assert len({draw for _, draw, _, _ in calls}) == 9
    own = [image.numpy().tobytes() for image in basic.images]
    assert {other for other, *_ in calls} <= set(own) and [other for other, *_ in calls] != own
    for _, _, mean_over_std, settings in calls:
        np.testing.assert_allclose(mean_over_std, np.array(normaliser.mean) / np.array(normaliser.std))
        assert settings is STRONG
