"""Many shards: the command lines of their jobs, and what is left of former ones."""

import re

import pyarrow as pa
import pyarrow.parquet as pq
from planning import plan
from projects import ran, write_several

from attnlag.storage import tables


def test_no_command_has_threads_in_matrix_products_whose_last_digits_depend_on_them(fresh):
    write_several(fresh, shards=8)
    printed = fresh.run("-n", "-p", "--quiet", "host")
    threads = "OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1"
    command = rf'^Shell command: {threads} python "\$ATTNLAG"/scripts/(.*)$'
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


def test_a_run_deletes_nothing_and_names_what_nothing_reads(several_once, tmp_path):
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
