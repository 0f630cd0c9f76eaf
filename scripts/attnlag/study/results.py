"""The results of a run: the catalogue of outputs, applied to a folder."""

import json
import os
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from attnlag.config.schema import Config
from attnlag.corpus.alignment import token_texts
from attnlag.corpus.properties import source_of
from attnlag.corpus.settings import Tagger
from attnlag.errors import UserError, counted, nearest, numbers_in_words, shown
from attnlag.pipeline.outputs import OUTPUTS, pattern
from attnlag.pipeline.unasked import is_wanted
from attnlag.quantities.catalogue import QUANTITIES, SITES
from attnlag.quantities.columns import KEYS, layer_name, layer_number
from attnlag.quantities.outcomes import relative_norms
from attnlag.storage.results import Declared, Results
from attnlag.study.measurement import Measurement

# Quantities of which a measurement is read from a run, with a row per token.
STORED = [
    name
    for name, quantity in QUANTITIES.items()
    if quantity.measured_in == "forward" and name != "vectors"
]

# What tells the files of a table apart, as the paths of the catalogue name it.
PLACES = ["model", "corpus", "site", "regression", "pair", "scale", "shard"]


# The tables of the catalogue: their names, which are their paths without what the configuration
# names, and the patterns of their files. Those in CSV are there in Parquet too.
def name_of_table(path: str) -> str:
    """Return the name of a table from its path below ``results/``, without the ending."""
    return re.sub(r"_?{\w+}/?", "", path).rstrip("/")


TABLES = [
    (name_of_table(stem), pattern(stem))
    for output in OUTPUTS
    for stem, _, kind in [output.path.removeprefix("results/").rpartition(".")]
    if kind in ("csv", "parquet")
]


@dataclass
class Study:
    """The results in a folder.

    A run deletes nothing: what its configuration does not ask for stays as it was made last. The
    tables here are those of the last run that made everything, unless ``everything`` is true.
    """

    folder: Path  # results/
    everything: bool = False  # whether what the last run did not ask for is here too

    @cached_property
    def files(self) -> pd.DataFrame:
        """One row per file of a table: the table's name, the path, and whose it is."""
        rows = [
            {"table": name, "path": path, **match.groupdict()}
            for path in sorted(self.folder.rglob("*.parquet"))
            for below in [path.relative_to(self.folder).with_suffix("").as_posix()]
            for name, form in TABLES
            if (match := form.fullmatch(below))
        ]
        # The folder of the stream, whose pattern comes first, is no site.
        files = pd.DataFrame(rows, columns=["table", "path", *PLACES])
        files = files.drop_duplicates("path", ignore_index=True)
        config = None if self.everything else self._last_configuration()
        if config is None:
            return files
        below = [path.relative_to(self.folder).as_posix() for path in files["path"]]
        asked = np.array([is_wanted(path, config) is not False for path in below], bool)
        return files[asked].reset_index(drop=True)

    @cached_property
    def results(self) -> Results:
        """The files by the names of their tables."""
        files = {}
        for table, rows in self.files.groupby("table", sort=False):
            files[str(table)] = rows["path"].tolist()
        return Results(self.folder, Declared(files))

    def _last_configuration(self) -> Config | None:
        """Return the configuration of the last run that made everything, None if unknown."""
        record = self.folder / "provenance.json"
        with suppress(OSError, ValueError):
            stated = json.loads(record.read_text(encoding="utf-8")).get("configuration")
            return Config.model_validate(stated) if stated else None
        return None

    def table(self, name: str, *, columns: list[str] | None = None, **of: str) -> pd.DataFrame:
        """Return a table of the catalogue (docs/outputs.md), from all files that a run has of it.

        Parameters
        ----------
        name : str
            The table's path below the folders that the configuration names, or the end of it where
            one table has that: ``"coefficients"``, ``"elasticities"``, ``"readout/means"``.
        columns : list of str, optional
            The columns to read; by default all.
        **of : str
            Whose: ``model``, ``corpus``, ``site``, ``regression``; by default all.

        Raises
        ------
        UserError
            If the run has no such table, or several tables whose paths end in the name.
        """
        frames = []
        for _, file in self._files_of(name, of).iterrows():
            frame = pd.read_parquet(file.pop("path"), columns=columns)
            whose = file.dropna().drop(["table", "shard", *frame.columns], errors="ignore")
            frames.append(frame.assign(**whose)[[*whose.index, *frame.columns]])
        return pd.concat(frames, ignore_index=True)

    def norms(self, layer: int, **of: str) -> pd.DataFrame:
        """Return the norms of a layer, with a row per token and its text, in corpus order.

        Parameters
        ----------
        **of : str
            ``model``, ``corpus`` and ``site``, where the run has several.

        Returns
        -------
        norms : pandas.DataFrame
            ``document``, ``window``, ``position``, ``token_id``, ``token``, ``layer``, ``norm``
            and ``relative``.

        Raises
        ------
        UserError
            If the run has no such model, corpus, site or layer, or several to choose from.
        """
        files = self._files_of("norms", of)
        for place in PLACES[:3]:
            if len(names := files[place].unique()) > 1:
                raise UserError(f"{place}: found none, expected {' or '.join(names)}")
        model, corpus, site = files.iloc[0][PLACES[:3]]
        stored = self.table("norms", model=model, corpus=corpus, site=site)
        name = layer_name(layer)
        if name not in stored:
            columns = [column for column in map(str, stored) if "layer_" in column]
            numbers = list(map(layer_number, columns))
            raise UserError(f"layer: found {layer}, expected {numbers_in_words(numbers)}")
        stream = self.table("stream", columns=[name], model=model, corpus=corpus)[name]
        texts = self.table("corpora", corpus=corpus)
        return stored[KEYS].assign(
            document=stored["document"].astype(str),
            token=self._pieces(model, corpus, texts),
            layer=layer,
            norm=stored[name],
            relative=relative_norms(stored[name].to_numpy(), stream.to_numpy()),
        )

    def measurement(self, **of: str) -> Measurement:
        """Return what the run has measured, as `attnlag.measure` does, for `attnlag.fit`.

        It has the norms of all sites; directions, heads and predictions where they were measured.

        Parameters
        ----------
        **of : str
            ``model`` and ``corpus``, where the run has several.

        Raises
        ------
        UserError
            If the run has no such model or corpus, or several to choose from.

        Examples
        --------
        >>> measured = attnlag.read("results").measurement()  # doctest: +SKIP
        >>> attnlag.fit(measured, lags=[1, 2, 3], fixed_effects="document")  # doctest: +SKIP
        """
        files = self._files_of("norms", of)
        model = _only(files, "model")
        corpus = _only(files, "corpus")
        folder = self.folder / model / corpus
        stored: dict[tuple[str, str], pa.Table] = {}
        for name in STORED:
            quantity = QUANTITIES[name]
            path = quantity.pattern("{shard}").removeprefix("results/")
            for site in SITES if quantity.of != "model" else [""]:
                paths = self.results.paths(name_of_table(path), folder / site)
                if paths:
                    stored[name, site] = _rows_of(paths)
        texts = self.table("corpora", corpus=corpus)
        described = _rows_of(self.results.paths("token_properties", folder))
        parts_of_speech = set(described["upos"].to_pylist())
        tagged = parts_of_speech > {"none"} or "none" not in parts_of_speech
        tagger = source_of(Tagger())
        if tagged:
            tagger = tagger._replace(keys={"column": "tags"})
        keys = stored["stream", ""].select(KEYS).to_pandas().astype({"document": str})
        tokens = keys.assign(token=self._pieces(model, corpus, texts))
        for (name, _), table in stored.items():
            if QUANTITIES[name].without_layers:
                numbers = table.drop_columns(KEYS).to_pandas()
                tokens = tokens.join(numbers.astype(np.float32))
        return Measurement(
            model=model,
            texts=dict(zip(texts["document"], texts["text"], strict=True)),
            groups=dict(zip(texts["document"], texts["group"].astype(str), strict=True)),
            tokens=tokens,
            tables=stored,
            remarks={},
            identity_error=None,
            passes=self.results.record_of("norms", folder).settings("activations"),
            tokenizer=None,
            run=None,
            tagger=tagger,
            stored_properties=described,
        )

    def _pieces(self, model: str, corpus: str, texts: pd.DataFrame) -> list[str]:
        """Return the piece of the text of each token, in corpus order."""
        text_of = dict(zip(texts["document"], texts["text"], strict=True))
        offsets = self.table("tokens", model=model, corpus=corpus)
        pieces: list[str] = []
        for name, *ends in offsets[["document", "char_start", "char_end"]].to_numpy():
            pieces += token_texts(text_of[name], *ends)
        return pieces

    @property
    def findings(self) -> str:
        """The answers of the run in a dozen lines; ``findings.txt`` in each folder says more."""
        return (self.folder / "answers.txt").read_text(encoding="utf-8")

    @property
    def claims(self) -> pd.DataFrame:
        """What the tables of the run show, a row a claim; `docs/outputs.md` has the columns."""
        return self.results.table("claims").copy()

    @property
    def figures(self) -> list[Path]:
        """The figures, as files."""
        return sorted(self.folder.rglob("figures/**/*.png"))

    def _files_of(self, name: str, of: dict[str, str]) -> pd.DataFrame:
        """Return the files of a table, perhaps of one model, corpus, site or regression alone."""
        tables = self.files["table"]
        exact = tables == name
        files = self.files[exact if exact.any() else tables.str.endswith(f"/{name}")]
        found = files["table"].unique()
        if len(found) != 1:
            names = [*tables, *(table.rpartition("/")[2] for table in tables)]
            listed = f"one of the {tables.nunique()} in study.files.table (docs/outputs.md)"
            expected = " or ".join(found) or f"{listed}{nearest(name, names)}"
            several = "several tables" if len(found) else "no table"
            raise UserError(f"{self.folder}: found {several} '{name}', expected {expected}")
        files = files.dropna(axis="columns", how="all")
        for place, wanted in of.items():
            _choose(place, list(files.columns[2:]), "")
            _choose(wanted, list(files[place].dropna().unique()), f"{place}: ")
            files = files[files[place] == wanted]
        return files

    def __repr__(self) -> str:
        fitted = self.files[self.files["table"] == "coefficients"]
        names = [", ".join(row) for row in fitted[PLACES[:4]].itertuples(index=False)]
        return "\n  ".join([f"Study in {self.folder}: {counted(len(names), 'regression')}", *names])


def _only(files: pd.DataFrame, place: str) -> str:
    """Return the one model or corpus of some files, or raise UserError."""
    names = list(files[place].unique())
    if len(names) > 1:
        raise UserError(f"{place}: found none, expected {' or '.join(names)}")
    return str(names[0])


def _rows_of(paths: Iterable[Path]) -> pa.Table:
    """Return the rows of the files of all shards."""
    return pa.concat_tables(map(pq.read_table, paths)).unify_dictionaries()


def _choose(name: str, names: Sequence[str], where: str) -> None:
    """Raise UserError for a name that is not among the valid ones."""
    if name not in names:
        expected = ", ".join(names) or "none, as one file is the whole table"
        expected += nearest(str(name), names)
        raise UserError(f"{where}found {name!r}, expected {expected}")


def read(folder: str | Path = "results", *, everything: bool = False) -> Study:
    """Return the results of a run.

    Parameters
    ----------
    folder : path
        The folder ``results`` of the run.
    everything : bool
        Whether results are there that the configuration of the last whole run does not ask for.

    Raises
    ------
    UserError
        If the folder holds no results.

    Examples
    --------
    >>> study = attnlag.read("results")  # doctest: +SKIP
    >>> study.table("coefficients", regression="within").query("term == 'lag_1'")  # doctest: +SKIP
    """
    if not isinstance(folder, str | os.PathLike):
        raise UserError(f"folder: found {shown(folder)}, expected the path of a folder")
    study = Study(Path(folder), everything)
    if "coefficients" not in set(study.files["table"]):
        inner = Path(folder) / "results"
        instead = f"; did you mean '{inner}'?" if inner.is_dir() else ""
        raise UserError(
            f"{folder}: found no results, expected the folder 'results' of a run{instead}"
        )
    return study
