"""The notebooks of the documentation run, with and without solutions, on a tiny model."""

import json
import shutil

import matplotlib.pyplot as plt
import pytest
from projects import ROOT, save_gpt2


@pytest.fixture
def printed_by(gpt2_tokenizer, tmp_path, monkeypatch, capsys):
    """Run the cells of a notebook where the package of the model has been unpacked already."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "data").mkdir()
    shutil.copytree(gpt2_tokenizer, tmp_path / "docs/smollm2")
    save_gpt2(tmp_path / "docs/smollm2", positions=128)
    # The beginnings of the texts, so that each is one window of the tiny model.
    lines = (ROOT / "data/prompts.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    short = [json.dumps(row | {"text": row["text"][:200]}) for row in rows]
    (tmp_path / "data/prompts.jsonl").write_text("\n".join(short), encoding="utf-8")
    monkeypatch.chdir(tmp_path / "docs")
    monkeypatch.setattr(plt, "show", lambda: None)

    def run(name):
        names = {}
        for cell in json.loads((ROOT / "docs" / name).read_text(encoding="utf-8"))["cells"]:
            if cell["cell_type"] == "code":
                exec(compile("".join(cell["source"]), cell["id"], "exec"), names)
        plt.close("all")
        return capsys.readouterr().out

    return run


def test_the_solutions_give_the_numbers_of_the_library(printed_by):
    printed = printed_by("notebook.ipynb")
    assert "open" not in printed
    numbers = [line.partition(":")[2].split() for line in printed.splitlines() if "[" in line]
    assert numbers[0] == numbers[1]
    assert numbers[2] == numbers[3]
    ours, theirs = printed.rpartition("yours: ")[2].split(", attnlag: ")
    assert float(ours) == pytest.approx(float(theirs), abs=0.03)


def test_the_exercises_run_with_their_gaps(printed_by):
    assert printed_by("exercises.ipynb").splitlines() == [
        "exercise 1 is open",
        "exercise 1 is open",
        "exercise 3 is open, or exercise 1",
    ]
