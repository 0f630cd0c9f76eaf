"""The tagger of texts in a notebook: the source of words and parts of speech."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from attnlag.corpus import properties as token_properties
from attnlag.corpus import tagging
from attnlag.corpus.settings import PropertiesSettings
from attnlag.errors import UserError, shown
from attnlag.pipeline import stages
from attnlag.study.checking import IN_MEMORY, checked


@dataclass(frozen=True)
class TaggerOfTexts:
    """The source of words and their parts of speech."""

    sources: token_properties.WordSources
    # Keys of ``tagger``, as the checks of a configuration take them; None without a tagger.
    keys: Mapping[str, Any] | None
    groups: Sequence[str] | None  # groups of documents that have tags; None: all


def tagger_of(tagger: Any, group_of: Mapping[str, str]) -> TaggerOfTexts:
    """Return the tagger that `measure` was given, for documents with their groups."""
    if hasattr(tagger, "pipe"):
        sources = token_properties.WordSources(partial(tagging.tagged_by, tagger), [])
        return TaggerOfTexts(sources, {"column": "tags"}, None)
    settings = PropertiesSettings()
    if isinstance(tagger, Mapping):
        settings = stages.describe_tokens(checked({}, tagger=tagger), IN_MEMORY)
        if settings.given == "column":
            raise UserError(
                "tagger.column: found a column, expected package or file: texts have none"
            )
        token_properties.check_groups(settings.groups, set(group_of.values()), "tagger.groups")
    elif tagger is not None:
        raise UserError(
            f"tagger: found {shown(tagger)}, expected a spaCy pipeline or the keys of a tagger in "
            "the configuration, as in {'file': 'tags.csv'}"
        )
    file = (tagger or {}).get("file")
    sources = token_properties.sources_of(settings, group_of, file and Path(file))
    return TaggerOfTexts(sources, tagger, settings.groups)
