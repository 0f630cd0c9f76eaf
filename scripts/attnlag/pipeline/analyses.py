"""The optional analyses of a run: what asks for each, which files it makes, and where.

`ANALYSES` says what asks for an analysis: only then `workflow/Snakefile` includes its rules, and a
run makes its files, reports them and shows them. Those of each regression and of the comparison
stand in `targets.py`, as all files of no optional analysis do; all others here.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from attnlag.config.schema import Config

FilesByName = dict[str, list[str]]


@dataclass(frozen=True)
class AnalysisFiles:
    """The files that an analysis makes of a model and a corpus, for their own sake."""

    # Tables by name, their paths without an ending: each is there in Parquet and in CSV.
    tables: FilesByName
    # Its findings in words, by what they are of.
    findings: FilesByName
    figures: list[str] = field(default_factory=list)  # folders

    def tables_and_figures(self) -> list[str]:
        """Return the paths of the tables in both formats, and the folders of figures."""
        paths = []
        for stems in self.tables.values():
            for stem in stems:
                paths += [f"{stem}.parquet", f"{stem}.csv"]
        return [*paths, *self.figures]


@dataclass(frozen=True)
class Analysis:
    """An analysis that a configuration may leave out; its rules are in a file of their own."""

    asked: Callable[[Config], bool]
    # Its results below ``results/{model}/{corpus}/``; of a path with * each match is one.
    places: tuple[str, ...]
    # Returns its files, given the folder of a model and a corpus. None: they are those of a
    # regression or of the comparison, or inputs of other rules alone.
    files: Callable[[Config, str], AnalysisFiles] | None = None


def _compares(config: Config) -> bool:
    return len(config.models) * len(config.corpora) > 1


def _has_classes(config: Config) -> bool:
    return any(regression.slopes_by for regression in config.regressions.values())


def site_files(study: str, file: str, config: Config) -> list[str]:
    """Return the paths of a file that each site has."""
    return [f"{study}/{site}/{file}" for site in config.extraction.sites]


def _direction_files(config: Config, study: str) -> AnalysisFiles:
    return AnalysisFiles(
        tables={"directions": site_files(study, "geometry/means", config)},
        findings={"directions": site_files(study, "geometry/findings.txt", config)},
    )


def _head_files(config: Config, study: str) -> AnalysisFiles:
    folder = f"{study}/attention/heads"
    return AnalysisFiles(
        tables={
            "heads": [f"{folder}/heads"],
            "head_coefficients": [f"{folder}/head_coefficients"],
        },
        findings={"heads": [f"{folder}/findings.txt"]},
        figures=[f"{folder}/figures"] if config.figures_drawn("plot_heads") else [],
    )


def _readout_files(config: Config, study: str) -> AnalysisFiles:
    # Figures are of the readout and of sources, where there are any.
    folder = f"{study}/attention/sources"
    return AnalysisFiles(
        tables={"readout": site_files(study, "readout/means", config)},
        findings={"readout": site_files(study, "readout/findings.txt", config)},
        figures=[f"{folder}/figures"] if config.figures_drawn("plot_sources") else [],
    )


def _source_files(config: Config, study: str) -> AnalysisFiles:
    folder = f"{study}/attention/sources"
    return AnalysisFiles(
        tables={"shares": [f"{folder}/shares"], "lags": [f"{folder}/lags"]},
        findings={"sources": [f"{folder}/findings.txt"]},
    )


EFFECT_TABLES = ("total_effects", "prediction_vs_effect", "finite_effects", "elasticities")


def _intervention_files(config: Config, study: str) -> AnalysisFiles:
    folder = f"{study}/causal"
    figures = []
    if config.figures_drawn("plot_effects"):
        figures = [f"{folder}/figures/{pair}" for pair in config.pairs_changed()]
    return AnalysisFiles(
        tables={name: [f"{folder}/{name}"] for name in EFFECT_TABLES},
        findings={"causal": [f"{folder}/findings.txt"]},
        figures=figures,
    )


# In the order of the flow.
ANALYSES = {
    "permutations": Analysis(
        asked=lambda config: config.controls.permutation is not None,
        places=("*/*/permutations",),
    ),
    "untrained": Analysis(
        asked=lambda config: config.controls.random_weights is not None,
        places=("*/untrained*", "*/*/untrained*"),
    ),
    "training": Analysis(
        asked=lambda config: bool(config.models_with_revisions()),
        places=("*/revisions", "*/*/training.*", "*/*/training_layers.*", "stream/revisions"),
    ),
    "geometry": Analysis(
        asked=lambda config: config.measures("geometry"),
        places=("*/geometry", "*/centred_cosines", "*/distances"),
        files=_direction_files,
    ),
    "heads": Analysis(
        asked=lambda config: config.measures("heads"),
        places=("*/heads",),
        files=_head_files,
    ),
    # The section `sources` asks for both: every site has a readout, attention alone has sources.
    "readout": Analysis(
        asked=lambda config: config.sources is not None,
        places=("*/sources", "*/readout"),
        files=_readout_files,
    ),
    "sources": Analysis(
        asked=Config.with_sources,
        places=("*/source_parts", "*/sinks"),
        files=_source_files,
    ),
    "classes": Analysis(
        asked=_has_classes,
        # Each regression has its own, whether or not another has them.
        places=(),
    ),
    "interventions": Analysis(
        asked=lambda config: bool(config.sites_changed()),
        places=("causal",),
        files=_intervention_files,
    ),
    "comparison": Analysis(asked=_compares, places=()),
}


def is_asked(name: str, config: Config) -> bool:
    """Return whether a configuration asks for an analysis."""
    return ANALYSES[name].asked(config)


def asked_files(config: Config, study: str) -> list[AnalysisFiles]:
    """Return the files of each analysis that a configuration asks for and that has its own.

    ``study`` is the folder of a model and a corpus, ``results/{model}/{corpus}``; the names may
    also be those of Snakemake's wildcards.
    """
    files = []
    for analysis in ANALYSES.values():
        if analysis.files and analysis.asked(config):
            files.append(analysis.files(config, study))
    return files
