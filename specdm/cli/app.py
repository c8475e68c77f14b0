"""The command that all verbs belong to, and how they are registered."""

from __future__ import annotations

import contextlib
import functools
import os
import time
from collections.abc import Callable
from pathlib import Path

import typer

from specdm.progress import duration

app = typer.Typer(
    help="Labelled multispectral training data from a joint latent diffusion model of image and mask.\n\n"
    "All at once: `snakemake --profile workflow/profiles/local` takes the data sets of config/config.yaml through the "
    "whole chain, and a second time only through what changed; `make demo` does so with simulated images.\n\n"
    "Step by step: the commands stand in the order of the chain, each with what it takes -> what it gives. "
    "Your own labelled images: docs/own-data.md.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def verb(overview: str, name: str | None = None) -> Callable:
    """Register a command under its line of the overview; it returns what it made, printed last with its time.

    Its name is that of the function, unless `name` gives one that no function can have (import).
    """

    def register(command: Callable[..., str | None]) -> Callable:
        called = name or command.__name__.replace("_", "-")

        @functools.wraps(command)
        def run(*args, **kwargs) -> None:
            started = time.monotonic()
            with alone_in(kwargs.get("state")):
                made = command(*args, **kwargs)
            if made:
                print(f"{called}: {made}, {duration(time.monotonic() - started)}", flush=True)

        return app.command(called, short_help=overview)(run)

    return register


def alone_in(state: Path | None) -> contextlib.AbstractContextManager:
    """Within it no other command works in the same state.

    The lock is held by the launcher where there is one. Processes that torchrun started by hand are not locked: they
    would have to wait for each other.
    """
    from specdm import lock

    if state is None or "RANK" in os.environ or os.environ.get(lock.HELD) == str(lock.of(state)):
        return contextlib.nullcontext()
    return lock.held(lock.of(state))
