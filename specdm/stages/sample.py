"""Draw a synthetic patch set from a trained generator (paper section 3.3)."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np

from specdm import files, provenance
from specdm.model import SpecDM
from specdm.patches import PatchRecord, PatchWriter
from specdm.progress import Progress
from specdm.settings import SamplingSettings

STAGE_VERSION = 1


def sample(model_folder: Path, out: Path, state: Path, n: int, settings: SamplingSettings, seed: int, name: str) -> str:
    """Draw n labelled patches and write them as a patch set.

    Finished batches are kept in `state` until the set is complete, so that an interrupted run goes on; patch number i
    depends on (seed, i) and the model alone. Synthetic patches have no location and stand in the training split.
    Returns what was made, in words.

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
    batches = {}
    for start in range(0, n, settings.batch):
        stop = min(start + settings.batch, n)
        batches[parts / f"{start:08d}-{stop:08d}.npz"] = range(start, stop)
    missing = {path: indices for path, indices in batches.items() if not path.exists()}
    done = n - sum(map(len, missing.values()))
    progress = Progress(f"drawing {name}", n, start=done)
    for path, indices in missing.items():
        images, masks = model.sample_indices(indices, seed, settings.sampler, settings.n_steps)
        with files.new_file(path) as temporary, temporary.open("wb") as stream:
            np.savez(stream, images=images, masks=masks)
        done += len(indices)
        progress.update(done)
    meta = dataclasses.replace(
        model.autoencoder.meta,
        name=name,
        synthetic=True,
        provenance={**stamp, "models": ids},
    )
    with PatchWriter(out, meta, model.autoencoder.shape, model.autoencoder.dtype) as writer:
        for path, indices in batches.items():
            with np.load(path) as part:
                records = [PatchRecord(f"{name}-{i:06d}", "train", f"{name}-{i:06d}", "specdm") for i in indices]
                writer.append(part["images"], part["masks"], records)
    shutil.rmtree(state, ignore_errors=True)
    return f"{n} patches in {out}"
