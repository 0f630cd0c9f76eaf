"""The results of a run of the workflow, as data frames."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq

from attnlag.adjustments import columns
from attnlag.adjustments.norms import relative_norms
from attnlag.errors import UserError, counted, nearest
from attnlag.escaping import text_for
from attnlag.storage import tables


@dataclass
class Study:
    """The results of a run."""

    folder: Path  # results/

    @cached_property
    def studies(self) -> pd.DataFrame:
        """Model, corpus, site and regression of each regression that was fitted."""
        found = sorted(self.folder.glob("*/*/*/*/coefficients.parquet"))
        rows = [path.relative_to(self.folder).parts[:4] for path in found]
        return pd.DataFrame(rows, columns=["model", "corpus", "site", "regression"])

    @cached_property
    def coefficients(self) -> pd.DataFrame:
        """The tidy table of coefficients of all regressions."""
        return self.table("coefficients")

    @cached_property
    def fits(self) -> pd.DataFrame:
        """One row per layer of each regression."""
        return self.table("fits")

    @cached_property
    def controls(self) -> pd.DataFrame:
        """The controls of each lag, by layer."""
        return self.table("controls")

    @property
    def findings(self) -> str:
        """The answers of the run in a dozen lines; ``findings.txt`` in each folder says more."""
        return (self.folder / "answers.txt").read_text(encoding="utf-8")

    @property
    def figures(self) -> list[Path]:
        """The figures, as files."""
        return sorted(self.folder.rglob("figures/**/*.png"))

    def table(self, name: str) -> pd.DataFrame:
        """Return one kind of table of all regressions, such as ``"influence"`` or ``"groups"``."""
        found = sorted(self.folder.glob(f"*/*/*/*/{name}.parquet"))
        if not found:
            known = {path.stem for path in self.folder.glob("*/*/*/*/*.parquet")}
            raise UserError(
                f"{self.folder}: found no table '{name}', expected {', '.join(sorted(known))}"
                f"{nearest(name, known)}"
            )
        return pd.concat(map(pd.read_parquet, found), ignore_index=True)

    def texts(self, corpus: str | None = None) -> pd.DataFrame:
        """Return the documents of a corpus: ``document``, ``text``, ``group``."""
        known = sorted(path.stem for path in (self.folder / "corpora").glob("*.parquet"))
        chosen = _chosen(corpus, known, "corpus")
        return pd.read_parquet(self.folder / "corpora" / f"{chosen}.parquet")

    def norms(
        self,
        layer: int,
        *,
        model: str | None = None,
        corpus: str | None = None,
        site: str | None = None,
    ) -> pd.DataFrame:
        """Return the norms of one layer, with one row per token and its text.

        Parameters
        ----------
        model, corpus, site : str, optional
            Needed if the run has more than one.

        Returns
        -------
        norms : pandas.DataFrame
            ``document``, ``window``, ``position``, ``token_id``, ``token``, ``layer``, ``norm``
            and ``relative``, in the order of the corpus.

        Raises
        ------
        UserError
            If the run has no such model, corpus, site or layer, or several to choose from.
        """
        rows = self.studies
        for name, value in (("model", model), ("corpus", corpus), ("site", site)):
            value = _chosen(value, sorted(rows[name].unique()), name)
            rows = rows[rows[name] == value]
        first = rows.iloc[0]
        base = self.folder / first["model"] / first["corpus"]
        shards = tables.shards(base / first["site"] / "norms" / "0000.parquet")
        found = len(columns.layers_in(pq.read_schema(shards[0])))
        if not 0 <= layer < found:
            raise UserError(f"layer: found {layer}, expected 0 to {found - 1}")
        column = columns.layer_name(layer)
        texts = self.texts(first["corpus"]).set_index("document")["text"]
        frames = []
        for path in shards:
            frame = pd.read_parquet(path, columns=[*columns.KEYS, column])
            stream = pd.read_parquet(base / "stream" / path.name, columns=[column])
            sequences = pd.read_parquet(base / "tokens" / path.name)
            frame = frame.rename(columns={column: "norm"})
            frame.insert(4, "token", list(_pieces(sequences, texts)))
            frame.insert(5, "layer", layer)
            norms = frame["norm"].to_numpy()
            frame["relative"] = relative_norms(norms, stream[column].to_numpy())
            frames.append(frame.astype({"document": str}))
        return pd.concat(frames, ignore_index=True)

    def __repr__(self) -> str:
        named = [", ".join(row) for row in self.studies.itertuples(index=False)]
        return "\n  ".join([f"Study in {self.folder}: {counted(len(named), 'regression')}", *named])

    def _repr_html_(self) -> str:
        lines = "<br>".join(text_for("html", line) for line in self.findings.splitlines())
        return f"{self.studies.to_html(index=False)}<p>{lines}</p>"


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
    >>> study.coefficients.query("term == 'lag_1' and regression == 'within'")  # doctest: +SKIP
    """
    study = Study(Path(folder))
    if study.studies.empty:
        raise UserError(f"{folder}: found no results, expected the folder 'results' of a run")
    return study


def _chosen(value: str | None, known: list[str], what: str) -> str:
    """Return the requested item, or the only one; raise UserError if there is none or a choice."""
    if value is None and len(known) == 1:
        return known[0]
    if value not in known:
        found = "none" if value is None else f"'{value}'"
        raise UserError(
            f"{what}: found {found}, expected {' or '.join(known)}{nearest(value or '', known)}"
        )
    return value


def _pieces(sequences: pd.DataFrame, texts: pd.Series) -> Iterator[str]:
    """Yield the piece of the text for each token of some sequences."""
    for document, starts, ends in zip(
        sequences["document"], sequences["char_start"], sequences["char_end"], strict=True
    ):
        text = texts[document]
        for start, end in zip(starts, ends, strict=True):
            yield text[start:end]
