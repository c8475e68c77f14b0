import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from specdm import files
from specdm.stages import noisy_latents

SCRIPT = """
import sys

from specdm import cli
from specdm.stages import noisy_latents

noisy_latents.N_HELD_OUT = int(sys.argv.pop())
cli.main()
"""


def _rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "history.csv").open() as stream:
        return list(csv.DictReader(stream))


def test_two_processes_train_the_denoiser_of_one(tmp_path, settings, segmentation_chain):
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    options = {
        "--latents": segmentation_chain.latents,
        "--out": tmp_path / "out",
        "--state": tmp_path / "state",
        "--settings": files.to_json(settings.diffusion),
    }
    words = [str(word) for option in options.items() for word in option]
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run(
        [*launcher, tmp_path / "script.py", "train-diffusion", *words, str(noisy_latents.N_HELD_OUT)],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("train-diffusion: ") == 1
    assert not (tmp_path / "state").exists()

    alone, together = segmentation_chain.denoiser, tmp_path / "out"
    assert {path.name for path in together.iterdir()} == {path.name for path in alone.iterdir()}
    assert len({json.loads((folder / "config.json").read_text())["id"] for folder in (alone, together)}) == 1
    expected, weights = (load_file(folder / "weights.safetensors") for folder in (alone, together))
    assert weights.keys() == expected.keys()
    for key, value in expected.items():
        # AdamW divides a gradient by its own size: where it is nearly zero, rounding moves a weight by part of a step.
        torch.testing.assert_close(weights[key], value, rtol=1e-4, atol=1e-4, msg=key)
    held_out = [[float(row["held_out"]) for row in _rows(folder)] for folder in (alone, together)]
    assert held_out[1] == pytest.approx(held_out[0], rel=1e-4)
