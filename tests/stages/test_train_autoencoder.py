import csv
import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from specdm.labels import IGNORE, SEGMUNICH
from specdm.model import TrainedAutoencoder
from specdm.nn.autoencoder import AutoencoderSpec, JointAutoencoder, StreamSpec, one_hot
from specdm.nn.losses import AutoencoderLossWeights, autoencoder_loss
from specdm.patches import Normaliser, PatchRecord, PatchWriter, open_patches, to_dn, to_reflectance
from specdm.settings import AutoencoderSettings
from specdm.stages.batches import Batch, Mixture
from specdm.stages.train_autoencoder import autoencoder_spec


def _same(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_the_folder_is_enough_to_use_the_autoencoder(chain):
    patches = open_patches(chain.patches)
    trained = TrainedAutoencoder.load(chain.autoencoder)
    dn = patches.images[patches.ids("train")]
    refl = to_reflectance(dn, patches.meta)
    np.testing.assert_allclose(trained.normaliser.mean, refl.mean((0, 1, 3, 4)), rtol=1e-4)
    np.testing.assert_allclose(trained.normaliser.std, refl.std((0, 1, 3, 4)), rtol=1e-4)
    assert trained.meta.bands == patches.meta.bands
    assert trained.meta.labels == patches.meta.labels
    assert trained.shape == patches.images.shape[1:]
    assert trained.dtype == patches.images.dtype
    assert trained.config["data_hash"] == patches.hash
    stamp = trained.config["provenance"]
    assert stamp["seed"] == 0
    assert stamp["settings"]["steps"] == 6
    assert stamp["commit"]


def test_streams_share_the_latent_as_the_config_says(segmentation_chain, single_chain, change_chain):
    streams = {
        name: json.loads((chain.autoencoder / "config.json").read_text())["streams"]
        for name, chain in (("two", segmentation_chain), ("single", single_chain), ("change", change_chain))
    }
    assert streams == {
        "two": {"image1": [0, 2], "mask": [2, 4]},
        "single": {"joint": [0, 4]},  # as many as the two streams
        "change": {"image1": [0, 2], "image2": [2, 4], "mask": [4, 6]},
    }


def test_the_history_ends_at_the_last_step_with_every_term_of_the_loss(chain):
    rows = list(csv.DictReader((chain.autoencoder / "history.csv").open()))
    assert rows[-1]["step"] == "6"
    numbers = {key: float(value) for key, value in rows[-1].items()}
    assert numbers.keys() > {"total", "step"}
    assert all(np.isfinite(value) for value in numbers.values())


def test_state_goes_when_the_outputs_are_written(chain):
    assert chain.autoencoder.is_dir()
    assert not chain.state.exists()


def test_a_paused_training_ends_like_an_uninterrupted_one(tmp_path, verb, settings, segmentation_chain):
    options = dict(
        patches=segmentation_chain.patches,
        out=tmp_path / "out",
        state=tmp_path / "state",
        settings=settings.autoencoder,
    )
    assert verb("train-autoencoder", **options, max_minutes=1e-9) == 75
    assert not (tmp_path / "out").exists()
    assert (tmp_path / "state" / "last.pt").is_file()
    assert verb("train-autoencoder", **options) == 0
    first = load_file(segmentation_chain.autoencoder / "weights.safetensors")
    assert _same(first, load_file(tmp_path / "out" / "weights.safetensors"))
    assert not (tmp_path / "state").exists()


def test_a_state_of_other_settings_is_set_aside_or_refused(tmp_path, verb, settings, segmentation_patches, capsys):
    options = dict(patches=segmentation_patches, out=tmp_path / "out", state=tmp_path / "state")
    verb("train-autoencoder", **options, settings=settings.autoencoder, max_minutes=1e-9)
    other = settings.autoencoder | {"sad_weight": 0.5, "steps": 1}
    words = ["--resume-only"]
    refused = verb("train-autoencoder", *words, **options, settings=other)
    assert (
        refused
        == f"error: {tmp_path}/state belongs to another run, settings.steps differs: train without --resume-only."
    )
    assert verb("train-autoencoder", **options, settings=other) == 0
    assert "stale-state-1: settings.steps differs" in capsys.readouterr().err
    assert (tmp_path / "stale-state-1" / "last.pt").is_file()


def test_masks_with_unknown_ids_are_refused_before_training(tmp_path, verb, settings, segmentation_patches):
    meta = open_patches(segmentation_patches).meta
    masks = np.full((1, 32, 32), IGNORE, np.uint8)
    masks[0, 5, 5] = len(SEGMUNICH)
    with PatchWriter(tmp_path / "bad", meta, (1, 4, 32, 32), "uint16") as writer:
        writer.append(np.ones((1, 1, 4, 32, 32), np.uint16), masks, [PatchRecord("a", "train", "a", "a")])
    status = verb(
        "train-autoencoder",
        patches=tmp_path / "bad",
        out=tmp_path / "out",
        state=tmp_path / "state",
        settings=settings.autoencoder,
    )
    assert status == f"error: {tmp_path}/bad: mask id 13 is in no class: prepare it anew."
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["segmentation", "change"])
def test_decoding_gives_the_data_type_and_never_nodata(kind, request):
    chain = request.getfixturevalue(f"{kind}_chain")
    trained = TrainedAutoencoder.load(chain.autoencoder)
    latents = torch.randn(2, trained.network.latent_channels, 16, 16)
    with torch.no_grad():
        refl, masks = trained.decode(latents * 100)
    images = to_dn(refl, trained.meta, trained.dtype)
    assert images.dtype == np.uint16
    assert images.shape == (2, *trained.shape)
    assert images.min() >= 1
    assert masks.dtype == np.uint8
    assert masks.max() < len(trained.meta.labels)


def test_a_small_autoencoder_learns_two_patches_by_heart(segmentation_patches):
    """Masks exactly and images by far better than their mean: encoder, decoder and loss work together."""
    torch.manual_seed(0)
    patches = open_patches(segmentation_patches)
    normaliser = Normaliser.fit(patches)
    whole = Mixture([(patches, patches.ids("train")[:2])]).batch(np.arange(2), normaliser)
    batch = Batch(*(part[..., :16, :16] for part in (whole.images, whole.masks, whole.valid)))
    stream = StreamSpec(4, 16, (1, 2), 1, 8, False)
    network = JointAutoencoder(AutoencoderSpec(4, len(SEGMUNICH), 1, "two", stream, stream))
    optimiser, losses = torch.optim.AdamW(network.parameters(), 3e-3, weight_decay=0.0), []
    for step in range(100):
        for group in optimiser.param_groups:
            group["lr"] = 3e-3 * min(1, (step + 1) / 10, (100 - step) / 50)
        noise = torch.randn(2, 8, 8, 8)
        made = network(batch.images, one_hot(batch.masks, len(SEGMUNICH)), noise)
        scale = (AutoencoderLossWeights(), normaliser.mean, normaliser.std)
        terms = autoencoder_loss(made, batch.images, batch.masks, *scale, network.autoencoder_slices, batch.valid)
        optimiser.zero_grad()
        terms["total"].backward()
        optimiser.step()
        losses.append(terms["l1"].item())
    with torch.no_grad():
        made = network(batch.images, one_hot(batch.masks, len(SEGMUNICH)))
    labelled = batch.masks != IGNORE
    assert torch.equal(made.mask_logits.argmax(1)[labelled], batch.masks[labelled])
    assert (made.images - batch.images).abs().mean() < losses[0] / 5


def test_a_picture_of_reconstructions_is_drawn_at_every_validation(tmp_path, verb, settings, segmentation_patches):
    folders = dict(patches=segmentation_patches, out=tmp_path / "out", state=tmp_path / "state")
    section = settings.autoencoder | {"steps": 4, "validations": 2, "learning_rate": 0.01}
    assert verb("train-autoencoder", **folders, settings=section, pictures=tmp_path / "pictures") == 0
    paths = sorted((tmp_path / "pictures").iterdir())
    assert [path.name for path in paths] == ["autoencoder-0000002.png", "autoencoder-0000004.png"]
    early, late = (np.asarray(Image.open(path)).astype(int) for path in paths)
    left, right = np.array_split(np.abs(early - late).max((0, 2)), 2)
    assert left.max() == 0 and right.max() > 0  # patches, reconstructions


@pytest.mark.parametrize(("dates", "channels"), [(1, 5), (2, 8)])
def test_a_single_stream_has_the_latent_channels_of_all_streams(settings, dates, channels):
    stream, mask = settings.autoencoder["image"] | {"latent_channels": 3}, settings.autoencoder["mask"]
    for streams in ("single", "two"):
        section = AutoencoderSettings(**settings.autoencoder | {"streams": streams, "image": stream, "mask": mask})
        network = JointAutoencoder(autoencoder_spec(section, bands=4, classes=2, dates=dates))
        assert network.latent_channels == channels == dates * 3 + 2
