"""A generator that also learns from images without labels."""

import csv
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from specdm.labels import IGNORE, SEGMUNICH
from specdm.patches import open_patches
from specdm.randomness import batch_positions
from specdm.stages.batches import Mixture, shared_positions
from specdm.stages.encode import open_latents
from specdm.stages.unlabelled import unlabelled_parts

N_TRAIN, N_VAL, N_OTHER = 24, 8, 6


@pytest.fixture(scope="module")
def other(tmp_path_factory, write_patches) -> Path:
    """Six training patches and two of validation with classes of their own."""
    groups = {"x": ("train", N_OTHER), "y": ("val", 2)}
    return write_patches(tmp_path_factory.mktemp("patches") / "elsewhere", 2, SEGMUNICH, groups, seed=7)


@pytest.fixture(scope="module")
def generator(tmp_path_factory, verb, settings):
    """Trains both stages on patches beside unlabelled ones: generator(patches, unlabelled) -> its folders."""

    def make(patches, unlabelled, n_real=0, diffusion=True, steps=2, **changed):
        root, named = tmp_path_factory.mktemp("generator"), {"unlabelled": unlabelled}
        chain = SimpleNamespace(autoencoder=root / "a", latents=root / "l", denoiser=root / "d")
        first = settings.autoencoder | {"steps": steps, "validations": 1, "unlabelled_share": 0.5} | changed
        folders = dict(patches=patches, out=chain.autoencoder, state=root / "state", n_real=n_real)
        assert verb("train-autoencoder", **folders, settings=first, **named) == 0
        if diffusion:
            second = settings.diffusion | {"levels": "streams", "conditioning": True, "steps": 2, "batch": 8}
            second |= {"validations": 1}
            encoded = dict(patches=patches, autoencoder=chain.autoencoder, out=chain.latents, augment="none")
            assert verb("encode", **encoded, **named) == 0
            trained = dict(latents=chain.latents, out=chain.denoiser, state=root / "state")
            assert verb("train-diffusion", **trained, settings=second) == 0
        return chain

    return make


@pytest.fixture(scope="module")
def beside(generator, change_patches, other):
    return generator(change_patches, [other])


@pytest.fixture
def changed(tmp_path):
    """Copies a patch set with other arrays: changed(folder, masks=..., images=...), functions of the stored ones."""

    def make(folder, **functions):
        copy = Path(shutil.copytree(folder, tmp_path / f"copy-of-{folder.name}"))
        described = json.loads((copy / "meta.json").read_text())
        for name, function in functions.items():
            np.save(copy / f"{name}.npy", function(np.load(copy / f"{name}.npy")))
            described["checksums"][name] = "other"
        (copy / "meta.json").write_text(json.dumps(described))
        return copy

    return make


def _same(one, other):
    one, other = (load_file(folder / "weights.safetensors") for folder in (one, other))
    return all(torch.equal(one[key], other[key]) for key in one)


def _config(folder):
    return json.loads((folder / "config.json").read_text())


def test_the_labels_of_patches_without_labels_never_matter(generator, beside, change_patches, other, changed):
    again = generator(change_patches, [changed(other, masks=lambda masks: (masks[::-1] + 1) % 5)])
    assert _config(again.autoencoder)["id"] == _config(beside.autoencoder)["id"]
    for part in ("autoencoder", "denoiser"):
        assert _same(getattr(beside, part), getattr(again, part))
    for name in ("mean.npy", "std.npy", "fractions.npy", "ids.json"):
        assert (beside.latents / name).read_bytes() == (again.latents / name).read_bytes(), name


def test_their_images_do_matter(generator, beside, change_patches, other, changed):
    turned = changed(other, images=lambda images: images[..., ::-1].copy())
    again = generator(change_patches, [turned], diffusion=False)
    assert not _same(beside.autoencoder, again.autoencoder)
    assert _config(again.autoencoder)["id"] != _config(beside.autoencoder)["id"]


def test_latents_end_with_the_patches_without_labels(beside, change_patches, other):
    latents, rest = open_latents(beside.latents), open_patches(other)
    assert [latents.meta[key] for key in ("n_train", "n_val", "n_unlabelled")] == [N_TRAIN, N_VAL, N_OTHER]
    assert latents.ids[N_TRAIN + N_VAL :] == rest.index["id"].iloc[rest.ids("train")].tolist()
    assert latents.mean.shape[0] == len(latents.fractions) == N_TRAIN + N_VAL + N_OTHER
    assert not latents.fractions[: N_TRAIN + N_VAL].isnan().any()
    assert latents.fractions[N_TRAIN + N_VAL :].isnan().all()
    mask = latents.mean[N_TRAIN + N_VAL :, :, slice(*latents.meta["streams"]["mask"])]
    assert np.abs(mask - mask[:1]).max() < 1e-2  # of no label at all
    assert len(np.load(beside.denoiser / "fractions.npy")) == N_TRAIN


def test_the_scale_of_the_latents_is_that_of_labelled_patches(beside):
    latents = open_latents(beside.latents)
    m, s = (np.asarray(x[:N_TRAIN], np.float64) for x in (latents.mean, latents.std))
    centre = m.mean((0, 1, 3, 4))
    np.testing.assert_allclose(latents.meta["mean"], centre, rtol=1e-6, atol=1e-9)
    spread = ((m**2 + s**2).mean((0, 1, 3, 4)) - centre**2) ** 0.5
    np.testing.assert_allclose(latents.meta["std"], spread, rtol=1e-6)


def test_the_denoiser_never_looks_at_the_masks_and_fractions_of_patches_without_labels(
    beside, tmp_path, verb, settings
):
    first = N_TRAIN + N_VAL

    def train(name, change):
        latents = Path(shutil.copytree(beside.latents, tmp_path / f"latents-{name}"))
        mean, fractions = np.load(latents / "mean.npy"), np.load(latents / "fractions.npy")
        change(mean, fractions)
        np.save(latents / "mean.npy", mean)
        np.save(latents / "fractions.npy", fractions)
        section = settings.diffusion | {"levels": "streams", "conditioning": True, "steps": 2, "batch": 8}
        folders = dict(latents=latents, out=tmp_path / name, state=tmp_path / f"state-{name}")
        assert verb("train-diffusion", **folders, settings=section | {"validations": 1}) == 0
        return tmp_path / name

    def masks(mean, fractions):
        mean[first:, :, 4:] += 3
        fractions[first:] = [0.3, 0.7]

    def images(mean, fractions):
        mean[first:, :, :4] += 3

    assert _same(train("masks", masks), beside.denoiser)
    assert not _same(train("images", images), beside.denoiser)


@pytest.fixture
def seen(monkeypatch) -> list[tuple[str, bool]]:
    """Ids of the patches that are loaded in a training view, and whether with a label."""
    found, original = [], Mixture.batch

    def noting(self, rows, normaliser, views=None):
        batch = original(self, rows, normaliser, views)
        if views is not None:
            found.extend((self.ids()[r], bool((m != IGNORE).any())) for r, m in zip(rows, batch.masks, strict=True))
        return batch

    monkeypatch.setattr(Mixture, "batch", noting)
    return found


def test_the_set_itself_stands_for_its_patches_that_are_not_labelled(generator, change_patches, seen):
    options = dict(n_real=12, diffusion=False, steps=6, batch=4)
    beside = generator(change_patches, [change_patches], **options)
    labelled, bare = ({name for name, has in seen if has == of} for of in (True, False))
    patches = open_patches(change_patches)
    assert len(labelled) == len(bare) == 12 and not labelled & bare
    assert labelled | bare == set(patches.index["id"].iloc[patches.ids("train")])
    assert len(_config(beside.autoencoder)["unlabelled"]) == 1


def test_labels_outside_the_subset_never_matter(generator, change_patches, changed):
    patches = open_patches(change_patches)
    options = dict(n_real=12, diffusion=False, batch=4)
    one = generator(change_patches, [change_patches], **options)
    (_, rest), *_ = unlabelled_parts(patches, _labelled(patches), [change_patches])

    def flipped(masks):
        masks[rest] = 1 - masks[rest].clip(max=1)
        return masks

    copy = changed(change_patches, masks=flipped)
    assert _same(one.autoencoder, generator(copy, [copy], **options).autoencoder)


def _labelled(patches):
    from specdm.stages.batches import stratified_subset

    return stratified_subset(patches, 12, 0)


def test_a_batch_that_is_split_weighs_labels_like_a_whole_one(generator, change_patches, other):
    losses = []
    for parts in (1, 2, 4):
        still = {"learning_rate": 1e-30, "batch": 8, "accumulate": parts, "augment": "none"}
        chain = generator(change_patches, [other], diffusion=False, steps=1, **still)
        losses.append(next(csv.DictReader((chain.autoencoder / "history.csv").open())))
    entropies = [float(row["cross_entropy"]) for row in losses]
    assert entropies[0] > 0.1
    np.testing.assert_allclose(entropies, entropies[0], rtol=0.02)


@pytest.mark.parametrize(("share", "n"), [(0.5, 6), (0.25, 3), (0.0, 1), (1.0, 11), (0.9, 11)])
def test_a_batch_has_its_share_of_each_part_in_shuffled_epochs(share, n):
    steps = [shared_positions(20, 7, share, 12, step, 3, "key") for step in range(40)]
    for batch in steps:
        assert len(batch) == 12 and (batch >= 20).sum() == n
    first, last = (np.concatenate([b[(b >= 20) == of] for b in steps]) for of in (False, True))
    for positions, start, size in ((first, 0, 20), (last, 20, 7)):
        epochs = len(positions) // size
        counts = np.bincount(positions - start, minlength=size)
        assert len(counts) == size and counts.min() >= epochs and counts.max() <= epochs + 1
        assert epochs < 2 or not np.array_equal(positions[:size], positions[size : 2 * size])
    np.testing.assert_array_equal(steps[5], shared_positions(20, 7, share, 12, 5, 3, "key"))


@pytest.mark.parametrize("parts", [2, 3, 4, 6])
@pytest.mark.parametrize("share", [0.5, 0.25, 0.75])
def test_every_part_of_a_batch_has_its_share(share, parts):
    found = shared_positions(20, 7, share, 12, 0, "key").reshape(parts, -1) >= 20
    assert (abs(found.sum(1) - share * 12 / parts) <= 1).all()


def test_without_a_last_part_batches_are_the_usual_ones():
    np.testing.assert_array_equal(shared_positions(9, 0, 0.5, 4, 3, "key"), batch_positions(9, 4, 3, "key"))


def test_one_noise_level_for_all_learns_nothing_from_patches_without_labels(beside, tmp_path, verb, settings):
    folders = dict(latents=beside.latents, out=tmp_path / "out", state=tmp_path / "state")
    assert verb("train-diffusion", **folders, settings=settings.diffusion) == (
        f"error: {beside.latents} holds images without labels: they train with diffusion.levels streams alone."
    )
    assert not (tmp_path / "out").exists()


def test_patches_of_other_bands_are_refused(tmp_path, verb, settings, change_patches, write_patches):
    bands = ("B02", "B03", "B04", "B08")
    few = write_patches(tmp_path / "few", 2, SEGMUNICH, {"x": ("train", 2)}, bands=bands)
    folders = dict(patches=change_patches, out=tmp_path / "out", state=tmp_path / "state", unlabelled=few)
    refusal = verb("train-autoencoder", **folders, settings=settings.autoencoder)
    assert refusal == (
        f"error: {change_patches} and {few} differ in bands (('B02', 'B03', 'B04', 'B8A') and {bands}): they cannot be "
        "mixed."
    )


def test_a_set_without_a_further_training_patch_is_refused(tmp_path, verb, settings, change_patches, write_patches):
    tests_only = write_patches(tmp_path / "tests", 2, SEGMUNICH, {"x": ("test", 2)})
    folders = dict(patches=change_patches, out=tmp_path / "out", state=tmp_path / "state")
    for folder in (tests_only, change_patches):
        assert verb("train-autoencoder", **folders, settings=settings.autoencoder, unlabelled=folder) == (
            f"error: {folder} holds no training patch beside those with labels: leave it out of unlabelled."
        )


def test_other_unlabelled_sets_than_the_autoencoders_are_not_encoded(
    beside, change_chain, tmp_path, verb, change_patches, other, changed
):
    turned = changed(other, images=lambda images: images[::-1].copy())
    chains = ((beside, []), (beside, [turned]), (beside, [other, turned]), (change_chain, [other]))
    for chain, unlabelled in chains:
        options = dict(patches=change_patches, autoencoder=chain.autoencoder, out=tmp_path / "out", augment="none")
        assert verb("encode", **options, unlabelled=unlabelled) == (
            f"error: {chain.autoencoder} was trained beside other unlabelled patches: name the same, or train it anew."
        )
    assert not (tmp_path / "out").exists()


def test_a_set_without_its_labels_is_ignored_everywhere_and_not_written_to(other, change_patches):
    before = open_patches(other)
    ((bare, positions),) = unlabelled_parts(open_patches(change_patches), np.arange(3), [other])
    assert positions.tolist() == list(range(N_OTHER))
    assert len(bare) == len(before) and bare.masks.shape == before.masks.shape
    assert (bare.masks == IGNORE).all() and bare.masks.dtype == np.uint8
    assert bare.meta.labels == open_patches(change_patches).meta.labels
    assert not np.stack(bare.index["class_counts"].to_numpy()).any()
    assert bare.index["id"].tolist() == before.index["id"].tolist()
    np.testing.assert_array_equal(bare.images, before.images)
    assert (before.masks[:] != IGNORE).any() and np.stack(before.index["class_counts"].to_numpy()).any()
