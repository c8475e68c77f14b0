"""The examples of docs/examples, run as their readers run them."""

import runpy
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from specdm import figures

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


def test_changes_drawn_by_code_are_painted(tmp_path, monkeypatch, streams_chain):
    shown = []
    drawn = figures.blocks
    monkeypatch.setattr(figures, "blocks", lambda blocks, *rest: (shown.extend(blocks), drawn(blocks, *rest)))
    monkeypatch.setattr(
        sys, "argv", ["draw_change.py", str(streams_chain.model), str(tmp_path / "drawn.png"), "--n", "1"]
    )
    example = runpy.run_path(str(EXAMPLES / "draw_change.py"), run_name="__main__")
    first, second = shown
    road, quarter = first.masks
    assert example["road"](32, 4, 0.0, 3)[2:6].sum() == 96 and road.sum() > 32  # three rows from edge to edge
    assert quarter.sum() == 9 * 4**2
    np.testing.assert_array_equal(second.masks, first.masks[::-1])
    np.testing.assert_array_equal(second.refl[:, 0], first.refl[:, 0])
    assert (second.refl[:, 1] != first.refl[:, 1]).any()
    assert Image.open(tmp_path / "drawn.png").size[0] > 300
