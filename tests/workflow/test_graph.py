"""The graph of the jobs of the default run, against a stored list.

A change of the flow shows in the list: delete ``graph.txt``, run this test, read the difference.
"""

import re
from pathlib import Path

import yaml
from described import describing
from planning import plan

from attnlag.figures.settings import ON_REQUEST
from attnlag.pipeline.outputs import OUTPUTS
from attnlag.quantities.catalogue import OPTIONAL

STORED = Path(__file__).with_name("graph.txt")


def test_the_jobs_of_the_default_run_are_those_of_the_list(fresh):
    """A job has the files that it makes and reads; a pattern that matches nothing loses jobs."""
    for section in ("regressions", "causal", "sources", "extraction", "controls"):
        fresh.config.pop(section, None)
    fresh.write_config()
    lines = []
    for rule, given, made, _ in sorted(plan(fresh.folder)):
        if rule not in ("all", "default"):
            lines += [rule, *(f"  > {path}" for path in sorted(made))]
            lines += [f"  < {path}" for path in sorted(given)]
    text = "\n".join(lines) + "\n"
    if not STORED.exists():
        STORED.write_text(text)
    assert text == STORED.read_text()


# What makes every kind of file.
EVERYTHING = """
regressions:
  notebook: {lags: [1, 2], bias_correction: none, slopes_by: {upos: outcome}}
  by_number: {lags: [1], slopes_by: {surprisal: outcome}}
controls: {random_weights: {scales: [own, default]}, permutation: {draws: 20}}
causal: {interventions: [zero]}
sources: {}
"""
TAGGER = {"package": "en-core-web-sm", "version": "3.8.0", "sha256": 64 * "0"}
NO_RULE = {"results/README.md", "results/report.zip", "results/provenance.json"}


def test_rules_and_descriptions_agree(to_plan):
    """Each file that a rule makes is described, and each described file is made by a rule."""
    to_plan.write_config(
        **yaml.safe_load(EVERYTHING),
        extraction={"sites": ["attention", "mlp"], "quantities": list(OPTIONAL)},
        figures={"also": list(ON_REQUEST)},
        models={"other": to_plan.config["models"]["tiny"]},
        corpora={"small": to_plan.config["corpora"]["small"] | {"tagger": TAGGER}},
    )
    jobs = plan(to_plan.folder, ("all", "paper"), everything=True)
    made = {path for job in jobs for path in job.made}
    # Figures of a paper are those of the run; texts of layers are in a folder.
    found = {
        path: describing(path) for path in made if not re.search("/paper/figures/|/summary$", path)
    }
    assert [path for path, descriptions in found.items() if not descriptions] == []
    described = {output.path for descriptions in found.values() for output in descriptions}
    files = {output.path for output in OUTPUTS if "/summary/" not in output.path}
    assert files - described == NO_RULE


def test_a_site_other_than_attention_has_a_readout_and_no_sources(to_plan):
    to_plan.write_config(extraction={"sites": ["mlp"]}, sources={})
    jobs = plan(to_plan.folder, ("all",), everything=True)
    made = {Path(path).stem for job in jobs for path in job.made}
    assert made & {"readout_by_layer", "sources_by_layer"} == {"readout_by_layer"}


def test_a_deleted_table_is_made_again(to_plan):
    """Each table is there in Parquet and CSV, whichever of them something else needs."""
    base = to_plan.folder / "results"
    made = [path for path in base.rglob("*.parquet") if path.with_suffix(".csv").exists()]
    assert len(made) > 8
    jobs = plan(to_plan.folder, ("all",), everything=True)
    (asked,) = [job.given for job in jobs if job.rule == "all"]
    for path in made:
        for one in (path, path.with_suffix(".csv")):
            assert str(one.relative_to(to_plan.folder)) in asked
    (base / "tiny/small/attention/notebook/influence.parquet").unlink()
    (base / "tiny/small/attention/heads/heads.csv").unlink()
    assert {"fit_regression", "summarize_heads"} <= to_plan.would_run().keys()
