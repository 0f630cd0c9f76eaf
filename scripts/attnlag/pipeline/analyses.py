"""The optional analyses of a run: what asks for each, and where its results are."""

from collections.abc import Callable
from dataclasses import dataclass

from attnlag.config.schema import Config


@dataclass(frozen=True)
class Analysis:
    """An analysis that a configuration may leave out; its rules are in a file of their own."""

    asked: Callable[[Config], bool]
    # Its results below ``results/{model}/{corpus}/``; of a path with * each match is one.
    places: tuple[str, ...]


def _compares(config: Config) -> bool:
    return len(config.models) * len(config.corpora) > 1


def _has_classes(config: Config) -> bool:
    return any(regression.slopes_by for regression in config.regressions.values())


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
    ),
    "heads": Analysis(
        asked=lambda config: config.measures("heads"),
        places=("*/heads",),
    ),
    "sources": Analysis(
        asked=lambda config: config.sources is not None,
        places=("*/sources", "*/source_parts", "*/sinks", "*/readout"),
    ),
    "classes": Analysis(
        asked=_has_classes,
        # Each regression has its own, whether or not another has them.
        places=(),
    ),
    "interventions": Analysis(
        asked=lambda config: bool(config.sites_changed()),
        places=("causal",),
    ),
    "comparison": Analysis(asked=_compares, places=()),
}


def is_asked(name: str, config: Config) -> bool:
    """Return whether a configuration asks for an analysis."""
    return ANALYSES[name].asked(config)
