"""The contents of users' files cannot send commands to a terminal or add lines to messages."""

import json

from projects import command_of, ran, settings_text

from attnlag.escaping import text_for

# Clears the screen, begins a line of its own and rings; turns the text around; half a character.
HOSTILE = "\x1b[2J\x9b31m\r\nerror: all is well\x07 \u202eevil\u2028\u200e\u200f\u061c\uffff \udc80"


def test_control_characters_are_escaped_and_other_text_is_kept():
    # The same, escaped.
    assert text_for("line", HOSTILE) == (
        r"\x1b[2J\x9b31m\r\nerror: all is well\x07 \u202eevil\u2028\u200e\u200f\u061c\uffff \udc80"
    )
    for text in ("Grüße, 世界 👩‍🔬", "a\\nb", ""):
        assert text_for("line", text) == text


def test_each_problem_of_a_corpus_is_one_line_whatever_the_text_holds(tmp_path):
    """The message quotes a repeated id, a key and the name of the file."""
    row = json.dumps({"id": HOSTILE[:-1], "text": "words"}, ensure_ascii=False)
    file = tmp_path / "a\x1b[2J\n.jsonl"
    file.write_text(f"{row}\n{row}\n" + '{"k\x9b": 1}\n', encoding="utf-8")
    settings = settings_text("prepare_corpus", corpus={"id": "id"})
    files, made, names = {"files": [file.name]}, {"corpus": "out.parquet"}, {"corpus": "hostile"}
    command = command_of("prepare_corpus", files, made, settings, names, clusters_needed=0)
    result = ran([*command, "--log", "log.txt"], status=1, cwd=tmp_path)
    logged, _, again = (tmp_path / "log.txt").read_text("utf-8").rpartition("to run it again: ")
    assert text_for("line", again.strip()) == again.strip()
    for printed in (result.stderr, logged):
        lines = printed.split("\n")
        assert len(lines) == 4
        assert lines.pop() == ""
        for number, line in enumerate(lines):
            assert line.startswith(rf"error: a\x1b[2J\n.jsonl:{min(number, 1) + 2}: ")
            assert text_for("line", line) == line
