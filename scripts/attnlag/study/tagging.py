"""The tagger of texts in a notebook: the source of words and parts of speech."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from attnlag.corpus import tagging
from attnlag.corpus.properties import WordSource, check_groups, source_of
from attnlag.corpus.settings import Tagger
from attnlag.errors import UserError, shown
from attnlag.pipeline import stages
from attnlag.study.checking import IN_MEMORY, checked


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
