# The contents of the report, and the files of figures.

# Categories of the report in the order of the flow; the report sorts them by name.
CATEGORIES = {
    "explorer": "0 Explorer",
    "corpus": "1 Corpus",
    "norms": "2 Norms",
    "coefficients": "3 Coefficients",
    "diagnostics": "4 Diagnostics",
    "interventions": "5 Interventions",
    "comparison": "6 Comparison",
    "directions": "7 Directions",
}


def in_report(path, caption, category, subcategory, shows, **labels):
    """Return an output for the report, labelled by the names in its path."""
    names = ("model", "corpus", "site", "regression")
    of = {name: f"{{{name}}}" if f"{{{name}}}" in path else "all" for name in names}
    return report(
        path,
        caption=f"../report/{caption}.rst",
        category=CATEGORIES[category],
        subcategory=subcategory,
        labels={**of, "layer": "all", **labels, "shows": shows},
    )


CAPTIONS = SCRIPTS.parent / "workflow" / "report"
# Endings of the names of figures, before the format.
ENDINGS = outputs.endings(CONFIG)


def figures_of(stage, **labels):
    """Return the files of all figures of a stage, as outputs of its rule.

    Each has a file per size and format. The report shows the page's size in the format that
    scales best.
    """
    files, folder = [], outputs.FOLDERS[stage]
    for figure in outputs.figures_drawn(stage, CONFIG):
        caption = figure.name if (CAPTIONS / f"{figure.name}.rst").exists() else "figure"
        about = (caption, figure.category, figure.subcategory)
        first, *others = expand(
            f"{folder}/{figure.name}{{size}}.{{format}}",
            size=ENDINGS,
            format=sorted(CONFIG.figures.formats)[::-1],
            allow_missing=True,
        )
        files += [in_report(first, *about, shows="figure", **labels), *others]
    return files
