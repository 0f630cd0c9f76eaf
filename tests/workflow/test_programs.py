"""Guards of programs, each called as its rule calls it."""

import json
import re
import shlex

import pytest
from planning import plan
from projects import TOGETHER, command_of, environment_of_a_user, ran, settings_text
from warm_python import python

# The programs that open the folder of a model.
OF_A_MODEL = {
    *("tokenize_corpus", "describe_tokens", "extract_activations", "extract_untrained"),
    *("trace_sources", "estimate_effects"),
}


def called(project, command: str, status: int) -> str:
    """Run a command of a plan in the folder of a project, and return what it printed."""
    arguments = shlex.split(command)
    arguments = arguments[arguments.index("python") + 1 :]
    arguments[0] = arguments[0].replace("$ATTNLAG", ".")
    options = {"cwd": project.folder, "env": environment_of_a_user(), **TOGETHER}
    return ran([python(), *arguments], status, **options).stdout


@pytest.mark.parametrize("change", ["config.json", "model.safetensors", "tokenizer.json"])
def test_no_program_uses_a_model_that_was_changed_after_it_was_fetched(to_plan, change, subtests):
    jobs = plan(to_plan.folder, everything=True)
    commands = {job.rule: job.command for job in jobs if job.rule in OF_A_MODEL}
    assert commands.keys() == OF_A_MODEL
    path = to_plan.folder / "data/models/tiny" / change
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content[:-1] + b" ")
    for rule, command in commands.items():
        with subtests.test(rule=rule):
            printed = called(to_plan, command, status=1)
            assert f"{change}: was changed after it was fetched" in printed, (rule, printed)
            assert "Traceback" not in printed


def test_what_tracing_has_checked_is_told_with_and_without_a_control(to_plan):
    jobs = plan(to_plan.folder, everything=True)
    (command,) = [job.command for job in jobs if job.rule == "trace_sources"]
    arguments = shlex.split(command)
    place = arguments.index("--job") + 1
    job = json.loads(arguments[place])
    log = to_plan.folder / arguments[arguments.index("--log") + 1]
    told = []
    for seed in (job["settings"]["seed_of_weights"], None):
        job["settings"]["seed_of_weights"] = seed
        if seed is None:
            job["output"] |= {"untrained_sources": [], "untrained_readout": []}
        arguments[place] = json.dumps(job)
        called(to_plan, shlex.join(arguments), status=0)
        told.append(re.sub(r" \([^()]*\)$", "", log.read_text().strip()))
    assert "effects add up to the logits within" in told[0]
    assert told[0] == told[1]


HAC = "too few to cluster errors by (6 are needed), so they are HAC errors within sequences"
HAC += " (Newey-West), without"


@pytest.mark.parametrize(
    ("documents", "said"),
    [
        (
            1,
            f"1 document: {HAC} document effects and the half-panel correction",
        ),
        (5, f"5 documents: {HAC} the half-panel correction"),
        (6, ""),
    ],
)
def test_a_corpus_of_few_texts_is_warned_of_before_a_model_runs(documents, said, tmp_path):
    rows = [json.dumps({"id": str(n), "text": f"text {n}"}) for n in range(documents)]
    (tmp_path / "a.jsonl").write_text("\n".join(rows))
    settings = settings_text("prepare_corpus", corpus={"id": "id"})
    made, names = {"corpus": "out.parquet"}, {"corpus": "few"}
    files = {"files": ["a.jsonl"], "source": []}
    command = command_of("prepare_corpus", files, made, settings, names, clusters_needed=6)
    printed = ran(command, cwd=tmp_path, **TOGETHER).stdout
    assert ("too few" in printed) == bool(said)
    assert said in printed
    # Texts that are equal are no independent documents.
    (tmp_path / "a.jsonl").write_text("\n".join([*rows, json.dumps({"id": "x", "text": "text 0"})]))
    printed = ran(command, cwd=tmp_path, **TOGETHER).stdout
    assert "1 document, 'x' the first, with the text of an earlier one; expected" in printed
