import itertools
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from specdm import files
from specdm.errors import UserError
from specdm.patches import open_patches
from specdm.stages.draw_downstream import compared, curves, draw_downstream, read

PICTURES = ["amount.png", "confusion.png", "predictions.png"]
N_REAL = 10

KIND = dict(real=1, augmentation="basic", given="nothing", images="drawn", keep="first", masks="own", order="mixed")


@pytest.fixture
def train(tmp_path, segmentation_patches, change_patches):
    """Invents a training: train(regime, seed=..., change=False, **of metrics.json or kind) -> its metrics.json."""

    def make(regime: str, change: bool = False, seed: int = 0, score: float = 0.5, **changed) -> Path:
        patches = open_patches(change_patches if change else segmentation_patches)
        at, k = patches.ids("test")[[1, 4, 6]], len(patches.meta.labels)
        kind = {key: changed.pop(key, usual) for key, usual in KIND.items()}
        synthetic = changed.pop("synthetic", 0)
        row = {
            "dataset": patches.meta.name,
            "network": changed.pop("network", "net"),
            "regime": regime,
            "method": changed.pop("method", "specdm") if synthetic else "",
            "seed": seed,
            "subset_seed": changed.pop("subset_seed", 0),
            "generator_seed": changed.pop("generator_seed", 0) if synthetic else None,
            "n_real": N_REAL * kind["real"],
            "n_synthetic": N_REAL * synthetic,
            "n_labels": N_REAL,
            "n_labels_usual": N_REAL,
            "kind": kind,
            "shown": patches.index["id"].iloc[at].tolist(),
            "scores": {"mf1_macro": score, "miou_macro": score / 2, "f1_change": score / 4, "f1_no_change": 1.0},
        } | changed
        seeds = f"{row['subset_seed']}-{row['generator_seed']}-{seed}"
        folder = tmp_path / "runs" / row["dataset"] / row["network"] / regime / seeds
        rng = np.random.default_rng(list(f"{row['network']}{regime}{seeds}".encode()))
        folder.mkdir(parents=True)
        np.save(folder / "confusion_groups.npy", rng.integers(1, 1000, (2, k, k)))
        np.save(folder / "predictions.npy", rng.integers(0, k, (3, 32, 32)).astype(np.uint8))
        (folder / "metrics.json").write_text(files.to_json(row))
        return folder / "metrics.json"

    return make


@pytest.fixture
def experiment(train):
    """All regimes of two networks, with two seeds each."""
    regimes = {
        "real": {},
        "synthetic": {"real": 0, "synthetic": 5},
        "x1": {"synthetic": 1},
        "x5": {"synthetic": 5},
        "x5-other": {"synthetic": 5, "method": "other"},
        "strong": {"augmentation": "strong"},
        "x5-strong": {"synthetic": 5, "augmentation": "strong"},
        "x9-shuffled": {"synthetic": 9, "masks": "shuffled"},
        "x9-pretrained": {"synthetic": 9, "order": "pretrain"},
        "x9-painted": {"synthetic": 9, "given": "masks"},
        "x9-filtered": {"synthetic": 9, "keep": "best"},
        "reconstructed": {"synthetic": 1, "images": "reconstructed"},
        "x9-few-labels": {"synthetic": 9, "n_labels": 3, "n_real": 3},
    }
    return [
        train(regime, network=network, seed=seed, score=0.1 * i + 0.01 * seed, **more)
        for network in ("net", "a-net")
        for i, (regime, more) in enumerate(regimes.items())
        for seed in (0, 1)
    ]


def test_the_amount_is_compared_among_plain_mixtures_only(experiment):
    drawn = curves(read(experiment), ["mf1_macro", "miou_macro"])
    assert [(c.network, c.method, c.augmentation) for c in drawn] == [
        (network, *rest)
        for network in ("net", "a-net")
        for rest in (("other", "basic"), ("specdm", "basic"), ("specdm", "strong"))
    ]
    other, specdm, strong = drawn[:3]
    assert [list(c.mixed) for c in (other, specdm, strong)] == [[0, 50], [0, 10, 50], [0, 50]]
    assert [list(c.alone) for c in (other, specdm, strong)] == [[], [50], []]
    np.testing.assert_allclose(specdm.mixed[0], [[0, 0], [0.01, 0.005]])
    np.testing.assert_allclose(specdm.mixed[10], [[0.2, 0.1], [0.21, 0.105]])
    np.testing.assert_allclose(specdm.mixed[50], [[0.3, 0.15], [0.31, 0.155]])
    np.testing.assert_allclose(specdm.alone[50], [[0.1, 0.05], [0.11, 0.055]])
    np.testing.assert_allclose(other.mixed[0], specdm.mixed[0])
    np.testing.assert_allclose(other.mixed[50], [[0.4, 0.2], [0.41, 0.205]])
    np.testing.assert_allclose(strong.mixed[0], [[0.5, 0.25], [0.51, 0.255]])


def test_undefined_scores_and_those_of_a_network_without_mixtures_stay_apart(train):
    paths = [train("real", score=float("nan")), train("strong", augmentation="strong", score=0.25)]
    (basic, strong) = curves(read(paths), ["mf1_macro", "nothing"])
    assert np.isnan(basic.mixed[0]).all() and (basic.method, basic.alone) == ("", {})
    np.testing.assert_array_equal(strong.mixed[0], [[0.25, np.nan]])
    assert curves(read([train("x1-shuffled", synthetic=1, masks="shuffled")]), ["mf1_macro"]) == []


def _names(runs):
    return [f"{t.regime} {t.seeds}" for t in runs]


def test_real_synthetic_and_the_largest_mixture_are_compared(experiment):
    trainings = [t for t in read(experiment) if t.network == "net"]
    assert [_names(runs) for runs in compared(trainings)] == [
        [f"{regime} (0, 0, {seed})" for seed in (0, 1)] for regime in ("real", "synthetic", "x5")
    ]  # specdm has more sizes than the other method, which precedes it in the alphabet


def test_synthetic_alone_is_of_the_method_of_the_mixture(train):
    paths = [train("m", synthetic=3, method="b"), train("small", synthetic=1, method="a")]
    paths += [train("b", real=0, synthetic=2, method="b"), train("a", real=0, synthetic=9, method="a")]
    assert [runs[0].regime for runs in compared(read(paths))] == ["b", "m"]
    without = compared(read([paths[0], paths[3], train("a1", real=0, synthetic=1, method="a")]))
    assert [runs[0].regime for runs in without] == ["a", "m"]


def test_what_is_missing_is_left_out_and_strong_augmentation_stands_in(train):
    assert compared(read([train("shuffled", synthetic=1, masks="shuffled")])) == []
    strong = [train("s", augmentation="strong"), train("m", synthetic=1, augmentation="strong")]
    assert [runs[0].regime for runs in compared(read(strong))] == ["s", "m"]
    assert [runs[0].regime for runs in compared(read([*strong, train("real")]))] == ["real"]


def test_the_first_run_has_the_lowest_seeds(train):
    seeds = [(1, 0, 0), (0, 1, 0), (0, 0, 10), (0, 0, 9), (0, 1, 2)]
    paths = [train("m", synthetic=1, subset_seed=s, generator_seed=g, seed=i) for s, g, i in seeds]
    ((*runs,),) = compared(read(paths))
    assert [t.seeds for t in runs] == sorted(seeds)


def _pictures(folder):
    assert sorted(path.name for path in folder.iterdir()) == PICTURES
    return {name: (folder / name).read_bytes() for name in PICTURES}


def test_the_order_of_the_files_decides_nothing_but_the_first_network(tmp_path, experiment, segmentation_patches):
    shuffled = [experiment[0], *np.random.default_rng(0).permutation(experiment[1:]).tolist()]
    orders = {"first": experiment, "shuffled": shuffled, "second": experiment[::-1]}
    for name, paths in orders.items():
        made = draw_downstream([Path(path) for path in paths], segmentation_patches, tmp_path / name)
        assert made == f"3 pictures of 52 trainings in {tmp_path / name}"
    first, second, other = (_pictures(tmp_path / name) for name in ("first", "shuffled", "second"))
    assert first == second
    assert all(first[name] != other[name] for name in PICTURES)


@pytest.fixture
def given(monkeypatch):
    """What the drawing functions were given, by name."""
    from specdm import downstream_figures

    calls = {}

    def recording(name):
        original = getattr(downstream_figures, name)

        def record(*arguments):
            calls[name] = arguments
            original(*arguments)

        monkeypatch.setattr(downstream_figures, name, record)

    for name in ("amount", "confusions", "predictions"):
        recording(name)
    return calls


def test_counts_are_summed_over_runs_and_predictions_are_those_of_the_first(
    tmp_path, experiment, segmentation_patches, given
):
    draw_downstream(experiment, segmentation_patches, tmp_path / "out")
    columns = given["confusions"][0]
    assert given["predictions"][2] is columns
    assert [c.title for c in columns] == [
        "real alone\n10 real",
        "synthetic alone\n50 specdm",
        "real and synthetic\n10 real + 50 specdm",
    ]
    for column, regime in zip(columns, ("real", "synthetic", "x5"), strict=True):
        runs = [path.parent for path in experiment if path.parts[-4:-2] == ("net", regime)]
        assert len(runs) == 2
        total = sum(np.load(run / "confusion_groups.npy")[g] for run in runs for g in (0, 1))
        np.testing.assert_array_equal(column.counts, total)
        np.testing.assert_array_equal(column.predicted, np.load(runs[0] / "predictions.npy"))
    patches = open_patches(segmentation_patches)
    shown = json.loads(experiment[0].read_text())["shown"]
    assert patches.index["id"].iloc[given["predictions"][1]].tolist() == shown
    assert given["amount"][1] == ["F1, mean over all classes", "IoU, mean over all classes"]
    titles = [given[name][-2] for name in ("amount", "confusions", "predictions")]
    assert all(title.startswith("fields: ") for title in titles) and all("net" in title for title in titles[1:])


def test_the_changed_class_has_a_panel(tmp_path, train, change_patches, given):
    paths = [train("real", change=True, score=0.8), train("x1", change=True, synthetic=1, score=0.4)]
    draw_downstream(paths, change_patches, tmp_path / "out")
    (curve,), scores = given["amount"][:2]
    assert scores == ["F1, mean over all classes", "F1 of the class change"]
    np.testing.assert_allclose(np.concatenate([curve.mixed[0], curve.mixed[10]]), [[0.8, 0.2], [0.4, 0.1]])
    assert [c.title for c in given["confusions"][0]] == [
        "real alone\n10 real",
        "real and synthetic\n10 real + 10 specdm",
    ]


def test_a_prediction_is_where_its_column_says(tmp_path, train, segmentation_patches):
    path = train("real")
    predicted = np.full((3, 32, 32), 4, np.uint8)
    predicted[1] = 9
    np.save(path.with_name("predictions.npy"), predicted)
    draw_downstream([path], segmentation_patches, tmp_path / "out")
    pixels = np.asarray(Image.open(tmp_path / "out" / "predictions.png").convert("RGB"))
    right = pixels[:, -60]
    palette = open_patches(segmentation_patches).meta.labels.palette()
    seen = [next((k for k in (4, 9) if (colour == palette[k]).all()), None) for colour in right]
    assert [k for k, _ in itertools.groupby(k for k in seen if k is not None)][:3] == [4, 9, 4]


def test_real_trainings_of_both_tasks_are_drawn(
    tmp_path, verb, trained_downstream, segmentation_patches, change_patches, given
):
    mixed = [trained_downstream[name] / "metrics.json" for name in ("mixed-1", "mixed-0")]
    assert verb("draw-downstream", *mixed, patches=segmentation_patches, out=tmp_path / "fields") == 0
    columns = given["confusions"][0]
    assert [c.title for c in columns] == ["real and synthetic\n12 real + 12 specdm"]
    both = [np.load(path.with_name("confusion.npy")) for path in mixed]
    np.testing.assert_array_equal(columns[0].counts, sum(both))
    np.testing.assert_array_equal(columns[0].predicted, np.load(mixed[1].with_name("predictions.npy")))
    (curve,) = given["amount"][0]
    scores = [json.loads(path.read_text())["scores"] for path in reversed(mixed)]
    np.testing.assert_allclose(curve.mixed[12], [[s["mf1_macro"], s["miou_macro"]] for s in scores])
    change = trained_downstream["change"] / "metrics.json"
    assert verb("draw-downstream", change, patches=change_patches, out=tmp_path / "towns") == 0
    scores = json.loads(change.read_text())["scores"]
    np.testing.assert_allclose(given["amount"][0][0].mixed[0], [[scores["mf1_macro"], scores["f1_change"]]])
    assert [c.title for c in given["predictions"][2]] == ["real alone\n12 real"]
    for name in ("fields", "towns"):
        _pictures(tmp_path / name)


def _fails(paths, patches, out, message):
    with pytest.raises(UserError, match=message) as failure:
        draw_downstream(paths, patches, out)
    assert str(failure.value).endswith(".") and "\n" not in str(failure.value)
    assert not out.exists()


def test_trainings_of_two_data_sets_are_refused(tmp_path, train, segmentation_patches):
    both = [train("real"), train("real", change=True)]
    _fails(both, segmentation_patches, tmp_path / "out", "'fields' and .* of 'towns': draw each data set by itself")


def test_other_patches_than_those_tested_on_are_refused(tmp_path, train, segmentation_patches, write_patches):
    path = train("real")
    other = write_patches(tmp_path / "other", 1, open_patches(segmentation_patches).meta.labels, {"z": ("test", 3)})
    _fails([path], other, tmp_path / "out", "other holds no patch 'g1'")
    changed = json.loads(path.read_text())
    second = train("x1", synthetic=1, shown=changed["shown"][::-1])
    _fails([path, second], segmentation_patches, tmp_path / "out", "tested on different patches")


def test_files_that_are_no_trainings_are_refused(tmp_path, train, segmentation_patches):
    path = train("real")
    old = json.loads(path.read_text())
    del old["kind"]
    for text in ("{", "[]", files.to_json(old)):
        (tmp_path / "metrics.json").write_text(text)
        _fails([tmp_path / "metrics.json"], segmentation_patches, tmp_path / "out", "is no metrics.json of")
    _fails([tmp_path / "missing.json"], segmentation_patches, tmp_path / "out", "missing.json is no metrics.json of")


@pytest.mark.parametrize("name", ["confusion_groups.npy", "predictions.npy"])
def test_arrays_that_are_missing_or_do_not_fit_are_refused(tmp_path, train, segmentation_patches, name):
    path = train("real")
    array = np.load(path.with_name(name))
    np.save(path.with_name(name), array[:, 1:, 1:])
    _fails([path], segmentation_patches, tmp_path / "out", f"{name} has the shape .* give another --patches")
    np.save(path.with_name(name), array.sum(0))
    _fails([path], segmentation_patches, tmp_path / "out", f"{name} has the shape")
    path.with_name(name).write_bytes(b"")
    _fails([path], segmentation_patches, tmp_path / "out", f"{name} cannot be read")
    path.with_name(name).unlink()
    _fails([path], segmentation_patches, tmp_path / "out", f"{name} cannot be read")


def test_predictions_of_fewer_patches_than_are_named_are_refused(tmp_path, train, segmentation_patches):
    path = train("real").with_name("predictions.npy")
    np.save(path, np.load(path)[:2])
    _fails([path.with_name("metrics.json")], segmentation_patches, tmp_path / "out", "predictions.npy has the shape")


def test_a_drawing_that_breaks_leaves_the_former_pictures(tmp_path, train, segmentation_patches, monkeypatch):
    path, out = train("real"), tmp_path / "out"
    draw_downstream([path], segmentation_patches, out)
    before = _pictures(out)
    shutil.copy(out / "amount.png", out / "other.png")  # of the workflow
    monkeypatch.setattr("specdm.downstream_figures.predictions", lambda *_: 1 / 0)
    np.save(path.with_name("confusion_groups.npy"), np.ones((1, 13, 13), int))
    with pytest.raises(ZeroDivisionError):
        draw_downstream([path], segmentation_patches, out)
    (out / "other.png").unlink()
    assert _pictures(out) == before
