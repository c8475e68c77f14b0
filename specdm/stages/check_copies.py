"""Does the generator return its training images? Each sample's nearest training patch, beside what real patches give.

Samples are compared with training patches as they are, and with training patches that went through the autoencoder: a
generator can return no more than that, and what the autoencoder loses must not pass for something new. Real patches are
then measured after the same loss.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from specdm import figures, files, provenance
from specdm.copy_panel import Case, copy_panel
from specdm.errors import UserError
from specdm.metrics.copies import FALSE_ALARM, Places, TailShare, tail_share, verdict
from specdm.model import TrainedAutoencoder
from specdm.nn.matching import WindowGrid, restored
from specdm.patches import PatchSet, open_patches
from specdm.settings import CopySettings
from specdm.stages.batches import require_alike, some_of
from specdm.stages.copy_search import Found, Kind, Search
from specdm.stages.derived_sets import reconstructed

STAGE_VERSION = 2
# What is measured of the samples, in one row of the report.
MEASURED = (
    *("threshold", "expected_share", "share_closer", "low", "high", "limit"),
    *("held_out_share", "median", "real_median"),
    *("ratio_threshold", "share_alone", "alone_low", "alone_high", "alone_limit", "held_out_alone_share"),
)
N_STRETCH = 256  # training patches that set the stretch of the picture
MASKS_MAY = "a copied mask with a new image is legal augmentation"


def check_copies(
    patches_folder: Path,
    samples_folder: Path,
    autoencoder_folder: Path,
    out: Path,
    picture: Path,
    dataset: str,
    method: str,
    settings: CopySettings,
    seed: int,
) -> str:
    """Write as JSON to `out` whether samples are copies of training patches; return what was found, in words.

    `picture` shows the closest cases. The whole training split is searched, also for a generator that saw less of it:
    its autoencoder may have seen all. A row that cannot be computed says why.

    Raises:
        UserError: when the sets do not belong together, or there is no validation split.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    patches, samples = open_patches(patches_folder), open_patches(samples_folder)
    trained = TrainedAutoencoder.load(autoencoder_folder, device)
    require_alike(patches, samples)
    if trained.config["data_hash"] != patches.hash:
        raise UserError(f"{autoencoder_folder} was trained on other patches than {patches_folder}: train it anew.")
    if not len(patches.ids("val")):
        raise UserError(f"{patches_folder}: the split 'val' is empty: prepare the data with another split.")
    train, held_out = patches.ids("train"), some_of(patches.ids("val"), settings.n_samples, seed, "copies")
    search = Search(patches, train, trained.normaliser, settings, device)
    dates, drawn = patches.images.shape[1], np.arange(min(len(samples), settings.n_samples))
    kinds = [Kind("images"), Kind("masks", mask=True)]
    kinds[1:1] = [Kind(f"date {t + 1} alone", date=t) for t in range(dates if dates > 1 else 0)]
    fake = {mask: search.side(samples, drawn, mask, None) for mask in (False, True)}
    level = FALSE_ALARM / (2 * 2 * (len(kinds) - 1))  # two tests a row, two rows a kind of image (Bonferroni)
    real = np.sort(some_of(np.arange(len(train)), settings.n_samples, seed, "copies"))
    both, places = np.concatenate([train, held_out]), _places(patches)
    rows, twins = [], []
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".copies-", dir=out.parent) as scratch:
        back = reconstructed(patches, both, autoencoder_folder, Path(scratch), device)
        for suffix, data, at in (("", patches, both), (", reconstructed", back, np.arange(len(both)))):
            pools = {mask: search.side(data, at[: len(train)], mask, places.take(train)) for mask in fake}
            controls = {mask: search.side(data, at[len(train) :], mask, places.take(held_out)) for mask in fake}
            for kind in kinds:
                pool = pools[kind.mask]
                sides = fake[kind.mask], pool.take(real), controls[kind.mask]
                found = [search.find(side, pool, kind) for side in sides]
                name = kind.name + suffix
                row, tests = _row(name, found, len(drawn), settings.quantile, level, kind.mask)
                rows.append(row | {"training_n": len(train)})
                if tests and not kind.mask:
                    twins += _twins(kind, name, found[0], tests)
    shown = _most_suspicious(twins, settings.n_pictures)
    files.write_json(
        out,
        {
            "dataset": dataset,
            "method": method,
            "seed": seed,
            "patch_px": patches.masks.shape[1],
            "window_px": search.grid.window_px,
            "variance_kept": search.variance_kept,
            "level": level,
            "rows": rows,
            "closest": [
                {
                    "sample": samples.index["id"].iloc[twin.sample],
                    "training": patches.index["id"].iloc[train[twin.training]],
                    "kind": twin.kind,
                    "distance": twin.distance,
                    "ratio": twin.ratio,
                    "suspicion": twin.suspicion,
                    "view": twin.variant % 8,
                    "shift_px": list(twin.shift_px(search.grid, patches.masks.shape[1])),
                    "swapped": twin.swapped,
                }
                for twin in shown
            ],
            "provenance": provenance.stamp("check-copies", STAGE_VERSION, seed, settings.model_dump(mode="json")),
        },
    )
    _draw(shown, patches, samples, train, search.grid, picture)
    images = [row for row in rows if not row["kind"].startswith("masks")]
    copied = [row["kind"] for row in images if row["verdict"] == "copies"]
    said = [row["kind"] for row in images if row["verdict"] == "none found"]
    result = f"copies among the {', '.join(copied)}" if copied else "no copies found" if said else "not computable"
    return f"{len(drawn)} samples against {len(train)} training patches: {result}, in {out}"


def _places(patches: PatchSet) -> Places:
    return Places(*(patches.index[key].to_numpy() for key in ("source", "group", "row", "col")))


def _row(
    kind: str, found: list[Found], n_drawn: int, quantile: float, level: float, mask: bool
) -> tuple[dict, tuple[TailShare, TailShare] | None]:
    """A row of the report, and its tests of distance and ratio where they can be computed."""
    fake, real, control = (f.nearness for f in found)
    row = {
        "kind": kind,
        "n": len(fake.nearest),
        "n_excluded": n_drawn - len(fake.nearest),
        "reference_n": len(real.nearest),
        "reference_apart": real.apart,
        "held_out_n": len(control.nearest),
    }
    try:
        distance, ratio = (
            tail_share(*(getattr(x, what) for x in (fake, real, control)), real.apart, control.apart, quantile, level)
            for what in ("nearest", "ratio")
        )
    except UserError as error:
        nothing = dict.fromkeys(MEASURED) | {"verdict": "not computable", "because": str(error).rstrip(".")}
        return row | nothing, None  # all columns: a table of such rows alone is a table all the same
    word, because = verdict(distance, ratio)
    measured = (
        *(distance.threshold, distance.expected, distance.share, distance.low, distance.high, distance.limit),
        *(distance.held_out, float(np.median(fake.nearest)), float(np.median(real.nearest))),
        *(ratio.threshold, ratio.share, ratio.low, ratio.high, ratio.limit, ratio.held_out),
    )
    row |= dict(zip(MEASURED, measured, strict=True)) | {
        "verdict": word,
        "because": "; ".join(filter(None, (because, MASKS_MAY if mask and word == "copies" else ""))),
    }
    return row, (distance, ratio)


@dataclass(frozen=True)
class _Twin:
    """A sample (its number) and its nearest training patch in one row of the report.

    `suspicion` is the larger of threshold / distance of the row's two tests: above 1 for what real patches seldom are.
    """

    kind: str
    sample: int
    training: int
    dates: tuple[int, int] | None
    variant: int
    row_px: int
    col_px: int
    distance: float
    ratio: float
    suspicion: float

    @property
    def swapped(self) -> bool:
        """Whether the training patch's dates are to be swapped to fit."""
        return self.variant >= 8 or (self.dates is not None and self.dates[0] != self.dates[1])

    def turned(self, x: np.ndarray) -> np.ndarray:
        """A training patch (T,C,H,W) or mask (H,W) turned as the sample is, its dates in that order."""
        y = restored(torch.from_numpy(x), self.variant % 8).numpy()
        return y[::-1] if self.swapped and x.ndim == 4 else y

    def shift_px(self, grid: WindowGrid, side_px: int) -> tuple[int, int]:
        """Rows and columns by which the turned training patch moves to fit."""
        window = np.zeros((side_px, side_px), bool)
        window[self.row_px : self.row_px + grid.window_px, self.col_px : self.col_px + grid.window_px] = True
        row, col = (int(at.min()) for at in np.nonzero(self.turned(window)))
        return grid.margin_px - row, grid.margin_px - col


def _twins(kind: Kind, name: str, found: Found, tests: tuple[TailShare, TailShare]) -> list[_Twin]:
    near = found.nearness
    suspicion = [t.threshold / np.maximum(x, 1e-9) for t, x in zip(tests, (near.nearest, near.ratio), strict=True)]
    return [
        _Twin(
            name,
            int(found.kept[i]),
            int(found.training[i]),
            None if kind.date is None else (kind.date, int(found.date[i])),
            *(int(x[i]) for x in found.fit[1:]),
            float(near.nearest[i]),
            float(near.ratio[i]),
            float(max(s[i] for s in suspicion)),
        )
        for i in range(len(found.kept))
    ]


def _most_suspicious(twins: list[_Twin], n: int) -> list[_Twin]:
    """The n most suspicious samples, each in the row where it is most so."""
    chosen: dict[int, _Twin] = {}
    for twin in sorted(twins, key=lambda t: -t.suspicion):
        chosen.setdefault(twin.sample, twin)
    return list(chosen.values())[:n]


def _draw(
    twins: list[_Twin], patches: PatchSet, samples: PatchSet, train: np.ndarray, grid: WindowGrid, path: Path
) -> None:
    shown = figures.composites(patches.meta)[0]
    some = train[:: -(-len(train) // N_STRETCH)]
    limits = figures.stretch_limits(patches.reflectance(some), shown.channels, patches.valid(some))
    cases = []
    for twin in twins:
        at, side_px = train[twin.training], patches.masks.shape[1]
        shift = twin.shift_px(grid, side_px)
        caption = (
            f"{samples.index['id'].iloc[twin.sample]} ({twin.kind}): distance {twin.distance:.3f}, "
            f"{twin.ratio:.2f} of that to the next place; {_said(twin)}\n"
            f"{patches.index['id'].iloc[at]}, view {twin.variant % 8}{', dates swapped' if twin.swapped else ''}, "
            f"moved by {shift[0]:+d}, {shift[1]:+d} px"
        )
        cases.append(
            Case(
                samples.reflectance([twin.sample])[0],
                np.array(samples.masks[twin.sample]),
                twin.turned(patches.reflectance([at])[0]),
                twin.turned(np.array(patches.masks[at])),
                shift,
                caption,
            )
        )
    copy_panel(cases, grid.margin_px, grid.window_px, limits, patches.meta, path)


def _said(twin: _Twin) -> str:
    return "below a threshold" if twin.suspicion > 1 else "as real patches are"
