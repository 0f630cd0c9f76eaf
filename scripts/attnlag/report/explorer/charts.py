"""The charts of the explorer, without data, which the page fills in.

Bokeh embeds its JavaScript from the installed package, so that the page needs no network and the
repository contains no third-party code. Charts notify the page by events of the document with the
name ``chart``.
"""

from typing import Any

from bokeh.embed import json_item
from bokeh.events import SelectionGeometry, Tap
from bokeh.layouts import column
from bokeh.models import (
    BoxAnnotation,
    BoxSelectTool,
    ColumnDataSource,
    CustomJS,
    HoverTool,
    LayoutDOM,
    PanTool,
    Range1d,
    ResetTool,
    Span,
    WheelZoomTool,
)
from bokeh.plotting import figure
from bokeh.resources import Resources

TELL = "document.dispatchEvent(new CustomEvent('chart', {detail: {kind: '%s', %s}}))"
PLACE = "x: cb_obj.x, y: cb_obj.y"


def library() -> str:
    """Return BokehJS from the installed package, as script elements."""
    return Resources(mode="inline", components=["bokeh"]).render_js()


def items() -> dict[str, Any]:
    """Return the charts as JSON for ``Bokeh.embed.embed_item``, by id of the element."""
    return {"profile": _item(profile(), "profile"), "cloud": _item(cloud(), "cloud")}


def _item(chart: LayoutDOM, name: str) -> dict[str, Any]:
    return dict(json_item(chart, name))


def _source(name: str, *columns: str) -> ColumnDataSource:
    return ColumnDataSource({column: [] for column in columns}, name=name)


def _figure(name: str, **options: Any) -> figure:
    """Return an empty chart; its colours follow the page."""
    chart = figure(
        name=name,
        sizing_mode="stretch_width",
        min_border_left=62,
        y_range=Range1d(0, 1),
        background_fill_alpha=0,
        border_fill_alpha=0,
        outline_line_color=None,
        **options,
    )
    chart.toolbar.logo = None
    for axis in (*chart.xaxis, *chart.yaxis):
        axis.minor_tick_line_color = None
        axis.axis_label_text_font_style = "normal"
    chart.xgrid.visible = False
    return chart


def profile() -> LayoutDOM:
    """Return the coefficients of one lag by layer, with those of random weights below.

    The latter stand beside the trained model on the same documents, likewise uncorrected.
    """
    layers = Range1d(-0.5, 0.5, name="layers")
    trained = _figure("trained", height=270, x_range=layers, tools="", toolbar_location=None)
    source = _source(
        "coefficients", *("layer", "estimate", "low", "high", "permutedLow", "permutedHigh")
    )
    trained.varea("layer", "permutedLow", "permutedHigh", source=source, name="permuted")
    trained.segment("layer", "low", "layer", "high", source=source, name="intervals", line_width=2)
    trained.scatter("layer", "estimate", source=source, name="estimates", size=7)
    trained.yaxis.axis_label = "coefficient"

    random = _figure("random", height=130, x_range=layers, tools="", toolbar_location=None)
    untrained = _source("untrained", "layer", "random", "uncorrected")
    random.line("layer", "random", source=untrained, name="untrainedLine", line_dash="dashed")
    random.scatter(
        "layer", "random", source=untrained, name="untrainedPoints", marker="square", size=5
    )
    random.scatter(
        "layer", "uncorrected", source=untrained, name="uncorrectedPoints", fill_color=None, size=5
    )
    random.xaxis.axis_label = "layer"
    random.yaxis.axis_label = "random weights"
    for chart in (trained, random):
        chart.add_layout(
            Span(location=0, dimension="width", line_width=1, name=f"{chart.name}Zero")
        )
        chart.add_layout(
            Span(location=0, dimension="height", line_width=2, name=f"{chart.name}Cursor")
        )
        chart.js_on_event(Tap, CustomJS(code=TELL % ("layer", PLACE)))
    return column(trained, random, sizing_mode="stretch_width")


def cloud() -> LayoutDOM:
    """Return the outcome at a token against that at the lag: density, points, and the fit."""
    chart = _figure(
        "scatter", height=430, x_range=Range1d(0, 1), tools="", toolbar_location="above"
    )
    cells = _source("cells", "left", "right", "bottom", "top", "alpha")
    chart.quad(
        *("left", "right", "top", "bottom"),
        source=cells,
        fill_alpha="alpha",
        line_color=None,
        name="density",
    )
    tools = [BoxSelectTool(renderers=[]), PanTool(), WheelZoomTool(), ResetTool()]
    for name, size in (("others", 3), ("own", 6)):
        source = _source(name, "x", "y", "token")
        points = chart.scatter(
            *("x", "y"),
            source=source,
            size=size,
            name=f"{name}Points",
            nonselection_fill_alpha=0.15,
            nonselection_line_alpha=0,
            selection_fill_alpha=0.9,
        )
        tokens = "tokens: cb_data.index.indices.map(place => source.data.token[place])"
        tools.append(
            HoverTool(
                renderers=[points],
                tooltips=None,
                visible=False,
                callback=CustomJS(args={"source": source}, code=TELL % ("hover", tokens)),
            )
        )
    chart.line("x", "y", source=_source("fitted", "x", "y"), name="fit", line_width=2)
    chart.scatter(
        *("x", "y"),
        source=_source("active", "x", "y"),
        name="ring",
        size=14,
        fill_color=None,
        line_width=3,
    )
    chart.add_layout(BoxAnnotation(name="brush", visible=False, fill_alpha=0.08, line_width=1))
    chart.add_tools(*tools)
    chart.toolbar.active_drag = tools[0]
    chart.js_on_event(Tap, CustomJS(code=TELL % ("point", PLACE)))
    chart.js_on_event(
        SelectionGeometry,
        CustomJS(code=f"if (cb_obj.final) {TELL % ('brush', '...cb_obj.geometry')}"),
    )
    return chart
