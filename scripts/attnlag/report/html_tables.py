"""Tables as HTML pages that sort, search and filter; each page is complete in itself."""

from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Any

import pandas as pd
from itables import JavascriptCode, to_html_datatable
from itables.javascript import generate_init_offline_itables_html
from itables.options import dt_bundle

from attnlag.escaping import text_for
from attnlag.regression.labels import correction, weights_in_words
from attnlag.regression.settings import RegressionSettings
from attnlag.storage import tables
from attnlag.storage.writing import write_text

# Significant digits shown; the CSV and Parquet files have all digits.
DIGITS = 3

# A page of more documents than these is slow to open.
MOST_ROWS_OF_PAGE = 5000

# Columns that the tint of a row depends on, with their names in the script of the page.
TINT_COLUMNS = {"finding": "FINDING", "term": "TERM"}

# Columns that identify rows, which are shown even if they are constant.
ROW_KEYS = ["model", "corpus", "site", "regression", "layer", "document", "group", "level", "name"]


def write_page(frame: pd.DataFrame, path: Path, *, title: str, note: str, frozen: int = 1) -> None:
    """Write a table as a self-contained HTML page, with constant columns stated above it.

    Rows of lags and leads are tinted by the column ``finding`` (present or absent), if there is
    one. ``frozen`` is the number of first columns that stay visible when scrolling.
    """
    constants = constant_columns(frame)
    # A button saves the rows as CSV.
    frame = tables.without_formulas(frame.drop(columns=list(constants)))
    if constants:
        listed = "; ".join(f"{column} {value}" for column, value in constants.items())
        note += f" In every row: {listed}."
    numbers = frame.select_dtypes("float")
    frame = frame.assign(**numbers.map(lambda value: float(f"{value:.{DIGITS}g}")))
    mark = _page_part("mark.js").strip()
    for column, word in TINT_COLUMNS.items():
        place = frame.columns.get_loc(column) if column in frame else -1
        mark = mark.replace(word, str(place))
    options: dict[str, Any] = {
        "maxBytes": 0,
        "maxColumns": 0,
        "showIndex": False,
        "classes": "display nowrap compact",
        "scrollX": True,
        "fixedColumns": {"start": frozen},
        # The first row of the header sorts; the second one filters.
        "titleRow": 0,
        "pageLength": 25,
        "lengthMenu": [25, 100, {"label": "all", "value": -1}],
        "buttons": [
            {"extend": "csvHtml5", "text": "save these rows as CSV", "filename": path.stem}
        ],
        "layout": {
            "topStart": "pageLength",
            "topEnd": "search",
            "top2Start": "buttons",
            "bottomStart": "info",
            "bottomEnd": "paging",
        },
        "createdRow": JavascriptCode(mark),
        "drawCallback": JavascriptCode(_page_part("filters.js").strip()),
        # These options of DataTables are not listed by itables.
        "warn_on_undocumented_option": False,
    }
    with pd.option_context("display.float_format", digits_of):
        table = to_html_datatable(
            frame, connected=False, table_id=path.stem, display_logo_when_loading=False, **options
        )
    # The last header belongs to the table; an earlier one is shown without JavaScript.
    before, _, after = table.rpartition("</thead>")
    table = f"{before}<tr>{'<td></td>' * frame.shape[1]}</tr></thead>{after}"
    library = generate_init_offline_itables_html(dt_bundle)
    texts = {"title": text_for("html", title), "note": text_for("html", note)}
    page = Template(_page_part("html")).substitute(texts, library=library, table=table)
    write_text(page, path)


def _page_part(ending: str) -> str:
    """Return a part of the page, which lies beside this module."""
    return Path(__file__).with_suffix(f".{ending}").read_text(encoding="utf-8")


def digits_of(value: float) -> str:
    """Return a number with three significant digits, as in ``0.0300`` and ``127``."""
    return f"{value:#.{DIGITS}g}".rstrip(".")


def constant_columns(frame: pd.DataFrame) -> dict[str, Any]:
    """Return the constant columns with their values; none if there is a single row.

    Columns that identify rows are not among them.
    """
    if len(frame) < 2:
        return {}
    constants = {}
    for name in frame.columns.difference([*TINT_COLUMNS, *ROW_KEYS], sort=False):
        if frame[name].nunique(dropna=False) == 1:
            value = frame[name].iloc[0]
            constants[name] = digits_of(value) if isinstance(value, float) else value
    return constants


def with_intervals_first(coefficients: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Return a table of coefficients with keys, estimates, intervals and findings first."""
    first = [*keys, "layer", "term", "estimate", "conf_low", "conf_high"]
    first += [name for name in ["uncorrected", "finding"] if name in coefficients]
    return coefficients[[*first, *coefficients.columns.difference(first, sort=False)]]


def tints(negligible: float, alpha: float) -> str:
    """Return the explanation of the tints of rows."""
    return (
        f"Rows of lags and leads are tinted orange if the coefficient is present (shown to exceed "
        f"±{negligible:g}), blue if it is absent (shown to be within ±{negligible:g}) and white if "
        f"this is undecided (tests at {alpha:g}, corrected like p_adjusted). "
    )


def write_coefficients(
    coefficients: pd.DataFrame, path: Path, model: Mapping[str, Any], settings: RegressionSettings
) -> None:
    """Write the page of the coefficients of one regression, given the record of the model."""
    keys, weights = ["model", "corpus", "site", "regression"], weights_in_words([model])
    write_page(
        # The title states these columns, which are constant.
        with_intervals_first(coefficients.drop(columns=[*keys, "subset"]), []),
        path,
        title=f"Coefficients: {', '.join(coefficients.iloc[0][keys])}"
        + (f" ({weights})" if weights else ""),
        note=f"One row per layer and term. {tints(settings.negligible, settings.alpha)}"
        f"p_adjusted: for each term, {correction(settings.adjust)}. Numbers have {DIGITS} digits; "
        "coefficients.csv has all digits. Coefficients of lags within one layer are predictive "
        "associations, not causes.",
        frozen=2,
    )


def write_coefficients_of_models(
    coefficients: pd.DataFrame, path: Path, *, alpha: float, adjust: str, negligible: float
) -> None:
    """Write the page of the coefficients of all models; see `write_coefficients`."""
    keys = ["model", "corpus", "site", "regression"]
    write_page(
        with_intervals_first(coefficients, keys),
        path,
        title="Coefficients of all models",
        note="One row per layer and term; depth is layer / (layers - 1). "
        f"{tints(negligible, alpha)}p_adjusted: for each term, "
        f"{correction(adjust, 'the layers of a model')}.",
        frozen=6,
    )


def write_pairs(pairs: pd.DataFrame, path: Path) -> None:
    """Write the page of the pairs of models."""
    write_page(
        pairs,
        path,
        title="Pairs of models",
        note="Similarity of the coefficients of two models over relative depth: Pearson's "
        "correlation, corrected for the errors of the coefficients, with an interval from a "
        "bootstrap of documents, and the number of layers in which the coefficients differ.",
    )


def write_token_summary(summary: pd.DataFrame, path: Path, name: str) -> str:
    """Write the page of the counts of a corpus, whose row comes first; return these in words."""
    corpus = summary.iloc[0]
    counts = (
        f"{corpus.characters:,} characters, {corpus.tokens:,} tokens, "
        f"{corpus.characters_per_token:.2f} characters per token"
    )
    cut = f" The first {MOST_ROWS_OF_PAGE:,} of {len(summary):,} rows." * (
        len(summary) > MOST_ROWS_OF_PAGE
    )
    write_page(
        summary.head(MOST_ROWS_OF_PAGE),
        path,
        title=f"Corpus: {name}",
        note=f"{corpus.documents:,} documents, {counts}; below, the corpus, its groups and its "
        f"documents.{cut}",
    )
    return counts
