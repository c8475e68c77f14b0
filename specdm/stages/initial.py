"""Start a network from the weights of one that was trained on other data."""

from __future__ import annotations

from pathlib import Path

import torch

from specdm.errors import UserError
from specdm.patches import PatchMeta
from specdm.weights import load_weights


def start_from(folder: Path, kind: str, network: torch.nn.Module, ours: PatchMeta) -> str:
    """Copy into `network` the weights of a trained one whose names and shapes fit, and print how many do.

    Args:
        folder: the trained network.
        kind: what it must be, "autoencoder" or "denoiser".
        network: receives the weights.
        ours: its data, which must agree with those of the trained one in bands, their order, and processing level.

    Returns:
        The id of the trained network.

    Raises:
        UserError: when the folder is incomplete, the data do not agree, or nothing fits.
    """
    weights, config = load_weights(folder, kind)
    theirs = PatchMeta.from_dict(config["data"]["meta"])
    for what in ("bands", "level"):
        if getattr(theirs, what) != getattr(ours, what):
            raise UserError(
                f"init_from: {folder} was trained on the {what} {_text(getattr(theirs, what))}, {ours.name} has "
                f"{_text(getattr(ours, what))}: start from a model of the same {what}."
            )
    own = network.state_dict()
    fitting = {name: value for name, value in weights.items() if name in own and own[name].shape == value.shape}
    if not fitting:
        raise UserError(f"init_from: no weight of {folder} fits this network: give both the same sizes.")
    network.load_state_dict(own | fitting)
    print(f"started from {folder}: {len(fitting)} of {len(own)} tensors fit, the others are new", flush=True)
    return config["id"]


def _text(value: str | tuple[str, ...]) -> str:
    return value if isinstance(value, str) else ", ".join(value)
