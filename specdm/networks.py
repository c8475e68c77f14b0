"""Names of the downstream networks and the task each one solves; free of torch, so that a dry run stays fast.

`specdm.nn.downstream` builds them; tests keep both lists equal.
"""

from __future__ import annotations

import re

SEGMENTATION, CHANGE = "segmentation", "change"

NETWORKS: dict[str, str] = {
    **{f"segformer-b{size}": SEGMENTATION for size in range(6)},
    **{f"pfsegnet-r{depth}": SEGMENTATION for depth in (50, 101)},
    "unet": SEGMENTATION,
    **{f"siamcrnn-{depth}": CHANGE for depth in (18, 34, 50, 101)},
    "changeformer-v3": CHANGE,
    "fc-siam-diff": CHANGE,
}
_ENCODERS = {
    **{f"segformer-b{size}": f"mit_b{size}" for size in range(6)},
    **{f"pfsegnet-r{depth}": f"resnet{depth}s" for depth in (50, 101)},
    "unet": "resnet34",
    **{f"siamcrnn-{depth}": f"resnet{depth}" for depth in (18, 34, 50, 101)},
    "changeformer-v3": "mit_b2",
    "fc-siam-diff": "resnet34",
}
SMP = "smp:"  # smp:<architecture>/<encoder>, for two dates also /<fusion>: any network of that library
SMP_ARCHITECTURES = (
    "unet",
    "unetplusplus",
    "manet",
    "linknet",
    "fpn",
    "pspnet",
    "deeplabv3",
    "deeplabv3plus",
    "pan",
    "upernet",
    "segformer",
    "dpt",
)
SMP_FUSIONS = ("diff", "conc", "early")


def task_of(name: str) -> str | None:
    """The task that a network solves, None for a name that is no network's.

    Of smp:<architecture>/<encoder> the encoder is looked at only when the network is built.
    """
    if not name.startswith(SMP):
        return NETWORKS.get(name)
    architecture, *rest = name.removeprefix(SMP).split("/")
    if architecture not in SMP_ARCHITECTURES or not rest or not rest[0]:
        return None
    if len(rest) == 2 and rest[1] in SMP_FUSIONS:
        return CHANGE
    return SEGMENTATION if len(rest) == 1 else None


def encoder_of(name: str) -> str:
    """The encoder of a network, under its name in segmentation-models-pytorch or timm.

    Raises:
        KeyError: for a name that is no network's.
    """
    if name.startswith(SMP) and task_of(name):
        return name.split("/")[1]
    return _ENCODERS[name]


def folder_of(name: str) -> str:
    """The name as part of a path: smp:unet/resnet34 -> smp-unet-resnet34."""
    return re.sub("[:/]", "-", name)
