"""Check of a configuration, which reports each problem in one line."""

from collections.abc import Callable, Iterable, Mapping, Set
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from attnlag.config.places import located
from attnlag.config.reading import KeyPath, Reading, null_named, part_of_path, read_yaml
from attnlag.config.schema import Config
from attnlag.config.sentences import EXPECTED, key_of, sentence_of
from attnlag.config.values import value_problems
from attnlag.corpus.settings import Corpus
from attnlag.errors import UserError, shown
from attnlag.escaping import text_for
from attnlag.model.settings import Source
from attnlag.regression.settings import Regression
from attnlag.section import Name


def check(
    raw: Any,
    files: Iterable[str | Path] = (),
    reserved: Set[str] = frozenset(),
    further: Callable[[Config], Iterable[str]] = lambda config: (),
) -> tuple[Config | None, list[str]]:
    """Check a configuration; return it, if its structure is sound, with all its problems.

    ``raw`` is the configuration as read, including overrides from the command line; anything but a
    mapping, such as None for an empty file, is a problem too. ``files`` are its YAML files, for the
    lines in the messages; it may be a section of them, if another workflow passes it to this one as
    a module. Models, corpora and regressions must not have ``reserved`` names. ``further`` returns
    other problems, given a configuration that lacks what has one already.

    Each problem is one line, ``file:line: key: found …, expected …``, in the order of lines. Values
    that are in no file come from the command line.
    """
    readings: dict[Path, Reading] = {}
    unread: list[str] = []
    for file in map(Path, files):
        # A job on another machine may not have access to the files.
        if file.exists():
            try:
                readings[file] = read_yaml(file)
            except UserError as error:
                unread += error.problems
    if unread:
        return None, [text_for("line", problem) for problem in unread]
    raw = {} if raw is None else null_named(raw)
    config, sentences = None, []
    try:
        config = Config.model_validate(raw)
    except ValidationError as error:
        sentences = [(key_of(item, raw), sentence_of(item)) for item in error.errors()]
    # Files are checked even if other keys are wrong, so that all problems are reported at once.
    sound = config or _without((path for path, _ in sentences), raw)
    sentences += value_problems(sound, raw if isinstance(raw, Mapping) else {}, reserved)
    problems = located(sentences, raw, readings)
    problems += further(_without((path for path, _ in sentences), raw))
    return config, [text_for("line", problem) for problem in problems]


class _Sound(Config):
    """A configuration from which wrong entries have been removed."""

    models: dict[Name, Source] = Field(default={})
    corpora: dict[Name, Corpus] = Field(default={})
    regressions: dict[Name, Regression] = Field(default={})


def _without(wrong: Iterable[KeyPath], raw: Any) -> _Sound:
    """Return a configuration without its wrong sections, models, corpora and regressions."""
    if not isinstance(raw, Mapping):
        return _Sound()
    sections = {name: section for name, section in raw.items() if name in Config.model_fields}
    for name, *keys in filter(None, wrong):
        if keys and name in ("models", "corpora", "regressions"):
            entries = sections[name].items()
            sections[name] = {key: v for key, v in entries if part_of_path(key) != keys[0]}
        else:
            sections.pop(name, None)
    return _Sound.model_validate(sections)


def reading_problems(file: str | Path) -> list[str]:
    """Return why a file cannot be read as a configuration, one line per problem.

    This runs before Snakemake reads the file, because Snakemake states no line or shows a
    traceback.
    """
    try:
        values = read_yaml(Path(file)).values
    except UserError as error:
        return [text_for("line", problem) for problem in error.problems]
    if values is None:
        least = "corpora: {mine: {files: my.txt}}"
        return [f"{file}: found nothing in it, expected at least corpora, as in {least}"]
    if not isinstance(values, Mapping):
        return [f"{file}: found {shown(values)}, expected {EXPECTED['model']}"]
    return []
