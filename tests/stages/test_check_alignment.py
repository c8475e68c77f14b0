import json

import numpy as np
import pytest
import torch
from PIL import Image

from specdm.metrics.class_models import ClassMoments, pixel_spectra
from specdm.metrics.segmentation import ConfusionMatrix
from specdm.patches import Normaliser, PatchRecord, PatchWriter, open_patches
from specdm.stages.judges import load_judges


@pytest.fixture
def checked(tmp_path, verb, settings, judges):
    """checked(patches, samples, judges=..., **settings) -> what check-alignment found, by scorer, and the whole."""

    def run(patches, samples, folders=None, **changed):
        out = tmp_path / "alignment.json"
        status = verb(
            "check-alignment",
            *(judges[patches] if folders is None else folders),
            patches=patches,
            samples=samples,
            out=out,
            picture=tmp_path / "alignment.png",
            dataset="d",
            method="m",
            settings=settings.evaluation | {"n_samples": 24, "n_bootstrap": 200, "shifts_px": [1, 4]} | changed,
        )
        if status != 0:
            return status
        found = json.loads(out.read_text())
        return {row["scorer"]: row for row in found["rows"]}, found

    return run


@pytest.fixture
def copied(tmp_path):
    """copied(patches, change masks): the training pairs as a synthetic set, with changed masks."""

    def make(folder, change=lambda masks: masks):
        patches = open_patches(folder)
        rows = patches.ids("train")
        masks = change(patches.masks[rows].copy())
        records = [PatchRecord(f"s{i}", "train", f"s{i}", "made up") for i in rows]
        with PatchWriter(tmp_path / "copied", patches.meta, patches.images.shape[1:], patches.images.dtype) as writer:
            writer.append(patches.images[rows], masks, records)
        return tmp_path / "copied"

    return make


@pytest.mark.parametrize("kind", ["segmentation_patches", "change_patches"])
def test_real_pairs_in_the_place_of_synthetic_ones_score_like_real_ones(request, checked, copied, kind):
    patches = request.getfixturevalue(kind)
    rows, found = checked(patches, copied(patches))
    assert found["n"] == 24 and found["judges"] == 2 and "unknown to the judge" in found["reference"]
    spectra = rows["class spectra"]
    assert spectra["scaled"] > 0.9 and spectra["peak_px"] == 0 and not spectra["because"]
    assert spectra["exchanged"] < spectra["curve"]["4"] < spectra["curve"]["1"] < spectra["synthetic"]
    # each pair is known to one of the two judges: between the pairs that no judge knows and those that all do
    assert (
        min(spectra["real"], spectra["seen"]) - 0.02
        <= spectra["synthetic"]
        <= max(spectra["seen"], spectra["real"]) + 0.02
    )
    tstr = rows["trained on synthetic"]
    assert tstr["synthetic"] == pytest.approx(tstr["real"], abs=1e-6) and tstr["scaled"] == pytest.approx(1, abs=1e-6)
    assert set(rows) >= {"network", "boundary contrast"} and tstr["classes_lost"] == 0
    change = {"change magnitude", "change angle", "stable background"}
    assert change <= set(rows) if kind == "change_patches" else not change & set(rows)


@pytest.mark.parametrize("kind", ["segmentation_patches", "change_patches"])
def test_exchanged_and_shifted_masks_are_found(request, checked, copied, kind):
    patches = request.getfixturevalue(kind)
    name = "class spectra" if kind == "segmentation_patches" else "change magnitude"
    whole = checked(patches, copied(patches))[0][name]
    moved = checked(patches, copied(patches, lambda m: np.roll(m, 4, axis=2)))[0][name]
    exchanged = checked(patches, copied(patches, lambda m: np.roll(m, 1, axis=0)))[0][name]
    assert whole["scaled"] > moved["scaled"] > exchanged["scaled"]
    assert exchanged["scaled_low"] < 0.1
    assert (whole["peak_px"], moved["peak_px"], moved["peak_direction"]) == (0, 4, "left")
    assert moved["peak_score"] > moved["synthetic"] == moved["curve"]["0"]


def test_a_network_judges_real_pairs_that_it_has_not_seen(checked, judges, segmentation_patches, copied):
    rows, _ = checked(segmentation_patches, copied(segmentation_patches))
    patches = open_patches(segmentation_patches)
    loaded = load_judges(judges[segmentation_patches], patches, torch.device("cpu"))
    train = patches.ids("train")
    groups = patches.index["group"].to_numpy()[train]
    assert loaded.held_out[0] | loaded.held_out[1] == set(groups) and not loaded.held_out[0] & loaded.held_out[1]
    unseen, seen = (ConfusionMatrix(len(patches.meta.labels)) for _ in range(2))
    for k, names in enumerate(loaded.held_out):
        for confusion, inside in ((unseen, True), (seen, False)):
            here = train[np.isin(groups, list(names)) == inside]
            images = loaded.normaliser.apply(patches.reflectance(here))
            with torch.no_grad():
                read = loaded.networks[k].predict_mask(torch.from_numpy(images)).argmax(1).numpy()
            confusion.update(read, patches.masks[here])
    names = patches.meta.labels.names
    assert rows["network"]["real"] == pytest.approx(unseen.scores(names)["miou_macro"], abs=1e-6)
    assert rows["network"]["seen"] == pytest.approx(seen.scores(names)["miou_macro"], abs=1e-6)


def _spectra(patches, rows):
    """Standardised values (n,D) and ids (n,) of the labelled pixels of some patches."""
    images = Normaliser.fit(patches).apply(patches.reflectance(rows))
    ids = patches.masks[rows].ravel()
    return pixel_spectra(images)[ids != 255], ids[ids != 255]


def _recall(known, tested, classes):
    """Mean recall on pixels `tested` of the Gaussians of pixels `known`."""
    moments = ClassMoments(classes, known[0].shape[1])
    moments.add(*known)
    read = moments.gaussians().likeliest(tested[0])
    return np.mean([(read[tested[1] == k] == k).mean() for k in np.unique(tested[1])])


def test_spectra_are_read_by_gaussians_that_have_not_seen_the_pair(checked, judges, segmentation_patches, copied):
    exchanged = copied(segmentation_patches, lambda m: np.roll(m, 1, axis=0))
    rows, _ = checked(segmentation_patches, exchanged)
    patches = open_patches(segmentation_patches)
    train, held_out = patches.ids("train"), patches.ids("val")
    groups, classes = patches.index["group"].to_numpy()[train], len(patches.meta.labels)
    read, true = [], []
    for names in load_judges(judges[segmentation_patches], patches, torch.device("cpu")).held_out:
        own = np.isin(groups, list(names))
        moments = ClassMoments(classes, len(patches.meta.bands))
        moments.add(*_spectra(patches, train[~own]))
        spectra, ids = _spectra(patches, train[own])
        read.append(moments.gaussians().likeliest(spectra))
        true.append(ids)
    read, true = np.concatenate(read), np.concatenate(true)
    expected = np.mean([(read[true == k] == k).mean() for k in np.unique(true)])
    assert rows["class spectra"]["real"] == pytest.approx(expected, abs=1e-6)
    tstr, samples = rows["trained on synthetic"], open_patches(exchanged)
    pixels = _spectra(patches, held_out)
    assert tstr["real"] == pytest.approx(_recall(_spectra(patches, train), pixels, classes), abs=1e-3)
    drawn = pixel_spectra(Normaliser.fit(patches).apply(samples.reflectance(range(len(samples)))))
    ids = samples.masks[:].ravel()
    known = drawn[ids != 255], ids[ids != 255]
    assert tstr["synthetic"] == pytest.approx(_recall(known, pixels, classes), abs=1e-3)


def test_with_a_single_group_the_validation_split_is_the_bound(tmp_path, checked, make_teacher, write_patches, copied):
    from specdm.labels import SEGMUNICH

    patches = write_patches(tmp_path / "one", 1, SEGMUNICH, {"a": ("train", 8), "b": ("val", 6), "c": ("test", 2)})
    folders = [make_teacher(patches, {"fold": f"{k}/2"}) for k in (1, 2)]
    rows, found = checked(patches, copied(patches), folders)
    assert "validation" in found["reference"] and found["n_real"] == 6
    assert rows["network"]["seen"] is None and rows["class spectra"]["real"] is not None


def test_samples_without_a_class_get_a_reason_and_no_silent_nan(checked, copied, change_patches):
    rows, found = checked(change_patches, copied(change_patches, lambda m: np.zeros_like(m)))
    lonely = rows["change magnitude"]
    assert lonely["scaled"] is None and "the synthetic pairs hold too few labelled pixels" in lonely["because"]
    assert {row["classes_lost"] for row in found["rows"]} == {1}
    undefined = [row for row in found["rows"] if row["scaled"] is None]
    assert all(row["because"] for row in undefined)


def test_the_picture_is_a_png_and_a_pdf(tmp_path, checked, change_chain, final_figures):
    checked(change_chain.patches, change_chain.samples)
    assert Image.open(tmp_path / "alignment.png").size[0] > 800
    assert (tmp_path / "alignment.pdf").read_bytes().startswith(b"%PDF")


def test_judges_that_do_not_belong_are_refused(checked, judges, teachers, segmentation_chain, change_patches):
    patches, samples = segmentation_chain.patches, segmentation_chain.samples
    for folders, sentence in (
        (judges[change_patches], "was trained on other patches"),
        (judges[patches][:1], "give one judge for each of the parts"),
        ([teachers[patches]], "give one judge for each of the parts"),
        ([judges[patches][0]] * 2, "give one judge for each of the parts"),
    ):
        assert sentence in checked(patches, samples, folders)


def test_the_same_command_gives_the_same_numbers(checked, change_chain):
    assert checked(change_chain.patches, change_chain.samples) == checked(change_chain.patches, change_chain.samples)
