"""Tables and the report, collected from metric files."""


rule downstream_table:
    """Collect the downstream results: a row a data set, network and regime (the paper's tables 3, 5 and 6)."""
    input:
        metrics=downstream_metrics("downstream"),
        paper=f"{workflow.basedir}/config/paper_results.csv",
    output:
        table=f"{RESULTS}/tables/downstream.csv",
        text=f"{RESULTS}/tables/downstream.md",
        seeds=f"{RESULTS}/tables/downstream_seeds.csv",
        groups=f"{RESULTS}/tables/downstream_groups.csv",
        ldm=f"{RESULTS}/tables/ldm_comparison.csv",
        sizes=f"{RESULTS}/tables/augmentation_size.csv",
    log:
        f"{RESULTS}/logs/downstream_table.log",
    conda:
        "../envs/specdm.yaml"
    params:
        metrics=lambda wc, input: [f for f in input.metrics if f.endswith(".json")],
        single=single_stream(),
        version=stage_version("tabulate_downstream"),
    message:
        "Collecting the downstream tables"
    shell:
        "python -m specdm tabulate-downstream {params.metrics} --out {output.table} --out-seeds {output.seeds}"
        " --out-groups {output.groups} --out-ldm {output.ldm} {params.single} --out-sizes {output.sizes}"
        " --paper {input.paper:q} > {log} 2>&1"


rule comparison_table:
    """Collect the controls, or the scores against the number of labels; targets of their own."""
    input:
        metrics=lambda wc: downstream_metrics(wc.table)(wc),
        paper=f"{workflow.basedir}/config/paper_results.csv",
    output:
        table=f"{RESULTS}/tables/{{table}}.csv",
        text=f"{RESULTS}/tables/{{table}}.md",
        seeds=f"{RESULTS}/tables/{{table}}_seeds.csv",
        groups=f"{RESULTS}/tables/{{table}}_groups.csv",
    log:
        f"{RESULTS}/logs/{{table}}_table.log",
    wildcard_constraints:
        table="controls|label_curve",
    conda:
        "../envs/specdm.yaml"
    params:
        metrics=lambda wc, input: [f for f in input.metrics if f.endswith(".json")],
        version=stage_version("tabulate_downstream"),
    message:
        "Collecting the table {wildcards.table}"
    shell:
        "python -m specdm tabulate-downstream {params.metrics} --out {output.table} --out-seeds {output.seeds}"
        " --out-groups {output.groups} --paper {input.paper:q} > {log} 2>&1"


rule synthesis_table:
    """Collect what was measured of the synthetic sets: distances and spectra, the ablation of the angle, alignment."""
    input:
        metrics=per_method(f"{RESULTS}/metrics/{GENERATOR}/synthesis.json"),
        alignment=per_method(f"{RESULTS}/metrics/{GENERATOR}/alignment.json"),
        information=own_information,
        copies=per_method(f"{RESULTS}/metrics/{GENERATOR}/copies.json"),
        paper=f"{workflow.basedir}/config/paper_synthesis.csv",
        reconstruction=f"{workflow.basedir}/config/paper_reconstruction.csv",
    output:
        table=f"{RESULTS}/tables/synthesis.csv",
        ablation=f"{RESULTS}/tables/sad_ablation.csv",
        alignment=f"{RESULTS}/tables/alignment.csv",
        copies=f"{RESULTS}/tables/copies.csv",
    log:
        f"{RESULTS}/logs/synthesis_table.log",
    conda:
        "../envs/specdm.yaml"
    params:
        alignment=lambda wc, input: repeated(
            "--alignment", [*input.alignment, *input.information]
        ),
        copies=lambda wc, input: repeated("--copies", input.copies),
        version=stage_version("tabulate"),
    message:
        "Collecting the synthesis table"
    shell:
        "python -m specdm tabulate {input.metrics} --out {output.table} --out-reconstruction {output.ablation}"
        " --paper {input.paper:q} --paper-reconstruction {input.reconstruction:q} {params.alignment} --out-alignment {output.alignment}"
        " {params.copies} --out-copies {output.copies} > {log} 2>&1"


rule draw_downstream:
    """Draw scores against the amount of synthetic patches, confusions and predictions of a data set's networks."""
    input:
        patches=rules.prepare.output,
        metrics=drawn_files("metrics.json"),
        counts=drawn_files("confusion_groups.npy"),
        predictions=drawn_files("predictions.npy"),
    output:
        multiext(
            f"{RESULTS}/figures/{{dataset}}/downstream/",
            "amount.png",
            "confusion.png",
            "predictions.png",
        ),
    log:
        f"{RESULTS}/logs/draw_downstream/{{dataset}}.log",
    conda:
        "../envs/specdm.yaml"
    params:
        patches=where("patches"),
        out=subpath(output[0], parent=True),
        version=stage_version("draw_downstream"),
    message:
        "Drawing the downstream networks of {wildcards.dataset}"
    shell:
        "python -m specdm draw-downstream {input.metrics} --patches {params.patches} --out {params.out} > {log} 2>&1"


rule report:
    """Write the page with verdicts, tables and pictures."""
    input:
        downstream=rules.downstream_table.output.table,
        synthesis=rules.synthesis_table.output.table,
        alignment=rules.synthesis_table.output.alignment,
        copies=rules.synthesis_table.output.copies,
        ablation=rules.synthesis_table.output.ablation,
        pictures=lambda wc: [
            f"{RESULTS}/figures/{name}/{method}/{picture}"
            for name, dataset in CONFIG.datasets.items()
            for method in dataset.methods
            for picture in pictures_of(name, method)
        ],
        networks=expand(rules.draw_downstream.output, dataset=LABELLED),
        assumptions=f"{workflow.basedir}/docs/paper.md",
    output:
        f"{RESULTS}/report.html",
    log:
        f"{RESULTS}/logs/report.log",
    conda:
        "../envs/specdm.yaml"
    params:
        pictures=lambda wc, input: repeated(
            "--pictures",
            dict.fromkeys(str(Path(path).parent) for path in input.pictures),
        ),
        networks=repeated(
            "--downstream-pictures",
            [f"{RESULTS}/figures/{name}/downstream" for name in LABELLED],
        ),
        patches=repeated(
            "--patches", [f"{RESULTS}/patches/{name}" for name in LABELLED]
        ),
        note=page_note(),
        configuration=lambda wc: shown_configuration(),
        run=subpath(output[0], parent=True),
        version=stage_version("report"),
    message:
        "Writing the report"
    shell:
        "python -m specdm report --downstream {input.downstream} --synthesis {input.synthesis} --out {output}"
        " --alignment {input.alignment} --copies {input.copies} --ablation {input.ablation} --assumptions {input.assumptions:q}"
        " {params.pictures} {params.networks} {params.patches} {params.note} --run {params.run}"
        " --configuration {params.configuration:q} > {log} 2>&1"


rule costs_table:
    """Collect hours, GPU hours and memory of every stage of the run, all attempts of all jobs."""
    input:
        rules.downstream_table.output.table,
        rules.synthesis_table.output.table,
        rules.report.output,
    output:
        table=f"{RESULTS}/tables/costs.csv",
        text=f"{RESULTS}/tables/costs.md",
    log:
        f"{RESULTS}/logs/costs_table.log",
    conda:
        "../envs/specdm.yaml"
    params:
        run=subpath(output[0], ancestor=2),
        version=stage_version("tabulate_costs"),
    message:
        "Collecting what the run cost"
    shell:
        "python -m specdm tabulate-costs {params.run} --out {output.table} > {log} 2>&1"


rule versions:
    """Write down the versions of all packages, of the GPU's driver and of SLURM."""
    input:
        f"{workflow.basedir}/requirements.lock",
    output:
        f"{RESULTS}/versions.json",
    log:
        f"{RESULTS}/logs/versions.log",
    conda:
        "../envs/specdm.yaml"
    message:
        "Writing down versions"
    shell:
        "python -m specdm versions --out {output} > {log} 2>&1"
