import numpy as np
import pytest
import torch

from specdm.model import TrainedAutoencoder
from specdm.nn.autoencoder import one_hot
from specdm.patches import Normaliser, class_counts, open_patches, to_reflectance
from specdm.stages import derived_sets
from specdm.stages.batches import Mixture
from specdm.stages.predict import TrainedNetwork

CPU = torch.device("cpu")


@pytest.fixture
def samples(segmentation_chain):
    return open_patches(segmentation_chain.samples)


def test_shuffled_masks_are_those_of_other_patches_each_used_once(tmp_path, samples):
    shuffled = derived_sets.with_shuffled_masks(samples, 10, 0, tmp_path)
    assert len(shuffled) == 10
    own = [mask.tobytes() for mask in samples.masks[:10]]
    got = [mask.tobytes() for mask in shuffled.masks]
    assert sorted(got) == sorted(own)
    assert len(set(own)) == 10 and all(a != b for a, b in zip(own, got, strict=True))
    np.testing.assert_array_equal(shuffled.images[:10], samples.images[:10])


def test_another_seed_shuffles_otherwise_and_the_same_one_alike(tmp_path, samples):
    zero, again, one = (derived_sets.with_shuffled_masks(samples, 10, seed, tmp_path) for seed in (0, 0, 1))
    assert (zero.masks == again.masks).all() and zero.hash == again.hash
    assert (zero.masks != one.masks).any() and len({zero.hash, one.hash, samples.hash}) == 3


def test_class_counts_are_those_of_the_new_masks(tmp_path, samples):
    shuffled = derived_sets.with_shuffled_masks(samples, 10, 0, tmp_path)
    counts = np.stack(shuffled.index["class_counts"].to_numpy())
    np.testing.assert_array_equal(counts, class_counts(np.array(shuffled.masks), len(samples.meta.labels)))
    assert (counts != np.stack(samples.index["class_counts"].to_numpy()[:10])).any()


def test_a_mixture_reads_the_new_masks_with_the_old_images(tmp_path, samples):
    shuffled = derived_sets.with_shuffled_masks(samples, 10, 0, tmp_path)
    normaliser = Normaliser((0.1,) * 4, (0.5,) * 4)
    rows = np.array([7, 2])
    new = Mixture([(shuffled, np.arange(10))]).batch(rows, normaliser)
    old = Mixture([(samples, np.arange(10))]).batch(rows, normaliser)
    assert torch.equal(new.images, old.images) and not torch.equal(new.masks, old.masks)
    np.testing.assert_array_equal(new.masks, shuffled.masks[rows])


def test_predicted_masks_are_what_the_network_reads(tmp_path, samples, trained_downstream):
    folder = trained_downstream["mixed-0"]
    labelled = derived_sets.with_predicted_masks(samples, 14, folder, tmp_path, CPU)
    trained = TrainedNetwork.load(folder, CPU)
    images = trained.normaliser.apply(to_reflectance(samples.images[:14], samples.meta))
    with torch.no_grad():
        expected = trained.network(torch.from_numpy(images)).argmax(1).numpy()
    np.testing.assert_array_equal(labelled.masks, expected)
    assert (
        labelled.hash
        != derived_sets.with_predicted_masks(samples, 14, trained_downstream["mixed-1"], tmp_path, CPU).hash
    )


def test_masks_that_are_there_are_not_made_again(tmp_path, samples):
    first = derived_sets.with_shuffled_masks(samples, 10, 0, tmp_path)
    (path,) = tmp_path.iterdir()
    np.save(path, np.zeros_like(first.masks))
    assert not derived_sets.with_shuffled_masks(samples, 10, 0, tmp_path).masks.any()


@pytest.mark.parametrize("kind", ["segmentation_chain", "change_chain"])
def test_reconstructions_are_the_round_trip_of_image_and_mask(tmp_path, request, kind):
    chain = request.getfixturevalue(kind)
    patches, positions = open_patches(chain.patches), np.array([5, 0, 9])
    made = derived_sets.reconstructed(patches, positions, chain.autoencoder, tmp_path, CPU)
    assert made.index["id"].tolist() == [f"{i}-reconstructed" for i in patches.index["id"].iloc[positions]]
    assert made.meta.synthetic and made.meta.bands == patches.meta.bands and set(made.index["split"]) == {"train"}

    trained = TrainedAutoencoder.load(chain.autoencoder)
    images = torch.from_numpy(trained.normaliser.apply(patches.reflectance(positions)))
    held = torch.from_numpy(patches.valid(positions))
    masks = torch.from_numpy(patches.masks[positions].astype(np.int64))
    with torch.no_grad():
        result = trained.network(images * held[:, :, None], one_hot(masks, len(patches.meta.labels)), None)
    # stored as digital numbers: half of one is lost at most, and what lies below 1 is raised to it
    refl = trained.normaliser.invert(result.images.numpy())
    lowest = patches.meta.scale + patches.meta.offset
    np.testing.assert_allclose(made.reflectance(np.arange(3)), np.maximum(refl, lowest), atol=0.51 * patches.meta.scale)
    np.testing.assert_array_equal(made.masks, result.mask_logits.argmax(1).numpy())
