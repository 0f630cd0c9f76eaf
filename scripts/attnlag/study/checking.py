"""The arguments of the library, checked as a configuration file is."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import pandas as pd

from attnlag.config.problems import check
from attnlag.config.schema import Config
from attnlag.corpus import tagging
from attnlag.corpus.documents import Document
from attnlag.corpus.properties import WordSource, check_groups, source_of
from attnlag.corpus.settings import Tagger
from attnlag.corpus.tagging import TaggedWords
from attnlag.errors import UserError, counted, nearest, shown
from attnlag.pipeline import stages
from attnlag.pipeline.stages import Names

# Names of what is in memory, in the settings of stages.
IN_MEMORY = Names(model="model", corpus="texts", regression="fit")

# The beginnings of keys in messages, which the library's arguments lack.
PREFIXES = (
    *("configuration: ", "regressions.fit.", "corpora.texts."),
    *("norms.", "extraction.", "tokens.", "models.model."),
)


def checked(
    sections: Mapping[str, Any],
    *,
    regression: Mapping[str, Any] | None = None,
    tagger: Mapping[str, Any] | None = None,
    modules: Mapping[str, Any] | None = None,
) -> Config:
    """Return the configuration that the arguments stand for, or raise UserError."""
    corpus: dict[str, Any] = {"files": ["texts"]}
    model = {"source": "path", "path": ".", "modules": modules}
    config, problems = check(
        {
            "models": {"model": model},
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
        about_modules = problem.startswith("configuration: models.model.modules")
        if about_modules or not problem.startswith(in_memory):
            for prefix in PREFIXES:
                problem = problem.removeprefix(prefix)
            lines.append(problem.replace("corpora.texts has", "the measurement has"))
    if config is None or lines:
        raise UserError(lines)
    return config


def unknown_names(
    argument: str, names: Sequence[str], known: Sequence[str], expected: str = ""
) -> list[str]:
    """Return a line for an argument that is no list of known names.

    ``expected`` says what the known names are; without it they are listed.
    """
    expected = expected or ", ".join(known)
    if isinstance(names, str) or not isinstance(names, Iterable):
        return [f"{argument}: found {shown(names)}, expected a list of {expected}"]
    unknown = [name for name in names if name not in known]
    if not unknown:
        return []
    name = str(unknown[0])
    return [f"{argument}: found '{name}', expected {expected}{nearest(name, known)}"]


def checked_draw(scale: str, seed: int) -> tuple[str, int]:
    """Return the scale and the seed of random weights, or raise UserError."""
    control = {"scales": [scale], "seed": seed}
    try:
        config = checked({"controls": {"permutation": None, "random_weights": control}})
    except UserError as error:
        key = "controls.random_weights."
        lines = [line.replace(f"{key}scales[0]", "scale") for line in error.problems]
        raise UserError([line.replace(key, "") for line in lines]) from None
    drawn = config.controls.random_weights
    assert drawn is not None  # as stated above
    return drawn.scales[0], drawn.seed


def names_of(argument: str, names: Any) -> list[str]:
    """Return the names in an argument that is one of them or several, or raise UserError."""
    if isinstance(names, str):
        return [names]
    if not isinstance(names, Iterable):
        raise UserError(f"{argument}: found {shown(names)}, expected a name or a list of names")
    return list(names)


def keys_of_section(name: str, value: Any) -> dict[str, Any]:
    """Return an argument that has keys of a section of the configuration; None has none.

    Raise UserError if it is something else.
    """
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise UserError(
            f"{name}: found {shown(value)}, expected keys of {name} in the configuration, as in "
            "{key: value}"
        )
    return dict(value)


def one_name(name: str, value: Any, valid: Sequence[str], reason: str) -> str:
    """Return an argument that is one of some names, or raise UserError with the reason."""
    if isinstance(value, str) and value in valid:
        return value
    alike = nearest(value, valid) if isinstance(value, str) else ""
    raise UserError(f"{name}: found {shown(value)}, expected {' or '.join(valid)}, {reason}{alike}")


def source_of_words(tagger: Any, documents: Sequence[Document]) -> WordSource:
    """Return the source of words that `measure` was given, for its documents.

    Raise UserError if it is none, or does not suit the documents.
    """
    if isinstance(tagger, Sequence | pd.Series) and not isinstance(tagger, str):
        return _given_tags(list(tagger), documents)
    if hasattr(tagger, "pipe") and not isinstance(tagger, pd.DataFrame):
        return WordSource(partial(tagging.tagged_by, tagger), keys={"column": "tags"})
    if tagger is None:
        return source_of(Tagger())
    if not isinstance(tagger, Mapping):
        raise UserError(
            f"tagger: found {shown(tagger)}, expected a spaCy pipeline, the tags of each text, as "
            "in ['The/DET cat/NOUN'], or the keys of a tagger in the configuration"
        )
    settings = stages.tagger_settings(checked({}, tagger=tagger), IN_MEMORY)
    if settings.column:
        raise UserError(
            "tagger.column: found a column, expected package; or tagger=frame['tags'], the tags of "
            "each text"
        )
    check_groups(settings.groups, {document.group for document in documents}, "tagger.groups")
    return source_of(settings)._replace(keys=tagger)


def _given_tags(tags: Sequence[Any], documents: Sequence[Document]) -> WordSource:
    """Return the source of words whose tags the user has, a text for each document."""
    if len(tags) != len(documents):
        raise UserError(
            f"tagger: found the tags of {counted(len(tags), 'text')}, expected those of "
            f"{counted(len(documents), 'text')}"
        )
    tags_by_id: dict[str, str] = {}
    for document, text in zip(documents, tags, strict=True):
        # An entry that is missing in a data frame is NaN.
        if isinstance(text, str):
            tags_by_id[document.id] = text
        elif text is not None and text == text:
            raise UserError(
                f"tagger, '{document.id}': found {shown(text)}, expected its tags, as in "
                "'The/DET cat/NOUN'"
            )

    def words(texts: Sequence[Document]) -> Iterator[TaggedWords]:
        yield from tagging.from_column(
            [text._replace(tags=tags_by_id.get(text.id)) for text in texts]
        )

    return WordSource(words, keys={"column": "tags"})
