"""Tables, the report, and the schema of the configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from specdm.arguments import Out, Patches, read_section
from specdm.cli.app import verb

CONFIG = Path(__file__).parents[2] / "config"


@verb("downstream metrics -> tables of scores")
def tabulate_downstream(
    metrics: Annotated[list[Path], typer.Argument(help="metrics.json of trainings, confusion_groups.npy beside them")],
    out: Annotated[Path, typer.Option(help="table of regimes (CSV), beside it a readable one (.md)")],
    out_seeds: Annotated[Path, typer.Option(help="table of single trainings (CSV)")],
    out_groups: Annotated[Path, typer.Option(help="table of test groups (CSV)")],
    paper: Annotated[
        Path, typer.Option(help="the paper's figures (config/paper_results.csv)", show_default=False)
    ] = CONFIG / "paper_results.csv",
    out_ldm: Annotated[
        Path | None,
        typer.Option(help="also write the comparison with single streams (CSV and .md), the paper's table 5"),
    ] = None,
    single_stream: Annotated[list[str], typer.Option(help="method of a single stream, for --out-ldm")] = [],  # noqa: B006
    out_sizes: Annotated[
        Path | None, typer.Option(help="also write scores by augmentation size (CSV and .md), the paper's table 6")
    ] = None,
) -> str:
    """Collect downstream results: means, spread, and differences to real patches alone with their intervals."""
    from specdm.stages.tabulate_downstream import Outputs, downstream_tables

    return downstream_tables(metrics, paper, Outputs(out, out_seeds, out_groups, out_ldm, out_sizes), single_stream)


@verb("metrics of synthetic sets -> table")
def tabulate(
    metrics: Annotated[list[Path], typer.Argument(help="metric files (JSON)")],
    out: Out,
    out_reconstruction: Annotated[
        Path | None, typer.Option(help="also write the ablation of the spectral angle")
    ] = None,
    paper_reconstruction: Annotated[
        Path, typer.Option(help="the paper's table 4 (config/paper_reconstruction.csv)", show_default=False)
    ] = CONFIG / "paper_reconstruction.csv",
    paper: Annotated[
        Path, typer.Option(help="the paper's tables 1 and 2 (config/paper_synthesis.csv)", show_default=False)
    ] = CONFIG / "paper_synthesis.csv",
    alignment: Annotated[list[Path], typer.Option(help="files of check-alignment (JSON)")] = [],  # noqa: B006
    out_alignment: Annotated[Path | None, typer.Option(help="also write the scores of alignment")] = None,
    copies: Annotated[list[Path], typer.Option(help="files of check-copies (JSON)")] = [],  # noqa: B006
    out_copies: Annotated[Path | None, typer.Option(help="also write what was found of copies")] = None,
) -> str:
    """Collect the metrics of synthetic sets into tables."""
    from specdm.stages import tabulate as stage

    made = stage.synthesis_table(metrics, paper, out)
    if out_reconstruction:
        made += f", {stage.reconstruction_table(metrics, paper_reconstruction, out_reconstruction)}"
    for found, table in ((alignment, out_alignment), (copies, out_copies)):
        if table:
            made += f", {stage.rows_table(found, table)}"
    return made


@verb("metrics by number of sampling steps -> table, picture")
def tabulate_steps(
    metrics: Annotated[list[Path], typer.Argument(help="files of evaluate, in folders named steps<n>")],
    out: Annotated[Path, typer.Option(help="table (CSV)")],
    picture: Annotated[Path, typer.Option(help="picture, without a suffix: a .png and a .pdf are written")],
    alignment: Annotated[list[Path], typer.Option(help="files of check-alignment, in such folders")] = [],  # noqa: B006
) -> str:
    """Compare samples drawn with different numbers of sampling steps."""
    from specdm.stages.tabulate_steps import tabulate_steps as stage

    return stage(metrics, alignment, out, picture)


@verb("records of a run -> table of hours and memory")
def tabulate_costs(
    run: Annotated[Path, typer.Argument(help="folder of the run, with logs and benchmarks")],
    out: Annotated[Path, typer.Option(help="table (CSV), beside it a readable one (.md)")],
) -> str:
    """Add up what every stage of a run cost: jobs and their attempts, hours, GPU hours, memory."""
    from specdm.stages.tabulate_costs import tabulate_costs as stage

    return stage(run, out)


@verb("tables -> their headline columns on the screen")
def summarise(
    downstream: Annotated[Path, typer.Argument(help="table of downstream results")],
    synthesis: Annotated[Path | None, typer.Option(help="table of synthesis metrics")] = None,
    alignment: Annotated[Path | None, typer.Option(help="table of alignment scores")] = None,
) -> None:
    """Print the headline columns of a run's tables."""
    from specdm.stages.tabulate import summary

    print(summary(downstream, synthesis, alignment))


@verb("test scores and predictions of many runs -> pictures")
def draw_downstream(
    metrics: Annotated[list[Path], typer.Argument(help="metrics.json of all downstream trainings of one data set")],
    patches: Patches,
    out: Annotated[Path, typer.Option(help="folder of the pictures, complete or not at all")],
) -> str:
    """Draw what the downstream networks of a data set scored, confused and predicted.

    Writes amount.png (scores against the number of synthetic patches), and of the network of the first metrics
    confusion.png and predictions.png.
    """
    from specdm.stages.draw_downstream import draw_downstream as stage

    return stage(metrics, patches, out)


@verb("tables, pictures -> one HTML page")
def report(
    downstream: Annotated[Path, typer.Option(help="table of downstream results")],
    synthesis: Annotated[Path, typer.Option(help="table of synthesis metrics")],
    out: Out,
    alignment: Annotated[Path | None, typer.Option(help="table of how masks fit")] = None,
    copies: Annotated[Path | None, typer.Option(help="table of what was found of copies")] = None,
    ablation: Annotated[Path | None, typer.Option(help="table of reconstruction, as the paper's table 4")] = None,
    pictures: Annotated[list[Path], typer.Option(help="folders <dataset>/<method>: all PNG files are shown")] = [],  # noqa: B006
    downstream_pictures: Annotated[
        list[Path], typer.Option(help="folders of draw-downstream, <dataset>/downstream")
    ] = [],  # noqa: B006
    patches: Annotated[list[Path], typer.Option(help="real patch sets")] = [],  # noqa: B006
    note: Annotated[str, typer.Option(help="sentences for the top of the page")] = "",
    configuration: Annotated[
        str | None, typer.Option(help="the whole configuration as JSON text or as a .json or .yaml file")
    ] = None,
    run: Annotated[
        Path | None, typer.Option(help="folder of the run: times and provenance are read where they lie")
    ] = None,
    assumptions: Annotated[
        Path, typer.Option(help="document with the table of what was assumed (docs/paper.md)", show_default=False)
    ] = CONFIG.parent / "docs" / "paper.md",
) -> str:
    """Write one self-contained HTML page of a run: verdicts, tables, pictures, what was run and assumed."""
    from specdm.config import Config
    from specdm.stages.report import Tables
    from specdm.stages.report import report as stage

    return stage(
        Tables(downstream, synthesis, alignment, copies, ablation),
        out,
        pictures,
        downstream_pictures,
        patches,
        note,
        read_section(Config, configuration) if configuration else None,
        run,
        assumptions,
    )


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
