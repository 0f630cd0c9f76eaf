"""The graph of the jobs of the default run, against a stored list.

A change of the flow shows in the list: delete ``graph.txt``, run this test, read the difference.
"""

from pathlib import Path

from planning import plan

from attnlag.config.schema import Config
from attnlag.pipeline import outputs

STORED = Path(__file__).with_name("graph.txt")


def test_the_jobs_of_the_default_run_are_those_of_the_list(fresh):
    """A job has the files that it makes and reads; a pattern that matches nothing loses jobs."""
    for section in ("regressions", "causal", "sources", "extraction", "controls"):
        fresh.config.pop(section, None)
    fresh.write_config()
    lines = []
    for rule, given, made in sorted(plan(fresh.folder).graph):
        if rule not in ("all", "default"):
            lines += [rule, *(f"  > {path}" for path in sorted(made))]
            lines += [f"  < {path}" for path in sorted(given)]
    text = "\n".join(lines) + "\n"
    if not STORED.exists():
        STORED.write_text(text)
    assert text == STORED.read_text()


def test_a_deleted_table_is_made_again(to_plan):
    """Each table is there in Parquet and CSV, whichever of them something else needs."""
    base = to_plan.folder / "results"
    made = [path for path in base.rglob("*.parquet") if path.with_suffix(".csv").exists()]
    assert len(made) > 8
    asked = {*outputs.targets(Config.model_validate(to_plan.config))}
    for path in made:
        for one in (path, path.with_suffix(".csv")):
            assert str(one.relative_to(to_plan.folder)) in asked
    (base / "tiny/small/attention/notebook/influence.parquet").unlink()
    (base / "tiny/small/attention/heads/heads.csv").unlink()
    assert {"fit_regression", "summarize_heads"} <= to_plan.would_run().keys()
