"""Tables as pages that a browser sorts, searches and filters; each is complete in itself."""

from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from itables import JavascriptCode, to_html_datatable
from itables.javascript import generate_init_offline_itables_html
from itables.options import dt_bundle

from attnlag.storage.writing import write_text

# Digits of a number that a reader looks at; the CSV and Parquet files have them all.
DIGITS = 5

# Scripts come from the page itself, and nothing from anywhere else.
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; \
script-src 'unsafe-inline' 'unsafe-eval' blob:; style-src 'unsafe-inline'; img-src data:; \
font-src data:">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>@TITLE@</title>
<style>
  body { font: 15px/1.45 system-ui, sans-serif; color: #262626; background: #fff; margin: 1rem; }
  h1 { font-size: 1.15rem; margin: 0 0 .4rem; }
  p { max-width: 60rem; margin: 0 0 .8rem; }
  table thead input { width: 6.5em; }
  table td { font-variant-numeric: tabular-nums; }
  table.dataTable > tbody > tr.significant > td { background: #fdf0d5; }
  table.dataTable > tbody > tr.significant > td:first-child { box-shadow: inset 4px 0 #de8f05; }
</style>
@LIBRARY@
</head>
<body>
<h1>@TITLE@</h1>
<p>@NOTE@</p>
@TABLE@
</body>
</html>
"""


def page(frame: pd.DataFrame, *, title: str, note: str, name: str) -> str:
    """Return a table as a page of HTML that loads nothing from anywhere.

    Parameters
    ----------
    frame : pandas.DataFrame
        Rows whose column ``significant`` is ``"yes"`` are marked, if there is such a column.
    title, note : str
        Above the table.
    name : str
        Of the table in the page, and of the file that its button saves.
    """
    mark = "null"
    if "significant" in frame:
        place = list(frame.columns).index("significant")
        mark = (
            "function (row, data) { "
            f'if (data[{place}] === "yes") row.classList.add("significant"); }}'
        )
    shown = frame.copy()
    for column in shown.select_dtypes("float").columns:
        shown[column] = [float(f"{value:.{DIGITS}g}") for value in shown[column]]
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
    parts = {
        "@TITLE@": escape(title),
        "@NOTE@": escape(note),
        "@LIBRARY@": generate_init_offline_itables_html(dt_bundle),
        "@TABLE@": table,
    }
    text = PAGE
    for place_holder, content in parts.items():
        text = text.replace(place_holder, content)
    return text


def write_page(frame: pd.DataFrame, path: Path, *, title: str, note: str) -> None:
    """Write a table as a page, whole or not at all."""
    write_text(page(frame, title=title, note=note, name=path.stem), path)


def with_significance(coefficients: pd.DataFrame, alpha: float) -> pd.DataFrame:
    """Return a tidy table with a column ``significant``: yes, no, or empty without a p-value."""
    p_values = coefficients["p_adjusted"].to_numpy(dtype=float)
    answer = np.where(np.isnan(p_values), "", np.where(p_values < alpha, "yes", "no"))
    result = coefficients.copy()
    result.insert(list(result.columns).index("p_adjusted") + 1, "significant", answer)
    return result
