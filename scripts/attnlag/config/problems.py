"""Check of a configuration, which reports each problem in one line."""

import contextlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin

from pydantic import Field, ValidationError

from attnlag.adjustments.outcomes import OUTCOMES
from attnlag.adjustments.sites import changeable
from attnlag.config.reading import (
    KeyPath,
    Reading,
    file_alike,
    null_named,
    part_of_path,
    read_yaml,
    values_by_path,
)
from attnlag.config.schema import Config, files_matching
from attnlag.corpus.settings import Corpus
from attnlag.errors import UserError, counted, nearest, shown, unreadable
from attnlag.escaping import name_problem, text_for
from attnlag.model.settings import SOURCES, ModelSource, PathSource, RandomSource, Source
from attnlag.regression.design.covariates import CATALOGUE, layer_cells
from attnlag.regression.settings import Regression
from attnlag.section import IN_WORDS, Name, Section

# Expected values, by the type of pydantic's error.
EXPECTED = {
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "dict_type": "a mapping, as in {name: {key: value}}",
    "finite_number": "a finite number",
    "float_parsing": "a number",
    "float_type": "a number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "list_type": "a list, as in [a, b]",
    "model_attributes_type": "a mapping, as in {key: value}",
    "model_type": "a mapping, as in {key: value}",
    "path_type": "text (quotes make a number text)",
    "string_too_short": "text that is not empty",
    "string_type": "text (quotes make a number text)",
}
BOUNDS = {"ge": "at least", "le": "at most", "gt": "more than", "lt": "less than"}


COMMIT = r"[0-9a-f]{40}"


def _section_at(path: KeyPath) -> type[Section]:
    """Return the class of the section at a path from pydantic, which includes kinds of sources."""
    kind: Any = Config
    for part in path:
        if kind == Source:
            kind = SOURCES[str(part)]
        elif get_origin(kind) is dict:
            kind = get_args(kind)[1]
        else:
            kind = kind.model_fields[part].annotation
        if get_origin(kind) is UnionType:  # The section may be null.
            kind = get_args(kind)[0]
    return kind


def _key_of(error: Mapping[str, Any]) -> KeyPath:
    """Return the key path of an error as written in the file."""
    path = list(error["loc"])
    if path and path[-1] == "[key]":  # The name itself is wrong.
        path.pop()
    if path and path[0] == "models":
        del path[2:3]  # Remove the kind of source, between the model's name and its key.
    if path[2:3] == ["fixed_effects"]:
        del path[3:4]  # Remove the type that the value was parsed as.
    if path[-1:] == ["number"]:  # Remove the type that the value was parsed as.
        path.pop()
    if error["type"].startswith("union_tag"):
        path.append("source")
    if error["type"] == "impossible":
        path.append(error["ctx"]["key"])
    return tuple(path)


def _sentence(error: Mapping[str, Any]) -> str:
    """Return the found and the expected value, in words, for one of pydantic's errors."""
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
        return f"unknown key, expected one of {', '.join(fields)}{nearest(str(name), fields)}"
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
        expected = " and ".join(f"{BOUNDS[key]} {bound:,.12g}" for key, bound in context.items())
    elif kind == "too_short":
        least = context["min_length"]
        expected = f"at least {'one entry' if least == 1 else f'{least} entries'}"
    elif kind in EXPECTED:
        expected = EXPECTED[kind]
    else:
        return f"found {shown(value)}: {error['msg']}"
    alike = nearest(str(value), valid) if valid else ""
    return f"found {shown(value)}, expected {expected}{alike}"


class _Sound(Config):
    """A configuration from which wrong entries have been removed."""

    models: dict[Name, Source] = Field(default={})
    corpora: dict[Name, Corpus] = Field(default={})
    regressions: dict[Name, Regression] = Field(default={})


def _sound_part(raw: Any, wrong: Iterable[KeyPath]) -> _Sound:
    """Return a configuration without its wrong sections, models, corpora and regressions."""
    if not isinstance(raw, Mapping):
        return _Sound()
    left = {name: section for name, section in raw.items() if name in Config.model_fields}
    for section, *rest in filter(None, wrong):
        if rest and section in ("models", "corpora", "regressions"):
            left[section] = {k: v for k, v in left[section].items() if part_of_path(k) != rest[0]}
        else:
            left.pop(section, None)
    return _Sound.model_validate(left)


def _value_problems(config: Config, raw: Mapping[str, Any]) -> Iterator[tuple[KeyPath, str]]:
    """Yield the problems of well-formed values, such as missing files and impossible layers.

    A name in ``raw`` lacks its entry in ``config`` if the entry itself is wrong.
    """
    for name, corpus in config.corpora.items():
        for index, pattern in enumerate(corpus.files):
            if problem := _file_problem(pattern):
                yield ("corpora", name, "files", index), problem
        file = corpus.tagger.file if corpus.tagger else None
        if file and (problem := _file_problem(file)):
            yield ("corpora", name, "tagger", "file"), problem
    for name, model in config.models.items():
        if isinstance(model, PathSource) and (problem := _model_problem(model.path)):
            yield ("models", name, "path"), problem
        if isinstance(model, RandomSource) and (
            model.of not in raw["models"] or isinstance(config.models.get(model.of), RandomSource)
        ):
            yield ("models", name, "of"), _original_problem(model.of, config.models)
        yield from _layer_problems(name, model, config)
    corpora = raw.get("corpora")
    for of in config.figures.documents or ():
        if corpora and isinstance(corpora, Mapping) and of not in corpora:
            yield (
                ("figures", "documents", of),
                f"found no corpus {of!r}, expected one of {', '.join(config.corpora)}"
                f"{nearest(of, config.corpora)}",
            )
    yield from _length_problems(config)
    for key in ("source_sites", "target_sites"):
        for index, site in enumerate(getattr(config.causal, key, None) or ()):
            if site not in (known := changeable(config.extraction.sites)):
                yield (
                    ("causal", key, index),
                    f"found {site}, expected one of extraction.sites: {', '.join(known)}",
                )
    covariance = config.inference.covariance
    for name, regression in config.regressions.items():
        if regression.bias_correction == "half-panel" and not covariance.startswith("cluster"):
            yield (
                ("inference", "covariance"),
                f"found {covariance}, expected cluster, cluster-crv1 or cluster-jackknife: "
                f"regression {name} has bias_correction: half-panel, which supports no other "
                "errors; or bias_correction: none",
            )
        for property_of_token in (*regression.covariates, *(regression.by or ())):
            own = "covariates" if property_of_token in regression.covariates else "by"
            yield from _tagger_problems(("regressions", name, own), property_of_token, config)
        folder = OUTCOMES[regression.outcome].folder
        if folder == "written":
            if config.sources is None or config.extraction.sites != ["attention"]:
                given = "sources: null" if config.sources is None else "other sites than attention"
                yield (
                    ("regressions", name, "outcome"),
                    f"found {regression.outcome} with {given}, expected sources of attention, and "
                    "extraction.sites: [attention]",
                )
        elif folder != "norms" and not config.extraction.geometry:
            yield (
                ("regressions", name, "outcome"),
                f"found {regression.outcome} with extraction.geometry: false, expected true there, "
                "or norm or relative",
            )
        elif folder == "centred" and config.extraction.keep == "norms":
            yield (
                ("regressions", name, "outcome"),
                f"found {regression.outcome} with extraction.keep: norms, expected vectors there: "
                "the layer's mean vector needs all vectors; or cosine_previous",
            )
    if config.controls.permutation and config.controls.permutation.within == "upos":
        yield from _tagger_problems(("controls", "permutation", "within"), "upos", config)
    if config.extraction.keep == "norms" and raw.get("vectors"):
        yield (
            ("vectors",),
            "found a regression of vectors with extraction.keep: norms, expected keep: vectors; or "
            "vectors: null",
        )
    if config.figures.bands == "joint" and not config.inference.bootstrap:
        yield (
            ("figures", "bands"),
            "found joint with inference.bootstrap: 0, expected single, or draws to take them from",
        )


def _tagger_problems(key: KeyPath, name: str, config: Config) -> Iterator[tuple[KeyPath, str]]:
    """Yield the corpora whose tagger does not give what a property of tokens needs."""
    needed = CATALOGUE[name].of_tagger
    for of, corpus in config.corpora.items():
        tagger = corpus.tagger
        if needed == "tags" and not (tagger and tagger.gives_tags):
            lacks, gives = "tagger", "part of speech of tokens"
        elif needed == "language" and not (tagger and tagger.language):
            lacks, gives = "tagger.language", "frequency of words"
        else:
            continue
        yield key, f"found {name}, but corpora.{of} has no {lacks}; expected one, for the {gives}"


def _layer_problems(name: str, model: ModelSource, config: Config) -> Iterator[tuple[KeyPath, str]]:
    """Yield the stated or requested layers and widths that a model does not have."""
    if isinstance(model, RandomSource):
        original = config.models.get(model.of)
        facts = _facts(model.of, original) if original else {}
    else:
        facts = _facts(name, model)
    for fact, words in (("layers", "{} layers"), ("width", "a width of {}")):
        value = getattr(model, fact)
        if value and value != facts.get(fact, value):
            has = words.format(facts[fact])
            yield ("models", name, fact), f"found {value}, but the model has {has}"
    layers = facts.get("layers") or model.layers
    figures = config.figures
    chosen: list[tuple[KeyPath, int | None]] = [
        (("figures", "layers", index), layer) for index, layer in enumerate(figures.layers or ())
    ]
    for name_of in ("targets", "sources"):
        listed = getattr(config.causal, name_of, None)
        if isinstance(listed, list):
            chosen += [(("causal", name_of, index), layer) for index, layer in enumerate(listed)]
    for key, layer in [*chosen, (("figures", "text_layer"), figures.text_layer)]:
        if layers and layer is not None and layer >= layers:
            yield key, f"found layer {layer}, but model {name} has layers 0 to {layers - 1}"


def _length_problems(config: Config) -> Iterator[tuple[KeyPath, str]]:
    """Yield the regressions without rows because all sequences are too short."""
    longest = config.tokens.max_length
    if longest is None:
        return

    def problem(lags: list[int], leads: list[int], covariates: list[str]) -> str | None:
        furthest = [f"lag {max(lags)}"] if lags else covariates[:1]
        furthest += [f"lead {max(leads)}"] if leads else []
        # Tokens needed besides the outcome; a covariate may contain a lag.
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
    needed = sample and (sample.lags, sample.leads, sample.covariates)
    if all_fit and needed and (sentence := problem(*needed)):
        yield ("norms", "common_sample"), f"found true: over all regressions {sentence}"


def _file_problem(pattern: str) -> str | None:
    """Return the problem of a file or glob of a corpus, without reading its content."""
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


def _model_problem(path: Path) -> str | None:
    """Return the problem of a model on this machine, without reading its weights."""
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
    """Return the problem of the original of a random twin."""
    valid = [name for name, model in models.items() if not isinstance(model, RandomSource)]
    found = f'found "{of}", which is random itself' if of in models else f'found "{of}"'
    if not valid:
        return f"{found}, expected a model that is not random, and this configuration has none"
    choice = f"one of {', '.join(valid)}" if len(valid) > 1 else valid[0]
    return f"{found}, expected {choice}{'' if of in models else nearest(of, valid)}"


def _facts(name: str, model: ModelSource) -> dict[str, int]:
    """Return the number of layers and the width of a model, as far as they are known.

    Stated values are used for a model that is not on this machine yet.
    """
    stated = model.model_dump(include={"layers", "width"}, exclude_none=True)
    if isinstance(model, PathSource) and model.path.suffix == ".gguf":
        return {}  # Reading the header takes a second; fetch_model checks the stated values.
    if isinstance(model, PathSource):
        facts = _json_object(model.path / "config.json") or {}
        text = facts.get("text_config")  # Multimodal models have a separate text config.
        facts = text if isinstance(text, dict) else facts
    else:
        facts = _json_object(Path("data/models", name, "source.json")) or {}
        source = model.origin()
        # The record holds the commit, which is unknown here for a branch or tag.
        if not re.fullmatch(COMMIT, source.get("revision", "")):
            source.pop("revision", None)
        # The folder may hold an earlier model of this name, which is then fetched anew.
        if any(facts.get(key, value) != value for key, value in source.items()):
            facts = {}
    # Names in the record, and the corresponding names in the configs of transformers.
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


def _json_object(file: Path) -> dict[str, Any] | None:
    with contextlib.suppress(OSError, ValueError, RecursionError):
        value = json.loads(file.read_text(encoding="utf-8"))
        return value if isinstance(value, dict) else None
    return None


def check(raw: Any, files: Iterable[str | Path] = ()) -> tuple[Config | None, list[str]]:
    """Check a configuration and return it with all its problems.

    Parameters
    ----------
    raw : mapping
        The configuration as read, including overrides from the command line. Anything else,
        such as None for an empty file, is a problem too.
    files : iterable of paths
        The YAML files of the configuration, for the lines in the messages. The configuration may
        be a section of these files, if another workflow passes it to this one as a module.

    Returns
    -------
    config : Config or None
        None if the structure itself is wrong.
    problems : list of str
        One line each, ``file:line: key: found …, expected …``, in the order of lines; empty if
        the configuration can be run. Values that are in no file come from the command line.
    """
    readings: list[tuple[Path, Reading]] = []
    unread: list[str] = []
    for file in map(Path, files):
        # A job on another machine may not have access to the files.
        if file.exists():
            try:
                readings.append((file, read_yaml(file)))
            except UserError as error:
                unread += error.problems
    if unread:
        return None, [text_for("line", problem) for problem in unread]
    raw = {} if raw is None else null_named(raw)
    # Another workflow's file may hold the configuration as a section. A file that has neither this
    # section nor any of the keys is irrelevant.
    places_in_files = [_section(raw, reading.values) for _, reading in readings]
    section = next((path for path in places_in_files if path), ())
    readings = [
        (file, reading)
        for path, (file, reading) in zip(places_in_files, readings, strict=True)
        if (path == section if section else _keys(raw) & _keys(reading.values) or not _keys(raw))
    ]

    # The last file with the value in effect determines the line.
    in_force = dict(values_by_path(raw))
    places: dict[KeyPath, tuple[int, int]] = {}
    for number, (_, reading) in enumerate(readings):
        for whole_path, value in values_by_path(reading.values):
            path = whole_path[len(section) :]
            if whole_path == (*section, *path) and _same(value, in_force.get(path)):
                places[path] = number, reading.line(whole_path)
    places[()] = 0, 0

    def place(path: KeyPath) -> tuple[int, int]:
        """Return the file and line of a key, or of its section if the key is missing."""
        if path not in in_force:
            return place(path[:-1])
        return places.get(path, (len(readings), 0))

    names = (
        [*(str(file) for file, _ in readings), "command line"] if readings else ["configuration"]
    )
    config, sentences = None, []
    try:
        config = Config.model_validate(raw)
    except ValidationError as error:
        sentences = [(_key_of(item), _sentence(item)) for item in error.errors(include_url=False)]
    # Files are checked even if other keys are wrong, so that all problems are reported at once.
    sound = config or _sound_part(raw, [path for path, _ in sentences])
    sentences += _value_problems(sound, raw if isinstance(raw, Mapping) else {})
    located = [(*place(path), (*section, *path), sentence) for path, sentence in sentences]
    problems = []
    # The command line comes last.
    for number, line, path, sentence in sorted(located, key=lambda one: one[:2]):
        where = f"{names[number]}:{line}" if line else names[number]
        problems.append(": ".join(filter(None, (where, _written(path), sentence))))
    return config, [text_for("line", problem) for problem in problems]


def _keys(section: Any) -> set[Any]:
    """Return the keys of a section; none if it is not a section."""
    return set(section) if isinstance(section, Mapping) else set()


def _section(part: Any, whole: Any) -> KeyPath | None:
    """Return the keys that lead to a part of a configuration; None if it is not a part of it."""
    return next((path for path, value in values_by_path(whole) if value == part), None)


def _same(value: Any, other: Any) -> bool:
    """Return whether two values are equal; any two sections count as equal."""
    both_sections = isinstance(value, Mapping) and isinstance(other, Mapping)
    # NaN is not equal to itself.
    return both_sections or value == other or value != value


def _written(path: KeyPath) -> str:
    """Return a key path such as ``figures.layers[0]``, with unusual keys in quotes."""
    text = ""
    for part in path:
        word = part if re.fullmatch(r"[\w.-]+", str(part)) else json.dumps(part)
        text += f"[{part}]" if isinstance(part, int) else f".{word}" if text else str(word)
    return text


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
        return [f"{file}: found {shown(values)}, expected {EXPECTED['model_type']}"]
    return []
