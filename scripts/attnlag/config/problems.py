"""Check of a configuration, which reports each problem in one line."""

from collections.abc import Callable, Iterable, Mapping, Set
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from attnlag.config.places import located
from attnlag.config.reading import Reading, null_named, part_of_path, read_yaml
from attnlag.config.removed import removed_problem
from attnlag.config.schema import Config
from attnlag.config.sentences import EXPECTED, key_of, sentence_of
from attnlag.config.values import Problem, value_problems
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
    config = None
    sentences: list[Problem] = []
    try:
        config = Config.model_validate(raw)
    except ValidationError as error:
        sentences = _sentences(error, raw)
    # What is sound is checked even if other keys are wrong, so that all problems are reported.
    sound, hidden = _sound_part(raw, sentences)
    sentences += hidden
    # What is wrong has its default there, which says nothing of the value that is meant.
    wrong = {path[:2] for path, _ in sentences}
    folders = list(dict.fromkeys(file.parent for file in readings))
    values = value_problems(sound, reserved, folders)
    sentences += [problem for problem in values if problem[0][:2] not in wrong]
    problems = located(sentences, raw, readings)
    problems += further(_sound_part(raw, sentences)[0])
    return config, [text_for("line", problem) for problem in problems]


class _Sound(Config):
    """A configuration from which wrong entries have been removed."""

    models: dict[Name, Source] = Field(default={})
    corpora: dict[Name, Corpus] = Field(default={})
    regressions: dict[Name, Regression] = Field(default={})


def _sentences(error: ValidationError, raw: Any) -> list[Problem]:
    problems = []
    for item in error.errors():
        path = key_of(item, raw)
        removed = removed_problem(path, item["input"])
        problems.append((path, removed or sentence_of(item)))
    return problems


def _sound_part(raw: Any, wrong: Iterable[Problem]) -> tuple[_Sound, list[Problem]]:
    """Return a configuration without its wrong keys, and the problems that these have hidden.

    Keys of a section are compared with each other once each of them is sound. A model, corpus or
    regression with a wrong key is left out whole.
    """
    if not isinstance(raw, Mapping):
        return _Sound(), []
    sections = {name: section for name, section in raw.items() if name in Config.model_fields}
    for name, *keys in dict.fromkeys(path[:2] for path, _ in wrong if path):
        entries = sections.pop(name, None)
        if keys and isinstance(entries, Mapping):
            left = {key: value for key, value in entries.items() if part_of_path(key) != keys[0]}
            # A key at odds with another may be one that has its default; then all keys go.
            if len(left) < len(entries):
                sections[name] = left
    try:
        return _Sound.model_validate(sections), []
    except ValidationError as error:
        hidden = _sentences(error, raw)
        sound, more = _sound_part(sections, hidden)
        return sound, hidden + more


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
