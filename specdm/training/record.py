"""What a training tells: progress with its numbers, and the history that becomes a CSV file."""

from __future__ import annotations

import csv
from pathlib import Path

import torch

from specdm import files, memory
from specdm.progress import Progress


def write_history(path: Path, history: list[dict[str, float]]) -> None:
    """Write the rows of a training as CSV; rows may have different columns."""
    columns = list(dict.fromkeys(key for row in history for key in row))
    with files.new_file(path) as temporary, temporary.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, columns)
        writer.writeheader()
        writer.writerows(history)


def made(model: torch.nn.Module, steps: int, out: Path) -> str:
    """What a training made, for its command's last line: "1.3 million parameters, 700 steps in models/x"."""
    n = sum(p.numel() for p in model.parameters())
    size = f"{n / 1e6:.1f} million" if n >= 1e6 else str(n)
    return f"{size} parameters, {steps} steps in {out}"


class Record:
    """Collects the loss terms of steps into rows, keeps them in a CSV file, and says how far the training is.

    Args:
        name: of the training.
        steps: how many there will be.
        start: how many were taken before this run.
        history: their rows.
        sums: sums of the terms since the last row, with their number as "n".
        path: the CSV file, rewritten with every row; None in processes that write nothing.
        every_s: seconds between progress lines.
        device: whose memory is told.
    """

    def __init__(
        self,
        name: str,
        steps: int,
        start: int,
        history: list[dict[str, float]],
        sums: dict[str, float],
        path: Path | None,
        every_s: float,
        device: torch.device,
    ):
        self.history, self.sums = history, sums
        self._path, self._device = path, device
        self._progress = Progress(name, steps, "steps", every_s, start) if path else None

    def add(self, terms: dict[str, float]) -> None:
        """Note the loss terms of one step."""
        for key, value in {**terms, "n": 1.0}.items():
            self.sums[key] = self.sums.get(key, 0.0) + value

    def row(self, step: int, more: dict[str, float]) -> None:
        """End an interval at `step`: the mean of its terms, and `more`, become a row."""
        n = self.sums.pop("n")
        self.history.append({"step": step, **{key: value / n for key, value in self.sums.items()}, **more})
        self.sums.clear()
        if self._path:
            write_history(self._path, self.history)

    def tell(self, step: int, waited: float, speak: bool) -> None:
        """Say how far the training is; `waited` is the share of its time that it waited for data."""
        if self._progress:
            numbers = {k: v for k, v in (self.history or [{}])[-1].items() if k != "step"}
            text = "  ".join(f"{key} {value:.4g}" for key, value in numbers.items())
            self._progress.update(step, f"{text}  memory {self.memory_gib():.1f} GiB  data {waited:.0%}", speak)

    def close(self) -> None:
        """The training is over, early or not."""
        if self._progress:
            self._progress.close()

    def memory_gib(self) -> float:
        """The most memory used so far: of the GPU, or of the process."""
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device) / 2**30
        return memory.peak_mb() / 1024
