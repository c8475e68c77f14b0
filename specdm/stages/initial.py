"""Start a network from the weights of one that was trained on other data."""

from __future__ import annotations

from pathlib import Path

import torch

from specdm.errors import UserError
from specdm.patches import PatchMeta


def copy_matching(
    network: torch.nn.Module, weights: dict[str, torch.Tensor], folder: Path, theirs: PatchMeta, ours: PatchMeta
) -> None:
    """Copy into `network` the weights whose names and shapes fit, and print how many do.

    Args:
        network: receives them.
        weights: of a trained network, by name.
        folder: where they come from, for messages.
        theirs, ours: the data of both, which must agree in bands, their order, and processing level.

    Raises:
        UserError: when the data do not agree or nothing fits.
    """
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


def _text(value: str | tuple[str, ...]) -> str:
    return value if isinstance(value, str) else ", ".join(value)
