"""Weights of a trained network on disk: safetensors and a config.json that is enough to use them, never pickle."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from specdm import files
from specdm.errors import UserError

FILES = ("weights.safetensors", "config.json")


def save_weights(folder: Path, weights: dict[str, torch.Tensor], config: dict, write_more: Callable) -> None:
    """Write a model folder: weights, config.json, and what write_more(temporary folder) adds; complete or absent."""
    with files.new_folder(folder, last="config.json") as temporary:
        save_file(weights, temporary / "weights.safetensors")
        write_more(temporary)
        (temporary / "config.json").write_text(files.to_json(config))


def load_weights(folder: Path, kind: str) -> tuple[dict[str, torch.Tensor], dict]:
    """Weights and config of a model folder.

    Raises:
        UserError: when the folder is missing, incomplete or damaged (naming the file), or holds another kind of model.
    """
    folder = Path(folder)
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        raise UserError(f"{folder} is not a complete model folder, {' and '.join(missing)} missing: train it anew.")
    name = "config.json"
    try:
        config = json.loads((folder / name).read_text())
        found = config["kind"]
        name = "weights.safetensors"
        weights = load_file(folder / name)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise UserError(f"{folder} is not a complete model folder, {name} is damaged: train it anew.") from error
    if found != kind:
        raise UserError(f"{folder} holds a model of the kind {found}, not {kind}: give another folder.")
    return weights, config
