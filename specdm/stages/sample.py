"""Draw a synthetic patch set from a trained generator (paper section 3.3)."""

from __future__ import annotations

import dataclasses
import json
import shutil
import time
from pathlib import Path

import numpy as np

from specdm import files, provenance
from specdm.model import SpecDM
from specdm.patches import PatchRecord, PatchWriter
from specdm.settings import SamplingSettings

STAGE_VERSION = 1


def sample(
    model_folder: Path, out: Path, state: Path, n: int, settings: SamplingSettings, seed: int, name: str
) -> None:
    """Draw n labelled patches and write them as a patch set.

    Finished batches are kept in `state` until the set is complete, so that an interrupted run goes on; patch number i
    depends on (seed, i) and the model alone. Synthetic patches have no location and stand in the training split.

    Raises:
        UserError: when the model is incomplete.
    """
    model = SpecDM.from_pretrained(model_folder)
    ids = {
        part: json.loads((model_folder / part / "config.json").read_text())["id"]
        for part in ("autoencoder", "denoiser")
    }
    stamp = provenance.stamp("sample", STAGE_VERSION, seed, settings.model_dump(mode="json"))
    key = files.digest({"models": ids, "seed": seed, "settings": stamp["settings"], "stage_version": STAGE_VERSION})
    parts = state / key
    started = last_report = time.monotonic()
    batches = [range(start, min(start + settings.batch, n)) for start in range(0, n, settings.batch)]
    for indices in batches:
        path = parts / f"{indices.start:08d}-{indices.stop:08d}.npz"
        if not path.exists():
            images, masks = model.sample_indices(indices, seed, settings.sampler, settings.n_steps)
            with files.new_file(path) as temporary, temporary.open("wb") as stream:
                np.savez(stream, images=images, masks=masks)
        now = time.monotonic()
        if indices.stop == n or now - last_report > 20:
            left = (now - started) / indices.stop * (n - indices.stop)
            print(f"samples of {name}: {indices.stop}/{n}  {left:.0f} s left", flush=True)
            last_report = now
    meta = dataclasses.replace(
        model.autoencoder.meta,
        name=name,
        synthetic=True,
        provenance={**stamp, "models": ids},
    )
    with PatchWriter(out, meta, model.autoencoder.shape, model.autoencoder.dtype) as writer:
        for indices in batches:
            with np.load(parts / f"{indices.start:08d}-{indices.stop:08d}.npz") as part:
                records = [PatchRecord(f"{name}-{i:06d}", "train", f"{name}-{i:06d}", "specdm") for i in indices]
                writer.append(part["images"], part["masks"], records)
    shutil.rmtree(state, ignore_errors=True)
