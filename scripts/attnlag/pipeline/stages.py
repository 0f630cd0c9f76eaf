"""The settings of the configuration that change the output of each stage.

For each stage that has settings, one function below fills the dataclass that stands beside the
stage's code. The parameters of the stage's rule are this dataclass as one JSON text, so a stage
runs again when these settings change and not when others do. Its script reads the same text.
"""

import dataclasses
import functools
import json
from collections.abc import Callable
from typing import Any, NamedTuple

from attnlag.adjustments.settings import (
    DirectionsSettings,
    ExtractionSettings,
    GeometrySettings,
    RandomWeightsSettings,
    TracingSettings,
)
from attnlag.adjustments.sites import changeable
from attnlag.config.inputs import Tagger
from attnlag.config.schema import Config
from attnlag.corpus.settings import CorpusSettings, PropertiesSettings, TokensSettings
from attnlag.escaping import text_for
from attnlag.figures.settings import NormsFiguresSettings, PanelsSettings, SurprisalFiguresSettings
from attnlag.interventions.settings import EffectsSettings
from attnlag.regression.settings import (
    DRAWS_OF_HEADS,
    ClassesSettings,
    ClassProductsSettings,
    ComparisonSettings,
    CrossproductsSettings,
    DecompositionSettings,
    DesignSettings,
    ElasticitiesSettings,
    HeadsSettings,
    PermutationsSettings,
    RegressionSettings,
    SampleSettings,
    TokenEffectsSettings,
    VectorProductsSettings,
    VectorsSettings,
)


class Names(NamedTuple):
    """The names that identify a job: Snakemake's wildcards, as far as its stage has them."""

    model: str = ""
    corpus: str = ""
    site: str = ""
    regression: str = ""
    pair: str = ""


def fetch_model(config: Config, names: Names) -> dict[str, Any]:
    return config.models[names.model].origin()


def prepare_corpus(config: Config, names: Names) -> CorpusSettings:
    corpus = config.corpora[names.corpus]
    return CorpusSettings(
        id=corpus.id,
        text=corpus.text,
        group=corpus.group,
        split=corpus.split,
        tags=corpus.tagger.column if corpus.tagger else None,
        empty=corpus.empty,
    )


def tokenize_corpus(config: Config, names: Names) -> TokensSettings:
    return TokensSettings(
        max_length=config.tokens.max_length,
        long_documents=config.tokens.long_documents,
        prepend_bos=config.tokens.prepend_bos,
        special_in_text=config.tokens.special_in_text,
        shards=config.corpora[names.corpus].shards,
    )


def describe_tokens(config: Config, names: Names) -> PropertiesSettings:
    tagger = config.corpora[names.corpus].tagger or Tagger()
    return PropertiesSettings(
        package=tagger.package,
        version=tagger.version,
        sha256=tagger.sha256,
        given="column" if tagger.column else "file" if tagger.file else None,
        language=tagger.language,
        groups=None if tagger.groups is None else tuple(sorted(tagger.groups)),
    )


def extract_activations(config: Config, names: Names) -> ExtractionSettings:
    extraction = config.extraction
    vectors = extraction.keep == "vectors"
    return ExtractionSettings(
        sites=tuple(extraction.sites),
        keep=extraction.keep,
        storage_dtype=extraction.storage_dtype if vectors else None,
        dtype=extraction.dtype,
        attention_implementation=extraction.attention_implementation,
        fast=extraction.fast,
        modules=config.modules_of(names.model),
        geometry=extraction.geometry,
        heads=config.with_heads(),
        surprisal=config.with_surprisal(),
    )


def extract_random_weights(config: Config, names: Names) -> RandomWeightsSettings:
    control = config.controls.random_weights
    assert control is not None
    extraction = dataclasses.replace(extract_activations(config, names), surprisal=False)
    return RandomWeightsSettings(
        extraction,
        documents=control.documents,
        draws=control.draws,
        seed=control.seed,
    )


def compare_directions(config: Config, names: Names) -> DirectionsSettings:
    return DirectionsSettings(drop_first=config.norms.drop_first)


def summarize_heads(config: Config, names: Names) -> HeadsSettings:
    inference, control = config.inference, config.controls.permutation
    name = config.regression_of_heads()
    regression = config.regressions.get(name)
    as_named = Names(model=names.model, regression=name)
    return HeadsSettings(
        drop_first=config.norms.drop_first,
        regression=name,
        # A head has no rows in common with regressions of whole layers.
        design=dataclasses.replace(build_design(config, as_named), sample=None) if name else None,
        fixed_effects=regression.document_effects if regression else "none",
        halves=bool(name) and accumulate_crossproducts(config, as_named).halves,
        covariance=inference.covariance,
        cluster=inference.cluster,
        adjust=inference.adjust,
        negligible=inference.negligible,
        alpha=inference.alpha,
        stack_mb=inference.stack_mb,
        draws=min(control.draws, DRAWS_OF_HEADS) if control else 0,
        within=control.within if control else "document",
        seed=control.seed if control else 0,
    )


def trace_sources(config: Config, names: Names) -> TracingSettings:
    asked, control = config.sources, config.controls.random_weights
    assert asked is not None
    return TracingSettings(
        sites=tuple(config.extraction.sites),
        documents=asked.documents,
        document_tokens=asked.document_tokens,
        dtype=config.extraction.dtype,
        modules=config.modules_of(names.model),
        untrained=control.seed if control else None,
    )


def summarize_sources(config: Config, names: Names) -> HeadsSettings:
    settings = dataclasses.replace(summarize_heads(config, names), draws=0)
    if settings.design is None:
        return settings
    # Other covariates need files of whole documents.
    kept = tuple(name for name in settings.design.covariates if name == "position")
    return dataclasses.replace(
        settings, design=dataclasses.replace(settings.design, covariates=kept)
    )


def summarize_geometry(config: Config, names: Names) -> GeometrySettings:
    return GeometrySettings(drop_first=config.norms.drop_first, alpha=config.inference.alpha)


def build_design(config: Config, names: Names) -> DesignSettings:
    regression = config.regressions[names.regression]
    sample = config.sample()
    with_position = "position" in regression.covariates
    return DesignSettings(
        lags=tuple(regression.lags),
        leads=tuple(regression.leads),
        covariates=tuple(regression.covariates),
        position_knots=tuple(regression.position_knots) if with_position else None,
        drop_first=config.norms.drop_first,
        sample=None
        if sample is None
        else SampleSettings(
            lags=tuple(sample["lags"]),
            leads=tuple(sample["leads"]),
            covariates=tuple(sample["covariates"]),
            relative=sample["relative"],
        ),
        outcome=regression.outcome,
    )


def accumulate_crossproducts(config: Config, names: Names) -> CrossproductsSettings:
    correction = config.bias_correction(names.model, names.regression)
    return CrossproductsSettings(halves=correction == "half-panel")


def fit_regression(config: Config, names: Names) -> RegressionSettings:
    regression = config.regressions[names.regression]
    return RegressionSettings(
        fixed_effects=regression.document_effects,
        token_effects=regression.token_effects,
        bias_correction=config.bias_correction(names.model, names.regression),
        **config.inference.model_dump(),
        outcome=regression.outcome,
        control_design=build_design(config, names) if config.controls.random_weights else None,
    )


def scale_number(config: Config, names: Names) -> dict[str, str]:
    found = config.regressions[names.regression].classes
    assert found is not None
    return {"number": found[0]}


def accumulate_classes(config: Config, names: Names) -> ClassProductsSettings:
    found = config.regressions[names.regression].classes
    assert found is not None
    halves = accumulate_crossproducts(config, names).halves
    return ClassProductsSettings(property=found[0], offset=found[1], halves=halves)


def fit_classes(config: Config, names: Names) -> ClassesSettings:
    regression = config.regressions[names.regression]
    assert regression.classes is not None
    name, offset = regression.classes
    settings = dataclasses.replace(fit_regression(config, names), control_design=None)
    return ClassesSettings(settings, name, offset, least_rows=regression.by_rows)


def solve_token_effects(config: Config, names: Names) -> TokenEffectsSettings:
    return TokenEffectsSettings(config.regressions[names.regression].token_effects)


def decompose_lags(config: Config, names: Names) -> DecompositionSettings:
    return DecompositionSettings(alpha=config.inference.alpha)


def permute_documents(config: Config, names: Names) -> PermutationsSettings:
    control = config.controls.permutation
    assert control is not None
    return PermutationsSettings(
        design=build_design(config, names),
        fixed_effects=config.regressions[names.regression].document_effects,
        draws=control.draws,
        within=control.within,
        seed=control.seed,
    )


def estimate_effects(config: Config, names: Names) -> EffectsSettings:
    causal, extraction = config.causal, config.extraction
    assert causal is not None
    finite = bool(causal.interventions)
    known = changeable(extraction.sites)
    return EffectsSettings(
        source_sites=tuple(causal.source_sites or known),
        target_sites=tuple(causal.target_sites or known),
        targets=tuple(causal.targets) if isinstance(causal.targets, list) else causal.targets,
        lags=causal.lags,
        probes=causal.probes,
        documents=causal.documents,
        document_tokens=causal.document_tokens,
        interventions=tuple(causal.interventions),
        # Settings of interventions that are not requested change nothing.
        scales=tuple(causal.scales) if "scale" in causal.interventions else (),
        sources=(tuple(causal.sources) if isinstance(causal.sources, list) else causal.sources)
        if finite
        else 1,
        positions=causal.positions if finite else 1,
        seed=causal.seed,
        drop_first=config.norms.drop_first,
        dtype=extraction.dtype,
        attention_implementation=extraction.attention_implementation,
        modules=config.modules_of(names.model),
    )


def fit_effects(config: Config, names: Names) -> ElasticitiesSettings:
    inference = config.inference
    return ElasticitiesSettings(
        alpha=inference.alpha,
        bootstrap=inference.bootstrap,
        seed=inference.seed,
        drop_first=config.norms.drop_first,
        negligible=inference.negligible,
    )


def accumulate_vectors(config: Config, names: Names) -> VectorProductsSettings:
    vectors = config.vectors
    assert vectors is not None
    return VectorProductsSettings(
        lags=tuple(vectors.lags),
        folds=vectors.folds,
        components=vectors.components,
        drop_first=config.norms.drop_first,
    )


def fit_vectors(config: Config, names: Names) -> VectorsSettings:
    vectors, inference = config.vectors, config.inference
    assert vectors is not None
    return VectorsSettings(
        products=accumulate_vectors(config, names),
        ranks=tuple(vectors.ranks),
        ridge=tuple(vectors.ridge),
        alpha=inference.alpha,
        bootstrap=inference.bootstrap,
        seed=inference.seed,
    )


def write_paper(config: Config, names: Names) -> dict[str, Any]:
    return config.model_dump(mode="json")


def compare_models(config: Config, names: Names) -> ComparisonSettings:
    return ComparisonSettings(draws=config.comparison.draws, seed=config.comparison.seed)


def plot_norms(config: Config, names: Names) -> NormsFiguresSettings:
    documents = (config.figures.documents or {}).get(names.corpus)
    return NormsFiguresSettings(
        drop_first=config.norms.drop_first,
        documents=None if documents is None else tuple(documents),
        text_layer=config.figures.text_layer,
    )


def plot_surprisal(config: Config, names: Names) -> SurprisalFiguresSettings:
    return SurprisalFiguresSettings(drop_first=config.norms.drop_first)


def plot_regression(config: Config, names: Names) -> PanelsSettings:
    layers = config.figures.layers
    return PanelsSettings(layers=None if layers is None else tuple(layers))


def plot_specifications(config: Config, names: Names) -> dict[str, list[str]]:
    return {"regressions": list(config.regressions)}


def plot_sites(config: Config, names: Names) -> dict[str, list[str]]:
    return {"sites": list(config.extraction.sites)}


def plot_effects(config: Config, names: Names) -> dict[str, str]:
    return dict(zip(("source", "target"), config.pairs_changed()[names.pair], strict=True))


def canonical(settings: Any) -> str:
    """Return settings as one JSON text that is equal whenever the settings are.

    Snakemake compares the parameters of a job by their text and without their names, so the
    settings of a stage are handed to it as this one string.
    """
    values = settings if isinstance(settings, dict) else dataclasses.asdict(settings)
    return text_for("script", json.dumps(values, sort_keys=True, ensure_ascii=False))


def settings_of(stage: str, config: Config) -> Callable[[Any], str] | None:
    """Return the function that Snakemake calls for the settings of a job, None if it has none."""
    fill: Callable[[Config, Names], Any] | None = globals().get(stage)
    if fill is None:
        return None

    # Equal for all shards, of which a large study has thousands.
    @functools.cache
    def text(names: Names) -> str:
        return canonical(fill(config, names))

    return lambda wildcards: text(Names(*(getattr(wildcards, key, "") for key in Names._fields)))
