"""What a run makes: the paths of the patterns in its rules, and the figures that it draws."""

import itertools
import re
from collections.abc import Iterable

from attnlag.config.schema import Config
from attnlag.figures import catalogue
from attnlag.figures.sizes import SIZES, suffix_of


def shards(config: Config, corpus: str) -> list[str]:
    """Return the names of the shards of a corpus."""
    return [f"{shard:04d}" for shard in range(config.corpora[corpus].shards)]


def every_path(config: Config, *patterns: str) -> list[str]:
    """Return the paths of patterns for all names in a configuration, each once."""
    values: dict[str, list[str]] = {
        "model": list(config.models),
        "corpus": list(config.corpora),
        "site": list(config.extraction.sites),
        "regression": list(config.regressions),
        "pair": list(config.pairs_changed()),
    }
    paths: list[str] = []
    for pattern in patterns:
        wildcards = [name for name in values if f"{{{name}}}" in pattern]
        for combination in itertools.product(*(values[name] for name in wildcards)):
            names = dict(zip(wildcards, combination, strict=True))
            every = shards(config, names["corpus"]) if "{shard}" in pattern else [""]
            paths += (pattern.format(**names, shard=shard) for shard in every)
    return list(dict.fromkeys(paths))


def endings(config: Config) -> list[str]:
    """Return the endings of the names of figures before the format, one per size."""
    return [suffix_of(name) for name in SIZES if name in config.figures.sizes]


def figures_drawn(stage: str, config: Config) -> list[catalogue.Figure]:
    """Return the figures that a stage draws if it runs."""
    return [
        figure
        for figure in catalogue.drawn_by(stage)
        if (not figure.on_request or figure.name in config.figures.also)
        and (not figure.needs or config.may_have(figure.needs))
    ]


def any_of(names: Iterable[str]) -> str:
    """Return a pattern of some names; without any, it matches nothing."""
    return "|".join(map(re.escape, sorted(names))) or "(?!)"
