"""What is installed, and what is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from specdm.arguments import Out
from specdm.cli.app import verb

REPOSITORY = Path(__file__).parents[2]


@verb("this machine -> what is there and what is missing")
def doctor(
    configfile: Annotated[
        list[Path], typer.Option(help="further configuration file, as for Snakemake; several: later ones win")
    ] = [],  # noqa: B006
    json: Annotated[Path | None, typer.Option(help="also write everything as JSON")] = None,
) -> None:
    """Print what a bug report needs and what is missing to run; exit status 1 when something is.

    Looks at packages, GPU, disk, SLURM, credentials (never their values) and the data sets of the configuration.
    """
    import os

    from specdm import files
    from specdm.doctor import as_json, examine, in_words, is_complete

    found = examine(REPOSITORY, configfile, os.environ, Path(os.path.expanduser("~")))
    print(in_words(found))
    if json is not None:
        files.write_json(json, as_json(found))
    if not is_complete(found):
        raise typer.Exit(1)


@verb("this environment -> versions of its packages (JSON)")
def versions(out: Out) -> str:
    """Write down the versions of all pinned packages, of Python, the GPU's driver and SLURM."""
    from specdm import files
    from specdm.doctor import versions as found

    data = found(REPOSITORY / "requirements.lock")
    files.write_json(out, data)
    return f"{len(data['packages'])} packages, {len(data['differs'])} not as pinned, in {out}"
