"""The results of a run: the catalogue of outputs, applied to a folder."""

import json
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from attnlag.config.schema import Config
from attnlag.corpus.alignment import token_texts
from attnlag.errors import UserError, counted, nearest, shown
from attnlag.pipeline.outputs import OUTPUTS, pattern
from attnlag.pipeline.unasked import is_asked
from attnlag.quantities.columns import KEYS, layer_name
from attnlag.quantities.outcomes import relative_norms

# What tells the files of a table apart, as the paths of the catalogue name it.
PLACES = ["model", "corpus", "site", "regression", "pair", "scale", "shard"]

# The tables of the catalogue: their names, which are their paths without what the configuration
# names, and the patterns of their files. Those in CSV are there in Parquet too.
TABLES = [
    (re.sub(r"_?{\w+}/?", "", stem).rstrip("/"), pattern(stem))
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
        asked = np.array([is_asked(path, config) is not False for path in below], bool)
        return files[asked].reset_index(drop=True)

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
        if (name := layer_name(layer)) not in stored:
            layers = stored.columns.str.startswith("layer_").sum()
            raise UserError(f"layer: found {layer}, expected 0 to {layers - 1}")
        stream = self.table("stream", columns=[name], model=model, corpus=corpus)[name]
        texts = self.table("corpora", corpus=corpus).set_index("document")["text"]
        offsets = self.table("tokens", model=model, corpus=corpus)
        spans = offsets[["document", "char_start", "char_end"]].to_numpy()
        return stored[KEYS].assign(
            document=stored["document"].astype(str),
            token=[word for name, *ends in spans for word in token_texts(texts[name], *ends)],
            layer=layer,
            norm=stored[name],
            relative=relative_norms(stored[name].to_numpy(), stream.to_numpy()),
        )

    @property
    def findings(self) -> str:
        """The answers of the run in a dozen lines; ``findings.txt`` in each folder says more."""
        return (self.folder / "answers.txt").read_text(encoding="utf-8")

    @property
    def claims(self) -> pd.DataFrame:
        """What the tables of the run show, a row a claim; `docs/outputs.md` has the columns."""
        return pd.read_parquet(self.folder / "claims.parquet")

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
        raise UserError(f"{folder}: found no results, expected the folder 'results' of a run")
    return study
