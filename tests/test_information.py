import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from specdm.errors import UserError
from specdm.given import Given
from specdm.information import Asking, cell_px, information_bits
from specdm.labels import OSCD
from specdm.model import SpecDM, TrainedAutoencoder
from specdm.nn.autoencoder import AutoencoderSpec, JointAutoencoder, StreamSpec
from specdm.nn.denoiser import DenoiserSpec
from specdm.nn.diffusion import NoiseSchedule
from specdm.nn.streams import Streams
from specdm.patches import Normaliser, PatchMeta

RHO = 0.9


class Oracle(nn.Module):
    """Knows the one latent that goes with what is given, up to a correlation; without it nothing but N(0, 1)."""

    def __init__(self, truth, streams):
        super().__init__()
        self.spec = DenoiserSpec(6, 8, 8, (1, 2), (False, False), 1, 8, 4, streams=3)
        self.truth, self.streams, self.met = truth, streams, []
        self.tells = [0, 1, 2]  # streams that it learns from where they are clean

    def forward(self, z, log_snr, condition=None):
        self.met.append(log_snr[0].tolist())
        abar = torch.sigmoid(log_snr).repeat_interleave(torch.tensor(self.streams.channels), 1)[..., None, None]
        signal, sigma = abar.sqrt(), (1 - abar).sqrt()
        rho = RHO * (log_snr[0, self.tells] == 12).any()
        left, mean = 1 - rho**2, rho * self.truth[: len(z)]
        x0 = mean + left * signal / (left * abar + 1 - abar) * (z - signal * mean)
        return (signal * z - x0) / sigma


@pytest.fixture(scope="module")
def pairs():
    rng = np.random.default_rng(0)
    masks = rng.integers(0, 2, (3, 4, 4)).repeat(4, 1).repeat(4, 2).astype(np.uint8)
    return Given(masks, rng.normal(size=(3, 2, 2, 16, 16)).astype(np.float32))


@pytest.fixture(scope="module")
def model(pairs):
    """A generator of untrained autoencoder and a denoiser that knows `pairs`."""
    torch.manual_seed(0)
    stream = StreamSpec(2, 8, (1, 2), 1, 4, False)
    network = JointAutoencoder(AutoencoderSpec(bands=2, classes=2, dates=2, streams="two", image=stream, mask=stream))
    meta = PatchMeta("towns", "Sentinel-2 MSI", "TOA", ("B04", "B8A"), 1.0, 0.0, None, OSCD)
    normaliser = Normaliser((0.0, 0.0), (1.0, 1.0))
    autoencoder = TrainedAutoencoder(network.eval(), normaliser, meta, np.dtype("float32"), (2, 2, 16, 16), {})
    mean = pairs.encode(network, normaliser, torch.device("cpu"))
    latents = {"mean": mean.mean((0, 2, 3)).tolist(), "std": mean.std((0, 2, 3)).tolist(), "shape": [6, 8, 8]}
    streams = Streams(("image1", "image2", "mask"), (2, 2, 2))
    truth = (mean - mean.mean((0, 2, 3), keepdim=True)) / mean.std((0, 2, 3), keepdim=True)
    schedule = NoiseSchedule(zero_terminal_snr=True)
    fractions = torch.full((1, 2), 0.5)
    return SpecDM.of(autoencoder, Oracle(truth, streams), schedule, latents, fractions, False, torch.device("cpu"))


@pytest.mark.parametrize("of", ["mask", "image", "date2"])
def test_a_wrong_mask_has_less_information_where_it_is_wrong(model, pairs, of):
    asking = Asking(of, n_levels=12, n_noises=4)
    model.denoiser.tells = [2] if of == "date2" else [0, 1, 2]  # date 1 is clean in any case
    right = information_bits(model, pairs, range(3), 0, asking)
    assert right.shape == (3, 8, 8) and right.dtype == np.float32 and right.mean() > 0.5
    masks = pairs.masks.copy()
    masks[1, 8:, 8:] = 1 - masks[1, 8:, 8:]
    wrong = information_bits(model, dataclasses.replace(pairs, masks=masks), range(3), 0, asking)
    model.denoiser.tells = [0, 1, 2]
    np.testing.assert_allclose(wrong[[0, 2]], right[[0, 2]], rtol=1e-4, atol=1e-3)
    if of == "mask":  # the oracle of images does not look at the mask
        change = wrong[1] - right[1]
        assert change[4:, 4:].mean() < -1 and abs(change[:3, :3]).mean() < 0.2 * abs(change[4:, 4:].mean())
        assert wrong[1, 4:, 4:].mean() < 0 < wrong[1, :3, :3].mean()


def test_what_is_asked_for_alone_is_noisy_and_the_rest_is_clean_or_absent(model, pairs):
    seen = []
    for of in ("mask", "image", "date2"):
        model.denoiser.met.clear()
        information_bits(model, pairs, range(3), 0, Asking(of, n_levels=3, n_noises=1))
        seen.append(np.array(model.denoiser.met).reshape(3, 2, 3))  # level, without and with, stream
    of_mask, of_image, of_date2 = seen
    assert (of_mask[:, 0, :2] == -12).all() and (of_mask[:, 1, :2] == 12).all()
    assert (of_image[:, 0, 2] == -12).all() and (of_image[:, 1, 2] == 12).all()
    assert (of_date2[..., 0] == 12).all() and (of_date2[:, 0, 2] == -12).all() and (of_date2[:, 1, 2] == 12).all()
    for levels in (of_mask[..., 2], of_image[..., 0], of_image[..., 1], of_date2[..., 1]):
        assert (levels[:, 0] == levels[:, 1]).all() and (np.diff(levels[:, 0]) < 0).all()


def test_a_pairs_information_is_its_own(model, pairs):
    asking = Asking(n_levels=4)
    whole = information_bits(model, pairs, [7, 8, 9], 0, asking)
    again = information_bits(model, pairs.rows([0]), [7], 0, asking)
    np.testing.assert_allclose(again[0], whole[0], rtol=1e-4, atol=1e-4)
    assert not np.allclose(information_bits(model, pairs, [7, 8, 9], 1, asking), whole, atol=1e-2)


def test_a_cell_is_as_large_as_the_autoencoder_is_coarser(model):
    assert cell_px(model) == 2


def test_one_level_for_all_streams_cannot_be_asked(model, pairs):
    shared = dataclasses.replace(model, denoiser=nn.Identity())
    shared.denoiser.spec = dataclasses.replace(model.denoiser.spec, streams=0)
    with pytest.raises(UserError, match=r"one noise level for image and mask.*diffusion.levels: streams"):
        information_bits(shared, pairs, range(3), 0, Asking())


def test_one_date_has_no_second(model):
    alone = dataclasses.replace(model, streams=Streams(("image1", "mask"), (4, 2)))
    with pytest.raises(UserError, match="no date2"):
        information_bits(alone, Given(np.zeros((1, 16, 16), np.uint8)), [0], 0, Asking("date2"))
