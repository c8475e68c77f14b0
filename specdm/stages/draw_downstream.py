"""Draw what the downstream networks of a data set scored, confused and predicted."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from specdm import downstream_figures, files
from specdm.downstream_figures import STYLES, Column, Curve
from specdm.errors import UserError
from specdm.metrics.segmentation import slug
from specdm.patches import PatchSet, open_patches
from specdm.settings import AS_DRAWN
from specdm.stages.augmentation import CHANGED

STAGE_VERSION = 1
REAL, SYNTHETIC, MIXTURE = "real alone", "synthetic alone", "real and synthetic"


@dataclass(frozen=True)
class Training:
    """One training: its metrics.json, and what of it decides where it is drawn.

    Attributes:
        path: the metrics.json, with the arrays beside it.
        network, regime, method, augmentation: their names; the method is "" where nothing is synthetic.
        kind: real alone, synthetic alone, or both.
        plain: whether its labels are the usual ones, and its synthetic patches used as they were drawn.
        n_real, n_synthetic: patches.
        seeds: of the choice of labels, the generator (0 without one) and the network.
        shown: ids of the patches whose predictions were kept.
        scores: by name, None where undefined.
    """

    path: Path
    dataset: str
    network: str
    regime: str
    method: str
    augmentation: str
    kind: str
    plain: bool
    n_real: int
    n_synthetic: int
    seeds: tuple[int, int, int]
    shown: tuple[str, ...]
    scores: dict[str, float | None]


def draw_downstream(metric_files: Sequence[Path], patches_folder: Path, out: Path) -> str:
    """Write amount.png, confusion.png and predictions.png to the folder `out`; return what was made, in words.

    Args:
        metric_files: metrics.json of the trainings of one data set. The network of the first one is that of the
            confusions and predictions; otherwise their order does not matter.
        patches_folder: the patch set they were tested on.
        out: folder of the pictures.

    Raises:
        UserError: for trainings of several data sets, or tested on other patches.
    """
    patches = open_patches(patches_folder)
    trainings = read(metric_files)
    positions = _positions(trainings, patches)
    scores = {"mf1_macro": "F1, mean over all classes"} | _second_score(patches)
    network = trainings[0].network
    columns = [_column(runs, patches) for runs in compared([t for t in trainings if t.network == network])]
    name = f"{trainings[0].dataset}: " if trainings[0].dataset else ""
    with files.new_folder(out, "predictions.png") as folder:
        title = f"{name}scores on the test split"
        drawn = curves(trainings, list(scores))
        downstream_figures.amount(drawn, list(scores.values()), title, folder / "amount.png")
        title = f"{name}{network}, all runs, pixels of the test split"
        downstream_figures.confusions(columns, patches.meta.labels, title, folder / "confusion.png")
        title = f"{name}{network}, first run, some test patches"
        downstream_figures.predictions(patches, positions, columns, title, folder / "predictions.png")
    return f"3 pictures of {len(trainings)} trainings in {out}"


def read(metric_files: Sequence[Path]) -> list[Training]:
    """Trainings, those of the first one's network first, else in an order that does not depend on that of the files.

    Raises:
        UserError: for what is no metrics.json of a training, and for trainings that were tested on several sets.
    """
    trainings = [_training(path) for path in metric_files]
    first = trainings[0]
    for other in trainings:
        if other.dataset != first.dataset:
            raise UserError(
                f"{first.path} is of the data set {first.dataset!r} and {other.path} of {other.dataset!r}: "
                "draw each data set by itself."
            )
        if other.shown != first.shown:
            raise UserError(
                f"{first.path} and {other.path} were tested on different patches: train the older one again."
            )
    return sorted(trainings, key=lambda t: (t.network != first.network, t.network, t.regime, t.seeds))


def _training(path: Path) -> Training:
    try:
        row = json.loads(path.read_text())
        kind, usual = AS_DRAWN | row["kind"], row["n_labels"] == row["n_labels_usual"]
        as_drawn = AS_DRAWN.items() <= kind.items()
        return Training(
            path,
            *(row[key] for key in ("dataset", "network", "regime", "method")),
            kind["augmentation"],
            (MIXTURE if kind["real"] else SYNTHETIC) if row["n_synthetic"] else REAL,
            usual and as_drawn,
            row["n_real"],
            row["n_synthetic"],
            (row["subset_seed"], row["generator_seed"] or 0, row["seed"]),
            tuple(row["shown"]),
            row["scores"],
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} is no metrics.json of `specdm train-downstream`, or of an older one: train that network again."
        ) from error


def _positions(trainings: Sequence[Training], patches: PatchSet) -> np.ndarray:
    """Where the shown patches lie in the set, (n,)."""
    place = {name: i for i, name in enumerate(patches.index["id"])}
    missing = [name for name in trainings[0].shown if name not in place]
    if missing:
        raise UserError(
            f"{patches.folder} holds no patch {missing[0]!r}, which {trainings[0].path} shows: "
            "give the set that the networks were tested on with --patches."
        )
    return np.array([place[name] for name in trainings[0].shown])


def _second_score(patches: PatchSet) -> dict[str, str]:
    if patches.images.shape[1] == 1:
        return {"miou_macro": "IoU, mean over all classes"}
    name = patches.meta.labels.names[CHANGED]
    return {f"f1_{slug(name)}": f"F1 of the class {name}"}


def curves(trainings: Sequence[Training], scores: Sequence[str]) -> list[Curve]:
    """What the amount of synthetic patches does: plain trainings by network, augmentation and method.

    Real alone starts the lines of all methods.

    Args:
        trainings: of one data set.
        scores: names of the S scores.
    """

    def by_amount(runs: Sequence[Training]) -> dict[int, np.ndarray]:
        found: dict[int, list] = {}
        for t in sorted(runs, key=lambda t: t.n_synthetic):
            found.setdefault(t.n_synthetic, []).append([t.scores.get(name) for name in scores])
        return {n: np.array(values, float) for n, values in found.items()}  # None becomes NaN

    drawn = []
    for network in dict.fromkeys(t.network for t in trainings):
        for augmentation in STYLES:
            own = [t for t in trainings if t.plain and (t.network, t.augmentation) == (network, augmentation)]
            for method in sorted({t.method for t in own if t.method}) or [""] * bool(own):
                mixed = [t for t in own if t.kind == REAL or (t.kind == MIXTURE and t.method == method)]
                alone = [t for t in own if t.kind == SYNTHETIC and t.method == method]
                drawn.append(Curve(network, method, augmentation, by_amount(mixed), by_amount(alone)))
    return drawn


def compared(trainings: Sequence[Training]) -> list[list[Training]]:
    """All runs of real alone, of synthetic alone, and of the largest mixture, those that one network has.

    With basic augmentation if that was trained. Of mixtures of one size that of the method with most sizes is taken,
    and synthetic alone of the same method where it is there.
    """
    plain = [t for t in trainings if t.plain]
    plain = [t for t in plain if t.augmentation == "basic"] or plain
    sizes = {t.method: len({(u.kind, u.n_synthetic) for u in plain if u.method == t.method}) for t in plain}

    def largest(kind: str, first: str = "") -> list[Training]:
        """The runs of one amount and method; the latter is `first` if it can."""
        own = sorted((t for t in plain if t.kind == kind), key=lambda t: t.method)
        best = max(own, key=lambda t: (t.method == first, t.n_synthetic, sizes[t.method]), default=None)
        same = [t for t in own if (t.method, t.n_synthetic) == (best.method, best.n_synthetic)]
        return sorted(same, key=lambda t: t.seeds)

    mixture = largest(MIXTURE)
    found = [largest(REAL), largest(SYNTHETIC, mixture[0].method if mixture else ""), mixture]
    return [runs for runs in found if runs]


def _column(runs: Sequence[Training], patches: PatchSet) -> Column:
    """What the runs of a regime confuse, and the first one predicts."""
    first, k = runs[0], len(patches.meta.labels)
    parts = [f"{first.n_real} real"] * (first.kind != SYNTHETIC) + [f"{first.n_synthetic} {first.method}"] * (
        first.kind != REAL
    )
    counts = sum(_array(t.path, "confusion_groups.npy", (-1, k, k)).sum(0) for t in runs)
    predicted = _array(first.path, "predictions.npy", (len(first.shown), *patches.masks.shape[1:]))
    return Column(f"{first.kind}\n{' + '.join(parts)}", counts, predicted)


def _array(metrics: Path, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """An array beside a metrics.json; -1 in the shape stands for any length."""
    path = metrics.with_name(name)
    try:
        array = np.load(path)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(
            f"{path} cannot be read: keep it beside {metrics.name}, or train that network again."
        ) from error
    if len(array.shape) != len(shape) or any(b not in (-1, a) for a, b in zip(array.shape, shape, strict=True)):
        raise UserError(
            f"{path} has the shape {array.shape}, which does not fit the patch set: give another --patches."
        )
    return array
