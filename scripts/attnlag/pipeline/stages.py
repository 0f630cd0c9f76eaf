"""The sections of the configuration that each stage sees.

For each stage that has settings, one function below, or an entry of ``OF_SECTIONS``, fills the
class of its settings, which stands in ``settings.py`` of the stage's package, from the sections
that it sees; a setting on which several sections bear is stated by name. The parameters of the
stage's rule are this class as one JSON text, so a stage runs again when these settings change and
not when others do. Its program reads the same text.
"""

import functools
import json
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from attnlag.config.schema import Config
from attnlag.corpus.settings import CorpusSettings, Tagger, TokensSettings
from attnlag.escaping import text_for
from attnlag.interventions.settings import EffectsSettings
from attnlag.quantities.catalogue import OUTCOMES, changeable
from attnlag.quantities.settings import (
    ExtractionSettings,
    Norms,
    RandomWeightsSettings,
    RevisionSettings,
    TracingSettings,
)
from attnlag.regression.settings import (
    BuildDesignSettings,
    ClassesSettings,
    ClassProductsSettings,
    DesignSettings,
    ElasticitiesSettings,
    GeometrySettings,
    HeadsSettings,
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


def fetch_model(config: Config, names: Names) -> dict[str, Any]:
    return config.models[names.model].origin()


def fetch_revision(config: Config, names: Names) -> dict[str, Any]:
    return config.models[names.model].checkpoints()[int(names.step)]


def prepare_corpus(config: Config, names: Names) -> CorpusSettings:
    corpus = config.corpora[names.corpus]
    return from_sections(
        CorpusSettings, corpus, tags=corpus.tagger.column if corpus.tagger else None
    )


def tokenize_corpus(config: Config, names: Names) -> TokensSettings:
    return from_sections(TokensSettings, config.tokens, config.corpora[names.corpus])


def describe_tokens(config: Config, names: Names) -> Tagger:
    """Return the tagger, without the name of a column, which the corpus has as its own."""
    tagger = config.corpora[names.corpus].tagger or Tagger()
    return tagger.changed(column="given") if tagger.column else tagger


def extract_activations(config: Config, names: Names) -> ExtractionSettings:
    settings = from_sections(
        ExtractionSettings,
        config.extraction,
        modules=config.modules_of(names.model),
        quantities=config.quantities_measured(),
    )
    return settings if settings.keep == "vectors" else settings.default("storage_dtype")


def extract_random_weights(config: Config, names: Names) -> RandomWeightsSettings:
    extraction = extract_activations(config, names)
    # Predictions before training say nothing.
    measured = [name for name in extraction.quantities if name != "surprisal"]
    extraction = extraction.changed(quantities=measured)
    return from_sections(
        RandomWeightsSettings, config.controls.random_weights, extraction=extraction
    )


def extract_revision(config: Config, names: Names) -> RevisionSettings:
    extraction = extract_activations(config, names)
    # Their loss is known where surprisal is measured.
    measured = [name for name in extraction.quantities if name == "surprisal"]
    extraction = extraction.default("storage_dtype").changed(keep="norms", quantities=measured)
    return from_sections(RevisionSettings, config.controls.revisions, extraction=extraction)


def summarize_heads(config: Config, names: Names) -> HeadsSettings:
    name = config.regression_of_heads()
    as_named = Names(model=names.model, regression=name)
    design = name and _design(config, as_named)
    return from_sections(
        HeadsSettings,
        config.inference,
        config.norms,
        regression=name,
        design=design or None,
        fixed_effects=config.regressions[name].fixed_effects if name else "none",
        halves=bool(name) and _halves(config, as_named),
    )


def trace_sources(config: Config, names: Names) -> TracingSettings:
    control = config.controls.random_weights
    return from_sections(
        TracingSettings,
        config.extraction,
        config.sources,
        modules=config.modules_of(names.model),
        untrained=control.seed if control else None,
        scale=control.scales[0] if control else "own",
    )


def summarize_sources(config: Config, names: Names) -> HeadsSettings:
    settings = summarize_heads(config, names)
    if settings.design is None:
        return settings
    # Other covariates need files of whole documents.
    covariates = [name for name in settings.design.covariates if name == "position"]
    return settings.changed(design=settings.design.changed(covariates=covariates))


def _design(config: Config, names: Names) -> DesignSettings:
    """Return the settings of a regression's design."""
    regression = config.regressions[names.regression]
    # A value that compares a token with the one before is left out with a dropped token, too.
    dropped = config.norms.drop_first + OUTCOMES[regression.outcome].first_position
    settings = from_sections(DesignSettings, regression, drop_first=dropped)
    return settings if "position" in settings.covariates else settings.default("position_knots")


def _halves(config: Config, names: Names) -> bool:
    """Return whether cross-products keep the halves of documents separate."""
    return config.regressions[names.regression].bias_correction == "half-panel"


def build_design(config: Config, names: Names) -> BuildDesignSettings:
    return BuildDesignSettings(design=_design(config, names), halves=_halves(config, names))


def fit_regression(config: Config, names: Names) -> RegressionSettings:
    regression = config.regressions[names.regression]
    return from_sections(
        RegressionSettings,
        regression,
        config.inference,
        control_design=_design(config, names) if config.controls.random_weights else None,
    )


def fit_training(config: Config, names: Names) -> TrainingSettings:
    return from_sections(
        TrainingSettings,
        config.regressions[names.regression],
        config.inference,
        design=_design(config, names),
    )


def _classes(config: Config, names: Names) -> tuple[str, int]:
    """Return the property by which slopes differ, and the offset of the token that has it."""
    classes = config.regressions[names.regression].classes
    assert classes is not None
    return classes


def cut_into_thirds(config: Config, names: Names) -> dict[str, str]:
    return {"number": _classes(config, names)[0]}


def accumulate_classes(config: Config, names: Names) -> ClassProductsSettings:
    name, offset = _classes(config, names)
    return ClassProductsSettings(property=name, offset=offset, halves=_halves(config, names))


def fit_classes(config: Config, names: Names) -> ClassesSettings:
    name, offset = _classes(config, names)
    return ClassesSettings(
        regression=fit_regression(config, names).changed(control_design=None),
        property=name,
        offset=offset,
        least_rows=config.regressions[names.regression].min_rows_per_class,
    )


def permute_documents(config: Config, names: Names) -> PermutationsSettings:
    return from_sections(
        PermutationsSettings,
        config.controls.permutation,
        design=_design(config, names),
        fixed_effects=config.regressions[names.regression].fixed_effects,
    )


def estimate_effects(config: Config, names: Names) -> EffectsSettings:
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


def fit_effects(config: Config, names: Names) -> ElasticitiesSettings:
    name = config.regression_of_effects()
    fixed_effects = "none"
    if name:
        fixed_effects = config.regressions[name].fixed_effects
    return from_sections(
        ElasticitiesSettings, config.inference, regression=name, fixed_effects=fixed_effects
    )


def plot_adjustments(config: Config, names: Names) -> dict[str, Any]:
    # The order of the regressions is that of their lines.
    return {
        "drop_first": config.norms.drop_first,
        "regressions": list(config.regressions),
    }


def plot_regression(config: Config, names: Names) -> dict[str, Any]:
    return {"layers": config.figures.layers}


def plot_training(config: Config, names: Names) -> dict[str, Any]:
    return {"equivalence_bound": config.inference.equivalence_bound}


def plot_sites(config: Config, names: Names) -> dict[str, list[str]]:
    return {"sites": list(config.extraction.sites)}


def plot_effects(config: Config, names: Names) -> dict[str, str]:
    return dict(zip(("source", "target"), config.pairs_changed()[names.pair], strict=True))


# Stages whose settings are keys of some sections, whatever their job is named.
OF_SECTIONS: dict[str, tuple[type[Section], Callable[[Config], list[Section]]]] = {
    "compute_centred_cosines": (Norms, lambda config: [config.norms]),
    "summarize_geometry": (GeometrySettings, lambda config: [config.norms, config.inference]),
    "decompose_lags": (Level, lambda config: [config.inference]),
}


def canonical(settings: Section | dict[str, Any], **others: Any) -> str:
    """Return settings, and others by name, as one JSON text that is equal whenever they are.

    Snakemake compares the parameters of a job by their text and without their names, so the
    settings of a stage are handed to it as this one string.
    """
    values = settings if isinstance(settings, dict) else settings.model_dump(mode="json")
    return text_for("script", json.dumps(values | others, sort_keys=True, ensure_ascii=False))


def _drawing(config: Config, stage: str) -> dict[str, Any]:
    """Return the figures of a job with their needs, and how it draws them; nothing for others."""
    figures = {figure.name: figure.needs for figure in config.figures_drawn(stage)}
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
    if stage not in {*OF_SECTIONS, *globals()} and not config.figures_drawn(stage):
        return None

    # Equal for all shards, of which a large study has thousands.
    @functools.cache
    def text(names: Names) -> str:
        stated: Section | dict[str, Any] = {}
        if stage in OF_SECTIONS:
            kind, sections = OF_SECTIONS[stage]
            stated = from_sections(kind, *sections(config))
        elif stage in globals():
            stated = globals()[stage](config, names)
        return canonical(stated, **_drawing(config, stage))

    return lambda wildcards: text(Names(*(getattr(wildcards, key, "") for key in Names._fields)))
