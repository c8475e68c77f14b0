import errno
import json

import numpy as np
import torch

from specdm.labels import SEGMUNICH
from specdm.model import TrainedAutoencoder
from specdm.nn.autoencoder import one_hot
from specdm.nn.views import VIEWS
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
