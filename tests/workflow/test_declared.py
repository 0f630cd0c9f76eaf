"""A program opens what its rule declares, and gives the same bytes where nothing else exists."""

import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from planning import Listener, plan
from projects import Project, environment_of_a_user, new_project, small_corpus
from warm_python import python


@pytest.fixture(scope="module")
def whole(gpt2: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, Listener]:
    """Return a project with a small model and the default sections, after a run, and its plan."""
    project = new_project(tmp_path_factory.mktemp("whole") / "project", gpt2)
    for section in ("regressions", "causal", "sources", "extraction", "controls"):
        project.config.pop(section, None)
    (project.folder / "data/small.jsonl").write_text(small_corpus(12))
    project.write_config(
        causal={"documents": 6},
        controls={"permutation": {"draws": 19}},
        figures={"also": ["diagnostics", "outcome_by_lag"]},
    )
    project.run()
    return project, plan(project.folder, everything=True)


def linked(source: Path, target: Path) -> None:
    """Let a file or a folder also have another path."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, copy_function=os.link)
    else:
        os.link(source, target)


def contents(path: Path) -> dict[str, bytes]:
    """Return the bytes of a file, or of the files of a folder."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    return {
        str(file.relative_to(path)): file.read_bytes()
        for file in files
        # Snakemake leaves a hidden file in a folder that is an output.
        if file.is_file() and not file.name.startswith(".")
    }


def test_every_program_runs_where_only_its_declared_inputs_exist(whole, tmp_path):
    project, planned = whole
    programs = {rule: line for rule, line in planned.commands.items() if "scripts/" in line}
    assert len(programs) > 25
    problems = []
    for rule, command in programs.items():
        given, made = planned.files[rule]
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
        result = subprocess.run(
            [python(), *arguments],
            cwd=sandbox,
            env=environment_of_a_user(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if result.returncode:
            problems.append(f"{rule}: {result.stdout[-2000:]}")
            continue
        problems += [
            f"{rule}: {path} differs"
            for path in made
            if contents(sandbox / path) != contents(project.folder / path)
        ]
    assert not problems, "\n".join(problems)
