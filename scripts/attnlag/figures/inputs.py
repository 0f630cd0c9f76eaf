"""What figures are drawn from: the inputs of each stage by name, and what titles say of them.

Tables of results are small and are read whole. A reader gets what the job of its stage has: files
by the names in its rule, the names that identify it, and settings.
"""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd

from attnlag.claims.causes import of_single_layers
from attnlag.claims.directions import claims_of_directions
from attnlag.claims.heads import claims_of_heads
from attnlag.claims.results import RegressionResults, regressions_in
from attnlag.claims.run import Claims
from attnlag.claims.sources import claims_of_readout, claims_of_sources
from attnlag.claims.subsets import classes
from attnlag.errors import counted
from attnlag.figures.legends import NO_ATTENTION
from attnlag.regression.labels import R_SQUARED, others_in_words, weights_in_words
from attnlag.storage import tables
from attnlag.storage.results import declared_by


class Inputs(SimpleNamespace):
    """The inputs of figures: tables, paths and settings by name, which ``made`` was made from.

    Titles state ``name``, the model, the corpus and whatever else identifies them, and ``extent``,
    the number of tokens, rows or documents. ``settings`` are those of the stage that is given.
    """

    def __init__(self, made: Path, name: str, extent: str = "", stage: str = "", **parts: Any):
        self.record = tables.read_provenance(made)
        self.name = name
        self.extent = extent
        settings = self.record.settings(stage) if stage else {}
        models = [self.record["model"]] if "model" in self.record else []
        stated = {
            "settings": settings,
            "alpha": settings.get("alpha"),
            "models": models,
        }
        super().__init__(**stated | parts)

    @property
    def mixers(self) -> dict[str, str]:
        """What layers of a single model have in place of attention: the class, by layer."""
        model, *others = self.models
        return {} if others else model.get("mixers", {})

    @property
    def subtitle(self) -> str:
        """The second line of the titles."""
        others = self.mixers and f" ({NO_ATTENTION} {others_in_words(self.mixers)})"
        weights = weights_in_words(self.models)
        return " · ".join(filter(None, (f"{self.name}{others or ''}", weights, self.extent)))


def joined(names: Any, **others: str) -> str:
    """Return the names that identify a job, or others in their place, for titles."""
    return ", ".join((vars(names) | others).values())


def rows_of(
    table: pd.DataFrame, rows: str = "n_obs", documents: str = "n_documents", unit: str = "row"
) -> str:
    """Return the numbers of rows and documents of the layer with the most rows."""
    most = table[[rows, documents]].max()
    return f"{counted(int(most[rows]), unit)} from {counted(int(most[documents]), 'document')}"


def tables_in(files: Any, *names: str) -> dict[str, Any]:
    """Return the tables in some of the files of a job, by their names."""
    return {name: pd.read_parquet(getattr(files, name)) for name in names}


def read_coefficients(
    regression: RegressionResults, names: Any, extent: str = "", **parts: Any
) -> Inputs:
    """Return coefficients on all documents with the settings and the claims of their regression.

    The extent is by default that of the table ``fits``.
    """
    settings = regression.settings
    return Inputs(
        regression.path("coefficients"),
        joined(names),
        extent or rows_of(regression.fits),
        coefficients=regression.coefficients,
        fits=regression.fits,
        regression=settings,
        **{name: settings[name] for name in ("alpha", "adjust", "outcome", "equivalence_bound")},
        r_squared_name=R_SQUARED[settings["fixed_effects"]],
        drop_first=regression.record.settings("design")["drop_first"],
        claims=regression.claims,
        **parts,
    )


def read_regression(files: Any, names: Any, settings: Any) -> Inputs:
    """Return the tables of one regression and the files of its residuals and its design."""
    (regression,) = regressions_in(declared_by(vars(files)))
    return read_coefficients(
        regression,
        names,
        **tables_in(files, "controls", "groups", "influence", "medians"),
        residuals=files.residuals,
        design=files.design,
        layers=settings["layers"],
    )


def read_regressions(files: Any, names: Any, settings: Any) -> Inputs:
    """Return the coefficients of all regressions of one site, in the order of their panels."""
    paths = files.coefficients
    # Regressions differ in their rows.
    extent = counted(tables.read_provenance(paths[0])["corpus"]["documents"], "document")
    regressions = regressions_in(declared_by(vars(files)))
    studies = [read_coefficients(regression, names, extent) for regression in regressions]
    return Inputs(paths[0], joined(names), extent, studies=studies)


def read_sites(files: Any, names: Any, settings: Any) -> Inputs:
    """Return norms and one regression of several sites, whose files come site by site."""
    regressions = regressions_in(declared_by(vars(files)))
    studies = [read_coefficients(regression, names) for regression in regressions]
    return Inputs(
        files.coefficients[0],
        joined(names),
        # All sites have the same tokens.
        studies[0].extent,
        norms=tables.by_site(files.norms),
        studies=studies,
    )


def read_models(files: Any, names: Any, settings: Any) -> Inputs:
    """Return the coefficients of one site and regression in all models."""
    provenance = tables.read_provenance(files.compared)
    records = [
        tables.Record(study["record"])
        for study in provenance["studies"]
        if study["regression"] == names.regression
    ]
    models = {record["model"]["name"]: record["model"] for record in records}
    # Models differ in their tokens.
    documents = {r["corpus"]["name"]: r["corpus"]["documents"] for r in records}
    counts = {corpus: counted(number, "document") for corpus, number in documents.items()}
    extent = ", ".join(f"{corpus} {count}" for corpus, count in counts.items())
    if len(counts) == 1:
        extent = next(iter(counts.values()))
    table = pd.read_parquet(files.compared)
    shared = provenance.settings("regression")
    regressions = regressions_in(declared_by(vars(files)))
    return Inputs(
        files.compared,
        joined(names),
        extent,
        models=list(models.values()),
        claims={(each.model, each.corpus): each.claims for each in regressions},
        coefficients=table[table["regression"].eq(names.regression) & table["site"].eq(names.site)],
        outcome=records[0].settings("regression")["outcome"],
        **{name: shared[name] for name in ("alpha", "adjust", "equivalence_bound")},
        mixers_of_models={name: m["mixers"] for name, m in models.items() if "mixers" in m},
    )


def read_classes(files: Any, names: Any, settings: Any) -> Inputs:
    """Return slopes by class of tokens of one regression."""
    parts = tables_in(files, "classes", "equal_slopes")
    stated = tables.read_provenance(files.classes).settings("classes")
    regression = stated["regression"]
    rows = classes(
        parts["classes"],
        parts["equal_slopes"],
        stated["property"],
        regression["alpha"],
        regression["adjust"],
    )
    extent = rows_of(parts["classes"])
    return Inputs(
        files.classes,
        joined(names),
        extent,
        "classes",
        claims=Claims(tuple(rows)),
        **parts,
    )


def read_training(files: Any, names: Any, settings: Any) -> Inputs:
    """Return a regression at earlier checkpoints of a model, and the settings that title it."""
    parts = tables_in(files, "training", "training_layers")
    documents = int(parts["training"]["documents"].max())
    record = tables.read_provenance(files.training)
    return Inputs(
        files.training,
        joined(names),
        counted(documents, "document"),
        "training",
        outcome=record.settings("design")["outcome"],
        equivalence_bound=settings["equivalence_bound"],
        **parts,
    )


def read_geometry(files: Any, names: Any, settings: Any) -> Inputs:
    """Return the means of where the adjustments of one site point."""
    means = pd.read_parquet(files.means)
    extent = rows_of(means, "tokens", "documents", "token")
    return Inputs(
        files.means,
        joined(names),
        extent,
        "geometry_means",
        means=means,
        claims=Claims(tuple(claims_of_directions(means))),
    )


def read_heads(files: Any, names: Any, settings: Any) -> Inputs:
    """Return what attention heads write and attend to, and their regressions."""
    name = joined(names, site="attention")
    heads = pd.read_parquet(files.heads)
    coefficients = pd.read_parquet(files.head_coefficients)
    stage = "heads_table"
    regression = tables.read_provenance(files.heads).settings(stage)["regression"]
    claims = Claims(tuple(claims_of_heads(heads, coefficients, str(regression))))
    return Inputs(
        files.heads, name, stage=stage, claims=claims, heads=heads, coefficients=coefficients
    )


def read_sources(files: Any, names: Any, settings: Any) -> Inputs:
    """Return the shares of tokens in adjustments of attention, and effects of sites on logits."""
    readout = pd.DataFrame()
    if files.readout:
        readout = pd.concat(map(pd.read_parquet, files.readout))
    # Other sites than attention have none.
    traced = tables_in(files, "shares", "lags") if files.shares else {}
    table = traced["shares"] if traced and len(traced["shares"]) else readout
    extent = "" if table.empty else rows_of(table, "tokens", "documents", "token")
    made = files.shares or files.readout[0]
    stage = "traced_table"
    stated = tables.read_provenance(made).settings(stage)
    rows = []
    if traced:
        rows += claims_of_sources(traced["shares"], traced["lags"])
    if len(readout):
        for _, effects in readout.groupby("site", sort=False):
            rows += claims_of_readout(effects, stated["alpha"], stated["adjust"])
    return Inputs(
        made,
        joined(names),
        extent,
        stage,
        **traced,
        readout=readout,
        claims=Claims(tuple(rows)),
    )


def read_effects(files: Any, names: Any, settings: Any) -> Inputs:
    """Return the effects of interventions on the pair of sites that are changed and observed."""
    effects = tables_in(files, "elasticities", "total_effects")
    pair = " to ".join(dict.fromkeys((settings["source"], settings["target"])))
    rows = of_single_layers(effects["elasticities"], settings["source"], settings["target"])
    # All tokens may be dropped.
    documents = effects["elasticities"]["documents"].max() if len(effects["elasticities"]) else 0
    return Inputs(
        files.elasticities,
        joined(names, pair=pair),
        counted(int(documents), "document"),
        "elasticities",
        claims=Claims(tuple(rows)),
        **effects,
        **settings,
    )


def of_pair(inputs: Inputs, table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a table of effects that are about the pair of sites."""
    return table[(table["source_site"] == inputs.source) & (table["target_site"] == inputs.target)]
