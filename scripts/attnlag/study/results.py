"""The results of a run of the workflow: the catalogue of outputs, applied to a folder."""

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from attnlag.corpus.alignment import token_texts
from attnlag.errors import UserError, counted, nearest
from attnlag.escaping import text_for
from attnlag.pipeline.outputs import OUTPUTS, PATTERNS
from attnlag.quantities.columns import KEYS, layer_name
from attnlag.quantities.norms import relative_norms

# What tells the files of a table apart, as the paths of the catalogue name it.
PLACES = ["model", "corpus", "site", "regression", "pair", "scale", "shard"]


def _name_of(path: str) -> str:
    """Return the name of a table: its path below results/ without what the configuration names."""
    parts = [re.sub(r"_?\{\w+\}", "", part) for part in path.split("/")[1:]]
    return "/".join(filter(None, parts))


def _pattern_of(path: str) -> re.Pattern[str]:
    """Return a pattern of the files of an output, with a group for each of its placeholders."""
    words = re.split(r"\{(\w+)\}", path)
    words[::2] = map(re.escape, words[::2])
    words[1::2] = [f"(?P<{word}>{PATTERNS.get(f'{{{word}}}', '[^/]+')})" for word in words[1::2]]
    return re.compile("".join(words))


# The tables of the catalogue, by name. Those in CSV are there in Parquet too.
TABLES: dict[str, list[re.Pattern[str]]] = {}
for output in OUTPUTS:
    if output.path.endswith((".csv", ".parquet")):
        stem = output.path.rpartition(".")[0]
        TABLES.setdefault(_name_of(stem), []).append(_pattern_of(f"{stem}.parquet"))


@dataclass
class Study:
    """The results of a run."""

    folder: Path  # results/

    @cached_property
    def files(self) -> pd.DataFrame:
        """One row per file of a table: the table's name, the path, and whose it is."""
        rows: list[dict[str, Any]] = []
        for path in sorted(self.folder.rglob("*.parquet")):
            below = f"results/{path.relative_to(self.folder).as_posix()}"
            found = (
                {"table": name, "path": path, **match.groupdict()}
                for name, patterns in TABLES.items()
                for match in (pattern.fullmatch(below) for pattern in patterns)
                if match
            )
            rows += itertools.islice(found, 1)
        return pd.DataFrame(rows, columns=["table", "path", *PLACES])

    def table(
        self, name: str, *, columns: list[str] | None = None, **of: str | None
    ) -> pd.DataFrame:
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
            frame = pd.read_parquet(file["path"], columns=columns)
            new = file[PLACES[:-1]].dropna().drop(frame.columns, errors="ignore")
            frames.append(frame.assign(**new)[[*new.index, *frame.columns]])
        return pd.concat(frames, ignore_index=True)

    def norms(self, layer: int, **of: str | None) -> pd.DataFrame:
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
        offsets = ["document", "char_start", "char_end"]
        tokens = self.table("tokens", columns=offsets, model=model, corpus=corpus)[offsets]
        frame = stored[KEYS].astype({"document": str})
        frame["token"] = [
            text
            for document, *spans in tokens.itertuples(index=False)
            for text in token_texts(texts[document], *spans)
        ]
        relative = relative_norms(stored[name].to_numpy(), stream.to_numpy())
        return frame.assign(layer=layer, norm=stored[name], relative=relative)

    @property
    def findings(self) -> str:
        """The answers of the run in a dozen lines; ``findings.txt`` in each folder says more."""
        return (self.folder / "answers.txt").read_text(encoding="utf-8")

    @property
    def figures(self) -> list[Path]:
        """The figures, as files."""
        return sorted(self.folder.rglob("figures/**/*.png"))

    def _files_of(self, name: str, of: Mapping[str, str | None]) -> pd.DataFrame:
        """Return the files of a table, perhaps of one model, corpus, site or regression alone."""
        names = list(self.files["table"].unique())
        found = [name] if name in names else [one for one in names if one.endswith(f"/{name}")]
        if len(found) != 1:
            raise UserError(
                f"{self.folder}: found {'several tables' if found else 'no table'} '{name}', "
                f"expected {' or '.join(found or names)}{nearest(name, names)}"
            )
        files = self.files[self.files["table"] == found[0]]
        for place, wanted in of.items():
            choice = list(files[place].dropna().unique())
            if wanted not in (None, *choice):
                raise UserError(
                    f"{place}: found {wanted!r}, expected {' or '.join(choice)}"
                    f"{nearest(str(wanted), choice)}"
                )
            files = files if wanted is None else files[files[place] == wanted]
        return files

    def __repr__(self) -> str:
        fitted = self.files[self.files["table"] == "coefficients"]
        names = [", ".join(row) for row in fitted[PLACES[:4]].itertuples(index=False)]
        return "\n  ".join([f"Study in {self.folder}: {counted(len(names), 'regression')}", *names])

    def _repr_html_(self) -> str:
        return "<br>".join(text_for("html", line) for line in repr(self).splitlines())


def read(folder: str | Path = "results") -> Study:
    """Return the results of a run.

    Parameters
    ----------
    folder : path
        The folder ``results`` of the run.

    Raises
    ------
    UserError
        If the folder holds no results.

    Examples
    --------
    >>> study = attnlag.read("results")  # doctest: +SKIP
    >>> study.table("coefficients", regression="within").query("term == 'lag_1'")  # doctest: +SKIP
    """
    study = Study(Path(folder))
    if "coefficients" not in set(study.files["table"]):
        raise UserError(f"{folder}: found no results, expected the folder 'results' of a run")
    return study
