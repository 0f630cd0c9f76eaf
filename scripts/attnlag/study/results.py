"""The results of a run of the workflow, as data frames."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq

from attnlag.adjustments import columns
from attnlag.adjustments.norms import relative_norms
from attnlag.corpus.pieces import token_texts
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
        paths = sorted(self.folder.glob("*/*/*/*/coefficients.parquet"))
        rows = [path.relative_to(self.folder).parts[:4] for path in paths]
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
        paths = sorted(self.folder.glob(f"*/*/*/*/{name}.parquet"))
        if not paths:
            names = sorted({path.stem for path in self.folder.glob("*/*/*/*/*.parquet")})
            raise UserError(
                f"{self.folder}: found no table '{name}', expected {', '.join(names)}"
                f"{nearest(name, names)}"
            )
        return pd.concat(map(pd.read_parquet, paths), ignore_index=True)

    def texts(self, corpus: str | None = None) -> pd.DataFrame:
        """Return the documents of a corpus: ``document``, ``text``, ``group``."""
        folder = self.folder / "corpora"
        corpora = sorted(path.stem for path in folder.glob("*.parquet"))
        return pd.read_parquet(folder / f"{_one_of(corpora, corpus, 'corpus')}.parquet")

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
        names = []
        for column, name in (("model", model), ("corpus", corpus), ("site", site)):
            names.append(_one_of(sorted(rows[column].unique()), name, column))
            rows = rows[rows[column] == names[-1]]
        folder = self.folder.joinpath(*names)
        shards = tables.shards(folder / "norms" / "0000.parquet")
        layers = len(columns.layers_in(pq.read_schema(shards[0])))
        if not 0 <= layer < layers:
            raise UserError(f"layer: found {layer}, expected 0 to {layers - 1}")
        column = columns.layer_name(layer)
        text_of = self.texts(names[1]).set_index("document")["text"]
        frames = []
        for path in shards:
            frame = pd.read_parquet(path, columns=[*columns.KEYS, column])
            stream = pd.read_parquet(folder.parent / "stream" / path.name, columns=[column])
            sequences = pd.read_parquet(folder.parent / "tokens" / path.name)
            frame = frame.rename(columns={column: "norm"})
            pieces = [
                piece
                for document, *offsets in sequences[
                    ["document", "char_start", "char_end"]
                ].itertuples(index=False)
                for piece in token_texts(text_of[document], *offsets)
            ]
            frame.insert(4, "token", pieces)
            frame.insert(5, "layer", layer)
            norms = frame["norm"].to_numpy()
            frame["relative"] = relative_norms(norms, stream[column].to_numpy())
            frames.append(frame.astype({"document": str}))
        return pd.concat(frames, ignore_index=True)

    def __repr__(self) -> str:
        names = [", ".join(row) for row in self.studies.itertuples(index=False)]
        return "\n  ".join([f"Study in {self.folder}: {counted(len(names), 'regression')}", *names])

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


def _one_of(names: list[str], name: str | None, kind: str) -> str:
    """Return the requested name, or the only one; raise UserError if there is none or a choice."""
    if name is None and len(names) == 1:
        return names[0]
    if name not in names:
        raise UserError(
            f"{kind}: found {'none' if name is None else repr(name)}, expected "
            f"{' or '.join(names)}{nearest(name or '', names)}"
        )
    return name
