"""Copies of the project with small models, its programs, and the real command line."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from warm_python import python

from attnlag.config.schema import Config
from attnlag.errors import UserError
from attnlag.figures import catalogue
from attnlag.pipeline import stages
from attnlag.pipeline.job import text_of

ROOT = Path(__file__).parents[2]
PARTS = (
    *("Snakefile", "CITATION.cff", "workflow", "scripts", "profiles", "config"),
    "data/prompts.jsonl",
)

# What Snakemake leaves in a folder that is an output.
SNAKEMAKES_OWN = ".snakemake_timestamp"
WORDS = (
    "the river ran low that summer and nobody in town could say when rain had last come so they "
    "dug new wells behind the mill and counted every bucket twice before supper"
).split()


def environment_of_a_user() -> dict[str, str]:
    """Return the environment without variables that would change a run or its time."""
    others = ("HF_", "TRANSFORMERS_", "USE_HUB_KERNELS", "SNAKEMAKE", "PYTHONDONTWRITEBYTECODE")
    return {name: value for name, value in os.environ.items() if not name.startswith(others)}


def ran(
    command: Sequence[str | Path], status: int | None = 0, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run a command, which is to end with this status (None: any), and return what it printed."""
    apart = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    done = subprocess.run(command, text=True, check=False, **apart | options)
    assert status in (None, done.returncode), done.stdout + (done.stderr or "")
    return done


# Options of `ran` for one text of all that is printed.
TOGETHER = {"stderr": subprocess.STDOUT}


def settings_text(
    stage: str,
    regression: Mapping[str, Any] | None = None,
    corpus: Mapping[str, Any] | None = None,
    **sections: Any,
) -> str:
    """Return the settings of a stage as JSON, given parts of the configuration beside the least."""
    notebook = {"lags": [1, 2], "slopes_by": {"upos": "outcome"}, **(regression or {})}
    raw: dict[str, Any] = {
        "models": {"gpt2": {"source": "path", "path": "gpt2", "revisions": ["step64"]}},
        "corpora": {"prompts": {"files": ["prompts.jsonl"], **(corpus or {})}},
        "regressions": {"notebook": notebook},
        "extraction": {"quantities": []},
    }
    for section, values in sections.items():
        raw[section] = {**raw.get(section, {}), **values}
    names = stages.Names("gpt2", "prompts", "attention", "notebook", "attention", "64")
    return stages.settings_of(stage, Config.model_validate(raw))(names)


def job_of(
    stage: str,
    input: Mapping[str, Any],
    output: Mapping[str, Any],
    settings: str | None = None,
    names: Mapping[str, str] | None = None,
    **options: Any,
) -> list[str]:
    """Return the arguments of a program for a job, called as its rule calls it."""
    return ["--job", text_of(stage, input, output, names or {}, settings, options)]


def command_of(stage: str, *job: Any, program: str = "", **more: Any) -> list[str]:
    """Return the command line of a job in a process of its own."""
    run = [python(), str(ROOT / "scripts/run.py"), program or stage]
    return [*run, *job_of(stage, *job, **more)]


def command_of_code(code: str, folder: Path) -> list[str]:
    """Return the command line of a program with some code, written to a folder, with a job."""
    runner = shutil.copy(ROOT / "scripts/run.py", folder)
    (folder / "coded.py").write_text(code)
    return [sys.executable, str(runner), "coded", *job_of("coded", {}, {})]


def refused(call: Callable[..., object], *arguments: Any, **options: Any) -> list[str]:
    """Return the problems for which a call refuses what it is given."""
    with pytest.raises(UserError) as caught:
        call(*arguments, **options)
    return caught.value.problems


def wait_for(condition: Callable[[], object], seconds: float, what: str) -> None:
    """Wait until a condition holds, for so many seconds at the most."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.05)


def assert_drawn(figure: Path) -> None:
    """Hold a PNG to show more than its paper: at least a hundredth of it is not white."""
    from matplotlib import image  # no other test needs it

    shades = image.imread(figure)[..., :3].mean(axis=2)
    assert (shades < 0.9).mean() > 0.01, figure


def small_corpus(documents: int = 8) -> str:
    """Return documents of 20 to 60 words in two genres, as JSON lines."""
    lines = []
    for i in range(documents):
        words = [WORDS[(i * 7 + j * (i + 3)) % len(WORDS)] for j in range(20 + 5 * i)]
        row = {"id": f"doc-{i}", "genre": "odd" if i % 2 else "even", "text": " ".join(words)}
        lines.append(json.dumps(row))
    return "\n".join(lines) + "\n"


def without_figures(*but: str) -> list[str]:
    """Return arguments that omit figures, which take half of the time of a run.

    They end in a list, so targets come before them. Outputs made from a figure are omitted too.
    """
    drawing = {figure.drawn_by for figure in catalogue.figures()}
    return ["--omit-from", *sorted(drawing - set(but))]


@dataclass
class Project:
    """A copy of the project with a configuration of its own."""

    folder: Path
    config: dict[str, Any]

    def write_config(self, **changes: Any) -> None:
        """Write the configuration, with sections replaced or, given dicts, extended."""
        for section, value in changes.items():
            old = self.config.get(section)
            both = isinstance(old, dict) and isinstance(value, dict)
            self.config[section] = {**old, **value} if both else value
        text = yaml.safe_dump(self.config, sort_keys=False)
        (self.folder / "config" / "config.yaml").write_text(text)

    def snakemake(
        self,
        *arguments: str,
        status: int = 0,
        environment: dict[str, str] | None = None,
        mount: str = "",
    ) -> str:
        """Run snakemake to the end, which is to have this status; return the printed text.

        ``mount`` is a shell command for mounts that only the run sees.
        """
        # The server has the rights that such a run gives up.
        command = [sys.executable if "setpriv" in mount else python(), "-m", "snakemake"]
        command += arguments
        if mount:
            alone = ["unshare", "--user", "--map-root-user", "--mount"]
            command = [*alone, "sh", "-c", f'{mount} && exec "$@"', "sh", *command]
        given = {"env": environment_of_a_user() | (environment or {}), "stdin": subprocess.DEVNULL}
        return ran(command, status, cwd=self.folder, timeout=600, **TOGETHER, **given).stdout

    def start(self, *arguments: str, interpreter: str = sys.executable) -> subprocess.Popen[bytes]:
        """Start snakemake in a process group of its own; what it prints goes to a file."""
        with self.printed.open("ab") as output:
            return subprocess.Popen(
                [interpreter, "-m", "snakemake", *arguments],
                cwd=self.folder,
                env=environment_of_a_user(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                # What a shell starts in the background inherits that SIGINT is ignored.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )

    @property
    def printed(self) -> Path:
        """The file with what runs have printed that were started."""
        return self.folder / "printed.txt"

    def run(self, *arguments: str, **options: Any) -> str:
        return self.snakemake("--cores", "2", *arguments, **options)

    def fails(self, *arguments: str, **options: Any) -> str:
        """Run what is to fail for its user's sake; return the printed text.

        It has no traceback, and not what Snakemake says of the command of a job.
        """
        printed = self.run(*arguments, status=1, **options)
        assert "Traceback" not in printed
        assert "CalledProcessError" not in printed
        return printed

    def would_run(self, *targets: str) -> dict[str, int]:
        from planning import plan, rules_of  # Snakemake's imports take time

        return rules_of(plan(self.folder, targets))

    def copy(self, folder: Path) -> "Project":
        """Return a copy with all files and their times."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return Project(folder, json.loads(json.dumps(self.config)))

    def results(self, pattern: str = "**/*") -> dict[str, bytes]:
        base = self.folder / "results"
        files = (path for path in sorted(base.glob(pattern)) if path.is_file())
        return {
            str(path.relative_to(base)): path.read_bytes()
            for path in files
            if path.name != SNAKEMAKES_OWN
        }


def save_model(folder: Path, kind: str, seed: int = 0, **settings: Any) -> None:
    """Write a model of random weights that writes text to a folder."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(seed)
    config = AutoConfig.for_model(kind, **settings)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)


# The size of the tokenizer of small models, and its last token, which is before and after texts.
ENDS = {"vocab_size": 8281, "bos_token_id": 8280, "eos_token_id": 8280}


def save_gpt2(folder: Path, positions: int = 64) -> None:
    """Write a random GPT-2 of 2 layers and width 32 to a folder."""
    save_model(folder, "gpt2", n_layer=2, n_embd=32, n_head=2, n_positions=positions, **ENDS)


def copy_of_project(folder: Path, config: dict[str, Any]) -> Project:
    """Return a copy of the project with this configuration, before any run."""
    for part in PARTS:
        source, target = ROOT / part, folder / part
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            # With what Python has compiled, which it would do again in each project. What others
            # may write is left out: compiled files in the making, and pip's description.
            others = shutil.ignore_patterns("*.pyc.*", "*.egg-info")
            shutil.copytree(source, target, ignore=others)
        else:
            shutil.copy2(source, target)
    project = Project(folder, config)
    project.write_config()
    return project


SMALL = {"files": ["data/small.jsonl"], "id": "id", "text": "text", "group": "genre"}


def new_project(folder: Path, model: Path) -> Project:
    """Return a copy of the project with a small model and corpus."""
    project = copy_of_project(
        folder,
        {
            "models": {"tiny": {"source": "path", "path": "mine"}},
            "corpora": {"small": SMALL},
            "regressions": {"notebook": {"lags": [1, 2]}},
            "figures": {"formats": ["png"]},
            # Tests of these slow parts ask for them.
            "causal": None,
            "sources": None,
            "extraction": {"quantities": []},
            "controls": {"permutation": None, "random_weights": None},
        },
    )
    shutil.copytree(model, folder / "mine")
    (folder / "data" / "small.jsonl").write_text(small_corpus())
    return project


# The default regressions, and less of what takes long.
REGRESSIONS = {
    name: regression.model_dump(exclude_unset=True)
    for name, regression in Config.model_fields["regressions"].default.items()
}
DEFAULTS = {
    "regressions": REGRESSIONS,
    "causal": {"documents": 6},
    "controls": {"permutation": {"draws": 19}},
}

SEVERAL = {
    "notebook": REGRESSIONS["notebook"],
    "within": {**REGRESSIONS["within"], "position_knots": [4, 10, 20]},
    "lead": {"leads": [1, 2]},
    "relative": {"outcome": "relative", "lags": [1, 2], "covariates": ["previous_layer"]},
    "rich": {
        "lags": [1, 2, 5],
        "covariates": ["position", "log_frequency", "group", "previous_layer"],
        "position_knots": [3, 6, 12, 24],
    },
}


def write_several(project: Project, shards: int) -> None:
    """Ask for regressions of every kind, from norms that depend on no other document."""
    project.write_config(
        corpora={"small": {**project.config["corpora"]["small"], "shards": shards}},
        tokens={"max_length": 40},
        extraction={"keep": "norms", "batch_tokens": 1},
        regressions=SEVERAL,
        # The model itself has the weights of seed 0.
        controls={"permutation": {"draws": 19}, "random_weights": {"documents": 6, "seed": 1}},
        inference={"covariance": "cluster-jackknife", "bootstrap": 200},
    )


def state_of(folder: Path) -> dict[str, list[int]]:
    """Return the size and the time of change of each file below a folder."""
    return {
        str(path.relative_to(folder)): [path.stat().st_size, path.stat().st_mtime_ns]
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
