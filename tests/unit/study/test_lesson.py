"""Both notebooks of the lesson run with a small model: all gaps open, and all filled."""

import json

import matplotlib.pyplot as plt
import pytest
import torch
import write_lesson
from projects import ROOT
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

CHECKS = ["vectors", "norms", "log_norms", "y", "x", "b", "pooled", "within", "shuffled"]
# What they do is download.
LEFT_OUT = ("install", "model")


def small_model(seed):
    torch.manual_seed(seed)
    settings = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 13}
    settings |= {"num_attention_heads": 2, "num_key_value_heads": 2, "initializer_range": 0.3}
    return LlamaForCausalLM(LlamaConfig(vocab_size=50257, **settings)).eval()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Enter a folder with the beginnings of two texts of each genre, and return it."""
    rows = [json.loads(line) for line in (ROOT / "data/prompts.jsonl").open(encoding="utf-8")]
    kept = [row | {"text": row["text"][:200]} for row in rows if row["id"].endswith(("1", "2"))]
    lines = "\n".join(map(json.dumps, kept))
    (tmp_path / "prompts.jsonl").write_text(lines, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(plt, "show", lambda: plt.close("all"))
    return tmp_path


@pytest.fixture
def printed_by(folder, gpt2_tokenizer, capsys):
    """Run the cells of a notebook as Jupyter does, and return what they print."""

    def run(name):
        names = {"model": small_model(0), "repository": "", "attnlag": None}
        names["tokenizer"] = AutoTokenizer.from_pretrained(gpt2_tokenizer)
        for cell in json.loads((ROOT / "docs" / name).read_text(encoding="utf-8"))["cells"]:
            if cell["cell_type"] == "markdown" or cell["id"] in LEFT_OUT:
                continue
            try:
                exec(compile("".join(cell["source"]), cell["id"], "exec"), names)
            except SyntaxError:
                assert cell["metadata"]["tags"] == ["raises-exception"]
        return capsys.readouterr().out.splitlines()

    return run


def checks(lines, mark):
    return [line.removeprefix(mark).split(":")[0].strip() for line in lines if line[0] == mark]


def test_the_solution_passes_every_check_and_follows_the_training(
    printed_by, folder, gpt2_tokenizer
):
    tokenizer = AutoTokenizer.from_pretrained(gpt2_tokenizer)
    for step in (0, 8):
        place = folder / f"checkpoints/step{step}"
        small_model(step).save_pretrained(place)
        tokenizer.save_pretrained(place)
    lines = printed_by("lesson_solution.ipynb")
    assert checks(lines, "✓") == CHECKS
    assert checks(lines, "✗") == []
    assert [line.split()[0] for line in lines[-2:]] == ["step0", "final"]


def test_the_lesson_with_its_gaps_gives_a_hint_for_each_and_goes_on(printed_by):
    lines = printed_by("lesson.ipynb")
    assert checks(lines, "✓") == []
    assert checks(lines, "✗") == CHECKS
    assert all(len(line.partition(": ")[2]) > 20 for line in lines if line[0] == "✗")
    assert lines[-1] == "no checkpoints here"


def test_a_wrong_answer_is_no_right_one(folder, subtests):
    """Nor is what a check has handed out, if the check runs again."""
    source = (ROOT / "docs/lesson.py").read_text(encoding="utf-8")
    body = source.split("handed_out = {}")[1].split("# %%")[0]
    names = {}
    exec("import numpy as np\nhanded_out = {}" + body, names)
    for found in ([1.0, 2.1], [1.0], "text", None):
        with subtests.test(found=str(found)):
            names["a"] = found
            names["a"] = names["check"]("a", [1.0, 2.0], "")
            assert names["handed_out"].pop("a") == [1.0, 2.0]


def test_gaps_stand_where_the_source_says():
    line = "norms = np.sqrt(np.sum(vectors**2, axis=1))  # gaps: sqrt sum 1"
    assert write_lesson.line_of(line, solved=False) == "norms = np.▢(np.▢(vectors**2, axis=▢))"
    assert write_lesson.line_of(line, solved=True) == line.partition("  #")[0]
    with pytest.raises(ValueError, match="found no 'mean' in 'a = b'"):
        write_lesson.line_of("a = b  # gaps: mean", solved=False)
