"""A run must neither use the network nor run a name as a command."""

import shutil
import sys

import pyarrow.parquet as pq
from projects import TOGETHER, environment_of_a_user, ran, without_figures
from warm_python import python

# Every process of Python notes what it asks of the network, also where that fails in silence.
OBSERVER = """
import sys
def note(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname"):
        with open({notes!r}, "a") as file:
            print(event, arguments[1:], sys.argv, file=file)
sys.addaudithook(note)
"""

HOSTILE_NAMES = [
    "$(touch ran); touch ran; a.txt",
    "`touch ran`.txt",
    'it\'s "quoted" & more | than that.txt',
    "-x.txt",
    "--output.txt",
    "[a]*?.txt",
    " $HOME ~ %s #.txt",
    "\\n {.txt",
    "größer als 世界.txt",
]


def test_a_run_without_a_network_interface_succeeds(
    finished, finished_once, tmp_path, namespaces, subtests
):
    """All jobs after fetch_model run without interfaces and without settings that say so.

    Those that load a model do so in new interpreters, whose imports are observed too. Equal inputs
    give equal bytes.
    """
    shutil.rmtree(finished.folder / "results")
    observer = OBSERVER.format(notes=str(tmp_path / "notes"))
    (tmp_path / "sitecustomize.py").write_text(observer)
    with (finished.folder / "scripts/attnlag/__init__.py").open("a") as file:
        file.write(observer)
    clean = environment_of_a_user()
    observed = {**clean, "PYTHONPATH": str(tmp_path)}
    for interpreter, environment, targets in (
        (sys.executable, observed, ["results/tiny/small/attention/norms/0000.parquet"]),
        # On one core too; the rounding of a model depends on its threads.
        (python(), clean, ["--cores", "1", *without_figures("plot_adjustments")]),
    ):
        with subtests.test(interpreter=interpreter):
            alone = ["unshare", "--user", "--map-root-user", "--net"]
            command = [*alone, interpreter, "-m", "snakemake", "--cores", "2", *targets]
            result = ran(command, cwd=finished.folder, env=environment, timeout=300, **TOGETHER)
            assert "GPT2LMHeadModel" not in result.stdout
    assert not (tmp_path / "notes").exists(), (tmp_path / "notes").read_text()
    made, once = finished.results(), finished_once[0].results()
    # The record of this run lists fewer files.
    del made["provenance.json"]
    assert {path for path in once if path not in made and not path.endswith(".png")} == {
        *("layers_fitted.txt", "provenance.json")
    }
    assert made == {path: once[path] for path in made}
    # The observers see what there is to see.
    code = "import socket; socket.create_connection(('127.0.0.1', 9))"
    for program, environment in ((code, observed), (f"import attnlag; {code}", clean)):
        with subtests.test(program=program):
            command = [sys.executable, "-c", program]
            ran(command, status=1, cwd=finished.folder / "scripts", env=environment)
            assert "socket.connect" in (tmp_path / "notes").read_text()
            (tmp_path / "notes").unlink()


def test_hostile_file_names_are_not_run_as_commands(fresh):
    """The names are those of a corpus's files, which become documents, and of a model's folder."""
    for number, name in enumerate(HOSTILE_NAMES):
        (fresh.folder / name).write_text(f"words of document {number}\n", encoding="utf-8")
    model = "it's $(touch ran) a;model"
    (fresh.folder / "mine").rename(fresh.folder / model)
    (fresh.folder / model / "notes {x}\n.md").write_text("beside the model")
    fresh.write_config(models={"tiny": {"source": "path", "path": model}})
    fresh.config["corpora"] = {"small": {"files": HOSTILE_NAMES}}
    fresh.write_config()
    fresh.run("results/corpora/small.parquet", "data/models/tiny/source.json")
    corpus = pq.read_table(fresh.folder / "results/corpora/small.parquet")
    assert corpus["document"].to_pylist() == [name.removesuffix(".txt") for name in HOSTILE_NAMES]
    assert corpus["text"][3].as_py() == "words of document 3"
    assert not list(fresh.folder.rglob("ran"))
