"""Problems of well-formed values: missing files, impossible layers, incompatible keys."""

import math
import re
from collections.abc import Iterator, Sequence, Set
from pathlib import Path

from attnlag.config.folders import (
    below,
    elsewhere,
    folder_problem,
    json_object,
    sizes_in,
    sizes_of_folder,
)
from attnlag.config.reading import KeyPath, file_alike
from attnlag.config.revisions import revision_problems
from attnlag.config.schema import Config, files_matching, is_plain_text
from attnlag.corpus.settings import Corpus
from attnlag.errors import counted, unreadable
from attnlag.escaping import name_problem
from attnlag.model.settings import ModelSource, PathSource
from attnlag.quantities.catalogue import OPTIONAL, OUTCOMES, changeable
from attnlag.regression.covariances import CATALOGUE as COVARIANCES
from attnlag.regression.covariances import CLUSTERED
from attnlag.regression.covariates import (
    CATALOGUE,
    layer_places,
    needs_layers_between,
)
from attnlag.regression.settings import Regression

# The key that a problem is about, and what was found and expected.
Problem = tuple[KeyPath, str]

COMMIT = r"[0-9a-f]{40}"


def value_problems(
    config: Config,
    reserved: Set[str] = frozenset(),
    folders: Sequence[Path] = (),
) -> Iterator[Problem]:
    """Yield the problems of well-formed values.

    ``reserved`` are names of files and folders beside those that models, corpora and regressions
    name. ``folders`` are those of the configuration files.
    """
    for section in ("models", "corpora", "regressions"):
        for name in reserved & getattr(config, section).keys():
            yield (section, name), f"the name '{name}' is that of a result, expected another"
        spelled: dict[str, str] = {}
        for name in getattr(config, section):
            # They would share a folder on disks that do not tell case apart.
            other = spelled.setdefault(name.casefold(), name)
            if other != name:
                yield (
                    (section, name),
                    f"the name '{name}' is '{other}' but for case, expected another",
                )
    yield from _corpus_problems(config, folders)
    yield from _model_problems(config, folders)
    yield from revision_problems(config)
    yield from _measured_layer_problems(config)
    yield from _length_problems(config)
    for name, regression in config.regressions.items():
        yield from _regression_problems(name, regression, config)
    control = config.controls.permutation
    alpha = config.inference.alpha
    if control and control.within == "upos":
        yield from _tagger_problems(("controls", "permutation", "within"), "upos", config)
    fewest = math.ceil(min(1 / alpha, 1e15)) - 1  # 1 / alpha may be infinite
    if control and control.draws < fewest:
        yield (
            ("controls", "permutation", "draws"),
            f"found {control.draws}, expected at least {fewest} for inference.alpha {alpha}",
        )
    for key in ("source_sites", "target_sites"):
        sites = changeable(config.extraction.sites)
        for index, site in enumerate(getattr(config.causal, key, None) or ()):
            if site not in sites:
                yield (
                    ("causal", key, index),
                    f"found {site}, expected one of extraction.sites: {', '.join(sites)}",
                )


def _corpus_problems(config: Config, folders: Sequence[Path]) -> Iterator[Problem]:
    """Yield the files of corpora that are missing or unsuitable."""
    for name, corpus in config.corpora.items():
        for index, pattern in enumerate(corpus.files or ()):
            problem = _file_problem(pattern, folders)
            if problem:
                yield ("corpora", name, "files", index), problem
        if is_plain_text(corpus):
            for field in ("id", "text", "group"):
                if getattr(corpus, field) != Corpus.model_fields[field].default:
                    found = f"found {field} for plain text, which has no fields"
                    yield ("corpora", name, field), found


def _model_problems(config: Config, folders: Sequence[Path]) -> Iterator[Problem]:
    """Yield the models that are missing, and layers and widths that models lack."""
    for name, model in config.models.items():
        facts = _facts(name, model)
        if isinstance(model, PathSource):
            problem = _model_problem(name, model.path, folders)
            if problem:
                yield ("models", name, "path"), problem
        for fact, words in (("layers", "{} layers"), ("width", "a width of {}")):
            value = getattr(model, fact)
            if value and value != facts.get(fact, value):
                has = words.format(facts[fact])
                yield ("models", name, fact), f"found {value}, but the model has {has}"
        layers = facts.get("layers") or model.layers
        for key, layer in _layers_of_interest(config):
            if layers and layer >= layers:
                yield key, f"found layer {layer}, but model {name} has layers 0 to {layers - 1}"


def _measured_layer_problems(config: Config) -> Iterator[Problem]:
    """Yield what needs other layers than those that are measured, where not all are."""
    layers = config.extraction.layers
    if layers is None:
        return
    key = ("extraction", "layers")
    found = f"found {layers}"
    if config.sites_changed():
        yield (
            key,
            f"{found} with interventions, which need all layers; expected causal: null, or no "
            "layers",
        )
    if len(config.models) * len(config.corpora) > 1:
        yield (
            key,
            f"{found} with several models or corpora, which are compared over all layers; "
            "expected one of each, or no layers",
        )
    for name, regression in config.regressions.items():
        if needs_layers_between(regression.covariates, layers):
            yield (
                key,
                f"{found}, but regression {name} has previous_layer; expected layers without a "
                "gap, or another covariate",
            )
    for index, layer in enumerate(config.figures.layers or ()):
        if layer not in layers:
            yield (
                ("figures", "layers", index),
                f"found layer {layer}, expected one of extraction.layers: {layers}",
            )


def _layers_of_interest(config: Config) -> Iterator[tuple[KeyPath, int]]:
    """Yield the layers that a configuration names, each with its key."""
    lists = {
        ("extraction", "layers"): config.extraction.layers,
        ("figures", "layers"): config.figures.layers,
        ("causal", "targets"): getattr(config.causal, "targets", None),
    }
    for key, layers in lists.items():
        for index, layer in enumerate(layers if isinstance(layers, list) else ()):
            yield (*key, index), layer


def _regression_problems(name: str, regression: Regression, config: Config) -> Iterator[Problem]:
    """Yield what a regression needs of other sections and does not get."""
    covariance = config.inference.covariance
    if regression.bias_correction == "half-panel" and not COVARIANCES[covariance].clustered:
        yield (
            ("inference", "covariance"),
            f"found {covariance}, expected {CLUSTERED}: "
            f"regression {name} has bias_correction: half-panel, which supports no other "
            "errors; or bias_correction: none",
        )
    keys = dict.fromkeys(regression.slopes_by or (), "slopes_by")
    for needed, key in (keys | dict.fromkeys(regression.covariates, "covariates")).items():
        yield from _tagger_problems(("regressions", name, key), needed, config)
    folder = OUTCOMES[regression.outcome].folder
    extraction = config.extraction
    measured = "geometry" if folder == "centred_cosines" else folder
    lack = None
    if folder == "source_parts":
        if config.sources is None or extraction.sites != ["attention"]:
            lack = "sources: null" if config.sources is None else "other sites than attention"
            lack += ", expected sources of attention, and extraction.sites: [attention]"
    elif measured in OPTIONAL and not config.measures(measured):
        lack = (
            f"extraction.quantities: [{', '.join(extraction.quantities)}], expected {measured} "
            "there, or norm or relative"
        )
    elif folder == "centred_cosines" and extraction.keep == "norms":
        lack = (
            "extraction.keep: norms, expected vectors there: the layer's mean vector needs all "
            "vectors; or cosine_previous"
        )
    if lack:
        yield ("regressions", name, "outcome"), f"found {regression.outcome} with {lack}"


def _tagger_problems(key: KeyPath, name: str, config: Config) -> Iterator[Problem]:
    """Yield the corpora whose tagger does not give a property of tokens."""
    for corpus, section in config.corpora.items():
        tagged = section.tagger and section.tagger.gives_tags
        if CATALOGUE[name].needs_tags and not tagged:
            yield (
                key,
                f"found {name}, but corpora.{corpus} has no tagger; expected one, for the part of "
                "speech of tokens",
            )


def _length_problems(config: Config) -> Iterator[Problem]:
    """Yield the regressions without rows because all sequences are too short."""
    longest = config.tokens.max_length or math.inf
    for name, regression in config.regressions.items():
        needed, key, found = tokens_needed(config, regression)
        if longest < needed:
            yield (
                ("regressions", name, key),
                f"{found}, but tokens.max_length is {longest}",
            )


def tokens_needed(config: Config, regression: Regression) -> tuple[int, str, str]:
    """Return the length of the shortest sequence that gives a row of a regression's design.

    The other two are the key that it follows from, and what was found there, in words.
    """
    lags = regression.lags
    leads = regression.leads
    places = layer_places(regression.covariates)
    furthest = [f"lag {max(lags)}"] if lags else list(places)[:1]
    if leads:
        furthest.append(f"lead {max(leads)}")
    need = "needs" if len(furthest) == 1 else "need"
    # Tokens needed besides the outcome; a covariate may contain a lag.
    before = max([0, *lags])
    after = max([0, *leads])
    for place in places.values():
        before = max(before, -place.offset)
        after = max(after, place.offset)
    dropped = config.norms.drop_first
    needed = dropped + OUTCOMES[regression.outcome].first_position + before + after + 1
    found = (
        f"found {' and '.join(furthest)}, which {need} sequences of {needed} tokens "
        f"(norms.drop_first is {dropped})"
    )
    return needed, "lags" if lags else "leads", found


def _file_problem(pattern: str, folders: Sequence[Path]) -> str | None:
    """Return the problem of a file or glob of a corpus, without reading its content.

    ``folders`` are those of the configuration files, in which users may expect it.
    """
    try:
        files = [Path(file) for file in files_matching(pattern)]
    except (OSError, ValueError) as error:
        return f"{pattern!r} cannot be read: {getattr(error, 'strerror', None) or error}"
    if not files:
        return f"{pattern!r} matches no file{below(Path(pattern))}{elsewhere(pattern, folders)}"
    for file in files:
        problem = name_problem(file)
        if problem:
            return problem
    problems = {}
    for file in files:
        problem = unreadable(file)
        if problem:
            problems[file] = problem
    if not problems:
        return None
    file, problem = next(iter(problems.items()))
    if problem == "no such file":
        place = elsewhere(file, folders) or file_alike(file)
        return f"found no file {pattern!r}{below(file)}{place}"
    if problem.startswith("is a folder"):
        return f"{pattern!r} {problem} or a glob, as in {str(file / '*.txt')!r}"
    more = len(problems) - 1
    if not more:
        return f"{str(file)!r} {problem}"
    verb = "is" if more == 1 else "are"
    return f"{str(file)!r} {problem}; so {verb} {counted(more, 'other file')}"


def _model_problem(name: str, path: Path, folders: Sequence[Path]) -> str | None:
    """Return the problem of a model on this machine, without reading its weights."""
    expected = "expected a Hugging Face folder or a .gguf file"
    try:
        if path.resolve() == Path("data/models", name).resolve():
            return f"'{path}' is where the run puts the model, {expected} elsewhere"
        if path.is_file() and path.suffix == ".gguf" and not name_problem(path):
            return None
    except OSError as error:
        return f"'{path}' cannot be read: {error.strerror}"
    return folder_problem(path, expected, folders)


def _facts(name: str, model: ModelSource) -> dict[str, int]:
    """Return the number of layers and the width of a model, as far as they are known.

    Stated values are used for a model that is not on this machine yet.
    """
    if isinstance(model, PathSource) and model.path.suffix == ".gguf":
        return {}  # Reading the header takes a second; fetch_model checks the stated values.
    if isinstance(model, PathSource):
        found = sizes_of_folder(model.path)
    else:
        record = json_object(Path("data/models", name, "source.json")) or {}
        source = model.origin()
        # The record holds the commit, which is unknown here for a branch or tag.
        if not re.fullmatch(COMMIT, source.get("revision", "")):
            source.pop("revision", None)
        # The folder may hold an earlier model of this name, which is then fetched anew.
        if any(record.get(key, value) != value for key, value in source.items()):
            record = {}
        found = sizes_in(record)
    stated: dict[str, int] = model.model_dump(include={"layers", "width"}, exclude_none=True)
    return stated | found
