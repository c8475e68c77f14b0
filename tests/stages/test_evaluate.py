import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from specdm.labels import SEGMUNICH
from specdm.metrics.frechet import halves_floor
from specdm.metrics.kernel import kernel_distance
from specdm.model import TrainedAutoencoder
from specdm.nn.autoencoder import one_hot
from specdm.patches import PatchRecord, PatchWriter, open_patches, to_reflectance
from specdm.stages.batches import some_of


@pytest.fixture(params=["segmentation", "single", "change"])
def result(request, evaluated):
    """The chain of a kind of model and its metrics."""
    chain = request.getfixturevalue(f"{request.param}_chain")
    return chain, json.loads((evaluated[request.param] / "synthesis.json").read_text())


def test_every_date_and_the_mask_have_a_distance_with_its_n_and_floor(result):
    chain, metrics = result
    scores, dates = metrics["scores"], open_patches(chain.patches).images.shape[1]
    kinds = [f"image{t + 1}" for t in range(dates)] + ["mask"]
    assert {key for key in scores if key.startswith("fd_") and key.count("_") == 1} == {f"fd_{k}" for k in kinds}
    for kind in kinds:
        # 24 real training patches halve to 12; 8 validation patches limit the distance to them
        real = metrics["scores"][f"fd_{kind}_n"]
        assert 6 <= real <= 7  # 14 of the 24 are looked at, halved by group
        assert scores[f"fd_{kind}_floor"] >= 0
        assert scores[f"fd_{kind}"] > 0
        assert scores[f"fd_{kind}_val_n"] <= 8


def test_untrained_samples_lie_far_above_the_floor(result):
    _, metrics = result
    scores = metrics["scores"]
    assert scores["fd_image1"] > 3 * scores["fd_image1_floor"]
    assert scores["msad_rad"] > scores["msad_rad_floor"]


def test_class_shares_are_those_of_the_pixels(result):
    chain, metrics = result
    samples = open_patches(chain.samples)
    for k, name in enumerate(samples.meta.labels.names):
        key = "share_synthetic_" + name.replace(" ", "_")
        assert metrics["scores"][key] == pytest.approx((samples.masks[:] == k).mean())
    assert sum(v for k, v in metrics["scores"].items() if k.startswith("share_real_")) == pytest.approx(1)


def test_reconstruction_errors_are_those_of_held_out_patches(result):
    chain, metrics = result
    patches, trained = open_patches(chain.patches), TrainedAutoencoder.load(chain.autoencoder)
    rows = patches.ids("val")
    refl = to_reflectance(patches.images[rows], patches.meta)
    masks = torch.from_numpy(patches.masks[rows].astype(np.int64))
    with torch.no_grad():
        output = trained.network(
            torch.from_numpy(trained.normaliser.apply(refl)), one_hot(masks, len(patches.meta.labels)), None
        )
    again = trained.normaliser.invert(output.images.numpy())
    entropy = torch.nn.functional.cross_entropy(output.mask_logits, masks, ignore_index=255)
    assert metrics["scores"]["reconstruction_rmse"] == pytest.approx(np.sqrt(np.mean((refl - again) ** 2)), rel=1e-4)
    assert metrics["scores"]["reconstruction_cross_entropy"] == pytest.approx(float(entropy), rel=1e-4)


def test_the_picture_shows_as_many_real_as_synthetic_pairs(evaluated):
    widths = {kind: Image.open(folder / "samples.png").size for kind, folder in evaluated.items()}
    # per block two composites a date and a mask: three tiles for one date, five for two
    assert widths["change"][0] > widths["segmentation"][0] > 2 * 3 * 32
    assert all(height > 2 * 32 for _, height in widths.values())


def test_metrics_say_where_they_come_from(result):
    chain, metrics = result
    assert metrics["dataset"] == chain.patches.name
    assert metrics["provenance"]["stage"] == "evaluate"
    assert metrics["provenance"]["commit"]
    assert "real training split" in metrics["reference"]


@pytest.fixture
def judged(tmp_path, verb, settings, teachers, change_chain):
    """Metrics of made-up pairs of two dates: judged(share of change in each mask, fractions asked for or None)."""

    def run(shares, asked):
        real, out = open_patches(change_chain.patches), tmp_path / "synthesis.json"
        masks = np.zeros((len(shares), 32, 32), np.uint8)
        for mask, share in zip(masks, shares, strict=True):
            mask.ravel()[: round(1024 * share)] = 1
        records = [PatchRecord(f"s{i}", "train", f"s{i}", "made up") for i in range(len(shares))]
        with PatchWriter(tmp_path / "samples", real.meta, real.images.shape[1:], "uint16") as writer:
            writer.append(np.resize(real.images[:4], (len(shares), *real.images.shape[1:])), masks, records)
            if asked is not None:
                writer.attach("asked", np.array(asked, np.float32))
        status = verb(
            "evaluate",
            patches=change_chain.patches,
            samples=tmp_path / "samples",
            model=change_chain.model,
            teacher=teachers[change_chain.patches],
            out=out,
            pictures=tmp_path / "pictures",
            dataset="d",
            method="m",
            settings=settings.evaluation,
        )
        assert status == 0
        return json.loads(out.read_text())["scores"]

    return run


def test_fractions_asked_for_are_compared_with_those_of_the_masks(judged):
    shares = [0.25, 0.5, 0.0, 1.0] * 3 + [0.75, 0.5]
    wanted = [0.25, 0.25, 0.5, np.nan] * 3 + [0.5, 0.75]
    # Two masks more than are looked at, far from what they were asked for.
    scores = judged([*shares, 0.0, 0.0], [(1 - w, w) for w in [*wanted, 1.0, 1.0]])
    assert scores["asked_error"] == pytest.approx(np.nanmean(np.abs(np.subtract(shares, wanted))), abs=1e-6)
    by_chance = np.nanmean(np.abs(np.subtract(np.roll(shares, 1), wanted)))
    assert scores["asked_error_shuffled"] == pytest.approx(by_chance, abs=1e-6)
    assert scores["share_synthetic_change"] == pytest.approx(np.mean(shares))
    assert scores["presence_synthetic_change"] == pytest.approx(11 / 14)
    assert scores["presence_synthetic_no_change"] == pytest.approx(11 / 14)
    assert scores["presence_real_change"] == pytest.approx(1, abs=0.1)
    assert scores["classes_lost"] == 0


@pytest.mark.parametrize("asked", [None, [(np.nan, np.nan)] * 14])
def test_where_nothing_was_asked_for_no_error_is_told_and_a_missing_class_is(judged, asked):
    scores = judged([0.0] * 13 + [0.1], asked)
    assert scores["asked_error"] is None and scores["asked_error_shuffled"] is None
    assert scores["presence_synthetic_change"] == pytest.approx(1 / 14)
    assert scores["classes_lost"] == 1


@pytest.fixture
def refused(tmp_path, verb, settings, teachers, segmentation_chain):
    """Runs evaluate with one folder exchanged and returns the error."""

    def run(**changed):
        chain = segmentation_chain
        folders = dict(
            patches=chain.patches,
            samples=chain.samples,
            model=chain.model,
            teacher=teachers[chain.patches],
        )
        out = tmp_path / "synthesis.json"
        status = verb(
            "evaluate",
            **folders | changed,
            out=out,
            pictures=tmp_path / "pictures",
            dataset="d",
            method="m",
            settings=settings.evaluation,
        )
        assert not out.exists()
        return status

    return run


def test_parts_that_do_not_belong_together_are_refused(tmp_path, refused, write_patches, teachers, change_chain):
    assert "was trained on other patches" in refused(teacher=teachers[change_chain.patches])
    assert "cannot be mixed" in refused(samples=change_chain.samples)
    toa = write_patches(tmp_path / "toa", 1, SEGMUNICH, {"a": ("train", 4)}, level="TOA")
    assert "differ in processing level" in refused(samples=toa)


def test_an_autoencoder_of_other_patches_is_refused(refused, change_chain):
    assert "was trained on other patches" in refused(model=change_chain.model)


def test_a_set_without_validation_patches_is_refused(tmp_path, refused, write_patches, verb, settings):
    patches = write_patches(tmp_path / "set", 1, SEGMUNICH, {"a": ("train", 6), "b": ("test", 2)})
    parts = dict(patches=patches, state=tmp_path / "state")
    assert verb("train-teacher", **parts, out=tmp_path / "teacher", settings=settings.teacher) == 0
    one = settings.autoencoder | {"steps": 1}
    assert verb("train-autoencoder", **parts, out=tmp_path / "model" / "autoencoder", settings=one) == 0
    status = refused(patches=patches, teacher=tmp_path / "teacher", model=tmp_path / "model")
    assert status.startswith("error: ")
    assert "val" in status
    shutil.rmtree(patches)


def test_features_of_the_user_stand_beside_those_of_the_teacher(tmp_path, verb, settings, teachers, segmentation_chain):
    chain = segmentation_chain
    (tmp_path / "mine.py").write_text("def means(meta):\n    return lambda refl: refl.mean((-2, -1))\n")
    wanted = settings.evaluation | {"features": ["teacher", f"{tmp_path}/mine.py:means"]}
    given = dict(patches=chain.patches, samples=chain.samples, model=chain.model, teacher=teachers[chain.patches])
    given |= dict(out=tmp_path / "m.json", pictures=tmp_path / "pictures", dataset="d", method="m", settings=wanted)
    assert verb("evaluate", **given) == 0
    found = json.loads((tmp_path / "m.json").read_text())
    assert [f["name"] for f in found["features"]] == wanted["features"]
    patches, samples = open_patches(chain.patches), open_patches(chain.samples)
    means = samples.reflectance(range(14)).mean((-2, -1))[:, 0]
    real = patches.reflectance(some_of(patches.ids("train"), 14, 0, "evaluate")).mean((-2, -1))[:, 0]
    groups = patches.index["group"].to_numpy()[some_of(patches.ids("train"), 14, 0, "evaluate")]
    assert found["scores"]["fd_mine_means_image1_floor"] == pytest.approx(
        halves_floor(real, groups, 14).distance, rel=1e-4
    )
    assert found["scores"]["kid_mine_means_image1"] == pytest.approx(kernel_distance(means, real).distance, rel=1e-4)
    assert "fd_mine_means_mask" not in found["scores"] and "fd_mask" in found["scores"]
