"""The verbs of the workflow, one module each; only they know both a path and a model."""

from __future__ import annotations

import ast
from pathlib import Path


def stage_version(stage: str) -> int:
    """STAGE_VERSION of a stage's module, read without importing it, so that a dry run stays fast.

    The integer is raised by hand when a stage's results change; it is a parameter of the stage's rule.
    """
    tree = ast.parse((Path(__file__).parent / f"{stage}.py").read_text())
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", None) == "STAGE_VERSION":
            return ast.literal_eval(node.value)
    raise KeyError(f"stages/{stage}.py defines no STAGE_VERSION")
