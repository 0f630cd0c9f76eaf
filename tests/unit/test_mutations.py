"""Mutants are small mistakes in code that still parses: see benchmarks/mutants."""

import ast
from pathlib import Path

import pytest
from mutations import drawn, mutants_of
from projects import ROOT

SCRIPTS = sorted((ROOT / "scripts").rglob("*.py"))[::10]


def changed(line: str, kind: str) -> list[str]:
    """Return the line with each change of a kind."""
    mutants = [mutant for mutant in mutants_of("a.py", line) if mutant.kind == kind]
    return [mutant.applied_to(line) for mutant in mutants]


@pytest.mark.parametrize(
    ("line", "kind", "expected"),
    [
        ("a < b <= c", "comparison", ["a <= b <= c", "a < b < c"]),
        ("a not in b", "comparison", ["a in b"]),
        ("a + b * c", "arithmetic", ["a - b * c", "a + b / c"]),
        ("-a", "arithmetic", ["(a)"]),
        ("a and b or c", "boolean", ["a or b or c", "a and b and c"]),
        ("not a", "not", ["(a)"]),
        ("f(2, 0.5)", "number", ["f(3, 0.5)", "f(2, 1.0)"]),
        ("f(True)", "boolean", ["f(False)"]),
        ("row['lag_1']", "string", ["row['lag_1_']"]),
        ("a if b else c", "condition", ["a if (not (b)) else c"]),
        ("[a for a in b if a.c]", "condition", ["[a for a in b if (not (a.c))]"]),
        ("f(a, b)", "swapped arguments", ["f(b, a)"]),
        ("max(a, b)", "swapped arguments", []),
        ("a += b", "dropped statement", ["pass"]),
        ("a[0] = b", "dropped statement", ["pass"]),
        ("a.sort()", "dropped statement", ["pass"]),
        ("raise KeyError('a')", "dropped statement", ["pass"]),
        # A byte is not a character.
        ("f('é', 2)", "number", ["f('é', 3)"]),
    ],
)
def test_each_kind_of_mistake_changes_one_place(line: str, kind: str, expected: list[str]) -> None:
    assert changed(line, kind) == expected


@pytest.mark.parametrize(
    "line",
    [
        '"""A docstring."""',
        "# a < b and 2",
        "def f(a: Literal['key']) -> Literal[2]: ...",
        "raise UserError",
        "f'a {b + 2}'",
        "print('a sentence')",
    ],
)
def test_words_for_people_stay(line: str) -> None:
    kinds = {mutant.kind for mutant in mutants_of("a.py", line)}
    assert kinds <= {"dropped statement"}


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_mutants_of_the_library_parse_and_differ(path: Path) -> None:
    text = path.read_text("utf-8")
    original = ast.dump(ast.parse(text))
    for mutant in mutants_of(path.name, text)[::25]:
        assert ast.dump(ast.parse(mutant.applied_to(text))) != original, mutant


RULE = """rule norms:
    input:
        tokens="a/{shard}.parquet",
    output:
        norms=temp("b/{shard}.parquet"),
        sums="c/sums/all.parquet",
    log:
        "logs/norms/all.log",
    resources:
        mem_mb=lambda wildcards, input: 500 + 2 * input.size_mb if big else 9,
        **needs(2000, 60),
"""


def test_rules_lose_inputs_marks_and_conditions_and_get_other_files_and_resources() -> None:
    texts = {mutant.applied_to(RULE) for mutant in mutants_of("norms.smk", RULE)}
    assert RULE.replace('        tokens="a/{shard}.parquet",\n', "") in texts
    assert RULE.replace("temp(", "(") in texts
    assert RULE.replace("if big", "if not big") in texts
    assert RULE.replace("500", "501") in texts
    assert RULE.replace("c/sums/all", "c/sums_/all") in texts
    assert RULE.replace("sums/all", "sums/all_") in texts
    assert RULE.replace("2000, 60", "60, 2000") in texts
    assert all('"logs/norms/all.log"' in text for text in texts)
    assert RULE not in texts


def test_yaml_loses_entries_and_scripts_of_the_page_change() -> None:
    yaml = "# 1 comment\nattempt: 3\nset:\n  gpu: true\n"
    texts = {mutant.applied_to(yaml) for mutant in mutants_of("profile.yaml", yaml)}
    lines = {yaml.replace("attempt: 3\n", ""), yaml.replace("  gpu: true\n", "")}
    assert texts == lines | {yaml.replace("3", "4"), yaml.replace("true", "false")}
    script = "if (found && row.n === 2) {\n  show(row);\n}\n"
    texts = {mutant.applied_to(script) for mutant in mutants_of("page.js", script)}
    assert script.replace("&&", "||") in texts
    assert script.replace("===", "!==") in texts
    assert script.replace("  show(row);\n", "") in texts


def test_a_draw_is_seeded_and_takes_the_kinds_in_turn() -> None:
    mutants = mutants_of("a.py", "f(1)\n" * 50 + "a < b\nnot a\n")
    chosen = drawn(mutants, 6, "seed")
    assert chosen == drawn(mutants, 6, "seed")
    assert chosen != drawn(mutants, 6, "another")
    assert len(set(chosen)) == 6
    assert {mutant.kind for mutant in chosen} == {mutant.kind for mutant in mutants}
