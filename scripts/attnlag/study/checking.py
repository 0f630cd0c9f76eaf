"""The arguments of the library, checked as a configuration file is."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from attnlag.config.problems import check
from attnlag.config.schema import Config
from attnlag.corpus import tagging
from attnlag.corpus.properties import WordSource, check_groups, source_of
from attnlag.corpus.settings import Tagger
from attnlag.errors import UserError, shown
from attnlag.pipeline import stages
from attnlag.pipeline.stages import Names

# Names of what is in memory, in the settings of stages.
IN_MEMORY = Names(model="model", corpus="texts", regression="fit")

# The beginnings of keys in messages, which the library's arguments lack.
PREFIXES = (
    *("configuration: ", "regressions.fit.", "corpora.texts."),
    *("norms.", "extraction.", "tokens."),
)


def checked(
    sections: Mapping[str, Any],
    *,
    regression: Mapping[str, Any] | None = None,
    tagger: Mapping[str, Any] | None = None,
) -> Config:
    """Return the configuration that the arguments stand for, or raise UserError."""
    corpus: dict[str, Any] = {"files": ["texts"]}
    config, problems = check(
        {
            "models": {"model": {"source": "path", "path": "."}},
            "corpora": {"texts": corpus if tagger is None else {**corpus, "tagger": dict(tagger)}},
            "regressions": {"fit": {"lags": [1]} if regression is None else dict(regression)},
            "controls": {"permutation": None, "random_weights": None},
            **sections,
        }
    )
    # The configuration needs a model and files, which are in memory here.
    in_memory = ("configuration: models.", "configuration: corpora.texts.files")
    lines = []
    for problem in problems:
        if not problem.startswith(in_memory):
            for prefix in PREFIXES:
                problem = problem.removeprefix(prefix)
            lines.append(problem.replace("corpora.texts has", "the measurement has"))
    if config is None or lines:
        raise UserError(lines)
    return config


def tagger_of(tagger: Any, group_of: Mapping[str, str]) -> WordSource:
    """Return the source of words that `measure` was given, for documents with their groups."""
    if hasattr(tagger, "pipe"):
        return WordSource(partial(tagging.tagged_by, tagger), keys={"column": "tags"})
    settings = Tagger()
    if isinstance(tagger, Mapping):
        settings = stages.describe_tokens(checked({}, tagger=tagger), IN_MEMORY)
        if settings.column:
            raise UserError(
                "tagger.column: found a column, expected package or file: texts have none"
            )
        check_groups(settings.groups, set(group_of.values()), "tagger.groups")
    elif tagger is not None:
        raise UserError(
            f"tagger: found {shown(tagger)}, expected a spaCy pipeline or the keys of a tagger in "
            "the configuration, as in {'file': 'tags.csv'}"
        )
    file = (tagger or {}).get("file")
    return source_of(settings, group_of, file and Path(file))._replace(keys=tagger)
