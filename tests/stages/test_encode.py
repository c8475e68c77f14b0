import errno
import json

import numpy as np
import pytest
import torch

from specdm.labels import IGNORE, SEGMUNICH
from specdm.model import TrainedAutoencoder
from specdm.nn.autoencoder import one_hot
from specdm.nn.views import VIEWS, view
from specdm.patches import open_patches, to_reflectance
from specdm.stages.encode import open_latents


def test_normalised_draws_have_zero_mean_and_unit_variance_in_every_channel(chain):
    latents = open_latents(chain.latents)
    rows, views = np.divmod(np.arange(latents.meta["n_train"] * 8), 8)
    noise = torch.randn((len(rows), *latents.meta["shape"]), generator=torch.Generator().manual_seed(0))
    drawn = latents.draw(rows, views, noise)
    np.testing.assert_allclose(drawn.mean((0, 2, 3)), 0, atol=0.03)
    np.testing.assert_allclose(drawn.std((0, 2, 3)), 1, atol=0.03)


def test_training_patches_come_first_and_test_patches_not_at_all(chain):
    latents = open_latents(chain.latents)
    assert latents.mean.shape == latents.std.shape == (24 + 8, 8, *latents.meta["shape"])
    assert (latents.meta["n_train"], latents.meta["n_val"]) == (24, 8)


def test_view_v_of_the_latents_is_the_latent_of_view_v_of_the_patch(chain):
    patches, trained, latents = (
        open_patches(chain.patches),
        TrainedAutoencoder.load(chain.autoencoder),
        open_latents(chain.latents),
    )
    first_validation = patches.ids("val")[0]
    image, mask = patches[first_validation]
    standardised = trained.normaliser.apply(to_reflectance(image, patches.meta))
    for v, k in enumerate(VIEWS["d4"]):
        turned = [np.rot90(a, k % 4, (-2, -1)) for a in (standardised, mask)]
        turned = [np.flip(a, -1) if k >= 4 else a for a in turned]
        images, masks = (torch.from_numpy(np.ascontiguousarray(a))[None] for a in turned)
        with torch.no_grad():
            posterior = trained.network.encode(images, one_hot(masks, len(patches.meta.labels)))
        np.testing.assert_allclose(latents.mean[24, v], posterior.mean[0], atol=3e-3, rtol=3e-3)
        np.testing.assert_allclose(latents.std[24, v], posterior.std[0], atol=3e-3, rtol=3e-3)


@pytest.fixture(scope="module")
def swapped(conditioned_chain):
    """Latents of two dates in both orders, in the four views that are flips."""
    return open_latents(conditioned_chain.latents)


def test_swapping_adds_every_view_with_its_dates_in_the_other_order(swapped, conditioned_chain):
    patches, trained = open_patches(conditioned_chain.patches), TrainedAutoencoder.load(conditioned_chain.autoencoder)
    assert swapped.mean.shape == swapped.std.shape == (32, 8, *swapped.meta["shape"])
    assert swapped.swapped.tolist() == [False] * 4 + [True] * 4
    image, mask = patches[patches.ids("train")[3]]
    standardised = trained.normaliser.apply(to_reflectance(image[::-1], patches.meta))
    for v, k in enumerate(VIEWS["flips"]):
        images, masks = (view(torch.from_numpy(a.copy())[None], k) for a in (standardised, mask))
        with torch.no_grad():
            posterior = trained.network.encode(images, one_hot(masks, len(patches.meta.labels)))
        np.testing.assert_allclose(swapped.mean[3, 4 + v], posterior.mean[0], atol=3e-3, rtol=3e-3)
        np.testing.assert_allclose(swapped.std[3, 4 + v], posterior.std[0], atol=3e-3, rtol=3e-3)
    assert np.abs(swapped.mean[3, 4:, :4] - swapped.mean[3, :4, :4]).max() > 0.01


def test_with_both_orders_the_channels_of_both_dates_have_one_scale(swapped, change_chain):
    for key in ("mean", "std"):
        np.testing.assert_allclose(swapped.meta[key][:2], swapped.meta[key][2:4], rtol=1e-3, atol=1e-4)
    plain = open_latents(change_chain.latents).meta
    assert not np.allclose(plain["mean"][:2], plain["mean"][2:4], rtol=1e-3, atol=1e-4)


def test_a_single_date_is_not_swapped(tmp_path, verb, segmentation_chain):
    chain, out = segmentation_chain, tmp_path / "latents"
    options = dict(patches=chain.patches, autoencoder=chain.autoencoder, augment="none")
    assert verb("encode", "--swap-dates", **options, out=out) == 0
    latents = open_latents(out)
    assert latents.mean.shape[1] == 1 and latents.swapped.tolist() == [False]
    assert verb("encode", **options, out=tmp_path / "plain") == 0
    assert open_latents(tmp_path / "plain").meta["id"] == latents.meta["id"]


def test_latents_in_both_orders_are_others_by_name(swapped, change_chain, tmp_path, verb):
    options = dict(patches=change_chain.patches, autoencoder=change_chain.autoencoder, augment="flips")
    assert verb("encode", **options, out=tmp_path / "plain") == 0
    assert open_latents(tmp_path / "plain").meta["id"] != swapped.meta["id"]


def test_fractions_and_ids_are_those_of_the_patches_in_order(chain):
    patches, latents = open_patches(chain.patches), open_latents(chain.latents)
    rows = np.concatenate([patches.ids("train"), patches.ids("val")])
    assert latents.ids == patches.index["id"].iloc[rows].tolist()
    assert latents.fractions.dtype == torch.float32
    for fractions, mask in zip(latents.fractions.numpy(), patches.masks[rows], strict=True):
        labelled = mask[mask != IGNORE]
        assert len(labelled) < mask.size
        expected = [(labelled == k).mean() for k in range(len(patches.meta.labels))]
        np.testing.assert_allclose(fractions, expected, atol=1e-6)


def test_patches_of_another_set_are_refused(tmp_path, verb, write_patches, segmentation_chain):
    other = write_patches(tmp_path / "other", 1, SEGMUNICH, {"a": ("train", 2)}, seed=5)
    status = verb("encode", patches=other, autoencoder=segmentation_chain.autoencoder, out=tmp_path / "out")
    assert status.startswith("error: ")
    assert "was trained on other patches" in status
    assert not (tmp_path / "out").exists()


def test_an_incomplete_folder_of_latents_is_refused(tmp_path, verb, settings):
    (tmp_path / "latents").mkdir()
    status = verb("train-diffusion", latents=tmp_path / "latents", out=tmp_path / "out", state=tmp_path / "state")
    assert status == f"error: {tmp_path}/latents holds no latents, mean.npy is missing: make them with `specdm encode`."


def test_meta_names_the_autoencoder_and_the_data(chain):
    meta = json.loads((chain.latents / "meta.json").read_text())
    assert meta["autoencoder"] == json.loads((chain.autoencoder / "config.json").read_text())["id"]
    assert meta["data_hash"] == open_patches(chain.patches).hash


def test_a_disk_too_small_for_the_latents_is_told_before_the_work(tmp_path, monkeypatch, verb, segmentation_chain):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full, raising=False)
    chain = segmentation_chain
    out = tmp_path / "latents"
    status = verb("encode", patches=chain.patches, autoencoder=chain.autoencoder, out=out)
    assert status == f"error: The disk is full at {out}: free some space, then run the same command."
    assert list(tmp_path.iterdir()) == []
