"""Training: the one resumable loop, on one device or several."""

from specdm.training.devices import in_bfloat16
from specdm.training.loop import fit
from specdm.training.plan import Part, Plan, Task, Trained, ema_decay_at, every, warmup_then
from specdm.training.record import made, write_history

__all__ = [
    "Part",
    "Plan",
    "Task",
    "Trained",
    "ema_decay_at",
    "every",
    "fit",
    "in_bfloat16",
    "made",
    "warmup_then",
    "write_history",
]
