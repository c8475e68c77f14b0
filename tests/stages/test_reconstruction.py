from types import SimpleNamespace

import numpy as np
import pytest
import torch

from specdm.labels import IGNORE, OSCD
from specdm.nn.autoencoder import AutoencoderSpec, JointAutoencoder, StreamSpec, one_hot
from specdm.patches import Normaliser, PatchMeta, PatchRecord, PatchWriter, open_patches
from specdm.stages.batches import Mixture
from specdm.stages.reconstruction import reconstruct

N, SIDE = 35, 16  # more than one batch
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def case(tmp_path_factory) -> SimpleNamespace:
    """An untrained autoencoder and patches of two dates with holes in masks and in the first date."""
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("patches") / "towns"
    dn = rng.integers(500, 4000, (N, 2, 3, SIDE, SIDE)).astype(np.uint16)
    dn[::4, 0, :, :5] = 0
    masks = rng.integers(0, 2, (N, SIDE, SIDE)).astype(np.uint8)
    masks[::3, :, :6] = IGNORE
    meta = PatchMeta("towns", "Sentinel-2 MSI", "TOA", ("B02", "B03", "B04"), 1e-4, 0.0, 0, OSCD)
    with PatchWriter(folder, meta, dn.shape[1:], "uint16") as writer:
        writer.append(dn, masks, [PatchRecord(str(i), "train", str(i), "a") for i in range(N)])
    patches = open_patches(folder)
    torch.manual_seed(0)
    stream = StreamSpec(2, 8, (1, 2), 1, 4, False)
    network = JointAutoencoder(AutoencoderSpec(3, 2, 2, "two", stream, stream)).eval()
    normaliser = Normaliser.fit(patches)
    held = dn.any(2)
    standardised = normaliser.apply(dn * np.float32(1e-4)) * held[:, :, None]
    with torch.no_grad():
        labels = torch.from_numpy(masks.astype(np.int64))
        made = network(torch.from_numpy(standardised.astype(np.float32)), one_hot(labels, 2))
    return SimpleNamespace(
        mixture=Mixture([(patches, np.arange(N))]),
        network=network,
        normaliser=normaliser,
        real=dn * 1e-4,
        held=held,
        masks=labels,
        fake=normaliser.invert(made.images.numpy()).astype(np.float64),
        logits=made.mask_logits,
    )


def _reconstruct(case, n_shown):
    return reconstruct(case.network, case.mixture, case.normaliser, CPU, n_shown)


def test_errors_are_those_of_a_direct_computation(case):
    errors, _ = _reconstruct(case, 0)
    real, fake = (np.moveaxis(a, 2, -1)[case.held] for a in (case.real, case.fake))
    assert errors["rmse"] == pytest.approx(np.sqrt(np.square(real - fake).mean()), rel=1e-4)
    cosine = (real * fake).sum(-1) / np.linalg.norm(real, axis=-1) / np.linalg.norm(fake, axis=-1)
    assert errors["sad_rad"] == pytest.approx(np.arccos(np.clip(cosine, -1, 1)).mean(), rel=1e-4)
    entropy = torch.nn.functional.cross_entropy(case.logits, case.masks, ignore_index=IGNORE)
    assert errors["cross_entropy"] == pytest.approx(float(entropy), rel=1e-4)
    assert errors["pixels"] == int((case.masks != IGNORE).sum())


@pytest.mark.parametrize(("n_shown", "shown"), [(3, 3), (33, 33), (40, N)])
def test_the_first_patches_are_shown_beside_their_reconstructions(case, n_shown, shown):
    errors, (real, fake) = _reconstruct(case, n_shown)
    np.testing.assert_array_equal(real.masks, case.masks[:shown])
    np.testing.assert_array_equal(real.valid, case.held[:shown])
    seen = np.broadcast_to(case.held[:shown, :, None], real.refl.shape)
    np.testing.assert_allclose(real.refl[seen], case.real[:shown][seen], atol=1e-5)
    np.testing.assert_allclose(fake.refl, case.fake[:shown], atol=1e-4)
    np.testing.assert_array_equal(fake.masks, case.logits.argmax(1)[:shown])
    assert errors == _reconstruct(case, 0)[0]


def test_nothing_is_shown_unless_asked_for(case):
    assert _reconstruct(case, 0)[1] == []
