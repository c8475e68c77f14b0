"""`specdm <verb>`: one verb a stage of the workflow. Heavy imports stand inside the commands: help is instant."""

from __future__ import annotations

import sys

from specdm.cli import data, downstream, generator, measuring, results  # noqa: F401  registers their verbs, in the chain's order
from specdm.cli.app import app
from specdm.errors import TrainingPaused, UserError

PAUSED = 75  # exit status that means: saved, the same command goes on


def main() -> None:
    """Run the command line: one sentence and exit status 1 for what a user can mend, 75 for a paused training."""
    try:
        app()
    except UserError as error:
        sys.exit(f"error: {error}")
    except TrainingPaused as pause:
        print(pause, file=sys.stderr)
        sys.exit(PAUSED)
