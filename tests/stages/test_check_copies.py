import json

import numpy as np
import pytest
import torch

from specdm.errors import UserError
from specdm.labels import OSCD
from specdm.nn.views import view
from specdm.patches import PatchMeta, PatchRecord, PatchWriter, open_patches
from specdm.settings import CopySettings
from specdm.stages.check_copies import check_copies
from specdm.stages.derived_sets import reconstructed

SIDE, N = 32, 50
SETTINGS = CopySettings(n_samples=N, candidates=1, n_pictures=4)
META = PatchMeta("land", "Sentinel-2 MSI", "BOA", ("B02", "B03", "B04", "B8A"), 1e-4, 0.0, 0, OSCD)


def _scene(side, seed):
    """Two dates of smooth random land (2,4,side,side) dn, the second changed in part, and a mask of change."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)) + 1 / 40
    fields = np.fft.irfft2(np.fft.rfft2(rng.normal(size=(9, side, side))) / frequency**1.1, s=(side, side))
    fields /= fields.std((-2, -1), keepdims=True)
    changed = fields[8] > 0.5
    images = np.stack([fields[:4], np.where(changed, fields[4:8], fields[:4] + 0.3 * fields[4:8])])
    return np.clip(2000 + 400 * images, 1, 9000).astype(np.uint16), changed.astype(np.uint8)


def _cut(scene, split, name, step=SIDE):
    images, mask = scene
    corners = [(r, c) for r in range(0, len(mask) - SIDE + 1, step) for c in range(0, len(mask) - SIDE + 1, step)]
    here = [np.s_[..., r : r + SIDE, c : c + SIDE] for r, c in corners]
    records = [PatchRecord(f"{name}_{r}_{c}", split, name, name, row=r, col=c) for r, c in corners]
    return np.stack([images[h] for h in here]), np.stack([mask[h] for h in here]), records


@pytest.fixture(scope="module")
def land(tmp_path_factory, verb, settings):
    """Patches of two training scenes and one validation scene, and an autoencoder trained on them for a few steps."""
    root = tmp_path_factory.mktemp("land")
    with PatchWriter(root / "patches", META, (2, 4, SIDE, SIDE), "uint16") as writer:
        for name, split, side, seed in (("a", "train", 224, 1), ("b", "train", 192, 2), ("v", "val", 96, 3)):
            writer.append(*_cut(_scene(side, seed), split, name))
    model = root / "autoencoder"
    chosen = settings.autoencoder | {"steps": 8, "batch": 8, "validations": 1}
    assert verb("train-autoencoder", patches=root / "patches", out=model, state=root / "s", settings=chosen) == 0
    return root, open_patches(root / "patches"), model


@pytest.fixture(scope="module")
def check(land):
    """Checks samples: check(name, images, masks) -> (said, report), the rows of the report by their kind."""
    root, _, model = land

    def run(name, images, masks):
        records = [PatchRecord(f"s{i}", "train", f"s{i}", "specdm") for i in range(len(images))]
        with PatchWriter(root / name, META, images.shape[1:], "uint16") as writer:
            writer.append(images.astype(np.uint16), masks, records)
        out, picture = root / f"{name}.json", root / f"{name}.png"
        said = check_copies(root / "patches", root / name, model, out, picture, "land", "specdm", SETTINGS, 0)
        report = json.loads(out.read_text())
        return said, report | {"rows": {row["kind"]: row for row in report["rows"]}}

    return run


def _new(seed=9):
    images, masks, _ = _cut(_scene(8 * SIDE, seed), "train", "new")
    return images[:N], masks[:N]


@pytest.fixture(scope="module")
def honest(check):
    return check("honest", *_new())


@pytest.fixture(scope="module")
def planted(check, land):
    """Fourteen of fifty images are copies: whole ones turned, swapped, moved and brightened, and of one date alone."""
    _, patches, _ = land
    images, masks = _new()
    for i in range(14):
        copy = torch.from_numpy(patches.images[3 + 6 * i].astype(np.int64))
        if i < 8:
            copy = view(copy, i + 1).roll((i, -2), (-2, -1)) * (10 + i) // 10
            images[i] = (copy.flip(0) if i % 2 else copy).numpy()
        else:
            images[i, 1] = view(copy, 3)[i % 2].numpy()
    return check("planted", images, masks)


def test_new_land_holds_no_copies_of_anything(honest):
    said, report = honest
    assert "no copies found" in said
    names = [f"{k}{s}" for s in ("", ", reconstructed") for k in ("images", "date 1 alone", "date 2 alone", "masks")]
    assert list(report["rows"]) == names
    for row in report["rows"].values():
        assert row["verdict"] == "none found", row
        assert row["n"] + row["n_excluded"] == N and row["training_n"] == 85
        assert row["low"] <= row["share_closer"] <= row["high"] and row["share_closer"] <= row["limit"]
        assert row["held_out_share"] < 0.15
    for kind in ("images", "date 1 alone", "date 2 alone", "masks"):  # new land is as far as real patches are
        assert report["rows"][kind]["median"] == pytest.approx(report["rows"][kind]["real_median"], rel=0.25)


def test_planted_copies_are_found_however_they_are_turned(planted):
    said, report = planted
    assert "copies among the images" in said
    assert report["rows"]["images"]["verdict"] == "copies"
    assert report["rows"]["images"]["share_closer"] >= 8 / N
    assert report["rows"]["masks"]["verdict"] == "none found"


def test_copies_of_one_date_are_found_beside_another_date(planted):
    _, report = planted
    found = {kind: row["share_alone"] for kind, row in report["rows"].items()}
    assert found["date 2 alone"] - found["date 1 alone"] == pytest.approx(6 / N, abs=2 / N)
    assert report["rows"]["date 2 alone"]["verdict"] == "copies"


def test_the_closest_cases_name_the_patch_and_how_it_was_turned(planted, land):
    root, patches, _ = land
    report = planted[1]
    assert len(report["closest"]) == SETTINGS.n_pictures
    for case in report["closest"]:
        i = int(case["sample"][1:])
        assert i < 14 and case["training"] == patches.index["id"].iloc[3 + 6 * i]
        assert case["distance"] < 1e-3 and case["suspicion"] > 10
        if i < 8:
            assert case["shift_px"] == [i, -2] and case["swapped"] == bool(i % 2)
            copy = torch.arange(64).view(8, 8)
            unturned = view(view(copy, i + 1), case["view"])
            assert torch.equal(unturned, copy) or case["kind"] != "images"
    assert (root / "planted.png").stat().st_size > 1000


def test_what_the_autoencoder_loses_is_no_novelty(check, land, tmp_path):
    _, patches, model = land
    images, masks = _new()
    back = reconstructed(patches, np.arange(0, 80, 8), model, tmp_path, torch.device("cpu"))
    images[:10], masks[:10] = back.images[:], back.masks[:]
    _, report = check("through", images, masks)
    assert report["rows"]["images, reconstructed"]["verdict"] == "copies"
    for case in report["closest"]:  # found again exactly where the training patches went through the same loss
        assert case["training"] == patches.index["id"].iloc[8 * int(case["sample"][1:])]
        assert case["distance"] < 1e-3 and case["kind"].endswith("reconstructed")


def test_a_generator_that_knows_five_patches_is_found_out(check, land):
    _, patches, _ = land
    rng = np.random.default_rng(0)
    chosen, masks = np.resize([5, 20, 40, 60, 80], N), _new()[1]
    some = patches.images[chosen]
    blurred = (some + np.roll(some, 1, -1)) // 2 + rng.integers(0, 60, some.shape)
    _, report = check("overfitted", blurred, masks)
    assert report["rows"]["images"]["verdict"] == "copies"
    assert report["rows"]["images"]["share_closer"] > 0.9


@pytest.fixture(scope="module")
def flat(check, land):
    """Images without contrast, and masks of which twelve are those of training patches."""
    _, patches, _ = land
    images, masks = _new()
    mixed = np.abs(patches.masks[:85, 8:24, 8:24].mean((1, 2)) - 0.5).argsort()[:12]
    masks[:48:4] = patches.masks[mixed]
    return check("flat", np.full_like(images, 2000), masks)


def test_copied_masks_are_told_but_are_no_copies_of_images(flat):
    said, report = flat
    row = report["rows"]["masks"]
    assert row["verdict"] == "copies" and "legal augmentation" in row["because"] and row["share_closer"] >= 12 / N
    assert "copies" not in said.split(",")[0].removeprefix(f"{N} samples")
    assert report["closest"] == []


def test_flat_images_are_excluded_and_make_no_nan(flat):
    said, report = flat
    assert "not computable" in said
    for kind, row in report["rows"].items():
        if not kind.startswith("masks"):
            assert row["n"] == 0 and row["n_excluded"] == N
            assert row["verdict"] == "not computable" and "0 samples" in row["because"]
            assert row["threshold"] is row["share_closer"] is row["held_out_alone_share"] is None


def test_an_autoencoder_of_other_patches_is_refused(land, tmp_path):
    root, _, model = land
    with PatchWriter(tmp_path / "others", META, (2, 4, SIDE, SIDE), "uint16") as writer:
        writer.append(*_cut(_scene(64, 8), "train", "c"))
    with pytest.raises(UserError, match="was trained on other patches"):
        out = tmp_path / "c.json", tmp_path / "c.png"
        check_copies(tmp_path / "others", root / "patches", model, *out, "land", "specdm", SETTINGS, 0)
