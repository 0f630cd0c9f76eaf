"""Everything that is wrong with a configuration, one line a problem."""

import argparse
import contextlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Set
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin

from pydantic import (
    TypeAdapter,
    ValidationError,
)

from attnlag.config.reading import (
    EXPECTED,
    KeyPath,
    file_alike,
    null_named,
    read_yaml,
    values_by_path,
    written_key,
)
from attnlag.config.schema import (
    IN_WORDS,
    SOURCES,
    Config,
    Corpus,
    ModelSource,
    PathSource,
    RandomSource,
    Section,
    Source,
    files_matching,
    shown,
)
from attnlag.errors import UserError, counted, nearest, printable, unreadable
from attnlag.regression.covariates import layer_cells


def reading_problems(file: str | Path) -> list[str]:
    """Return what keeps a file from being read as a configuration, one line each.

    To be asked before Snakemake reads it, which says less, or has a traceback. What the keys of
    a file say that can be read is ``check``'s to see.
    """
    try:
        values, _, _ = read_yaml(Path(file))
    except UserError as error:
        return list(map(printable, error.problems))
    if values is None:
        return [f"{file}: found nothing in it, expected at least models and corpora"]
    if not isinstance(values, Mapping):
        return [f"{file}: found {shown(values)}, expected {EXPECTED['model_type']}"]
    # Snakemake has a use for this key, and expects it to be right.
    return check(values, [file])[1] if "pathvars" in values else []


def command_line_problems(arguments: Iterable[str]) -> list[str]:
    """Return what keeps the configuration of a command line of Snakemake from being read.

    Parameters
    ----------
    arguments : iterable of str
        What follows ``snakemake``. Of these, ``--configfile`` and ``--config`` are looked at.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--configfile", "--configfiles", nargs="+", default=[])
    parser.add_argument("--config", "-C", nargs="*", default=[])
    try:
        known, _ = parser.parse_known_args(list(arguments))
    except argparse.ArgumentError:
        return []  # Snakemake will say so.
    return [problem for file in known.configfile for problem in reading_problems(file)] + [
        f"command line: found --config {shown(entry)}, expected KEY=VALUE, as in "
        "inference={alpha: 0.1}"
        for entry in known.config
        if not re.match(r"[a-zA-Z_][\w-]*\w=", entry)
    ]


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
    if error["type"] == "impossible":
        path.append(error["ctx"]["key"])
    return tuple(path)


def _sentence(error: Mapping[str, Any]) -> str:
    """Return what was found and what was expected, for one error of pydantic's list."""
    kind, context, value = error["type"], error.get("ctx", {}), error["input"]
    valid: list[str] = []
    if kind == "value_error":
        return str(context["error"])
    if kind == "impossible":
        return str(context["sentence"])
    if kind in ("missing", "extra_forbidden", "invalid_key"):
        *section, name = error["loc"]
        fields = _section_at(tuple(section)).model_fields
        if kind == "missing":
            meaning = fields[name].description or "a value"
            return f"is missing, expected {meaning[0].lower()}{meaning[1:]}"
        alike = nearest(str(name), fields) or _elsewhere(str(name), error["loc"][0])
        return f"unknown key, expected one of {', '.join(fields)}{alike}"
    if kind.startswith("union_tag"):
        valid = list(SOURCES)
        expected = f"one of {', '.join(valid)}"
        if kind == "union_tag_not_found":
            return f"is missing, expected {expected}"
        value = value["source"]
    elif kind == "literal_error":
        expected = re.sub("True|False", lambda word: word[0].lower(), context["expected"])
        expected = expected.replace("'", "")
        valid = re.split(", | or ", expected)
    elif kind == "string_pattern_mismatch":
        expected = IN_WORDS.get(context["pattern"], f"text that matches {context['pattern']}")
    elif BOUNDS.keys() & context.keys():
        expected = " and ".join(f"{BOUNDS[key]} {bound:,.0f}" for key, bound in context.items())
    elif kind == "too_short":
        least = context["min_length"]
        expected = f"at least {'one entry' if least == 1 else f'{least} entries'}"
    elif kind in EXPECTED:
        expected = EXPECTED[kind]
    else:
        return f"found {shown(value)}: {error['msg']}"
    alike = nearest(str(value), valid) if valid else ""
    return f"found {shown(value)}, expected {expected}{alike}"


def _elsewhere(key: str, section: str | int) -> str:
    """Return ``"; did you mean 'inference.alpha'?"`` for a key that belongs to another section."""
    homes = []
    for name, field in Config.model_fields.items():
        kind: Any = field.annotation
        kinds: Iterable[Any] = [kind]
        place = f"{name}.{key}"
        if get_origin(kind) is dict:
            kind = get_args(kind)[1]
            kinds = SOURCES.values() if kind == Source else [kind]
            place = f"{name}.NAME.{key}"
        if name != section and any(key in one.model_fields for one in kinds):
            homes.append(f"'{place}'")
    return f"; did you mean {' or '.join(homes)}?" if homes else ""


def _well_formed(kind: Any, value: Any) -> Any:
    """Return what is well formed of a section, or of a mapping of sections; None if nothing."""
    if get_origin(kind) is dict:
        entries = value.items() if isinstance(value, Mapping) else ()
        named = {
            name: _well_formed(get_args(kind)[1], entry)
            for name, entry in entries
            if isinstance(name, str)
        }
        return {name: entry for name, entry in named.items() if entry is not None}
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        if kind is not Corpus or not isinstance(value, Mapping):
            return None
        # Its files are looked for, whatever is wrong beside them.
        wrong = {item["loc"][0] for item in error.errors() if item["loc"]}
    with contextlib.suppress(ValidationError):
        return Corpus.model_validate({key: value[key] for key in value if key not in wrong})
    return None


def _value_problems(config: Config, spoilt: Set[str]) -> Iterator[tuple[KeyPath, str]]:
    """Yield what is wrong with values that are well formed: missing files, impossible layers.

    ``spoilt`` are the models that are named but not well formed: no one's twin is wrong for it.
    """
    for section in ("models", "corpora", "regressions"):
        yield from _names_alike(section, getattr(config, section))
    for name, corpus in config.corpora.items():
        for index, pattern in enumerate(corpus.files):
            if problem := _file_problem(pattern):
                yield ("corpora", name, "files", index), problem
    for name, model in config.models.items():
        if isinstance(model, PathSource) and (problem := _model_problem(model.path)):
            yield ("models", name, "path"), problem
            found = None
        elif isinstance(model, RandomSource):
            original = config.models.get(model.of)
            if isinstance(original, RandomSource) or (not original and model.of not in spoilt):
                yield ("models", name, "of"), _original_problem(model.of, config.models)
                original = None
            found = original and (_layers_found(model.of, original) or original.layers)
        else:
            found = _layers_found(name, model)
        if model.layers and found and model.layers != found:
            yield (
                ("models", name, "layers"),
                f"found {model.layers}, but the model has {found} layers",
            )
        layers = found or model.layers
        chosen: list[tuple[KeyPath, int | None]] = [
            (("figures", "layers", index), layer)
            for index, layer in enumerate(config.figures.layers or ())
        ]
        for key, layer in [*chosen, (("figures", "text_layer"), config.figures.text_layer)]:
            if layers and layer is not None and layer >= layers:
                yield key, f"found layer {layer}, but model {name} has layers 0 to {layers - 1}"
    for of in config.figures.documents or ():
        if of not in config.corpora:
            yield (
                ("figures", "documents", of),
                f"found no corpus {of!r}, expected one of {', '.join(config.corpora)}"
                f"{nearest(of, config.corpora)}",
            )
    yield from _length_problems(config)
    covariance = config.inference.covariance
    for name, regression in config.regressions.items():
        if regression.bias_correction == "half-panel" and not covariance.startswith("cluster"):
            yield (
                ("inference", "covariance"),
                f"found {covariance}, expected cluster or cluster-jackknife: regression {name} has "
                "bias_correction: half-panel, which knows no other errors; or bias_correction: "
                "none",
            )
    if config.figures.bands == "joint" and not config.inference.bootstrap:
        yield (
            ("figures", "bands"),
            "found joint with inference.bootstrap: 0, expected single, or draws to take them from",
        )


def _length_problems(config: Config) -> Iterator[tuple[KeyPath, str]]:
    """Yield which regressions have no row because all sequences are too short for them."""
    longest = config.tokens.max_length
    if longest is None:
        return

    def problem(lags: list[int], leads: list[int], covariates: list[str]) -> str | None:
        furthest = [f"lag {max(lags)}"] if lags else covariates[:1]
        furthest += [f"lead {max(leads)}"] if leads else []
        # Beside the token itself; a covariate may hold a lag.
        offsets = [cell.offset for cell in layer_cells(covariates).values()]
        reach = max([0, *lags, *(-o for o in offsets)]) + max([0, *leads, *offsets])
        needed = config.norms.drop_first + reach + 1
        if longest >= needed:
            return None
        return (
            f"{' and '.join(furthest)}, which need{'s' if len(furthest) == 1 else ''} sequences "
            f"of {needed} tokens (norms.drop_first is {config.norms.drop_first}), but "
            f"tokens.max_length is {longest}"
        )

    all_fit = True
    for name, regression in config.regressions.items():
        if sentence := problem(regression.lags, regression.leads, regression.layer_covariates):
            all_fit = False
            key = "lags" if regression.lags else "leads"
            yield ("regressions", name, key), f"found {sentence}"
    sample = config.sample()
    if all_fit and sample and (sentence := problem(**sample)):
        yield ("norms", "common_sample"), f"found true: over all regressions {sentence}"


def _names_alike(section: str, names: Iterable[str]) -> Iterator[tuple[KeyPath, str]]:
    """Yield which names would be one folder where upper and lower case are not told apart."""
    first: dict[str, str] = {}
    for name in names:
        other = first.setdefault(name.lower(), name)
        if other != name:
            yield (
                (section, name),
                f"the name '{name}' differs from '{other}' in case only, expected another: "
                "some disks do not tell their folders apart",
            )


def _file_problem(pattern: str) -> str | None:
    """Return what is wrong with a file or glob of a corpus, without its content being read."""
    try:
        files = [Path(file) for file in files_matching(pattern)]
    except (OSError, ValueError) as error:
        return f"{pattern!r} cannot be read: {getattr(error, 'strerror', None) or error}"
    if not files:
        return f"{pattern!r} matches no file"
    if problem := next(filter(None, map(name_problem, files)), None):
        return problem
    found = [(file, problem) for file in files if (problem := unreadable(file))]
    if not found:
        return None
    file, problem = found[0]
    if problem == "no such file":
        return f"found no file {pattern!r}{file_alike(file)}"
    if problem.startswith("is a folder"):
        return f"{pattern!r} {problem} or a glob, as in {str(file / '*.txt')!r}"
    more = len(found) - 1
    also = f"; so {'is' if more == 1 else 'are'} {counted(more, 'other file')}" if more else ""
    return f"{str(file)!r} {problem}{also}"


def name_problem(path: str | Path) -> str | None:
    """Return what keeps Snakemake from handing a file to a job by its name, or None."""
    name = str(path)
    if printable(name) != name:
        return f"the name {name!r} has characters that cannot be printed, expected another name"
    # It puts the name of a corpus or model in place of {corpus} or {model}.
    if "{" in name and "}" in name:
        return f"the name {name!r} has braces, which mark wildcards, expected another name"
    return None


def _model_problem(path: Path) -> str | None:
    """Return what is wrong with a model on this machine, without its weights being looked at."""
    expected = "expected a Hugging Face folder or a .gguf file"
    try:
        if not path.exists():
            return f"found no folder '{path}', {expected}"
        if problem := name_problem(path):
            return problem
        if path.is_file():
            return None if path.suffix == ".gguf" else f"'{path}' is a file, {expected}"
        if not (path / "config.json").is_file():
            return f"the folder '{path}' has no config.json, {expected}"
    except OSError as error:
        return f"'{path}' cannot be read: {error.strerror}"
    if _json_object(path / "config.json") is None:
        return f"'{path / 'config.json'}' holds no JSON object, {expected}"
    return None


def _original_problem(of: str, models: Mapping[str, ModelSource]) -> str:
    """Return what is wrong with the original of a random twin."""
    valid = [name for name, model in models.items() if not isinstance(model, RandomSource)]
    found = f'found "{of}", which is random itself' if of in models else f'found "{of}"'
    if not valid:
        return f"{found}, expected a model that is not random, and this configuration has none"
    choice = f"one of {', '.join(valid)}" if len(valid) > 1 else valid[0]
    return f"{found}, expected {choice}{'' if of in models else nearest(of, valid)}"


def _layers_found(name: str, model: ModelSource) -> int | None:
    """Return the layers of a model that is on this machine already; None if that is not known."""
    if isinstance(model, PathSource):
        facts = _json_object(model.path / "config.json") or {}
        text = facts.get("text_config")  # of a model that sees images too
        facts = text if isinstance(text, dict) else facts
        numbers = [facts.get(key) for key in ("num_hidden_layers", "n_layer", "num_layers")]
    else:
        facts = _json_object(Path("data/models", name, "source.json")) or {}
        stated = model.model_dump(exclude={"layers", "width", "sites"})
        # The folder may hold what this name stood for before; it is then fetched anew.
        same = all(facts.get(key, value) == value for key, value in stated.items())
        numbers = [facts.get("layers") if same else None]
    return next((number for number in numbers if isinstance(number, int)), None)


def _json_object(file: Path) -> dict[str, Any] | None:
    with contextlib.suppress(OSError, ValueError, RecursionError):
        value = json.loads(file.read_text(encoding="utf-8"))
        return value if isinstance(value, dict) else None
    return None


def check(
    raw: Any, files: Iterable[str | Path] = (), section: KeyPath = ()
) -> tuple[Config | None, list[str]]:
    """Check a configuration and return it with all its problems.

    Parameters
    ----------
    raw : mapping
        The configuration as read, overrides from the command line included. Anything else,
        such as None for an empty file, is a problem too.
    files : iterable of paths
        The YAML files it was read from, for the lines in the messages.
    section : tuple of str
        Where the configuration stands in these files; by default it is all that they hold.

    Returns
    -------
    config : Config or None
        None where the structure itself is wrong.
    problems : list of str
        One line each, ``file:line: key: what was found and what was expected``, in the order of
        lines; empty if the configuration can be run. A value that no file has is from the
        command line.
    """
    sources = [Path(file) for file in files]
    # By file, the command line being the last of them, and line.
    found: list[tuple[int, int, str]] = []
    in_files: dict[KeyPath, tuple[int, int, Any]] = {}
    unread: list[str] = []
    for number, file in enumerate(sources):
        try:
            values, lines, repeated = read_yaml(file)
        except UserError as error:
            # Snakemake has read the file before, perhaps elsewhere.
            unread += error.problems if file.exists() else []
            continue
        found += [(number, line, f"{file}:{line}: {sentence}") for line, sentence in repeated]
        for path, value in values_by_path(values):
            # What comes in through an anchor stands where it is drawn in.
            lines.setdefault(path, lines.get(path[:-1], 1))
            if path[: len(section)] == section:
                in_files[path[len(section) :]] = number, lines[path], value
    if unread:
        return None, list(map(printable, unread))
    raw = {} if raw is None else null_named(raw)
    in_force = dict(values_by_path(raw))

    def place(path: KeyPath) -> tuple[int, int]:
        """Return file and line of a key; a missing key belongs where its section is."""
        if not path:
            return 0, 0
        if path not in in_force:
            return place(path[:-1])
        number, line, value = in_files.get(path, (len(sources), 0, None))
        both_sections = isinstance(value, Mapping) and isinstance(in_force[path], Mapping)
        # What is no number is not equal to itself.
        if both_sections or value == in_force[path] or value != value:
            return number, line
        return (len(sources), 0) if in_files else (0, 0)

    def add(path: KeyPath, sentence: str) -> None:
        number, line = place(path)
        names = [*map(str, sources), "command line"] if sources else ["configuration"]
        where = f"{names[number]}:{line}" if line else names[number]
        found.append(
            (
                number,
                line,
                ": ".join(filter(None, (where, written_key((*section, *path)), sentence))),
            )
        )

    config = None
    try:
        config = Config.model_validate(raw)
    except ValidationError as error:
        for item in error.errors(include_url=False):
            add(_key_of(item), _sentence(item))
    # Files are looked for even where a key elsewhere is wrong: all problems at once.
    sections = raw if isinstance(raw, Mapping) else {}
    parts = {
        key: _well_formed(field.annotation, sections.get(key))
        for key, field in Config.model_fields.items()
    }
    well_formed = config or Config.model_construct(
        **{key: part for key, part in parts.items() if part is not None}
    )
    declared = sections.get("models")
    spoilt = set(declared if isinstance(declared, Mapping) else ()) - set(well_formed.models)
    for path, sentence in _value_problems(well_formed, spoilt):
        add(path, sentence)
    problems = [problem for *_, problem in sorted(found, key=lambda one: one[:2])]
    return config, list(map(printable, problems))
