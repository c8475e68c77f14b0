"""A training small enough for tests; scripts that run in processes of their own import it as well."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import torch
from torch import nn

from specdm.training import Part, Plan, Task, Trained, fit, warmup_then

ROOT = Path(__file__).parents[2]
FINGERPRINT = {"settings": {"lr": 0.05}, "data": "abc"}


class Network(nn.Module):
    """Two layers with something between them."""

    def __init__(self, middle: nn.Module):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, 8), middle, nn.ReLU(), nn.Linear(8, 1))

    def forward(self, x):
        return self.layers(x)

    def negated(self, x):
        return -self.layers(x)


def with_batch_norm() -> Network:
    """Has a buffer that moves, as the downstream networks have."""
    return Network(nn.BatchNorm1d(8))


def with_dropout() -> Network:
    return Network(nn.Dropout(0.3))


def plain() -> Network:
    return Network(nn.Identity())


def data_at(part: Part):
    """The step's number and the part's own rows of the step's batch."""
    generator = torch.Generator().manual_seed(part.step)
    return part.step, part.take(torch.randn(16, 3, generator=generator))


def losses(model, data, device):
    x = data[1].to(device)
    return {"total": (model(x) - x.sum(1, keepdim=True)).square().mean()}


def two_terms(model, data, device):
    x = data[1].to(device)
    error, size = (model(x) - x.sum(1, keepdim=True)).square().mean(), model(x).abs().mean()
    return {"total": error + 0.1 * size, "error": error, "size": size}


def of_a_method(model, data, device):
    return {"total": (model.negated(data[1]) + data[1].sum(1, keepdim=True)).square().mean()}


def stops_at(step_to_stop: int, losses=losses):
    """Losses that bring SIGTERM in a step."""

    def stopping(model, data, device):
        if data[0] == step_to_stop:
            os.kill(os.getpid(), signal.SIGTERM)
        return losses(model, data, device)

    return stopping


def train(
    state: Path,
    steps=20,
    losses=losses,
    fingerprint=FINGERPRINT,
    validate=None,
    factor=None,
    ids=None,
    network=with_batch_norm,
    data_at=data_at,
    batch=16,
    forward_methods=(),
    **plan,
) -> Trained:
    torch.manual_seed(0)
    model = network()
    return fit(
        model,
        torch.optim.AdamW(model.parameters(), 0.05),
        Task(data_at, losses, batch, ids, validate),
        factor or warmup_then(steps, "poly", 4),
        Plan(steps, **plan),
        state,
        fingerprint,
        forward_methods,
    )


def same(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def alike(a: dict, b: dict, rtol: float = 1e-5, atol: float = 1e-6) -> bool:
    return a.keys() == b.keys() and all(torch.allclose(a[key], b[key], rtol, atol) for key in a)


def run_script(script: Path, text: str, processes: int = 1, environment: dict | None = None) -> tuple[int, str]:
    """Run a script in one process, or in several that torchrun starts; its exit status and all it said."""
    script.write_text(text)
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    command = [sys.executable, *(launcher if processes > 1 else []), str(script)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"} | (environment or {})
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    with subprocess.Popen(command, env=environment, **pipes) as running:
        try:
            said, _ = running.communicate(timeout=120)
        except subprocess.TimeoutExpired:
            running.terminate()  # the launcher ends its processes; killed, it would leave them behind
            raise
    return running.returncode, said
