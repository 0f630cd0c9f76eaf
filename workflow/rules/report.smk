# The contents of the report, and the folders of figures.

from attnlag.figures.sizes import best_of, suffix_of

# Chapters of the report in the order of the flow; the report sorts them by name, so each begins
# with its number among those that this run has.
DIRECTIONS = ("geometry", "heads", "readout")
CHAPTERS = {
    "explorer": True,
    "norms": True,
    "coefficients": True,
    "diagnostics": "diagnostics" in CONFIG.figures.also,
    "interventions": is_asked("interventions", CONFIG),
    "comparison": is_asked("comparison", CONFIG),
    "directions": any(is_asked(name, CONFIG) for name in DIRECTIONS),
}
PRESENT = [name for name, present in CHAPTERS.items() if present]
IN_ORDER = {name: f"{number} {name.capitalize()}" for number, name in enumerate(PRESENT)}
LABELS = dict.fromkeys(("model", "corpus", "site", "regression", "layer"), "all")


def figures_of(stage, folder, **labels):
    """Return the folder of the figures of a stage as an output, with their labels in the report.

    The report has them once, in the first of the sizes and the format that is the last in the
    alphabet.
    """
    figures = {figure.name: figure for figure in CONFIG.figures_drawn(stage)}
    ending = f"{suffix_of(best_of(CONFIG.figures.sizes))}.{max(CONFIG.figures.formats)}"
    named = {name: f"{{{name}}}" for name in LABELS if f"{{{name}}}" in folder}
    return report(
        directory(folder),
        patterns=[f"{{figure,{any_of(figures)}}}{ending}"],
        caption="../report/figure.rst",
        category=lambda wildcards: IN_ORDER[figures[wildcards.figure].category],
        subcategory=lambda wildcards: figures[wildcards.figure].subcategory,
        labels={**LABELS, **named, **labels, "shows": "figure"},
    )
