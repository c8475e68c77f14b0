"""Draw a synthetic patch set from a trained generator (paper section 3.3)."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from specdm import files, provenance
from specdm.errors import Paused, UserError
from specdm.metrics.coverage import fraction_errors
from specdm.model import Drawing, SpecDM
from specdm.patches import PatchRecord, PatchWriter, class_counts, to_dn
from specdm.progress import Progress
from specdm.settings import SamplingSettings
from specdm.stages.given_patches import GivenPatches
from specdm.training import in_bfloat16

STAGE_VERSION = 5


def sample(
    model_folder: Path,
    out: Path,
    state: Path,
    n: int,
    settings: SamplingSettings,
    seed: int,
    name: str,
    shard: tuple[int, int] | None = None,
    ends: float = math.inf,
    given: Mapping[str, Path] | None = None,
) -> str:
    """Draw n labelled patches and write them as a patch set, with asked.npy, the class fractions asked for (n,K).

    Finished batches are kept in `state` until the set is complete, so that an interrupted run goes on; patch number i
    depends on (seed, i), the model and what is given alone. Synthetic patches have no location and stand in the
    training split, unless something is given for them, see specdm.stages.given_patches.

    Args:
        model_folder: the generator.
        out: folder of the patch set.
        state: folder of the finished batches.
        n: patches; 0 with `given`: one for each given.
        settings: sampler, steps, batch, what to ask for.
        seed: of noise and of the fractions asked for.
        name: of the synthetic set.
        shard: (k, m) draws only the k-th of m shares of the n patches (k = 1..m), a set of its own; all of them
            together make the whole set (specdm.stages.join_samples).
        ends: pause before time.monotonic() says so.
        given: "mask", "image" or "date1" -> patch set, all of whose patches are drawn for in order, and again from the
            first when n is larger; see `SpecDM.sample`. Stored values of what is given do not change.

    Returns:
        What was made, in words.

    Raises:
        UserError: when the model is incomplete, memory does not suffice, there are fewer batches than shards, or what
            is given does not fit the model.
        Paused: when the time is used up.
    """
    model = SpecDM.from_pretrained(model_folder)
    ids = {
        part: json.loads((model_folder / part / "config.json").read_text())["id"]
        for part in ("autoencoder", "denoiser")
    }
    origin = provenance.stamp("sample", STAGE_VERSION, seed, settings.model_dump(mode="json")) | {"models": ids}
    known = GivenPatches.open(given, model.autoencoder) if given else None
    if known:
        origin["given"] = {key: patches.meta.name for key, patches in known.sets.items()}
        n = n or len(known)
    elif not n:
        raise UserError("--n: say how many patches to draw, or give something to draw them for with --given.")
    hashes = {"given": known.hashes} if known else {}
    key = files.digest({key: origin[key] for key in ("models", "seed", "settings", "stage_version")} | hashes)
    ranges = _ranges(n, settings.batch, shard)
    words = f"drawing {name}"
    if shard:
        origin["shard"] = {"k": shard[0], "m": shard[1], "n": n, "key": key}
        words += f", shard {shard[0]} of {shard[1]}"
    batches = {state / key / f"{r.start:08d}-{r.stop:08d}.npz": r for r in ranges}
    _draw(model, batches, _drawing(settings), seed, words, ends, known)
    asked, got = _write(model, batches, out, name, origin, known)
    shutil.rmtree(state, ignore_errors=True)
    if known:
        return f"{len(asked)} patches in {out}, drawn for the {' and the '.join(known.sets)} of {len(known)}"
    return f"{len(asked)} patches in {out}{_how_well(asked, got, model.autoencoder.meta.labels.names, settings)}"


def _ranges(n: int, batch: int, shard: tuple[int, int] | None) -> list[range]:
    """The batches as numbers of patches, all or those of a shard: the same batches, so that results are equal bits."""
    ranges = [range(start, min(start + batch, n)) for start in range(0, n, batch)]
    if shard is None:
        return ranges
    k, m = shard
    if m > len(ranges):
        raise UserError(f"--shard: {n} patches in batches of {batch} make {len(ranges)} shards at most, not {m}.")
    return ranges[(k - 1) * len(ranges) // m : k * len(ranges) // m]


def _drawing(settings: SamplingSettings) -> Drawing:
    half = in_bfloat16(settings.precision)
    return Drawing(settings.sampler, settings.n_steps, settings.guidance, settings.want, half, settings.order)


def _draw(
    model: SpecDM,
    batches: dict[Path, range],
    drawing: Drawing,
    seed: int,
    name: str,
    ends: float,
    known: GivenPatches | None,
) -> None:
    """Draw the batches that are not there yet, each into a file of its own, until the monotonic clock says `ends`."""
    missing = {path: indices for path, indices in batches.items() if not path.exists()}
    total = sum(map(len, batches.values()))
    done = total - sum(map(len, missing.values()))
    progress, meta = Progress(name, total, start=done), model.autoencoder.meta
    slowest_s = 0.0
    for path, indices in missing.items():
        began = time.monotonic()
        if slowest_s and began + slowest_s > ends:  # one at least: even a short limit is progress
            raise Paused(f"{name} is saved at {done} of {total} patches: the same command goes on.")
        rows = np.asarray(indices) % len(known) if known else None
        try:
            given = known.rows(rows, model.autoencoder) if known else None
            refl, masks, asked = model.draw(indices, seed, drawing, given)
        except torch.OutOfMemoryError as error:
            raise UserError(f"{name}: {len(indices)} patches at once need too much memory: lower `batch`.") from error
        dn = to_dn(refl, meta, model.autoencoder.dtype)
        if known:
            known.put_back(dn, rows)
        with files.new_file(path) as temporary, temporary.open("wb") as stream:
            np.savez(stream, images=dn, masks=masks, asked=asked)
        done += len(indices)
        progress.update(done)
        slowest_s = max(slowest_s, time.monotonic() - began)


def _write(
    model: SpecDM, batches: dict[Path, range], out: Path, name: str, origin: dict, known: GivenPatches | None
) -> tuple[np.ndarray, np.ndarray]:
    """Join the batches to a patch set; returns the class fractions asked for and those of the masks, both (n,K)."""
    meta = dataclasses.replace(model.autoencoder.meta, name=name, synthetic=True, provenance=origin)
    asked, got = [], []
    with PatchWriter(out, meta, model.autoencoder.shape, model.autoencoder.dtype) as writer:
        for path, indices in batches.items():
            with np.load(path) as part:
                if known:
                    records = known.records(*reversed(np.divmod(np.asarray(indices), len(known))))
                else:
                    records = [PatchRecord(f"{name}-{i:06d}", "train", f"{name}-{i:06d}", "specdm") for i in indices]
                writer.append(part["images"], part["masks"], records)
                asked.append(part["asked"])
                got.append(class_counts(part["masks"], len(meta.labels)) / part["masks"][0].size)
        writer.attach("asked", np.concatenate(asked))
    return np.concatenate(asked), np.concatenate(got)


def _how_well(asked: np.ndarray, got: np.ndarray, names: tuple[str, ...], settings: SamplingSettings) -> str:
    """How well the fractions asked for were met, in words; nothing where none were."""
    if np.isnan(asked).all():
        return ""
    error = fraction_errors(asked, got)
    text = f", class fractions asked for are met within {100 * np.mean(error):.1f} points on average"
    for name in settings.want:
        k = names.index(name)
        text += f"; {name}: asked {100 * asked[:, k].mean():.1f} %, got {100 * got[:, k].mean():.1f} %"
    return text
