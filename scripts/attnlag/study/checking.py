"""The arguments of the library, checked as a configuration file is."""

from collections.abc import Mapping
from typing import Any

from attnlag.config.problems import check
from attnlag.config.schema import Config
from attnlag.errors import UserError
from attnlag.pipeline.stages import Names

# Names of what is in memory, in the settings of stages.
NAMES = Names(model="model", corpus="texts", regression="fit")

# The beginnings of keys in messages, which the library's arguments lack.
PREFIXES = ("configuration: ", "regressions.fit.", "corpora.texts.", "norms.")


def checked(
    sections: Mapping[str, Any],
    *,
    regression: Mapping[str, Any] | None = None,
    tagger: Mapping[str, Any] | None = None,
) -> Config:
    """Return the configuration that arguments stand for; problems are a UserError.

    They are sections of the configuration, and keys of a regression and of a tagger.
    """
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
    own = ("configuration: models.", "configuration: corpora.texts.files")
    told = []
    for problem in problems:
        if not problem.startswith(own):
            for prefix in PREFIXES:
                problem = problem.removeprefix(prefix)
            told.append(problem.replace("corpora.texts has", "the measurement has"))
    if config is None or told:
        raise UserError(told)
    return config
