# The graph of notebooks. Started by `make figures`; `make figures EXECUTOR=slurm` runs the same file on a cluster.
from workbook.profiles import PROFILES
from workbook.tools.run import inputs, notebooks


wildcard_constraints:
    profile="|".join(PROFILES),
    seed=r"\d+",
    notebook="|".join(notebooks()),


localrules:
    all,


rule all:
    input:
        expand("build/full/seed0/{notebook}.ipynb", notebook=notebooks()),


# Notebooks that share a model do not wait for each other: the first to need it trains it, and the others use that.
# Figures and results are not listed as outputs, because Snakemake deletes the outputs of a failed job: the runner
# moves them into figures/ once the notebook has succeeded, and the executed copy last.
rule notebook:
    input:
        lambda wildcards: inputs(wildcards.notebook, wildcards.profile, int(wildcards.seed)),
    output:
        "build/{profile}/seed{seed}/{notebook}.ipynb",
    benchmark:
        "build/{profile}/seed{seed}/{notebook}.benchmark.tsv"
    threads: int(config.get("threads", 1))
    shell:
        "python -m workbook.tools.run notebook {wildcards.notebook:q} --profile {wildcards.profile} --seed {wildcards.seed}"
