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
# Jobs that the executor sends elsewhere have a time limit of their own.
ON_CLUSTER = "export SPECDM_ON_CLUSTER=1; " if workflow.remote_exec else ""
shell.prefix(f"set -euo pipefail; export PYTHONPATH={workflow.basedir}; {ON_CLUSTER}")


include: "rules/common.smk"
include: "rules/common_generator.smk"
include: "rules/common_downstream.smk"
include: "rules/data.smk"
include: "rules/autoencoder.smk"
include: "rules/diffusion.smk"
include: "rules/synthesis.smk"
include: "rules/measuring.smk"
include: "rules/information.smk"
include: "rules/steps.smk"
include: "rules/downstream.smk"
include: "rules/report.smk"


# Light work, and what needs the network, which compute nodes often lack.
localrules:
    all,
    acquire,
    download,
    fetch_encoder,
    fetch_inception,
    simulate,
    downstream_table,
    comparison_table,
    synthesis_table,
    steps_table,
    draw_downstream,
    report,
    costs_table,
    versions,


rule all:
    """Tables and report of every data set, method, network and regime in the configuration, and what they cost."""
    default_target: True
    input:
        f"{RESULTS}/tables/downstream.csv",
        f"{RESULTS}/tables/synthesis.csv",
        f"{RESULTS}/tables/sad_ablation.csv",
        f"{RESULTS}/report.html",
        f"{RESULTS}/tables/costs.csv",
        f"{RESULTS}/versions.json",
        expand(f"{RESULTS}/patches/{{dataset}}/meta.json", dataset=UNLABELLED),
