"""`specdm <verb>`: one verb a stage of the workflow. Heavy imports stand inside the commands: help is instant."""

from __future__ import annotations

import os
import sys
from pathlib import Path

# In the order of the chain, which is that of the overview: importing them registers their verbs.
# isort: off
from specdm.cli import data, generator, measuring, downstream, exchange, results, setup  # noqa: F401

# isort: on
from specdm.cli.app import app
from specdm.errors import PAUSED, Paused, UserError


def main() -> None:
    """Run the command line: one sentence and exit status 1 for what a user can mend, 75 for work that was paused."""
    try:
        app()
    except UserError as error:
        sys.exit(f"error: {error}")
    except Paused as pause:
        print(pause, file=sys.stderr)
        if note := os.environ.get("SPECDM_PAUSED"):  # a launcher of several processes does not learn the exit status
            Path(note).touch()
        sys.exit(PAUSED)
