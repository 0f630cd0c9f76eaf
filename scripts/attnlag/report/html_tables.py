"""Tables as HTML pages that sort, search and filter; each page is complete in itself."""

from html import escape
from pathlib import Path
from string import Template
from typing import Any

import pandas as pd
from itables import JavascriptCode, to_html_datatable
from itables.javascript import generate_init_offline_itables_html
from itables.options import dt_bundle

from attnlag.regression.labels import correction
from attnlag.storage.writing import write_text

# Digits of a number that a reader looks at; the CSV and Parquet files have them all.
DIGITS = 5

# Scripts come from the page itself, and nothing from anywhere else.
PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; \
script-src 'unsafe-inline' 'unsafe-eval' blob:; style-src 'unsafe-inline'; img-src data:; \
font-src data:">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
  body { font: 15px/1.45 system-ui, sans-serif; color: #262626; background: #fff; margin: 1rem; }
  h1 { font-size: 1.15rem; margin: 0 0 .4rem; }
  p { max-width: 60rem; margin: 0 0 .8rem; }
  table thead input { width: 6.5em; }
  table td { font-variant-numeric: tabular-nums; }
  table.dataTable > tbody > tr.present > td { background: #fdf0d5; }
  table.dataTable > tbody > tr.present > td:first-child { box-shadow: inset 4px 0 #de8f05; }
  table.dataTable > tbody > tr.absent > td { background: #e3eef6; }
  table.dataTable > tbody > tr.absent > td:first-child { box-shadow: inset 4px 0 #0173b2; }
</style>
$library
</head>
<body>
<h1>$title</h1>
<p>$note</p>
$table
</body>
</html>
""")


def page(frame: pd.DataFrame, *, title: str, note: str, name: str) -> str:
    """Return a table as an HTML page that loads nothing from elsewhere.

    Parameters
    ----------
    frame : pandas.DataFrame
        Rows are tinted by the column ``finding``, if there is one: present and absent.
    title, note : str
        Text above the table.
    name : str
        Name of the table in the page, and of the file that its button saves.
    """
    mark = "null"
    if "finding" in frame:
        place = frame.columns.get_loc("finding")
        mark = f"function (row, data) {{ row.classList.add(data[{place}]); }}"
    numbers = frame.select_dtypes("float")
    shown = frame.assign(**numbers.map(lambda value: float(f"{value:.{DIGITS}g}")))
    options: dict[str, Any] = {
        "maxBytes": 0,
        "maxColumns": 0,
        "showIndex": False,
        "classes": "display nowrap compact",
        "column_filters": "header",
        "pageLength": 25,
        "lengthMenu": [25, 100, {"label": "all", "value": -1}],
        "buttons": [{"extend": "csvHtml5", "text": "save these rows as CSV", "filename": name}],
        "layout": {
            "topStart": "pageLength",
            "topEnd": "search",
            "top2Start": "buttons",
            "bottomStart": "info",
            "bottomEnd": "paging",
        },
        "createdRow": JavascriptCode(mark),
        # DataTables knows createdRow, which itables does not list.
        "warn_on_undocumented_option": False,
    }
    table = to_html_datatable(
        shown, connected=False, table_id=name, display_logo_when_loading=False, **options
    )
    library = generate_init_offline_itables_html(dt_bundle)
    return PAGE.substitute(title=escape(title), note=escape(note), library=library, table=table)


def write_page(frame: pd.DataFrame, path: Path, *, title: str, note: str) -> None:
    """Write a table as an HTML page, whole or not at all."""
    write_text(page(frame, title=title, note=note, name=path.stem), path)


def tints(negligible: float | None, alpha: float) -> str:
    """Return what the tints of rows say, if there are any."""
    if negligible is None:
        return ""
    return (
        f"Orange: present, shown to be larger than {negligible:g}; blue: absent, shown to be "
        f"within ±{negligible:g}; white: undecided (one-sided tests at {alpha:g}, each "
        "coefficient by itself). "
    )


def write_coefficients(
    coefficients: pd.DataFrame,
    path: Path,
    *,
    alpha: float,
    adjust: str,
    negligible: float | None = None,
) -> None:
    """Write the page of the coefficients of one regression.

    Parameters
    ----------
    coefficients : pandas.DataFrame
        The tidy table.
    path : Path
    alpha : float
        Level of significance.
    adjust : str
        The correction behind ``p_adjusted``.
    negligible : float, optional
        The bound behind ``finding``, if there is this column.
    """
    keys = ["model", "corpus", "site", "regression"]
    # The same in every row; the title has them.
    frame = coefficients.drop(columns=[*keys, "subset"])
    write_page(
        frame,
        path,
        title=f"Coefficients: {', '.join(coefficients.iloc[0][keys])}",
        note=f"A row for each layer and term. {tints(negligible, alpha)}p_adjusted: for each term "
        f"{correction(adjust)}. Numbers have {DIGITS} digits; coefficients.csv has them all. "
        "Coefficients of lags within one layer are predictive associations, not causes.",
    )


def write_coefficients_of_models(
    coefficients: pd.DataFrame, path: Path, *, alpha: float, adjust: str, negligible: float
) -> None:
    """Write the page of the coefficients of all models; see `write_coefficients`."""
    write_page(
        coefficients,
        path,
        title="Coefficients of all models",
        note="A row for each layer and term; depth is layer / (layers - 1). "
        f"{tints(negligible, alpha)}p_adjusted: for each term "
        f"{correction(adjust, 'the layers of a model')}.",
    )


def write_pairs(pairs: pd.DataFrame, path: Path) -> None:
    """Write the page of the pairs of models."""
    write_page(
        pairs,
        path,
        title="Every two models",
        note="How alike the coefficients of two models are over relative depth: Pearson's "
        "correlation, corrected for the errors of the coefficients, with its interval from a "
        "bootstrap of documents, and the number of layers in which the coefficients differ.",
    )
