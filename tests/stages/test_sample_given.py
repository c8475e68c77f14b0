"""Synthetic sets that are drawn for the masks, the images or the first dates of a patch set."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from specdm.labels import OSCD, SEGMUNICH
from specdm.model import SpecDM, TrainedAutoencoder
from specdm.patches import PatchRecord, PatchWriter, class_counts, open_patches
from specdm.stages.given_patches import GivenPatches

N, SIDE, DATES = 5, 32, "2020-01-01,2020-07-01"
FILES = ("images.npy", "masks.npy", "asked.npy", "index.parquet", "meta.json")


@pytest.fixture
def write(tmp_path, streams_chain):
    """Writes a set like the model's data with a place for every patch: write(name, change, **meta) -> its folder.

    change(images, masks) may put other arrays in their place.
    """

    def make(name="given", change=lambda images, masks: (images, masks), n=N, **meta):
        patches = open_patches(streams_chain.patches)
        images, masks = change(np.array(patches.images[20 : 20 + n]), np.array(patches.masks[20 : 20 + n]))
        described = dataclasses.replace(patches.meta, **{"name": name} | meta)
        splits = ("train", "val", "test", "train", "train")
        with PatchWriter(tmp_path / name, described, images.shape[1:], images.dtype) as writer:
            records = [
                PatchRecord(f"p{i}", splits[i], f"g{i // 2}", "scene.tif", DATES, SIDE * i, 3, *_place(i))
                for i in range(len(images))
            ]
            writer.append(images, masks, records)
        return tmp_path / name

    return make


def _place(i):
    return "EPSG:32633", (10.0, 0.0, 500_000.0 + 320 * i, 0.0, -10.0, 5_400_000.0)


@pytest.fixture
def draw(tmp_path, verb, streams_chain):
    """Draws for what is given: draw(["mask=..."], out="out", **options) -> the exit status."""

    def run(given, out="out", **options):
        folders = dict(model=streams_chain.model, out=tmp_path / out, state=tmp_path / f"state-{out}")
        return verb("sample", **folders | {"settings": {"n_steps": 2, "batch": 2}} | options, given=given)

    return SimpleNamespace(run=run, folder=tmp_path, out=lambda name="out": open_patches(tmp_path / name))


KINDS = {"mask": ["mask"], "image": ["image"], "date1": ["date1"], "date1 and mask": ["date1", "mask"]}
each = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


@each
def test_what_is_given_is_kept_to_the_bit_and_the_rest_is_drawn(write, draw, kind):
    folder = write()
    assert draw.run([f"{key}={folder}" for key in kind]) == 0
    given, drawn = open_patches(folder), draw.out()
    assert len(drawn) == N and drawn.images.dtype == given.images.dtype and drawn.meta.synthetic
    for date in range(2):
        kept = "image" in kind or ("date1" in kind and date == 0)
        assert np.array_equal(drawn.images[:, date], given.images[:, date]) == kept
    assert np.array_equal(drawn.masks, given.masks) == ("mask" in kind)
    assert drawn.meta.provenance["given"] == {key: "given" for key in kind}
    assert (drawn.images[:] > 0).all()


def test_rows_of_real_images_keep_their_place_and_painted_ones_have_none(write, draw):
    folder = write()
    given = open_patches(folder).index
    for key in ("mask", "image"):
        assert draw.run([f"{key}={folder}"], key) == 0
        index = draw.out(key).index
        for column in ("id", "split", "group"):
            assert index[column].tolist() == given[column].tolist()
        assert index["synthetic"].all()
    real, painted = draw.out("image").index, draw.out("mask").index
    for column in ("crs", "dates", "row", "col", "source"):
        assert real[column].tolist() == given[column].tolist()
    assert [tuple(x) for x in real["transform"]] == [_place(i)[1] for i in range(N)]
    assert set(painted["crs"]) == {""} and set(painted["source"]) == {"specdm"} and set(painted["dates"]) == {""}


@each
def test_more_patches_than_are_given_repeat_them_under_numbered_names(write, draw, kind):
    folder = write()
    options = [f"{key}={folder}" for key in kind]
    assert draw.run(options, "once") == 0 and draw.run(options, "more", n=12) == 0
    once, more, given = draw.out("once"), draw.out("more"), open_patches(folder)
    names = [f"p{i}" for i in range(N)]
    assert more.index["id"].tolist() == [*names, *(f"{p}-1" for p in names), "p0-2", "p1-2"]
    assert more.index["group"].tolist() == [given.index["group"].iloc[i % N] for i in range(12)]
    if "mask" in kind:
        np.testing.assert_array_equal(more.masks, given.masks[np.arange(12) % N])
    if "date1" in kind:
        np.testing.assert_array_equal(more.images[:, 0], given.images[np.arange(12) % N, 0])
    if "image" not in kind:
        drawn = more.images[:, 1].astype(int)
        assert np.abs(drawn[0] - drawn[N]).max() > 1 and np.abs(drawn[N] - drawn[2 * N]).max() > 1
        assert np.abs(drawn[:4] - once.images[:4, 1].astype(int)).max() <= 1  # of full batches


def test_the_fractions_asked_for_are_those_of_the_masks(write, draw):
    folder = write()
    assert draw.run([f"mask={folder}"], n=7) == 0 and draw.run([f"image={folder}"], "labelled") == 0
    counts = class_counts(open_patches(folder).masks, 2)
    expected = (counts / counts.sum(1, keepdims=True))[np.arange(7) % N]
    np.testing.assert_allclose(np.load(draw.folder / "out" / "asked.npy"), expected, atol=1e-6)
    assert np.isnan(np.load(draw.folder / "labelled" / "asked.npy")).all()


@each
def test_joined_shards_are_the_set_of_a_single_run_byte_for_byte(write, draw, verb, kind):
    folder = write()
    options = [f"{key}={folder}" for key in kind]
    for k in (3, 1, 2):
        assert draw.run(options, f"part{k}", n=7, name="set", shard=f"{k}/3") == 0
    assert verb("join-samples", *(draw.folder / f"part{k}" for k in (1, 2, 3)), out=draw.folder / "joined") == 0
    assert draw.run(options, "whole", n=7, name="set") == 0
    for name in FILES:
        assert (draw.folder / "joined" / name).read_bytes() == (draw.folder / "whole" / name).read_bytes(), name


def test_shards_for_other_masks_are_not_joined(write, draw, verb):
    one, other = write("one"), write("other", lambda images, masks: (images, masks[::-1].copy()))
    assert draw.run([f"mask={one}"], "part1", shard="1/2") == 0
    assert draw.run([f"mask={other}"], "part2", shard="2/2") == 0
    refusal = verb("join-samples", draw.folder / "part1", draw.folder / "part2", out=draw.folder / "joined")
    assert "the shards are of different sets" in refusal


@pytest.fixture
def drawn(monkeypatch) -> list:
    """Numbers of the patches of each batch that is drawn."""
    batches, original = [], SpecDM.draw

    def noted(self, indices, *rest):
        batches.append(tuple(indices))
        return original(self, indices, *rest)

    monkeypatch.setattr(SpecDM, "draw", noted)
    return batches


def test_batches_kept_for_other_masks_are_not_used(write, draw, drawn):
    one, other = write("one"), write("other", lambda images, masks: (images, masks[::-1].copy()))
    assert draw.run([f"mask={one}"], max_minutes=1e-9) == 75
    assert not (draw.folder / "out").exists()
    assert draw.run([f"mask={other}"]) == 0
    assert drawn == [(0, 1), (0, 1), (2, 3), (4,)]
    np.testing.assert_array_equal(draw.out().masks, open_patches(other).masks)


def test_a_cut_run_takes_up_its_own_batches(write, draw, drawn):
    folder = write()
    assert draw.run([f"date1={folder}"], "whole") == 0
    assert draw.run([f"date1={folder}"], max_minutes=1e-9) == 75
    drawn.clear()
    assert draw.run([f"date1={folder}"]) == 0
    assert drawn == [(2, 3), (4,)]
    assert draw.out().meta.checksums == draw.out("whole").meta.checksums


def _first_patch_empty(images, masks):
    masks[3] = 255
    return images, masks


FAULTS = {
    "bands": (
        "image",
        dict(bands=("B02", "B03", "B08", "B8A")),
        "its bands ('B02', 'B03', 'B08', 'B8A') differ from the model's ('B02', 'B03', 'B04', 'B8A'): give such a set.",
    ),
    "level": ("date1", dict(level="TOA"), "its processing level TOA differ from the model's BOA: give such a set."),
    "scale": (
        "image",
        dict(scale=1e-3),
        "its scale and offset (0.001, -0.1) differ from the model's (0.0001, -0.1): give such a set.",
    ),
    "nodata": ("image", dict(nodata=None), "its nodata value None differ from the model's 0: give such a set."),
    "type": (
        "image",
        dict(change=lambda images, masks: (images.astype(np.int32), masks)),
        "its data type int32 differ from the model's uint16: give such a set.",
    ),
    "side": (
        "mask",
        dict(change=lambda images, masks: (images[..., :16, :16], masks[..., :16, :16])),
        "its side of patches in px (16, 16) differ from the model's (32, 32): give such a set.",
    ),
    "dates": (
        "image",
        dict(change=lambda images, masks: (images[:, :1], masks)),
        "its dates 1 differ from the model's 2: give such a set.",
    ),
    "id": (
        "mask",
        dict(change=lambda images, masks: (images, np.where(masks == 1, 9, masks).astype(np.uint8))),
        None,
    ),
    "unlabelled": ("mask", dict(change=_first_patch_empty), "patch p3 has no labelled pixel: leave it out."),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_set_that_does_not_fit_the_model_is_refused_in_one_sentence(write, draw, fault):
    key, changes, message = FAULTS[fault]
    folder = write(**changes)
    refusal = draw.run([f"{key}={folder}"])
    if message is None:
        assert refusal == f"error: {folder}: mask id 9 is in no class: prepare it anew."
    else:
        assert refusal == f"error: --given {key}={folder}: {message}"
    assert not (draw.folder / "out").exists() and not (draw.folder / "state-out").exists()


def test_masks_of_other_classes_are_refused_and_images_beside_them_are_not(write, draw):
    folder = write(labels=SEGMUNICH)
    refusal = draw.run([f"mask={folder}"])
    assert refusal.startswith(f"error: --given mask={folder}: its classes ('background', ")
    assert refusal.endswith(f" differ from the model's {OSCD.names}: give such a set.")
    assert draw.run([f"image={folder}"]) == 0


def test_masks_may_come_from_images_of_other_bands_and_of_one_date(write, draw):
    folder = write(change=lambda images, masks: (images[:, :1, :2], masks), bands=("B05", "B06"), level="TOA")
    assert draw.run([f"mask={folder}"]) == 0
    np.testing.assert_array_equal(draw.out().masks, open_patches(folder).masks)
    date = write("date", lambda images, masks: (images[:, :1], masks))
    assert draw.run([f"date1={date}", f"mask={folder}"], "both") == 0
    np.testing.assert_array_equal(draw.out("both").images[:, :1], open_patches(date).images)


def test_sets_that_belong_together_have_one_length(write, draw):
    few, many = write("few", n=3), write("many")
    assert draw.run([f"date1={few}", f"mask={many}"]) == (
        f"error: --given: patches belong together one by one, but there are 3 in {few} and 5 in {many}."
    )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["nonsense"], "--given: 'nonsense' names no patch set: write for example --given mask=FOLDER."),
        (["mask="], "--given: 'mask=' names no patch set: write for example --given mask=FOLDER."),
        (["mask=a", "mask=b"], "--given: mask is given twice, name one patch set for it."),
        (
            ["mask=/nowhere"],
            "/nowhere is not a patch set, images.npy is missing: make it with `specdm prepare`.",
        ),
    ],
)
def test_a_malformed_order_is_refused_in_one_sentence(draw, given, message):
    assert draw.run(given) == f"error: {message}"


def test_unknown_keys_and_combinations_are_refused(write, draw):
    folder = write()
    assert draw.run([f"picture={folder}"]) == (
        f"error: --given picture={folder}: write mask=, image=, date1= and a patch set."
    )
    assert draw.run([f"image={folder}", f"mask={folder}"]) == (
        "error: given: name mask, image, date1, or date1 with mask; with image the mask is what is drawn."
    )


def test_without_a_number_something_must_be_given(draw, conditioned_chain, write, verb):
    assert draw.run([]) == (
        "error: --n: say how many patches to draw, or give something to draw them for with --given."
    )
    folders = dict(model=conditioned_chain.model, out=draw.folder / "out", state=draw.folder / "state")
    assert verb("sample", **folders, given=f"mask={write()}") == (
        "error: given: this model has one noise level for image and mask, it draws both at once: train one with "
        "diffusion.levels: streams."
    )


def test_pixels_without_data_stay_without_and_spoil_nothing(write, draw, streams_chain):
    autoencoder = TrainedAutoencoder.load(streams_chain.autoencoder)

    def pierced(images, masks):
        images[1, :, :, 4:9, 4:9] = 0
        images[2, 0] = 0
        return images, masks

    folder = write(change=pierced)
    given = open_patches(folder)
    for key, dates in (("image", 2), ("date1", 1)):
        entered = GivenPatches.open({key: folder}, autoencoder).rows(np.array([2, 1, 0]), autoencoder)
        np.testing.assert_array_equal(entered.valid, (given.images[[2, 1, 0], :dates] > 0).all(2))
        assert draw.run([f"{key}={folder}"], key) == 0
        drawn = draw.out(key)
        np.testing.assert_array_equal(drawn.images[:, 0], given.images[:, 0])
        assert np.isfinite(drawn.reflectance(np.arange(N))).all()
        assert drawn.masks[:].max() < 2
    np.testing.assert_array_equal(drawn.index["valid_fraction"] < 1, [False, True, True, False, False])
    assert (draw.out("date1").images[:, 1] > 0).all()


def test_mask_first_is_drawn_by_its_setting(draw):
    settings = {"n_steps": 2, "batch": 2, "order": "mask-first"}
    assert draw.run([], n=3, settings=settings, want="change=0.3") == 0 and draw.run([], "plain", n=3) == 0
    assert (draw.out().images[:] != draw.out("plain").images[:]).any()
    np.testing.assert_allclose(np.load(draw.folder / "out" / "asked.npy"), [[0.7, 0.3]] * 3)


def test_what_was_made_is_told(write, draw, capsys):
    folder = write()
    assert draw.run([f"date1={folder}", f"mask={folder}"], n=6) == 0
    line = capsys.readouterr().out.splitlines()[-1]
    assert line.startswith(f"sample: 6 patches in {draw.folder / 'out'}, drawn for the date1 and the mask of 5, ")
