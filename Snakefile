# The graph of notebooks. Started by `make figures`; the same file runs on a cluster through Snakemake's
# executor plugins, for example: snakemake --executor slurm -j 20 build/report/seed0/21_scoreboard.ipynb
from glob import glob

from lib.profiles import PROFILES
from lib.runner import needs, notebooks


wildcard_constraints:
    profile="|".join(PROFILES),
    seed=r"\d+",
    notebook="|".join(notebooks()),


localrules:
    all,


rule all:
    input:
        expand("build/standard/seed0/{notebook}.ipynb", notebook=notebooks()),


# Figures and results are not listed as outputs, because Snakemake deletes the outputs of a failed job: the runner
# renames them into figures/ when the notebook has succeeded, and its executed copy last.
rule notebook:
    input:
        "notebooks/{notebook}.ipynb",
        "data/manifest.json",
        "data/reports.toml",
        glob("lib/**/*.py", recursive=True),
        lambda wildcards: expand(
            "build/{profile}/seed{seed}/{needed}.ipynb",
            profile=wildcards.profile,
            seed=wildcards.seed,
            needed=needs(wildcards.notebook),
        ),
    output:
        "build/{profile}/seed{seed}/{notebook}.ipynb",
    benchmark:
        "build/{profile}/seed{seed}/{notebook}.benchmark.tsv"
    threads: int(config.get("threads", 2))
    shell:
        "python -m lib.runner notebook {wildcards.notebook} --profile {wildcards.profile} --seed {wildcards.seed}"
