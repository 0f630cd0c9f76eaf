"""The stages of the workflow: the settings that change what each makes, and its code.

`STAGES` is the table. A stage's function there fills the class of its settings, which stands in
``settings.py`` of the stage's package, from the sections of the configuration that it sees; a
setting on which several sections bear is stated by name. A few settings that no section checks
again, such as those of figures, are a plain dict. The parameters of the stage's rule are these
settings as one JSON text and a digest of the code, so a stage runs again when these change and not
when others do. Its program reads the same text.
"""

import functools
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from attnlag.config.schema import Config
from attnlag.corpus.settings import (
    Corpus,
    CorpusSettings,
    DatasetSettings,
    Tagger,
    TokensSettings,
)
from attnlag.escaping import text_for
from attnlag.interventions.settings import EffectsSettings
from attnlag.quantities.catalogue import OUTCOMES, changeable
from attnlag.quantities.settings import (
    ExtractionSettings,
    Norms,
    RevisionSettings,
    TracingSettings,
    UntrainedSettings,
)
from attnlag.regression.settings import (
    BuildDesignSettings,
    ClassesSettings,
    ClassProductsSettings,
    DesignSettings,
    ElasticitiesSettings,
    GeometrySettings,
    LagsOfPartsSettings,
    Level,
    PermutationsSettings,
    RegressionSettings,
    TrainingSettings,
)
from attnlag.section import Section

Settings = TypeVar("Settings", bound=Section)


class Names(NamedTuple):
    """The names that identify a job: Snakemake's wildcards, as far as its stage has them."""

    model: str = ""
    corpus: str = ""
    site: str = ""
    regression: str = ""
    pair: str = ""
    step: str = ""  # of training


def from_sections(kind: type[Settings], *sections: Section | None, **others: Any) -> Settings:
    """Return settings with the keys that they share with sections, and with others by name."""
    values = {
        key: getattr(section, key)
        for section in sections
        if section is not None
        for key in type(section).model_fields
        if key in kind.model_fields
    }
    return kind(**values | others)


def model_settings(config: Config, names: Names) -> dict[str, Any]:
    return config.models[names.model].origin()


def fetched_revision_settings(config: Config, names: Names) -> dict[str, Any]:
    return config.models[names.model].checkpoints()[int(names.step)]


def dataset_settings(config: Config, names: Names) -> DatasetSettings:
    corpus = config.corpora[names.corpus]
    return from_sections(DatasetSettings, corpus, tags=_column_of_tags(corpus))


def corpus_settings(config: Config, names: Names) -> CorpusSettings:
    corpus = config.corpora[names.corpus]
    settings = from_sections(CorpusSettings, corpus, tags=_column_of_tags(corpus))
    # The split of a data set is that of its rows.
    return settings.default("split") if corpus.dataset else settings


def _column_of_tags(corpus: Corpus) -> str | None:
    """Return the field of documents with their words and tags, None if they have none."""
    return corpus.tagger.column if corpus.tagger else None


def tokens_settings(config: Config, names: Names) -> TokensSettings:
    return from_sections(TokensSettings, config.tokens, config.corpora[names.corpus])


def tagger_settings(config: Config, names: Names) -> Tagger:
    """Return the tagger, without the name of a column, which the corpus has as its own."""
    tagger = config.corpora[names.corpus].tagger or Tagger()
    return tagger.changed(column="given") if tagger.column else tagger


def extraction_settings(config: Config, names: Names) -> ExtractionSettings:
    settings = from_sections(
        ExtractionSettings,
        config.extraction,
        modules=config.modules_of(names.model),
        quantities=config.quantities_measured(),
    )
    return settings if settings.keep == "vectors" else settings.default("storage_dtype")


def untrained_settings(config: Config, names: Names) -> UntrainedSettings:
    extraction = extraction_settings(config, names)
    extraction = extraction.changed(quantities=config.quantities_untrained())
    return from_sections(UntrainedSettings, config.controls.random_weights, extraction=extraction)


def revision_settings(config: Config, names: Names) -> RevisionSettings:
    extraction = extraction_settings(config, names)
    # Beside norms, what is measured of the model: the loss is known where surprisal is.
    model_quantities = config.quantities_of_model()
    measured = [name for name in extraction.quantities if name in model_quantities]
    extraction = extraction.default("storage_dtype").changed(keep="norms", quantities=measured)
    return from_sections(RevisionSettings, config.controls.revisions, extraction=extraction)


def heads_settings(config: Config, names: Names) -> LagsOfPartsSettings:
    name = config.regression_of_heads()
    design = None
    fixed_effects = "none"
    half_panel = False
    if name:
        as_named = Names(model=names.model, regression=name)
        design = design_settings(config, as_named)
        fixed_effects = config.regressions[name].fixed_effects
        half_panel = _is_half_panel(config, as_named)
    return from_sections(
        LagsOfPartsSettings,
        config.inference,
        config.norms,
        regression=name,
        design=design,
        fixed_effects=fixed_effects,
        halves=half_panel,
    )


def tracing_settings(config: Config, names: Names) -> TracingSettings:
    control = config.controls.random_weights
    return from_sections(
        TracingSettings,
        config.extraction,
        config.sources,
        modules=config.modules_of(names.model),
        seed_of_weights=control.seed if control else None,
        scale=control.scales[0] if control else "own",
    )


def sources_settings(config: Config, names: Names) -> LagsOfPartsSettings:
    settings = heads_settings(config, names)
    if settings.design is None:
        return settings
    # Other covariates need files of whole documents.
    covariates = [name for name in settings.design.covariates if name == "position"]
    return settings.changed(design=settings.design.changed(covariates=covariates))


def design_settings(config: Config, names: Names) -> DesignSettings:
    """Return the settings of a regression's design."""
    regression = config.regressions[names.regression]
    # A value that compares a token with the one before is left out with a dropped token, too.
    dropped = config.norms.drop_first + OUTCOMES[regression.outcome].first_position
    settings = from_sections(DesignSettings, regression, drop_first=dropped)
    return settings if "position" in settings.covariates else settings.default("position_knots")


def _is_half_panel(config: Config, names: Names) -> bool:
    """Return whether cross-products keep the halves of documents separate."""
    return config.regressions[names.regression].bias_correction == "half-panel"


def build_design_settings(config: Config, names: Names) -> BuildDesignSettings:
    return BuildDesignSettings(
        design=design_settings(config, names), halves=_is_half_panel(config, names)
    )


def regression_settings(config: Config, names: Names) -> RegressionSettings:
    regression = config.regressions[names.regression]
    return from_sections(
        RegressionSettings,
        regression,
        config.inference,
        control_design=design_settings(config, names) if config.controls.random_weights else None,
    )


def training_settings(config: Config, names: Names) -> TrainingSettings:
    return from_sections(
        TrainingSettings,
        config.regressions[names.regression],
        config.inference,
        design=design_settings(config, names),
    )


def _classes(config: Config, names: Names) -> tuple[str, int]:
    """Return the property by which slopes differ, and the offset of the token that has it."""
    classes = config.regressions[names.regression].classes
    assert classes is not None
    return classes


def thirds_settings(config: Config, names: Names) -> dict[str, str]:
    return {"number": _classes(config, names)[0]}


def class_products_settings(config: Config, names: Names) -> ClassProductsSettings:
    name, offset = _classes(config, names)
    return ClassProductsSettings(property=name, offset=offset, halves=_is_half_panel(config, names))


def classes_settings(config: Config, names: Names) -> ClassesSettings:
    name, offset = _classes(config, names)
    regression = regression_settings(config, names).changed(control_design=None)
    return ClassesSettings(
        # Classes have no bootstrap, no folds and no Newey-West errors.
        regression=regression.default("bootstrap", "seed", "folds", "hac_lags"),
        property=name,
        offset=offset,
        least_rows=config.regressions[names.regression].min_rows_per_class,
    )


def permutations_settings(config: Config, names: Names) -> PermutationsSettings:
    return from_sections(
        PermutationsSettings,
        config.controls.permutation,
        design=design_settings(config, names),
        fixed_effects=config.regressions[names.regression].fixed_effects,
    )


def effects_settings(config: Config, names: Names) -> EffectsSettings:
    causal = config.causal
    assert causal is not None
    sites = changeable(config.extraction.sites)
    settings = from_sections(
        EffectsSettings,
        config.extraction,
        config.norms,
        causal,
        source_sites=causal.source_sites or sites,
        target_sites=causal.target_sites or sites,
        modules=config.modules_of(names.model),
    )
    # Settings of interventions that are not requested change nothing.
    return settings if causal.interventions else settings.default("positions", "finite_documents")


def elasticities_settings(config: Config, names: Names) -> ElasticitiesSettings:
    name = config.regression_of_effects()
    fixed_effects = "none"
    if name:
        fixed_effects = config.regressions[name].fixed_effects
    return from_sections(
        ElasticitiesSettings, config.inference, regression=name, fixed_effects=fixed_effects
    )


def adjustment_figure_settings(config: Config, names: Names) -> dict[str, Any]:
    # The order of the regressions is that of their lines.
    return {
        "drop_first": config.norms.drop_first,
        "regressions": list(config.regressions),
    }


def regression_figure_settings(config: Config, names: Names) -> dict[str, Any]:
    return {"layers": config.figures.layers}


def training_figure_settings(config: Config, names: Names) -> dict[str, Any]:
    return {"equivalence_bound": config.inference.equivalence_bound}


def site_figure_settings(config: Config, names: Names) -> dict[str, list[str]]:
    return {"sites": list(config.extraction.sites)}


def effect_figure_settings(config: Config, names: Names) -> dict[str, str]:
    source, target = config.pairs_changed()[names.pair]
    return {"source": source, "target": target}


def centred_cosines_settings(config: Config, names: Names) -> Norms:
    return from_sections(Norms, config.norms)


def geometry_settings(config: Config, names: Names) -> GeometrySettings:
    return from_sections(GeometrySettings, config.norms, config.inference)


def nested_models_settings(config: Config, names: Names) -> Level:
    return from_sections(Level, config.inference)


@dataclass(frozen=True)
class Stage:
    """What makes a stage run again: other settings, or other bytes of its code."""

    # Packages and modules of the library beside its program, as patterns below `attnlag/`.
    code: tuple[str, ...]
    # Which settings change its output; None: none do.
    settings: Callable[[Config, Names], Section | dict[str, Any]] | None = None


# Packages and modules of the library. A package is listed whole, even for a stage that imports a
# part of it: a change of the rest mostly runs an earlier stage again, and with it this one. Any
# change of the package `quantities` runs extract_activations again, for example, and with it
# build_design.
TABLES = ("storage/sequences.py", "storage/sums.py")
# These may use the network; the rest of the package runs models.
FETCHING = (
    *("model/checks.py", "model/fetching.py", "model/folder.py", "model/gguf*.py"),
    *("model/hub.py", "model/language_models.py", "model/offline.py", "model/tokenizer_file.py"),
    "model/wheel.py",
)
DOCUMENTS = ("corpus/documents.py", "corpus/formats.py")
TOKENS = ("corpus", "model/folder.py", "model/tokenizer_file.py", "storage/sequences.py")
PASSES = ("corpus", "model", "quantities", *TABLES)
MEANS = ("quantities", *TABLES)
REGRESSION = ("corpus", "quantities", "regression", *TABLES)
CLAIMS = ("claims", "corpus", "interventions", "quantities", "regression", *TABLES)
WORDS = (*CLAIMS, "wording.py", "fields.py")
FIGURES = (*WORDS, "figures")

STAGES = {
    "fetch_model": Stage(code=FETCHING, settings=model_settings),
    "fetch_revision": Stage(code=FETCHING, settings=fetched_revision_settings),
    "fetch_dataset": Stage(
        code=(*FETCHING, *DOCUMENTS, "corpus/hub.py"), settings=dataset_settings
    ),
    "prepare_corpus": Stage(code=DOCUMENTS, settings=corpus_settings),
    "tokenize_corpus": Stage(code=TOKENS, settings=tokens_settings),
    "summarize_tokens": Stage(code=TOKENS),
    "describe_tokens": Stage(code=TOKENS, settings=tagger_settings),
    "extract_activations": Stage(code=PASSES, settings=extraction_settings),
    "extract_untrained": Stage(code=PASSES, settings=untrained_settings),
    "extract_revision": Stage(code=PASSES, settings=revision_settings),
    "trace_sources": Stage(code=(*PASSES, "interventions/sampling.py"), settings=tracing_settings),
    "compute_norms": Stage(code=MEANS),
    "merge_vector_sums": Stage(code=MEANS),
    "compute_centred_cosines": Stage(code=MEANS, settings=centred_cosines_settings),
    "summarize_geometry": Stage(code=MEANS, settings=geometry_settings),
    "build_design": Stage(code=REGRESSION, settings=build_design_settings),
    "permute_documents": Stage(code=REGRESSION, settings=permutations_settings),
    "fit_regression": Stage(code=REGRESSION, settings=regression_settings),
    "fit_training": Stage(code=REGRESSION, settings=training_settings),
    "cut_into_thirds": Stage(code=REGRESSION, settings=thirds_settings),
    "accumulate_classes": Stage(code=REGRESSION, settings=class_products_settings),
    "fit_classes": Stage(code=REGRESSION, settings=classes_settings),
    "decompose_lags": Stage(code=REGRESSION, settings=nested_models_settings),
    "summarize_heads": Stage(code=REGRESSION, settings=heads_settings),
    "summarize_sources": Stage(code=REGRESSION, settings=sources_settings),
    "compare_models": Stage(code=REGRESSION),
    "estimate_effects": Stage(code=(*PASSES, "interventions"), settings=effects_settings),
    "fit_effects": Stage(code=(*REGRESSION, "interventions"), settings=elasticities_settings),
    "write_claims": Stage(code=CLAIMS),
    # The pages and the sentences of a run are made of the same claims.
    "write_findings": Stage(code=(*WORDS, "report/*.py")),
    "write_comparison": Stage(code=(*WORDS, "report/*.py")),
    # The page draws the panels of figures.
    "build_explorer": Stage(code=(*FIGURES, "report")),
    "write_paper": Stage(code=(*WORDS, "report/*.py", "report/references.bib")),
    "check_fits": Stage(code=(*WORDS, "report/*.py")),
    # `digests.stage_files` leaves out the figures that another stage draws.
    "plot_adjustments": Stage(code=FIGURES, settings=adjustment_figure_settings),
    "plot_classes": Stage(code=FIGURES),
    "plot_comparison": Stage(code=FIGURES),
    "plot_effects": Stage(code=FIGURES, settings=effect_figure_settings),
    "plot_heads": Stage(code=FIGURES),
    "plot_regression": Stage(code=FIGURES, settings=regression_figure_settings),
    "plot_sites": Stage(code=FIGURES, settings=site_figure_settings),
    "plot_sources": Stage(code=FIGURES),
    "plot_training": Stage(code=FIGURES, settings=training_figure_settings),
}


def canonical(settings: Section | dict[str, Any], **others: Any) -> str:
    """Return settings, and others by name, as one JSON text that is equal whenever they are.

    Snakemake compares the parameters of a job by their text and without their names, so the
    settings of a stage are handed to it as this one string.
    """
    values = settings if isinstance(settings, dict) else settings.model_dump(mode="json")
    return text_for("script", json.dumps(values | others, sort_keys=True, ensure_ascii=False))


def _drawing(config: Config, stage: str) -> dict[str, Any]:
    """Return the figures of a job, and how it draws them; nothing for others."""
    figures = [figure.name for figure in config.figures_drawn(stage)]
    if not figures:
        return {}
    drawing = {
        "figures": figures,
        "sizes": sorted(config.figures.sizes),
        "formats": sorted(config.figures.formats),
        "titles": config.figures.titles,
    }
    return {"drawing": drawing}


def settings_of(stage: str, config: Config) -> Callable[[Any], str] | None:
    """Return the function that Snakemake calls for the settings of a job, None if it has none."""
    # A table may be of a stage that only another version has.
    stated_by = STAGES[stage].settings if stage in STAGES else None
    # Only stages that draw have any.
    drawing = _drawing(config, stage)
    if stated_by is None and not drawing:
        return None

    # Equal for all shards, of which a large study has thousands.
    @functools.cache
    def text(names: Names) -> str:
        stated: Section | dict[str, Any] = {}
        if stated_by is not None:
            stated = stated_by(config, names)
        return canonical(stated, **drawing)

    return lambda wildcards: text(Names(*(getattr(wildcards, key, "") for key in Names._fields)))
