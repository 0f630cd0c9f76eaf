"""A program opens what its rule declares, and gives the same bytes where nothing else exists."""

import os
import shlex
import shutil
from pathlib import Path

from planning import plan
from projects import TOGETHER, environment_of_a_user, ran
from warm_python import python


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


def test_every_program_runs_where_only_its_declared_inputs_exist(whole_once, to_plan, tmp_path):
    project, jobs = whole_once[0], plan(to_plan.folder, everything=True)
    one_of_each = {job.rule: job for job in jobs if "scripts/" in (job.command or "")}
    assert len(one_of_each) > 25
    problems = []
    for rule, given, made, command in one_of_each.values():
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
