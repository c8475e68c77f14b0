"""Tables and the report, collected from metric files."""


def downstream_metrics(wildcards):
    return [
        f"{RESULTS}/downstream/{name}/{folder_of(network)}/{regime}/seed{seed}/metrics.json"
        for name, dataset in CONFIG.datasets.items()
        for network in dataset.networks
        for regime in dataset.regimes
        for seed in CONFIG.seeds
    ]


def per_method(pattern):
    return lambda wildcards: [
        pattern.format(dataset=name, method=method)
        for name, dataset in CONFIG.datasets.items()
        for method in dataset.methods
    ]


rule downstream_table:
    """Collect the downstream results: one row a data set, network and regime; and one row a seed."""
    input:
        metrics=downstream_metrics,
        paper=f"{workflow.basedir}/config/paper_results.csv",
    output:
        table=f"{RESULTS}/tables/downstream.csv",
        seeds=f"{RESULTS}/tables/downstream_seeds.csv",
    log:
        f"{RESULTS}/logs/downstream_table.log",
    conda:
        "../envs/specdm.yaml"
    params:
        version=stage_version("tabulate"),
    message:
        "Collecting the downstream table"
    shell:
        "python -m specdm tabulate {input.metrics} --out {output.table} --out-seeds {output.seeds}"
        " --paper {input.paper:q} > {log} 2>&1"


rule synthesis_table:
    """Collect the metrics of the synthetic sets and the ablation of the spectral angle: one row a data set and method."""
    input:
        metrics=per_method(f"{RESULTS}/metrics/{{dataset}}/{{method}}/synthesis.json"),
        paper=f"{workflow.basedir}/config/paper_reconstruction.csv",
    output:
        table=f"{RESULTS}/tables/synthesis.csv",
        ablation=f"{RESULTS}/tables/sad_ablation.csv",
    log:
        f"{RESULTS}/logs/synthesis_table.log",
    conda:
        "../envs/specdm.yaml"
    params:
        version=stage_version("tabulate"),
    message:
        "Collecting the synthesis table"
    shell:
        "python -m specdm tabulate {input.metrics} --out {output.table} --out-reconstruction {output.ablation}"
        " --paper-reconstruction {input.paper:q} > {log} 2>&1"


def simulation_note():
    """The report's --note when images are simulated, else nothing."""
    simulated = [
        name
        for name, dataset in CONFIG.datasets.items()
        if dataset.origin == "simulate"
    ]
    if not simulated:
        return ""
    return f"--note 'The images of {' and '.join(simulated)} are simulated.'"


rule report:
    """Write the page with tables and pictures."""
    input:
        downstream=rules.downstream_table.output.table,
        synthesis=rules.synthesis_table.output.table,
        pictures=per_method(f"{RESULTS}/figures/{{dataset}}/{{method}}/samples.png"),
        spectra=per_method(f"{RESULTS}/figures/{{dataset}}/{{method}}/spectra.png"),
    output:
        f"{RESULTS}/report.html",
    log:
        f"{RESULTS}/logs/report.log",
    conda:
        "../envs/specdm.yaml"
    params:
        pictures=lambda wc, input: " ".join(
            f"--picture {path}" for path in input.pictures
        ),
        patches=" ".join(
            f"--patches {RESULTS}/patches/{name}" for name in CONFIG.datasets
        ),
        note=simulation_note(),
        version=stage_version("report"),
    message:
        "Writing the report"
    shell:
        "python -m specdm report --downstream {input.downstream} --synthesis {input.synthesis} --out {output}"
        " {params.pictures} {params.patches} {params.note} > {log} 2>&1"
