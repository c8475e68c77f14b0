"""The devices and processes of a training: the one door to Lightning Fabric."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import LightningEnvironment
from torch import nn

from specdm.errors import UserError
from specdm.training.plan import Plan

LOADERS = 4  # threads that make data for a GPU; more of them wait for each other


class Processes:
    """One process, or one of several that torchrun or srun has started, each with its own device.

    Attributes:
        rank, size: which of how many.
        device: where this one computes.
        loaders: threads that make its data: one beside the network on a processor, several beside a GPU.
    """

    def __init__(self, plan: Plan):
        per_node, nodes = started_together()
        several = per_node * nodes > 1
        if several and "SLURM_STEP_NUM_TASKS" in os.environ:  # srun sets it only where it was asked for in these words
            os.environ.setdefault("SLURM_NTASKS_PER_NODE", str(per_node))
        self._fabric = Fabric(
            accelerator="auto",
            devices=per_node,
            num_nodes=nodes,
            strategy="ddp" if several else "auto",
            precision="bf16-mixed" if in_bfloat16(plan.precision) else "32-true",
            plugins=None if several else LightningEnvironment(),  # else the tasks of a whole Slurm job are looked for
        )
        self._fabric.launch()
        self.rank, self.size, self.device = self._fabric.global_rank, self._fabric.world_size, self._fabric.device
        self.loaders = min(LOADERS, torch.get_num_threads()) if self.device.type == "cuda" else 1
        self._compile = plan.compile and self.device.type == "cuda"
        self._channels_last = plan.channels_last

    def setup(
        self, model: nn.Module, optimiser: torch.optim.Optimizer, methods: tuple[str, ...]
    ) -> tuple[nn.Module, torch.optim.Optimizer]:
        """Model and optimiser as they are called in training; `model` itself stays the one that is saved."""
        if self._channels_last:
            model.to(memory_format=torch.channels_last)
        # Only the call is compiled: parameters keep their names for the average and the saved weights.
        wrapped, optimiser = self._fabric.setup(torch.compile(model) if self._compile else model, optimiser)
        for method in methods:
            wrapped.mark_forward_method(method)
        return wrapped, optimiser

    def exchange(self, wrapped: nn.Module, last: bool) -> AbstractContextManager:
        """Within it a part is computed, forward and backward: gradients are exchanged with the last one only."""
        return self._fabric.no_backward_sync(wrapped, enabled=self.size > 1 and not last)

    def backward(self, loss: torch.Tensor) -> None:
        """Add gradients."""
        self._fabric.backward(loss)

    def clip(self, wrapped: nn.Module, optimiser: torch.optim.Optimizer, largest: float) -> torch.Tensor:
        """Scale the gradients down to a norm of at most `largest`; returns the norm they had."""
        return self._fabric.clip_gradients(wrapped, optimiser, max_norm=largest, error_if_nonfinite=False)

    def same_for_all(self, value):
        """The first process's value of something small, in all of them."""
        return self._fabric.broadcast(value) if self.size > 1 else value

    def mean(self, values: dict[str, float]) -> dict[str, float]:
        """The mean over the processes of some numbers."""
        if self.size == 1:
            return values
        packed = torch.tensor(list(values.values()), dtype=torch.float64, device=self.device)
        return dict(zip(values, self._fabric.all_reduce(packed, reduce_op="mean").tolist(), strict=True))

    def any(self, flag: bool) -> bool:
        """Whether the flag is raised in any process."""
        return self.mean({"flag": float(flag)})["flag"] > 0

    def wait(self) -> None:
        """Return when all processes have come here."""
        self._fabric.barrier()


def in_bfloat16(precision: str) -> bool:
    """Whether networks are evaluated in bfloat16: when asked for, or with "auto" on a GPU that has it."""
    if precision == "auto":
        return torch.cuda.is_available() and torch.cuda.is_bf16_supported()
    return precision == "bf16-mixed"


def started_together() -> tuple[int, int]:
    """Processes a node, and nodes, that torchrun or srun has started for one training; (1, 1) for a lone one.

    Raises:
        UserError: when nodes have different numbers of processes.
    """
    environ = os.environ
    if "TORCHELASTIC_RUN_ID" in environ:
        total, per_node = int(environ["WORLD_SIZE"]), int(environ["LOCAL_WORLD_SIZE"])
        nodes = int(environ["GROUP_WORLD_SIZE"])
    elif int(environ.get("SLURM_STEP_NUM_TASKS", 1)) > 1:
        total, nodes = int(environ["SLURM_STEP_NUM_TASKS"]), int(environ.get("SLURM_STEP_NUM_NODES", 1))
        per_node = total // nodes
    else:
        return 1, 1
    if per_node * nodes != total:
        raise UserError(f"training: {total} processes do not spread evenly over {nodes} nodes: start as many on each.")
    return per_node, nodes
