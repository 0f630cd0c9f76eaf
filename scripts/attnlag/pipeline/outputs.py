"""The catalogue of outputs: every file of a run, its meaning, and the condition for it.

The table is outputs.yaml. The targets of the workflow, the page docs/outputs.md and the files that
tests expect derive from it. The rules also state the paths, so that the flow can be read in them.
"""

import functools
import glob
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ruamel.yaml import YAML

from attnlag.config.schema import Config
from attnlag.corpus import catalogue as properties
from attnlag.corpus.formats import PLAIN_TEXT, name_parts
from attnlag.corpus.settings import Corpus
from attnlag.figures import catalogue
from attnlag.figures.sizes import SIZES, suffix_of
from attnlag.quantities import catalogue as quantities
from attnlag.regression.design import covariates

TABLE = YAML(typ="safe").load(Path(__file__).with_name("outputs.yaml").read_bytes())


def may_have_groups(corpus: Corpus) -> bool:
    """Return whether the documents of a corpus may be of several groups.

    The group is a field, the folder of a plain text that is one document, or else the file's name.
    A job elsewhere may not have the files, so the patterns alone count.
    """
    texts = corpus.split == "none" and all(
        name_parts(Path(file))[1] in PLAIN_TEXT for file in corpus.files
    )
    names = {str(Path(file).parent) if texts else file for file in corpus.files}
    return bool(corpus.group) or len(names) > 1 or any(map(glob.has_magic, names))


# The conditions for files, given a regression if their paths name one.
CONDITIONS: dict[str, Callable[[Config, str], bool]] = {
    "another command": lambda config, regression: False,  # as `make paper`
    "by": lambda config, regression: config.regressions[regression].by is not None,
    "by_number": lambda config, regression: config.regressions[regression].by_number,
    "causal": lambda config, regression: bool(config.sites_changed()),
    "comparison": lambda config, regression: len(config.models) * len(config.corpora) > 1,
    # What is drawn for one regression is the same for the others in the explorer.
    "first_regression": lambda config, regression: (
        not regression or regression == next(iter(config.regressions))
    ),
    "groups": lambda config, regression: any(map(may_have_groups, config.corpora.values())),
    "permuted": lambda config, regression: config.controls.permutation is not None,
    "random_weights": lambda config, regression: config.controls.random_weights is not None,
    "several_regressions": lambda config, regression: len(config.regressions) > 1,
    "several_sites": lambda config, regression: len(config.extraction.sites) > 1,
    "readout": lambda config, regression: config.sources is not None,
    "sources": lambda config, regression: config.with_sources(),
    "tags": lambda config, regression: any(
        corpus.tagger and corpus.tagger.gives_tags for corpus in config.corpora.values()
    ),
    "vectors": lambda config, regression: config.extraction.keep == "vectors",
    **{
        name: lambda config, regression, name=name: config.measures(name)  # type: ignore[misc]
        for name in quantities.OPTIONAL
    },
}


def holds(conditions: Iterable[str], config: Config, regression: str = "") -> bool:
    """Return whether all conditions hold, for a regression if they are about one."""
    return all(CONDITIONS[name](config, regression) for name in conditions)


def drawn(figure: catalogue.Figure, config: Config, regression: str = "") -> bool:
    """Return whether a run draws a figure, for a regression if it is about one."""
    asked = not figure.on_request or figure.name in config.figures.also
    return asked and holds(TABLE["drawn_when"].get(figure.name, []), config, regression)


@dataclass(frozen=True)
class Output:
    """A file of a run."""

    folder: str  # with the names of Snakemake's wildcards in braces
    name: str  # from its folder on
    meaning: str  # of the file and its rows
    # Meanings by name; None: that of `SHARED`, in which the name may also be a group's.
    columns: Mapping[str, str | None] = field(default_factory=dict)
    when: Sequence[str] = ()  # `CONDITIONS`, all of which must hold for a run to make it
    target: bool = False  # whether a run is to make it; other files are intermediate
    figure: catalogue.Figure | None = None

    @property
    def is_made_anew(self) -> bool:
        """Whether a run makes the file if it is missing and nothing else needs it."""
        return self.target or self.name.endswith(".csv")

    @property
    def path(self) -> str:
        """The path with wildcards."""
        return f"{self.folder}/{self.name}".removeprefix("/")

    def made(self, config: Config, regression: str) -> bool:
        """Return whether a run makes the file, for a regression if its path names one."""
        asked = self.figure is None or drawn(self.figure, config, regression)
        return asked and holds(self.when, config, regression)

    def column_names(self) -> list[str]:
        """Return the names of all columns."""
        groups = (
            [name] if meaning else SHARED.get(name, [name])
            for name, meaning in self.columns.items()
        )
        return [name for group in groups for names in group for name in names.split(", ")]


# Meanings of columns that several files have, by the name of their group.
SHARED: dict[str, dict[str, str]] = {
    **TABLE["shared"],
    # Those that state columns: the others have theirs in the table.
    **{name: dict(q.columns) for name, q in quantities.QUANTITIES.items() if q.columns},
    **{
        file: {
            name: entry.meaning + f" [{entry.unit}]" * bool(entry.unit)
            for name, entry in properties.of_file(file).items()
        }
        for file in properties.FILES
    },
}

# The folder of the figures of each program.
FOLDERS: dict[str, str] = {program: entry["folder"] for program, entry in TABLE["figures"].items()}

# What the quantities of a pass have: files of every shard, and those before training.
OF_QUANTITIES = [
    Output(
        str(Path(quantity.pattern("")).parent),
        f"{Path(quantity.pattern('')).name}/{file}.parquet",
        quantity.meaning if file == "{shard}" else "before training",
        {"keys": None, name: None},
        [name] if file == "{shard}" else [name, "random_weights"],
        target=file == "{shard}",
    )
    for name, quantity in quantities.OPTIONAL.items()
    for file in ("{shard}", "random_weights")
    if file == "{shard}" or name != "surprisal"
]

OUTPUTS = [
    Output(folder, name, **(entry if isinstance(entry, dict) else {"meaning": entry}))
    for folder, files in TABLE["files"].items()
    for name, entry in files.items()
] + [
    Output(
        figures["folder"],
        f"{figure.name}{{size}}.{{format}}",
        "a figure",
        when=figures.get("when", []),
        target=True,
        figure=figure,
    )
    for program, figures in TABLE["figures"].items()
    for figure in catalogue.drawn_by(program)
]
OUTPUTS += OF_QUANTITIES


def figures_drawn(program: str, config: Config) -> list[catalogue.Figure]:
    """Return the figures that a program draws if it runs."""
    return [figure for figure in catalogue.drawn_by(program) if drawn(figure, config)]


def figures_of_paper(program: str, config: Config) -> list[str]:
    """Return the paths, with wildcards, of the figures of a program that `make paper` draws."""
    folder = FOLDERS[program].removeprefix("results/").replace("/figures", "")
    return [
        f"results/paper/figures/{folder}/{figure.name}_column.pdf"
        for figure in figures_drawn(program, config)
    ]


def paper(config: Config) -> list[str]:
    """Return the figures that `make paper` draws."""
    return [
        path
        for program, figures in TABLE["figures"].items()
        for pattern in figures_of_paper(program, config)
        for path in expanded(Output("", pattern, "", when=figures.get("when", [])), config)
    ]


def shards(config: Config, corpus: str) -> list[str]:
    """Return the names of the shards of a corpus."""
    return [f"{shard:04d}" for shard in range(config.corpora[corpus].shards)]


def endings(config: Config) -> list[str]:
    """Return the endings of the names of figures before the format, one per size."""
    return [suffix_of(name) for name in SIZES if name in config.figures.sizes]


def expanded(output: Output, config: Config) -> Iterator[str]:
    """Yield the paths of an output for all names in a configuration that have it."""
    values: dict[str, list[str]] = {
        "model": list(config.models),
        "corpus": list(config.corpora),
        "site": list(config.extraction.sites),
        "regression": list(config.regressions),
        "pair": list(config.pairs_changed()),
        "scale": config.further_scales(),
        "size": endings(config),
        "format": list(config.figures.formats),
    }
    wildcards = [name for name in values if f"{{{name}}}" in output.path]
    for combination in itertools.product(*(values[name] for name in wildcards)):
        names = dict(zip(wildcards, combination, strict=True))
        if output.made(config, names.get("regression", next(iter(config.regressions)))):
            every = shards(config, names["corpus"]) if "{shard}" in output.path else [""]
            yield from (output.path.format(**names, shard=shard) for shard in every)


def every_path(config: Config, *patterns: str) -> list[str]:
    """Return the paths of patterns for all names in a configuration, each once."""
    paths = (path for name in patterns for path in expanded(Output("", name, ""), config))
    return list(dict.fromkeys(paths))


def targets(config: Config) -> list[str]:
    """Return the target files of a run."""
    return files_of(config, target=True)


def any_of(names: Iterable[str]) -> str:
    """Return a pattern of some names; without any, it matches nothing."""
    return "|".join(map(re.escape, sorted(names))) or "(?!)"


@functools.cache
def reserved_names() -> frozenset[str]:
    """Return the names of files and folders beside those that the configuration names."""
    named = ("{model}", "{corpus}", "{regression}")
    names = set()
    paths = [output.path.split("/") for output in OUTPUTS]
    paths += [[*path[:-1], f"{path[-1][:-4]}.parquet"] for path in paths if path[-1][-4:] == ".csv"]
    for path in paths:
        for other in paths:
            for name, beside in zip(path, other, strict=False):
                if beside in named and "{" not in name:
                    names.add(name)
                if name != beside and "{" not in name and "{" not in beside:
                    break
    return frozenset(names)


def asked_for(config: Config) -> list[str]:
    """Return the figures that ``figures.also`` asks for."""
    return [
        path
        for path in targets(config)
        if any(Path(path).name.startswith(f"{name}.") for name in config.figures.also)
    ]


def one_of_each_job(config: Config) -> list[str]:
    """Return the targets of a run, with one file for each figure.

    Who waits for every job need not name every file, of which a plan takes time.
    """
    ending = f"{endings(config)[0]}.{config.figures.formats[0]}"
    first = [
        path
        for program, figures in TABLE["figures"].items()
        for figure in figures_drawn(program, config)
        for path in expanded(
            Output(
                figures["folder"],
                figure.name + ending,
                "",
                when=figures.get("when", []),
                figure=figure,
            ),
            config,
        )
    ]
    return [*(path for path in targets(config) if "/figures/" not in path), *first]


def files_of(config: Config, name: str = "", target: bool = False) -> list[str]:
    """Return the files that a run makes, in the order of the catalogue, perhaps only the targets.

    With a name, only files whose paths end in it.
    """
    paths = [
        path
        for output in OUTPUTS
        if output.path.endswith(name) and (output.is_made_anew or not target)
        for path in expanded(output, config)
    ]
    # Every table in CSV also exists in Parquet.
    tables = [f"{path[:-4]}.parquet" for path in paths if path.endswith(".csv")]
    return list(dict.fromkeys([*paths, *tables]))


# Placeholders for several names, in paths and in names of columns.
PATTERNS = {
    "{size}": "(|_column)",
    "{format}": "(svg|png|pdf)",
    "{shard}": r"\d{4,}",
    "{scale}": "(own|default|by-depth)",
    "NN": r"\d{2,}",
    "TERM": rf"((lag|lead)_\d+|{covariates.term_pattern()})",
}


def matches(described: str, name: str) -> bool:
    """Return whether a name or path matches a described one with placeholders."""
    words = re.split(r"(\{\w+\}|NN|TERM)", described)
    patterns = [
        PATTERNS.get(w, r"[^/]+") if w in PATTERNS or "{" in w else re.escape(w) for w in words
    ]
    return re.fullmatch("".join(patterns), name) is not None
