"""The files that a run makes, and the tables that its words are made from.

Rules state how a file is made. This module states which files a configuration asks for: those of
each model and corpus, then of their comparison, then of the whole run.
"""

from collections.abc import Callable, Iterable

from attnlag.config.schema import Config
from attnlag.pipeline.analyses import FilesByName, asked_files, is_asked, site_files
from attnlag.quantities.catalogue import OPTIONAL

# Tables of each regression that has such.
TRAINING_TABLES = ("training", "training_layers")
CLASS_TABLES = ("classes", "equal_slopes", "nested_models")


def studies(config: Config) -> list[tuple[str, str]]:
    """Return each model with each corpus."""
    return [(model, corpus) for model in config.models for corpus in config.corpora]


def in_both_formats(folder: str, *names: str) -> dict[str, str]:
    """Return the paths of tables by name: in Parquet, and in CSV as ``{name}_csv``."""
    paths = {}
    for name in names:
        paths[name] = f"{folder}/{name}.parquet"
        paths[f"{name}_csv"] = f"{folder}/{name}.csv"
    return paths


def final_targets(config: Config) -> list[str]:
    """Return the files that `rule all` asks for, besides the output of its last job, check_fits."""
    files = []
    for model, corpus in studies(config):
        files += study_targets(config, model, corpus)
    if is_asked("comparison", config):
        files += comparison_targets(config)
    files += in_both_formats("results", "claims").values()
    files.append("results/answers.txt")
    files.append("results/explorer.html")
    return files


def study_targets(config: Config, model: str, corpus: str) -> list[str]:
    """Return the files of a model and a corpus."""
    study = f"results/{model}/{corpus}"
    files = [*in_both_formats(study, "token_summary").values()]
    for shard in config.shards(corpus):
        files.append(f"{study}/token_properties/{shard}.parquet")
    for name in config.quantities_measured():
        files += quantity_files(config, name, model, corpus)

    for site in config.extraction.sites:
        if config.figures_drawn("plot_adjustments"):
            files.append(f"{study}/{site}/figures")
        for regression in config.regressions:
            files += regression_targets(config, model, corpus, site, regression)
    if len(config.extraction.sites) > 1 and config.figures_drawn("plot_sites"):
        for regression in config.regressions:
            files.append(f"{study}/figures/{regression}")

    for analysis in asked_files(config, study):
        files += analysis.tables_and_figures()
    for paths in findings_files(config, model, corpus).values():
        files += paths
    return files


def quantity_files(config: Config, name: str, model: str, corpus: str) -> list[str]:
    """Return the files of a quantity that the extraction measures: of each site, and shard."""
    files = []
    for shard in config.shards(corpus):
        pattern = OPTIONAL[name].pattern(f"{shard}.parquet")
        for site in config.extraction.sites:
            files.append(pattern.format(model=model, corpus=corpus, site=site))
    # Quantities of the model have no site.
    return list(dict.fromkeys(files))


def regression_targets(
    config: Config, model: str, corpus: str, site: str, regression: str
) -> list[str]:
    """Return the files of a regression at a site."""
    folder = f"results/{model}/{corpus}/{site}/{regression}"
    files = [*in_both_formats(folder, *fitted_tables(config)).values()]
    if config.regressions[regression].slopes_by:
        files += in_both_formats(folder, *CLASS_TABLES).values()
        if config.figures_drawn("plot_classes"):
            files.append(f"{folder}/classes/figures")
    if regression in regressions_of_checkpoints(config, model):
        files += in_both_formats(folder, *TRAINING_TABLES).values()
        files.append(f"{folder}/training/figures")
    if has_figures_of_regression(config, regression):
        files.append(f"{folder}/figures")
    return files


def fitted_tables(config: Config) -> list[str]:
    """Return the names of the tables of a regression that are stored in both formats."""
    names = ["coefficients", "medians", "fits", "influence", "controls", "groups"]
    if is_asked("untrained", config):
        names.append("untrained_scales")
    return names


def has_figures_of_regression(config: Config, regression: str) -> bool:
    """Return whether a run draws the figures of a regression.

    Some figures are drawn for the first regression alone: the page shows the others.
    """
    figures = config.figures_drawn("plot_regression")
    if not figures:
        return False
    first = next(iter(config.regressions))
    return regression == first or not all(figure.first_regression for figure in figures)


def regressions_of_checkpoints(config: Config, model: str) -> list[str]:
    """Return the regressions that are fitted to earlier checkpoints of a model, if it has any."""
    if model not in config.models_with_revisions():
        return []
    return config.regressions_of_training()


def comparison_targets(config: Config) -> list[str]:
    """Return the files of the comparison of models and corpora."""
    files = [*in_both_formats("results/comparison", "coefficients", "pairs", "claims").values()]
    files.append("results/comparison/findings.txt")
    if config.figures_drawn("plot_comparison"):
        for site in config.extraction.sites:
            for regression in config.regressions:
                files.append(f"results/comparison/figures/{site}/{regression}")
    return files


def findings_files(config: Config, model: str, corpus: str) -> FilesByName:
    """Return the findings of a model and a corpus by what they are of.

    The names may also be those of Snakemake's wildcards, ``{model}`` and ``{corpus}``.
    """
    study = f"results/{model}/{corpus}"
    files = {}
    files["regressions"] = _regression_files(study, "findings.txt", config, config.regressions)
    for analysis in asked_files(config, study):
        files |= analysis.findings
    return files


def _regression_files(
    study: str, file: str, config: Config, regressions: Iterable[str]
) -> list[str]:
    """Return the paths of a file that each of some regressions has, at each site."""
    paths = []
    for site in config.extraction.sites:
        for regression in regressions:
            paths.append(f"{study}/{site}/{regression}/{file}")
    return paths


# Inputs of write_claims, write_findings and build_explorer. None of them is a target by being here.


def regression_tables(config: Config, model: str, corpus: str) -> FilesByName:
    """Return the tables of the fits of a model and a corpus by name.

    The names may also be those of Snakemake's wildcards, ``{model}`` and ``{corpus}``.
    """
    study = f"results/{model}/{corpus}"
    files = {}
    for name in fitted_tables(config):
        files[name] = _regression_files(study, f"{name}.parquet", config, config.regressions)
    return files


def claimed_tables(config: Config, model: str, corpus: str) -> FilesByName:
    """Return the tables by name from which the claims of a model and a corpus are made."""
    study = f"results/{model}/{corpus}"
    files = regression_tables(config, model, corpus)
    if is_asked("training", config):
        fitted = regressions_of_checkpoints(config, model)
        files["training"] = _regression_files(study, "training.parquet", config, fitted)
    if is_asked("classes", config):
        by_class = [name for name, stated in config.regressions.items() if stated.slopes_by]
        for name in CLASS_TABLES:
            files[name] = _regression_files(study, f"{name}.parquet", config, by_class)
    for analysis in asked_files(config, study):
        for name, paths in analysis.tables.items():
            files[name] = [f"{path}.parquet" for path in paths]
    return files


def explorer_tables(config: Config, model: str, corpus: str) -> FilesByName:
    """Return the tables by name that the page of a run shows of a model and a corpus."""
    study = f"results/{model}/{corpus}"
    regressions = list(config.regressions)
    files = claimed_tables(config, model, corpus)
    if is_asked("training", config):
        fitted = regressions_of_checkpoints(config, model)
        name = "training_layers"
        files[name] = _regression_files(study, f"{name}.parquet", config, fitted)

    study_tables = ["tokens", "token_properties", *config.quantities_of_model()]
    names = [*study_tables, "norms", "design"]
    if is_asked("sources", config):
        names.append("sources")
    for name in names:
        files[name] = []
    for shard in config.shards(corpus):
        file = f"{shard}.parquet"
        for name in study_tables:
            files[name].append(f"{study}/{name}/{file}")
        files["norms"] += site_files(study, f"norms/{file}", config)
        files["design"] += _regression_files(study, f"design/{file}", config, regressions)
        if is_asked("sources", config):
            files["sources"].append(f"{study}/attention/sources/{file}")
    return files


def all_study_files(
    files_of_study: Callable[[Config, str, str], FilesByName], config: Config
) -> FilesByName:
    """Return the files by name of all models and corpora, given the function for one of each."""
    files: FilesByName = {}
    for model, corpus in studies(config):
        for name, paths in files_of_study(config, model, corpus).items():
            files.setdefault(name, []).extend(paths)
    return files
