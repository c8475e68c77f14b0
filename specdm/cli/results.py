"""Tables, the report, and the schema of the configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from specdm.arguments import Out
from specdm.cli.app import verb

CONFIG = Path(__file__).parents[2] / "config"


@verb("metrics of many runs -> table")
def tabulate(
    metrics: Annotated[list[Path], typer.Argument(help="metric files (JSON)")],
    out: Out,
    out_seeds: Annotated[Path | None, typer.Option(help="also write downstream results per seed")] = None,
    paper: Annotated[
        Path, typer.Option(help="the paper's figures (config/paper_results.csv)", show_default=False)
    ] = CONFIG / "paper_results.csv",
    out_reconstruction: Annotated[
        Path | None, typer.Option(help="also write the ablation of the spectral angle")
    ] = None,
    paper_reconstruction: Annotated[
        Path, typer.Option(help="the paper's table 4 (config/paper_reconstruction.csv)", show_default=False)
    ] = CONFIG / "paper_reconstruction.csv",
) -> str:
    """Collect metric files into tables: of downstream results with --out-seeds, else of the synthesis."""
    from specdm.stages import tabulate as stage

    if out_seeds:
        return stage.downstream_tables(metrics, paper, out, out_seeds)
    made = stage.synthesis_table(metrics, out)
    if out_reconstruction:
        made += f", {stage.reconstruction_table(metrics, paper_reconstruction, out_reconstruction)}"
    return made


@verb("tables -> their headline columns on the screen")
def summarise(
    downstream: Annotated[Path, typer.Argument(help="table of downstream results")],
    synthesis: Annotated[Path | None, typer.Option(help="table of synthesis metrics")] = None,
) -> None:
    """Print the headline columns of a run's tables."""
    from specdm.stages.tabulate import summary

    print(summary(downstream, synthesis))


@verb("tables, pictures -> one HTML page")
def report(
    downstream: Annotated[Path, typer.Option(help="table of downstream results")],
    synthesis: Annotated[Path, typer.Option(help="table of synthesis metrics")],
    out: Out,
    picture: Annotated[list[Path], typer.Option(help="sample pictures, <dataset>/<method>/samples.png")] = [],  # noqa: B006
    patches: Annotated[list[Path], typer.Option(help="real patch sets")] = [],  # noqa: B006
    note: Annotated[str, typer.Option(help="a sentence for the top of the page")] = "",
) -> str:
    """Write one self-contained HTML page of a run."""
    from specdm.stages.report import report as stage

    stage(downstream, synthesis, picture, patches, out, note)
    return str(out)


@verb("nothing -> JSON schema of the configuration")
def schema(
    out: Out,
    reference: Annotated[
        Path | None, typer.Option(help="Markdown file whose tables of all keys are made anew (config/README.md)")
    ] = None,
) -> str:
    """Write the JSON schema of the configuration, and the reference of its keys."""
    from specdm import config, files
    from specdm.reference import with_tables

    files.write_json(out, config.schema())
    if reference is None:
        return str(out)
    text = with_tables(reference.read_text())
    with files.new_file(reference) as temporary:
        temporary.write_text(text)
    return f"{out}, {reference}"
