"""Pretrained weights of an encoder on disk: a fetched folder, a safetensors file, or a file of PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from specdm.errors import UserError

WEIGHTS = "model.safetensors"
TORCH_ENDINGS = (".pth", ".pt", ".bin")
NESTED = ("state_dict", "model")


def load_encoder_weights(path: Path) -> dict[str, Tensor]:
    """The state dict of a pretrained encoder, on the CPU, under the names that the file gives.

    path: a folder with model.safetensors, a .safetensors file, or a .pth, .pt or .bin file of PyTorch that holds a
    state dict, bare or under "state_dict" or "model"; code in such a file is never run.

    Raises:
        UserError: for a missing path, another ending, a damaged file, and one that holds anything but tensors.
    """
    path = Path(path)
    if path.is_dir():
        path = path / WEIGHTS
    if not path.is_file():
        raise UserError(
            f"{path} does not exist: make it with `specdm fetch-encoder`, or name a file of weights in encoder_weights."
        )
    ending = path.suffix.lower()
    if ending not in (".safetensors", *TORCH_ENDINGS):
        raise UserError(
            f"{path} is no file of weights by its ending: give one of .safetensors, {', '.join(TORCH_ENDINGS)}."
        )
    try:
        if ending == ".safetensors":
            state = load_file(path)
        else:
            state = _inner(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:  # what a damaged file raises has no class in common
        raise UserError(
            f"{path} cannot be read as weights ({type(error).__name__}): fetch it again, or save its state dict anew."
        ) from error
    if not state or not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in state.items()):
        raise UserError(f"{path} holds no state dict of tensors: save encoder.state_dict() there.")
    return state


def _inner(loaded: object) -> dict:
    if not isinstance(loaded, Mapping):
        return {}
    return dict(next((loaded[key] for key in NESTED if isinstance(loaded.get(key), Mapping)), loaded))
