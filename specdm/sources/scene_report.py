"""What cutting the user's own scenes gave, as numbers and as lines to print."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from specdm.patches import SPLITS

MANY = 30  # scenes, of which the first are listed one by one
NAMED = 3  # scenes that a warning names


@dataclass(frozen=True)
class SceneCounts:
    """What one scene gave: its size, windows cut, windows with too few labels (or without data), patches written."""

    name: str
    height: int
    width: int
    windows: int
    unlabelled: int
    written: int


@dataclass(frozen=True)
class SceneReport:
    """Counts of a data set of the user's own scenes.

    Attributes:
        patch_px, stride_px, block_px, guard_px: of the tiling and the splits; block_px 0 for fixed splits.
        scenes: counts by scene.
        between: windows left out because they lie between splits or within the guard band.
        sizes, groups: patches and spatial groups by split.
        class_percent: percentage of labelled pixels by class name, for each split.
        shared: for "val" and "test", how many of their patches show ground of a training patch.
        warnings: sentences a user of the set should read.
        labelled: whether the scenes have labels; otherwise all patches are of the training split and ignored.
    """

    patch_px: int
    stride_px: int
    block_px: int
    guard_px: int
    scenes: tuple[SceneCounts, ...]
    between: int
    sizes: dict[str, int]
    groups: dict[str, int]
    class_percent: dict[str, dict[str, float]]
    shared: dict[str, int]
    warnings: tuple[str, ...]
    labelled: bool = True

    def sharing_lines(self) -> list[str]:
        """How many patches leak, by split."""
        return [f"{n} of {self.sizes[s]} {s} patches share ground with training" for s, n in self.shared.items()]

    def lines(self) -> list[str]:
        """The report as it is printed."""
        how = f"blocks of at least {self.block_px} px" if self.block_px else "fixed splits"
        warnings = [f"warning: {text}" for text in self.warnings]
        if not self.labelled:
            return [
                *_scene_lines(self.scenes, "without data"),
                f"{self.patch_px} px windows every {self.stride_px} px; {how}",
                f"written: {self.sizes['train']} train in {self.groups['train']} groups, without labels",
                *warnings,
            ]
        names = self.class_percent[SPLITS[0]]
        width = max(22, *(len(name) + 1 for name in names))
        return [
            *_scene_lines(self.scenes, "with too few labels"),
            f"{self.patch_px} px windows every {self.stride_px} px; {how}; {self.between} windows between splits or "
            f"within {self.guard_px} px of another split left out",
            "written: " + ", ".join(f"{self.sizes[s]} {s} in {self.groups[s]} groups" for s in SPLITS),
            *self.sharing_lines(),
            f"{'class':{width}}" + "".join(f"{s:>10}" for s in SPLITS),
            *(f"{name:{width}}" + "".join(f"{self.class_percent[s][name]:8.2f} %" for s in SPLITS) for name in names),
            *warnings,
        ]


def some_names(names: Sequence[str]) -> str:
    """The first of some scenes, and how many more there are: "a, b, c and 4 more scenes"."""
    more = f" and {len(names) - NAMED} more scenes" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _scene_lines(scenes: Sequence[SceneCounts], lacking: str) -> list[str]:
    rows = [
        f"{s.name:24} {s.height:6} x {s.width:<6} windows {s.windows:5}, {s.unlabelled} {lacking}, {s.written} written"
        for s in scenes[:MANY]
    ]
    return rows if len(scenes) <= MANY else [*rows, f"... and {len(scenes) - MANY} more scenes"]
