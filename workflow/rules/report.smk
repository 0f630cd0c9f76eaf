# The contents of the report, and the files of figures.

# Categories of the report in the order of the flow; the report sorts them by name.
CATEGORIES = "explorer norms coefficients diagnostics interventions comparison directions"


def in_report(path, caption, category, subcategory, shows, site=None):
    """Return an output for the report, labelled by the names in its path and perhaps a site."""
    names = ("model", "corpus", "site", "regression")
    found = {name: f"{{{name}}}" if f"{{{name}}}" in path else "all" for name in names}
    return report(
        path,
        caption=f"../report/{caption}.rst",
        category=f"{CATEGORIES.split().index(category)} {category.capitalize()}",
        subcategory=subcategory,
        labels={**found, "site": site or found["site"], "layer": "all", "shows": shows},
    )


def figures_of(stage, site=None):
    """Return the files of all figures of a stage; the report shows pages in the best format."""
    files, folder = [], outputs.FOLDERS[stage]
    for figure in outputs.figures_drawn(stage, CONFIG):
        about = ("figure", figure.category, figure.subcategory)
        first, *others = expand(
            f"{folder}/{figure.name}{{size}}.{{format}}",
            size=outputs.endings(CONFIG),
            format=sorted(CONFIG.figures.formats)[::-1],
            allow_missing=True,
        )
        files += [in_report(first, *about, "figure", site), *others]
    return files
