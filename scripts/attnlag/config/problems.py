"""Everything that is wrong with a configuration, one line a problem."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin

from pydantic import ValidationError

from attnlag.config.files import json_object
from attnlag.config.reading import (
    KeyPath,
    Reading,
    null_named,
    read_yaml,
    values_by_path,
)
from attnlag.config.schema import (
    IN_WORDS,
    SOURCES,
    Config,
    ModelSource,
    PathSource,
    RandomSource,
    Section,
    Source,
)
from attnlag.errors import UserError, nearest, printable, shown

# What pydantic expected, by the beginning of its error's type.
EXPECTED = {
    "bool": "true or false",
    "dict": "a mapping, as in {name: {key: value}}",
    "float": "a number",
    "int": "a whole number",
    "list": "a list, as in [a, b]",
    "model": "a mapping, as in {key: value}",
    "path": "text (quotes make a number text)",
    "string": "text (quotes make a number text)",
}
BOUNDS = {"ge": "at least", "le": "at most", "gt": "more than", "lt": "less than"}


def _section_at(path: KeyPath) -> type[Section]:
    """Return the class of the section at a path of pydantic's, which names kinds of sources."""
    kind: Any = Config
    for part in path:
        if kind == Source:
            kind = SOURCES[str(part)]
        elif get_origin(kind) is dict:
            kind = get_args(kind)[1]
        else:
            kind = kind.model_fields[part].annotation
        if get_origin(kind) is UnionType:  # a section that may be null
            kind = get_args(kind)[0]
    return kind


def _key_of(error: Mapping[str, Any]) -> KeyPath:
    """Return the key path of an error as it stands in the file."""
    path = list(error["loc"])
    if path and path[-1] == "[key]":  # the name itself is wrong
        path.pop()
    if path and path[0] == "models":
        del path[2:3]  # the kind of source, between the model's name and its key
    if error["type"].startswith("union_tag"):
        path.append("source")
    return tuple(path)


def _sentence(error: Mapping[str, Any]) -> str:
    """Return what was found and what was expected, for one error of pydantic's list."""
    kind, context, value = error["type"], error.get("ctx", {}), error["input"]
    if kind == "value_error":
        return str(context["error"])
    if kind in ("missing", "extra_forbidden", "invalid_key"):
        *section, name = error["loc"]
        fields = _section_at(tuple(section)).model_fields
        if kind == "missing":
            meaning = fields[name].description or "a value"
            return f"is missing, expected {meaning[0].lower()}{meaning[1:]}"
        return f"unknown key, expected one of {', '.join(fields)}{nearest(str(name), fields)}"
    alike = ""
    if kind.startswith("union_tag"):
        value = value.get("source")
        expected = f"one of {', '.join(SOURCES)}"
        alike = nearest(str(value), SOURCES)
    elif kind == "literal_error":
        expected = re.sub("True|False", lambda word: word[0].lower(), context["expected"])
        expected = expected.replace("'", "")
        alike = nearest(str(value), re.split(", | or ", expected))
    elif kind == "string_pattern_mismatch":
        expected = IN_WORDS[context["pattern"]]
    elif BOUNDS.keys() & context.keys():
        expected = " and ".join(f"{BOUNDS[key]} {bound:,.0f}" for key, bound in context.items())
    elif kind == "too_short":
        expected = f"a list of at least {context['min_length']}"
    else:
        expected = EXPECTED.get(kind.split("_")[0], error["msg"])
    return f"found {shown(value)}, expected {expected}{alike}"


def _cross_problems(config: Config) -> Iterator[tuple[KeyPath, str]]:
    """Yield what does not go together in sections that are right by themselves."""
    trained = [n for n, model in config.models.items() if not isinstance(model, RandomSource)]
    for name, model in config.models.items():
        if isinstance(model, RandomSource) and model.of not in trained:
            yield (
                ("models", name, "of"),
                f"found {shown(model.of)}, expected a model that is not random: "
                f"{', '.join(trained) or 'there is none'}{nearest(model.of, trained)}",
            )
        yield from _layer_problems(name, model, config)
    for name in config.figures.documents or ():
        if name not in config.corpora:
            yield (
                ("figures", "documents", name),
                f"found no corpus {name!r}, expected one of {', '.join(config.corpora)}"
                f"{nearest(name, config.corpora)}",
            )
    covariance = config.inference.covariance
    for name, regression in config.regressions.items():
        if regression.bias_correction == "half-panel" and not covariance.startswith("cluster"):
            yield (
                ("inference", "covariance"),
                f"found {covariance}, expected cluster or cluster-jackknife: regression {name} has "
                "bias_correction: half-panel, which knows no other errors",
            )
    if config.figures.bands == "joint" and not config.inference.bootstrap:
        yield (
            ("figures", "bands"),
            "found joint with inference.bootstrap: 0, expected single, or draws to take them from",
        )


def _layer_problems(name: str, model: ModelSource, config: Config) -> Iterator[tuple[KeyPath, str]]:
    """Yield which layers, and which width, are stated or asked for that a model does not have."""
    if isinstance(model, RandomSource):
        original = config.models.get(model.of)
        found = _facts(model.of, original) if original else {}
    else:
        found = _facts(name, model)
    for fact, words in (("layers", "{} layers"), ("width", "a width of {}")):
        value = getattr(model, fact)
        if value and value != found.get(fact, value):
            has = words.format(found[fact])
            yield ("models", name, fact), f"found {value}, but the model has {has}"
    layers = found.get("layers") or model.layers
    figures = config.figures
    chosen: list[tuple[KeyPath, int | None]] = [
        (("figures", "layers", index), layer) for index, layer in enumerate(figures.layers or ())
    ]
    for key, layer in [*chosen, (("figures", "text_layer"), figures.text_layer)]:
        if layers and layer is not None and layer >= layers:
            yield key, f"found layer {layer}, but model {name} has layers 0 to {layers - 1}"


def _facts(name: str, model: ModelSource) -> dict[str, int]:
    """Return the layers and the width of a model, as far as they are known.

    What is stated stands in for what a model that is not on this machine yet will have.
    """
    stated = model.model_dump(include={"layers", "width"}, exclude_none=True)
    if isinstance(model, PathSource):
        facts = json_object(model.path / "config.json") or {}
        text = facts.get("text_config")  # of a model that sees images too
        facts = text if isinstance(text, dict) else facts
    else:
        facts = json_object(Path("data/models", name, "source.json")) or {}
        source = model.model_dump(exclude={"layers", "width", "modules", "revision", "sha256"})
        # The folder may hold what this name stood for before; it is then fetched anew.
        if any(facts.get(key) != value for key, value in source.items()):
            facts = {}
    # Names of the record, and those that the architectures of transformers have for them.
    names = {
        "layers": ("layers", "num_hidden_layers", "n_layer", "num_layers"),
        "width": ("width", "hidden_size", "n_embd", "d_model"),
    }
    known = {
        fact: facts[key]
        for fact, keys in names.items()
        for key in reversed(keys)
        if isinstance(facts.get(key), int)
    }
    return {**stated, **known}


def check(raw: Any, files: Iterable[str | Path] = ()) -> tuple[Config | None, list[str]]:
    """Check a configuration and return it with all its problems.

    Parameters
    ----------
    raw : mapping
        The configuration as read, overrides from the command line included. Anything else,
        such as None for an empty file, is a problem too.
    files : iterable of paths
        The YAML files it was read from, for the lines in the messages. A file that has none of
        the keys is another workflow's and is left aside.

    Returns
    -------
    config : Config or None
        None where a section is wrong by itself.
    problems : list of str
        One line each, ``file:line: key: what was found and what was expected``, in the order of
        lines; empty if the configuration can be run. A value that no file has is from the
        command line.
    """
    raw = {} if raw is None else null_named(raw)
    readings: list[tuple[Path, Reading]] = []
    unread: list[str] = []
    for file in map(Path, files):
        # A job on another machine may not see the files.
        if file.exists():
            try:
                readings.append((file, read_yaml(file)))
            except UserError as error:
                unread += error.problems
    if unread:
        return None, list(map(printable, unread))
    readings = [
        (file, reading)
        for file, reading in readings
        if not isinstance(reading.values, Mapping) or {*reading.values} & {*raw}
    ]
    names = [*(str(file) for file, _ in readings), "command line"]
    if not readings:
        names = ["configuration"]

    # The last file that has the value in force, and the line there.
    in_force = dict(values_by_path(raw))
    places: dict[KeyPath, tuple[int, int]] = {(): (0, 0)}
    for number, (_, reading) in enumerate(readings):
        for path, value in values_by_path(reading.values):
            # A section is the same section whatever it holds.
            if path in in_force and (isinstance(value, Mapping) or value == in_force[path]):
                places[path] = number, reading.line(path)

    def place(path: KeyPath) -> tuple[int, int]:
        """Return file and line of a key; a missing key belongs where its section is."""
        if path not in in_force:
            return place(path[:-1])
        return places.get(path, (len(readings), 0))

    config = None
    try:
        config = Config.model_validate(raw, context="look for files")
        found = list(_cross_problems(config))
    except ValidationError as error:
        errors = error.errors(include_url=False)
        found = [(_key_of(item), _sentence(item)) for item in errors]
    problems = []
    for path, sentence in sorted(found, key=lambda one: place(one[0])):
        number, line = place(path)
        where = f"{names[number]}:{line}" if line else names[number]
        problems.append(": ".join(filter(None, (where, _written(path), sentence))))
    return config, list(map(printable, problems))


def _written(path: KeyPath) -> str:
    """Return a key path as ``figures.layers[0]``; a key with odd signs in quotes."""
    text = ""
    for part in path:
        word = part if re.fullmatch(r"[\w.-]+", str(part)) else json.dumps(part)
        text += f"[{part}]" if isinstance(part, int) else f".{word}" if text else str(word)
    return text


def reading_problems(file: str | Path) -> list[str]:
    """Return what keeps a file from being read as a configuration, one line each.

    To be asked before Snakemake reads the file: Snakemake names no line, or shows a traceback.
    """
    try:
        values = read_yaml(Path(file)).values
    except UserError as error:
        return list(map(printable, error.problems))
    if not isinstance(values, Mapping):
        return [f"{file}: found {shown(values)}, expected {EXPECTED['model']}"]
    return []
