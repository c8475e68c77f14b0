import shutil

import numpy as np
import pytest

from specdm.errors import UserError
from specdm.labels import SEGMUNICH
from specdm.patches import open_patches
from specdm.settings import Regime
from specdm.stages.batches import stratified_subset
from specdm.stages.training_set import Inputs, compose

REAL = Regime(real=1, synthetic=0)


@pytest.fixture
def composed(tmp_path, segmentation_chain):
    """composed(regime, n_real, subset_seed, **inputs): the training set of a regime of the chain's data."""

    def make(regime, n_real=3, subset_seed=0, **inputs):
        inputs = Inputs(segmentation_chain.patches, **{"samples": segmentation_chain.samples} | inputs)
        return compose(open_patches(inputs.patches), inputs, regime, n_real, subset_seed, tmp_path / "derived")

    return make


def test_the_subset_holds_each_group_in_proportion(segmentation_patches):
    patches = open_patches(segmentation_patches)
    for seed in range(5):
        chosen = stratified_subset(patches, 12, seed)
        counts = patches.index["group"].iloc[chosen].value_counts()
        for group, size in {"a": 12, "b": 6, "c": 4, "d": 2}.items():
            assert abs(counts.get(group, 0) - size / 2) <= 1
        assert len(set(chosen)) == 12
        assert (np.diff(chosen) > 0).all()
    assert set(stratified_subset(patches, 12, 0)) != set(stratified_subset(patches, 12, 1))


def test_a_larger_subset_contains_the_smaller_one(segmentation_patches):
    patches = open_patches(segmentation_patches)
    assert set(stratified_subset(patches, 6, 0)) < set(stratified_subset(patches, 12, 0))


def test_too_few_patches_are_refused(composed):
    with pytest.raises(UserError, match="n_real asks for 25 training patches, the split holds 24: lower n_real"):
        composed(REAL, 25)
    with pytest.raises(UserError, match="holds 14 patches, the regime needs 15: sample more"):
        composed(Regime(real=0, synthetic=5))


@pytest.mark.parametrize(
    ("regime", "option"),
    [
        (Regime(real=0, synthetic=1), "--samples"),
        (Regime(real=1, synthetic=1, images="reconstructed"), "--autoencoder"),
        (Regime(real=1, synthetic=1, masks="predicted"), "--teacher"),
    ],
)
def test_a_regime_names_the_folder_that_it_lacks(composed, segmentation_chain, regime, option):
    samples = None if option == "--samples" else segmentation_chain.samples
    with pytest.raises(UserError, match=f"needs .*: give its folder with {option}"):
        composed(regime, samples=samples)


def test_samples_of_another_data_set_are_refused(composed, change_chain):
    for real in (0, 1):
        with pytest.raises(UserError, match="cannot be mixed"):
            composed(Regime(real=real, synthetic=1), samples=change_chain.samples)


def test_purely_synthetic_training_checks_its_samples_against_the_real_set(tmp_path, composed, write_patches):
    """The normaliser and the test split are the real set's, so other samples are as wrong as in a mixture."""
    for different in ({"level": "TOA"}, {"scale": 1e-3}):
        other = write_patches(tmp_path / next(iter(different)), 1, SEGMUNICH, {"a": ("train", 4)}, **different)
        with pytest.raises(UserError, match=r"differ in (processing level|scale and offset)"):
            composed(Regime(real=0, synthetic=1), 4, samples=other)


def test_samples_with_masks_of_no_class_are_refused(tmp_path, composed, segmentation_chain):
    samples = tmp_path / "samples"
    shutil.copytree(segmentation_chain.samples, samples)
    masks = np.load(samples / "masks.npy")
    masks[3, 0, 0] = 77
    np.save(samples / "masks.npy", masks)
    with pytest.raises(UserError, match="mask id 77 is in no class"):
        composed(Regime(real=1, synthetic=1), samples=samples)


def test_nothing_is_learned_from_samples_drawn_for_validation_or_test_patches(tmp_path, composed, write_patches):
    """Samples drawn for what is given inherit its split."""
    samples = write_patches(tmp_path / "samples", 1, SEGMUNICH, {"a": ("train", 6), "b": ("test", 6)})
    assert composed(Regime(real=0, synthetic=2), 3, samples=samples).n_synthetic == 6
    with pytest.raises(UserError) as refusal:
        composed(Regime(real=0, synthetic=3), 3, samples=samples)
    assert str(refusal.value) == (
        f"{samples}: among its first 9 patches some were drawn for validation or test patches, from which nothing may "
        "be learned: draw for training patches alone."
    )


def test_labels_of_a_regime_take_the_place_of_the_usual_number(composed, segmentation_patches):
    few, usual = composed(REAL.model_copy(update={"labels": 6}), 12), composed(REAL, 12)
    assert (few.n_labels, few.n_real, usual.n_labels) == (6, 6, 12)
    assert set(few.everything.ids()) < set(usual.everything.ids())
    every = composed(REAL.model_copy(update={"labels": "all"}), 3)
    index = open_patches(segmentation_patches).index
    assert every.everything.ids() == index["id"][index["split"] == "train"].tolist()
    # synthetic patches stay multiples of the usual number
    assert composed(Regime(real=1, synthetic=2, labels=2), 3).n_synthetic == 6


def test_synthetic_patches_alone_need_no_labels(composed):
    alone = composed(Regime(real=0, synthetic=1, labels=99), 12)
    assert (alone.n_real, alone.n_labels, alone.n_synthetic) == (0, 99, 12)
    assert alone.everything.ids() == [f"synthetic-{i:06d}" for i in range(12)]


def test_pretraining_sees_synthetic_patches_first_and_then_real_ones(composed):
    chosen = composed(Regime(real=1, synthetic=2, order="pretrain"), 3)
    kinds = [{i.startswith("synthetic") for i in chosen.at(step, 5).ids()} for step in range(5)]
    assert kinds == [{True}] * 3 + [{False}] * 2
    assert len(chosen.everything) == 9 and len(chosen.at(0, 5)) == 6 and len(chosen.at(4, 5)) == 3


def test_mixed_batches_are_of_everything_at_every_step(composed):
    chosen = composed(Regime(real=1, synthetic=2), 3)
    assert all(chosen.at(step, 5) is chosen.everything for step in range(5))
