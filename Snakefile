"""SpecDM: from raw satellite images to the table that says whether synthetic data helps.

    snakemake --profile workflow/profiles/local                        everything in the configuration, on one machine
    snakemake --profile slurm results/tables/downstream.csv            one table, on a cluster
    snakemake --profile workflow/profiles/local -R train_diffusion     one rule again, and what depends on it
    snakemake --list-rules                                             what the rules do

Settings: config/config.yaml, single keys overridden with --configfile (see config/README.md).
"""

import sys

from snakemake.utils import min_version

min_version("9.19")


configfile: f"{workflow.basedir}/config/config.yaml"


# The package next to this file, here and in every job, whatever the working directory or environment.
sys.path.insert(0, workflow.basedir)
shell.prefix(f"set -euo pipefail; export PYTHONPATH={workflow.basedir}; ")


include: "rules/common.smk"
include: "rules/data.smk"
include: "rules/autoencoder.smk"
include: "rules/diffusion.smk"
include: "rules/synthesis.smk"
include: "rules/measuring.smk"
include: "rules/steps.smk"
include: "rules/downstream.smk"
include: "rules/report.smk"


localrules:
    all,
    fetch_encoder,
    fetch_inception,
    downstream_table,
    comparison_table,
    synthesis_table,
    steps_table,
    report,


rule all:
    """Tables and report of every data set, method, network and regime in the configuration."""
    default_target: True
    input:
        f"{RESULTS}/tables/downstream.csv",
        f"{RESULTS}/tables/synthesis.csv",
        f"{RESULTS}/tables/sad_ablation.csv",
        f"{RESULTS}/report.html",
