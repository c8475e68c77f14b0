import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F

from specdm.errors import UserError
from specdm.patches import open_patches
from specdm.settings import Regime
from specdm.stages.filter_samples import Filter
from specdm.stages.judges import load_judges
from specdm.stages.training_set import Inputs, compose


@pytest.fixture
def filtered(tmp_path, verb, judges):
    def run(chain, samples=None, **options):
        given = dict(patches=chain.patches, samples=samples or chain.samples, out=tmp_path / "filter") | options
        assert verb("filter-samples", *judges[chain.patches], **given) == 0
        return tmp_path / "filter"

    return run


def _entropies(judges, samples):
    """Cross-entropy (R,N,H,W) of all masks under each judge."""
    x = torch.from_numpy(judges.normaliser.apply(samples.reflectance(np.arange(len(samples)))))
    y = torch.from_numpy(samples.masks[:].astype(np.int64))
    with torch.no_grad():
        return torch.stack([F.cross_entropy(n.predict_mask(x), y, reduction="none") for n in judges.networks]).numpy()


@pytest.mark.parametrize("kind", ["segmentation_chain", "change_chain"])
def test_scores_are_multiples_of_what_unseen_real_pixels_of_the_class_have(request, filtered, judges, kind):
    chain = request.getfixturevalue(kind)
    folder = filtered(chain)
    patches, samples = open_patches(chain.patches), open_patches(chain.samples)
    loaded = load_judges(judges[chain.patches], patches, torch.device("cpu"))
    train = patches.ids("train")
    groups, classes = patches.index["group"].to_numpy()[train], len(patches.meta.labels)
    sums, counts = np.zeros(classes), np.zeros(classes)
    for k, names in enumerate(loaded.held_out):
        here = train[np.isin(groups, list(names))]
        x = torch.from_numpy(loaded.normaliser.apply(patches.reflectance(here)))
        y = torch.from_numpy(patches.masks[here].astype(np.int64))
        with torch.no_grad():
            entropy = F.cross_entropy(loaded.networks[k].predict_mask(x), y, reduction="none", ignore_index=255)
        labelled = y.numpy() != 255
        sums += np.bincount(y.numpy()[labelled], weights=entropy.numpy()[labelled], minlength=classes)
        counts += np.bincount(y.numpy()[labelled], minlength=classes)
    usual = np.where(counts > 0, sums / np.maximum(counts, 1), sums.sum() / counts.sum())
    relative = _entropies(loaded, samples).mean(0) / usual[samples.masks[:]]
    table = pd.read_csv(folder / "scores.csv")
    assert table["id"].tolist() == samples.index["id"].tolist()
    assert table["badness"].to_numpy() == pytest.approx(relative.mean((1, 2)), rel=1e-4)
    masks = np.load(folder / "masks.npy")
    clear = np.abs(relative - 1.25) > 1e-4
    assert (masks == np.where(relative > 1.25, 255, samples.masks[:]))[clear].all()
    assert table["ignored_share"].to_numpy() == pytest.approx((masks == 255).mean((1, 2)), abs=1e-6)
    named = json.loads((folder / "filter.json").read_text())["real_cross_entropy"]
    assert list(named.values()) == pytest.approx(usual.tolist(), rel=1e-4)


def test_pairs_with_exchanged_masks_go_first(tmp_path, filtered, segmentation_chain, write_real_as_samples):
    samples = write_real_as_samples(segmentation_chain.patches, exchanged=8)
    scores = pd.read_csv(filtered(segmentation_chain, samples) / "scores.csv")["badness"].to_numpy()
    assert np.median(scores[:8]) > 1.3 * np.median(scores[8:])


@pytest.fixture
def write_real_as_samples(tmp_path):
    """The training pairs as a synthetic set, the first of which have each other's masks."""
    from specdm.patches import PatchRecord, PatchWriter

    def make(folder, exchanged):
        patches = open_patches(folder)
        rows = patches.ids("train")
        masks = patches.masks[rows].copy()
        masks[:exchanged] = np.roll(masks[:exchanged], 1, axis=0)
        with PatchWriter(tmp_path / "real", patches.meta, patches.images.shape[1:], patches.images.dtype) as writer:
            writer.append(patches.images[rows], masks, [PatchRecord(f"s{i}", "train", f"s{i}", "x") for i in rows])
        return tmp_path / "real"

    return make


def test_a_regime_that_keeps_the_best_gets_them_with_doubtful_pixels_unlabelled(tmp_path, filtered, segmentation_chain):
    folder = filtered(segmentation_chain)
    patches, samples = open_patches(segmentation_chain.patches), open_patches(segmentation_chain.samples)
    inputs = Inputs(segmentation_chain.patches, samples=segmentation_chain.samples, filter=folder)
    best = Regime(real=0, synthetic=2, pool=2, keep="best")
    chosen = compose(patches, inputs, best, 3, 0, tmp_path / "derived")
    table = pd.read_csv(folder / "scores.csv").iloc[:12]
    positions = chosen.everything.positions
    assert len(positions) == chosen.n_synthetic == 6 and positions.max() < 12
    for _, group in table.groupby("kind"):
        kept = group["badness"][group.index.isin(positions)]
        left = group["badness"][~group.index.isin(positions)]
        assert kept.empty or left.empty or kept.max() <= left.min()
    batch = chosen.everything.sets[0]
    assert (batch.masks[positions] == np.load(folder / "masks.npy")[positions]).all()
    assert batch.hash != samples.hash
    random = compose(patches, inputs, best.model_copy(update={"keep": "random"}), 3, 0, tmp_path / "derived")
    again = compose(patches, inputs, best.model_copy(update={"keep": "random"}), 3, 1, tmp_path / "derived")
    assert len(random.everything) == 6 and set(random.everything.ids()) != set(again.everything.ids())
    assert random.everything.sets[0].hash == samples.hash
    with pytest.raises(UserError, match="holds 14 patches, the regime needs 18"):
        compose(patches, inputs, Regime(real=0, synthetic=2, pool=3, keep="best"), 3, 0, tmp_path / "derived")


def test_only_labels_of_the_subset_are_looked_at(filtered, judges, segmentation_chain, tmp_path):
    whole = json.loads((filtered(segmentation_chain) / "filter.json").read_text())
    few = json.loads((filtered(segmentation_chain, n_real=6) / "filter.json").read_text())
    assert whole["real_cross_entropy"] != few["real_cross_entropy"]


def test_a_filter_of_other_samples_or_none_is_refused(tmp_path, filtered, segmentation_chain):
    folder = filtered(segmentation_chain)
    samples = tmp_path / "samples"
    shutil.copytree(segmentation_chain.samples, samples)
    meta = json.loads((samples / "meta.json").read_text())
    meta["checksums"] = {name: "0" * 64 for name in meta["checksums"]}
    (samples / "meta.json").write_text(json.dumps(meta))
    with pytest.raises(UserError, match="is the filter of other samples"):
        Filter.open(folder, open_patches(samples))
    with pytest.raises(UserError, match="holds no filter: make it with `specdm filter-samples`"):
        Filter.open(tmp_path, open_patches(samples))
    with pytest.raises(UserError, match=r"needs the scores of the samples: give its folder with --filter"):
        best = Regime(real=0, synthetic=1, pool=2, keep="best")
        inputs = Inputs(segmentation_chain.patches, samples=segmentation_chain.samples)
        compose(open_patches(segmentation_chain.patches), inputs, best, 3, 0, tmp_path / "derived")
