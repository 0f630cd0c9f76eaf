# The contents of the report, and the files of figures.

from attnlag.figures.sizes import SIZES, suffix_of

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


# What is drawn for the first regression alone is the same for the others in the explorer.
FIRST = lambda regression: regression == next(iter(CONFIG.regressions))


def figures_of(stage, folder, condition=True, site=None):
    """Return the files of all figures of a stage; the report shows pages in the best format.

    A run makes them where a condition holds, as that of `optional`.
    """
    files = []
    for figure in CONFIG.figures_drawn(stage):
        about = ("figure", figure.category, figure.subcategory)
        first, *others = partly(
            f"{folder}/{figure.name}{{size}}.{{format}}",
            size=[suffix_of(size) for size in SIZES if size in CONFIG.figures.sizes],
            format=sorted(CONFIG.figures.formats)[::-1],
        )
        drawn = [in_report(first, *about, "figure", site), *others]
        files += wanted(drawn, FIRST if figure.first_regression else condition)
    return files


def figures_of_paper(stage, folder, condition=True):
    """Return the files of the figures of a stage that `make paper` draws where a condition holds."""
    figures = [
        f"results/paper/figures/{folder}/{figure.name}_column.pdf"
        for figure in CONFIG.figures_drawn(stage)
    ]
    OF_PAPER.extend(path for each in figures for path in of_study(each, condition))
    return figures
