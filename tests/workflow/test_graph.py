"""The jobs of the default run, against a stored list, those of many shards, and the files of rules.

A change of the flow shows in the list: run this file with ``--write-lists``, read the difference.
"""

import json
import os
import re
import shlex
import shutil
from itertools import pairwise, product
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from described import describing
from planning import plan
from projects import ROOT, TOGETHER, environment_of_a_user, ran, write_several
from warm_python import python

from attnlag.figures.settings import ON_REQUEST
from attnlag.pipeline.outputs import OUTPUTS
from attnlag.quantities.catalogue import OPTIONAL
from attnlag.storage import tables

STORED = Path(__file__).with_name("graph.txt")


def test_the_jobs_of_the_default_run_are_those_of_the_list(fresh, write_lists):
    """A job has the files that it makes and reads; a pattern that matches nothing loses jobs."""
    for section in ("regressions", "causal", "sources", "extraction", "controls"):
        fresh.config.pop(section, None)
    fresh.write_config()
    lines = []
    for rule, given, made, *_ in sorted(plan(fresh.folder)):
        if rule not in ("all", "default"):
            lines += [rule, *(f"  > {path}" for path in sorted(made))]
            lines += [f"  < {path}" for path in sorted(given)]
    text = "\n".join(lines) + "\n"
    if write_lists:
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
REVIEWS = {"dataset": "small/reviews", "split": "train", "revision": 40 * "0", "documents": 20}
NO_RULE = {"results/README.md", "results/report.zip", "results/provenance.json"}


def with_tagger(project):
    """Return the corpora of a project, whose words have parts of speech."""
    return {"small": project.config["corpora"]["small"] | {"tagger": TAGGER}}


def stated_order():
    """Return the pairs of rules of which the second waits for the first, as comments state them."""
    pairs = set()
    text = (ROOT / "workflow/Snakefile").read_text(encoding="utf-8")
    for chain in re.findall(r"^# (\w+(?:, \w+)* -> .*)$", text, re.MULTILINE):
        steps = [step.split(", ") for step in chain.split(" -> ")]
        for earlier, later in pairwise(steps):
            pairs.update(product(earlier, later))
    return pairs


def test_rules_and_descriptions_agree(to_plan):
    """Each file that a rule makes is described, and each described file is made by a rule.

    The order of rules that the Snakefile states is that of the plan.
    """
    shutil.copytree(to_plan.folder / "mine", to_plan.folder / "step64")
    model = to_plan.config["models"]["tiny"]
    to_plan.write_config(
        **yaml.safe_load(EVERYTHING),
        extraction={"sites": ["attention", "mlp"], "quantities": list(OPTIONAL)},
        figures={"also": list(ON_REQUEST)},
        models={"other": model | {"revisions": ["step64"]}},
        corpora=with_tagger(to_plan) | {"reviews": REVIEWS | {"tagger": TAGGER}},
    )
    jobs = plan(to_plan.folder, ("all", "paper"), everything=True)
    made = {path for job in jobs for path in job.made}
    # Texts of layers are in a folder.
    found = {path: describing(path) for path in made if not path.endswith("/summary")}
    assert [path for path, descriptions in found.items() if not descriptions] == []
    described = {output.path for descriptions in found.values() for output in descriptions}
    files = {output.path for output in OUTPUTS if "/summary/" not in output.path}
    assert files - described == NO_RULE
    rules_of_file = {path: job.rule for job in jobs for path in job.made}
    order = {(rules_of_file.get(path), job.rule) for job in jobs for path in job.given}
    assert len(stated_order()) > 30
    assert stated_order() - order == set()


def test_the_order_in_which_rules_are_included_changes_nothing(fresh):
    """Without the files that all rules need, which come first."""
    fresh.write_config(**yaml.safe_load(EVERYTHING), corpora=with_tagger(fresh))
    before = sorted(plan(fresh.folder, everything=True))
    assert len({job.rule for job in before}) > 25
    path = fresh.folder / "workflow/Snakefile"
    text = path.read_text()
    statements = re.findall(r'^(?:if .*:\n\n    )?include: ".*".*\n', text, re.MULTILINE)
    rules = statements[["rules/model.smk" in each for each in statements].index(True) :]
    assert len(rules) > 15
    for place, _ in enumerate(rules):
        text = text.replace(rules[place], f"<{place}>\n")
    for place, statement in enumerate(reversed(rules)):
        text = text.replace(f"<{place}>\n", f"{statement}\n")
    path.write_text(text)
    assert sorted(plan(fresh.folder, everything=True)) == before


def test_a_model_is_fetched_with_the_layers_and_the_width_that_are_stated(fresh):
    """They are checked where the model is fetched."""
    fresh.write_config(models={"tiny": fresh.config["models"]["tiny"] | {"layers": 2, "width": 32}})
    (command,) = [job.command for job in plan(fresh.folder) if job.rule == "fetch_model"]
    arguments = shlex.split(command)
    options = json.loads(arguments[arguments.index("--job") + 1])["options"]
    assert (options["layers"], options["width"]) == (2, 32)


def test_a_site_other_than_attention_has_a_readout_and_no_sources(to_plan):
    to_plan.write_config(extraction={"sites": ["mlp"]}, sources={})
    jobs = plan(to_plan.folder, ("all",), everything=True)
    (command,) = [job.command for job in jobs if job.rule == "plot_sources"]
    assert "readout_by_layer" in command
    assert "sources_by_layer" not in command


def test_a_deleted_table_is_made_again(to_plan):
    """Each table is there in Parquet and CSV, whichever of them something else needs."""
    base = to_plan.folder / "results"
    made = [path for path in base.rglob("*.parquet") if path.with_suffix(".csv").exists()]
    assert len(made) > 8
    jobs = plan(to_plan.folder, ("all",), everything=True)
    (asked,) = [job.given for job in jobs if job.rule == "all"]
    files = [*made, *(path.with_suffix(".csv") for path in made)]
    assert {str(file.relative_to(to_plan.folder)) for file in files} <= set(asked)
    (base / "tiny/small/attention/notebook/influence.parquet").unlink()
    (base / "tiny/small/attention/heads/heads.csv").unlink()
    assert {"fit_regression", "summarize_heads"} <= to_plan.would_run().keys()


def linked(source: Path, target: Path) -> None:
    """Let a file or a folder also have another path."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, copy_function=os.link)
    else:
        os.link(source, target)


def contents(path: Path) -> dict[str, bytes]:
    """Return the bytes of a file, or of those files of a folder that Snakemake has not left."""
    files = [path] if path.is_file() else filter(Path.is_file, path.rglob("[!.]*"))
    return {str(file.relative_to(path)): file.read_bytes() for file in files}


def test_every_program_runs_where_only_its_declared_inputs_exist(whole_once, to_plan, tmp_path):
    """What it makes there has the bytes of the run.

    These are the programs with three inputs or more, which could read further files of their kinds.
    """
    project, jobs = whole_once[0], plan(to_plan.folder, everything=True)
    of_programs = [job for job in jobs if "scripts/" in (job.command or "")]
    one_of_each = {job.rule: job for job in of_programs if len(set(job.given)) >= 3}
    assert len(one_of_each) > 15
    problems = []
    for rule, given, made, command, *_ in one_of_each.values():
        sandbox = tmp_path / rule
        sandbox.mkdir()
        for part in ("scripts", "CITATION.cff"):
            (sandbox / part).symlink_to(project.folder / part)
        for path in dict.fromkeys(given):
            linked(project.folder / path, sandbox / path)
            # The stated exception: the record of a model stands for the files in its folder.
            if path.endswith("/source.json"):
                for file in (project.folder / path).parent.iterdir():
                    if file.name != "source.json":
                        linked(file, (sandbox / path).with_name(file.name))
        arguments = shlex.split(command)
        arguments = arguments[arguments.index("python") + 1 :]
        arguments[0] = arguments[0].replace("$ATTNLAG", ".")
        environment = environment_of_a_user()
        result = ran([python(), *arguments], None, cwd=sandbox, env=environment, **TOGETHER)
        if result.returncode:
            problems.append(f"{rule}: {result.stdout[-2000:]}")
            continue
        problems += [
            f"{rule}: {path} differs"
            for path in made
            if contents(sandbox / path) != contents(project.folder / path)
        ]
    assert not problems, "\n".join(problems)


def test_no_command_has_threads_in_matrix_products_whose_last_digits_depend_on_them(fresh):
    write_several(fresh, shards=8)
    printed = fresh.run("-n", "-p", "--quiet", "host")
    threads = "OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1"
    command = rf'^Shell command: {threads} python "\$ATTNLAG"/scripts/run.py (.*)$'
    commands = re.findall(command, printed, re.MULTILINE)
    assert len(commands) == printed.count(" --job ") > 50
    # On two cores, two jobs of a model run side by side.
    of_models = [command for command in commands if command.startswith("extract_")]
    assert len(of_models) == 9
    assert all("--threads 1 " in command for command in of_models)


def test_the_plan_grows_in_proportion_to_the_shards(fresh):
    """If each shard's job read the files of all shards, a thousand shards would take minutes."""

    def inputs(shards):
        write_several(fresh, shards=shards)
        fresh.write_config(
            extraction={"keep": "vectors", "quantities": ["geometry", "heads", "surprisal"]},
            regressions={"slopes_by": {"lags": [1], "slopes_by": {"surprisal": "lag"}}},
            causal={},
        )
        return sum(len(job.given) for job in plan(fresh.folder))

    two, four, six = map(inputs, (2, 4, 6))
    assert 0 < four - two == six - four


def test_a_run_deletes_nothing_and_names_what_nothing_reads(several_once, tmp_path, subtests):
    """After a study of two shards, another model's of the same corpus in one shard."""
    project = several_once[0].copy(tmp_path / "project")
    norms = "results/{}/small/attention/norms/{}.parquet"
    own = "tiny/small/attention/2024.parquet"
    pq.write_table(pa.table({"x": [1]}), project.folder / "results" / own)
    before = project.results("*/**/*")
    model = project.config["models"]["tiny"]
    corpus = {**project.config["corpora"]["small"], "shards": 1}
    project.config |= {"models": {"other": model}, "corpora": {"small": corpus}}
    project.write_config()
    of_other = norms.format("other", "0000")
    for arguments in ([of_other, "--until", "fetch_model"], [of_other], [of_other, "--touch"]):
        with subtests.test(arguments=" ".join(arguments)):
            assert "former shards" not in project.run(*arguments)
    after = project.results("*/**/*")
    assert {path: after.get(path) for path in before} == before

    # The first model in one shard: readers count its shards by the record of the first.
    project.config["models"] = {"tiny": model}
    project.write_config()
    printed = project.run(norms.format("tiny", "0000"))
    after = project.results("*/**/*")
    assert before.keys() <= after.keys()
    record = tables.read_provenance(project.folder / norms.format("tiny", "0000"))
    assert record.settings("tokens")["shards"] == 1
    (command,) = re.findall("^of former shards, read by nothing: (.*)$", printed, re.MULTILINE)
    ran(["bash", "-c", command], cwd=project.folder)
    removed = {path for path in before if path.endswith("/0001.parquet")}
    assert after.keys() - project.results("*/**/*").keys() == removed
    assert own not in removed
