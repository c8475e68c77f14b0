"""The downstream networks by name. A new one is a module with a class and a recipe, and one line in NETWORKS.

Beside them, smp:<architecture>/<encoder> names any network of segmentation-models-pytorch.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from specdm.errors import UserError
from specdm.nn.downstream import changeformer, pfsegnet, segformer, siamcrnn, smp_models
from specdm.nn.downstream.common import DownstreamNetwork, Recipe

TASK_DATES = {"segmentation": 1, "change": 2}


@dataclass(frozen=True)
class Network:
    """One entry of the registry: what builds it (bands, classes, **options), its task, and its authors' recipe."""

    factory: Callable[..., DownstreamNetwork]
    task: Literal["segmentation", "change"]
    recipe: Recipe


NETWORKS: dict[str, Network] = {
    **{
        f"segformer-{v}": Network(partial(segformer.SegFormer, variant=v), "segmentation", segformer.RECIPE)
        for v in segformer.VARIANTS
    },
    **{
        f"pfsegnet-{v}": Network(partial(pfsegnet.PFSegNet, variant=v), "segmentation", pfsegnet.RECIPE)
        for v in pfsegnet.VARIANTS
    },
    **{
        f"siamcrnn-{v}": Network(partial(siamcrnn.SiamCRNN, variant=v), "change", siamcrnn.RECIPE)
        for v in siamcrnn.VARIANTS
    },
    "changeformer-v3": Network(changeformer.ChangeFormerV3, "change", changeformer.RECIPE),
    **{name: Network(*smp_models.parse(full), smp_models.RECIPE) for name, full in smp_models.BASELINES.items()},
}


def build(name: str, *, bands: int, classes: int, dates: int = 1, **options: Any) -> DownstreamNetwork:
    """The network `name`, untrained: images (N, dates, bands, H, W) to logits (N, classes, H, W).

    options are the keyword arguments of the network's class. UserError for an unknown name or option, and for a
    number of dates that the network's task does not have.
    """
    network = _find(name)
    needed = TASK_DATES[network.task]
    if dates != needed:
        raise UserError(
            f"network {name}: made for {network.task} with {needed} date(s), but the data has {dates}; "
            f"choose one of {', '.join(n for n, e in NETWORKS.items() if TASK_DATES[e.task] == dates) or 'none'}."
        )
    try:
        return network.factory(bands=bands, classes=classes, **options)
    except TypeError as error:
        raise UserError(f"network {name}: {error}; check its options.") from error


def recipe(name: str) -> Recipe:
    """The recipe of the network's authors; UserError for an unknown name."""
    return _find(name).recipe


def names(task: str | None = None) -> list[str]:
    """Names of all networks, or of those for "segmentation" or "change"; UserError for another task."""
    if task is not None and task not in TASK_DATES:
        raise UserError(f"networks: unknown task {task!r}; choose one of {', '.join(TASK_DATES)}.")
    return [name for name, network in NETWORKS.items() if task in (None, network.task)]


def _find(name: str) -> Network:
    if name.startswith("smp:"):
        return Network(*smp_models.parse(name), smp_models.RECIPE)
    if name not in NETWORKS:
        near = difflib.get_close_matches(name, NETWORKS, n=1, cutoff=0.5)
        guess = f"did you mean {near[0]!r}? " if near else ""
        valid = f"{', '.join(NETWORKS)}, smp:<architecture>/<encoder>"
        raise UserError(f"network: unknown name {name!r}; {guess}valid names are {valid}.")
    return NETWORKS[name]
