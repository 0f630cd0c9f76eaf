"""Mutants: small mistakes in the text of a file, each a change at one place.

Python files are parsed. Rules, YAML, and the page's scripts, styles and template have no parser
here: a table of patterns says what is changed in them. Comments, docstrings, annotations and
messages stay as they are.
"""

import ast
import random
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """A file with one change.

    Attributes
    ----------
    file : str
        The path of the file.
    line : int
        The line at which the change begins, from 1.
    kind : str
        What is changed, such as ``"comparison"``.
    start, end : int
        The bytes that are replaced.
    before, after : str
        What stands there, and what replaces it.
    """

    file: str
    line: int
    kind: str
    start: int
    end: int
    before: str
    after: str

    def applied_to(self, text: str) -> str:
        """Return the text of the file with the change."""
        source = text.encode()
        return (source[: self.start] + self.after.encode() + source[self.end :]).decode()


# A kind, the first and the last byte, and what replaces them.
Change = tuple[str, int, int, str]

COMPARISONS = {
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.Is: ("is", "is not"),
    ast.IsNot: ("is not", "is"),
    ast.In: ("in", "not in"),
    ast.NotIn: ("not in", "in"),
}
ARITHMETIC = {
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "/"),
    ast.Div: ("/", "*"),
    ast.FloorDiv: ("//", "*"),
    ast.Mod: ("%", "//"),
    ast.Pow: ("**", "*"),
    ast.MatMult: ("@", "*"),
    ast.BitOr: ("|", "&"),
    ast.BitAnd: ("&", "|"),
}
BOOLEAN = {ast.And: ("and", "or"), ast.Or: ("or", "and")}
# Functions whose arguments may be swapped.
SYMMETRIC = ("min", "max")
# Words that can be a key or a column; sentences are messages.
KEY = re.compile(r"[A-Za-z_][\w.-]*")


class PythonSource:
    """The bytes of a module, and where its nodes lie."""

    def __init__(self, text: str) -> None:
        self.bytes = text.encode()
        lengths = [len(line) for line in self.bytes.splitlines(keepends=True)]
        self.line_starts = [0]
        for length in lengths:
            self.line_starts.append(self.line_starts[-1] + length)

    def start(self, node: ast.AST) -> int:
        return self.line_starts[node.lineno - 1] + node.col_offset

    def end(self, node: ast.AST) -> int:
        return self.line_starts[node.end_lineno - 1] + node.end_col_offset

    def text(self, node: ast.AST) -> str:
        return self.bytes[self.start(node) : self.end(node)].decode()

    def between(self, kind: str, left: ast.AST, right: ast.AST, symbols: tuple[str, str]) -> Change:
        """Return the change of an operator between two operands."""
        before, after = symbols
        place = self.bytes.index(before.encode(), self.end(left), self.start(right))
        return kind, place, place + len(before.encode()), after

    def replaced(self, kind: str, node: ast.AST, after: str) -> Change:
        return kind, self.start(node), self.end(node), after


def changes_of_comparison(source: PythonSource, node: ast.Compare) -> Iterator[Change]:
    operands = [node.left, *node.comparators]
    for left, operator, right in zip(operands, node.ops, operands[1:], strict=False):
        yield source.between("comparison", left, right, COMPARISONS[type(operator)])


def is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.JoinedStr) or (
        isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


def changes_of_arithmetic(source: PythonSource, node: ast.BinOp) -> Iterator[Change]:
    symbols = ARITHMETIC.get(type(node.op))
    # Text that is subtracted fails on every path: no test is needed for it.
    if symbols and not is_text(node.left) and not is_text(node.right):
        yield source.between("arithmetic", node.left, node.right, symbols)


def changes_of_augmented(source: PythonSource, node: ast.AugAssign) -> Iterator[Change]:
    yield source.replaced("dropped statement", node, "pass")
    symbols = ARITHMETIC.get(type(node.op))
    if symbols and not is_text(node.value):
        yield source.between("arithmetic", node.target, node.value, symbols)


def changes_of_boolean(source: PythonSource, node: ast.BoolOp) -> Iterator[Change]:
    for left, right in zip(node.values, node.values[1:], strict=False):
        yield source.between("boolean", left, right, BOOLEAN[type(node.op)])


def changes_of_unary(source: PythonSource, node: ast.UnaryOp) -> Iterator[Change]:
    if isinstance(node.op, ast.Not):
        yield source.replaced("not", node, f"({source.text(node.operand)})")
    if isinstance(node.op, ast.USub) and not isinstance(node.operand, ast.Constant):
        yield source.replaced("arithmetic", node, f"({source.text(node.operand)})")


def changes_of_constant(source: PythonSource, node: ast.Constant) -> Iterator[Change]:
    value = node.value
    if isinstance(value, bool):
        yield source.replaced("boolean", node, str(not value))
    elif isinstance(value, int):
        yield source.replaced("number", node, str(value + 1))
    elif isinstance(value, float):
        yield source.replaced("number", node, repr(2 * value or 1.0))
    elif isinstance(value, str) and KEY.fullmatch(value):
        literal = source.text(node)
        # One literal: neither joined to a neighbour, nor with escapes.
        if literal[1:-1] == value:
            yield source.replaced("string", node, f"{literal[:-1]}_{literal[-1]}")


def changes_of_condition(
    source: PythonSource, node: ast.If | ast.IfExp | ast.While
) -> Iterator[Change]:
    yield source.replaced("condition", node.test, f"(not ({source.text(node.test)}))")


def changes_of_filter(source: PythonSource, node: ast.comprehension) -> Iterator[Change]:
    for condition in node.ifs:
        yield source.replaced("condition", condition, f"(not ({source.text(condition)}))")


def changes_of_call(source: PythonSource, node: ast.Call) -> Iterator[Change]:
    if isinstance(node.func, ast.Name) and node.func.id in SYMMETRIC:
        return
    if len(node.args) < 2 or any(isinstance(argument, ast.Starred) for argument in node.args[:2]):
        return
    one, other = node.args[:2]
    if source.text(one) != source.text(other):
        between = source.bytes[source.end(one) : source.start(other)].decode()
        swapped = source.text(other) + between + source.text(one)
        yield "swapped arguments", source.start(one), source.end(other), swapped


def changes_of_statement(source: PythonSource, node: ast.stmt) -> Iterator[Change]:
    yield source.replaced("dropped statement", node, "pass")


def changes_of_expression(source: PythonSource, node: ast.Expr) -> Iterator[Change]:
    if isinstance(node.value, ast.Call):
        yield source.replaced("dropped statement", node, "pass")


def changes_of_assignment(source: PythonSource, node: ast.Assign) -> Iterator[Change]:
    # A name that is never assigned fails on every path.
    if isinstance(node.targets[0], ast.Subscript | ast.Attribute):
        yield source.replaced("dropped statement", node, "pass")


CHANGES: dict[type[ast.AST], Callable[..., Iterator[Change]]] = {
    ast.Compare: changes_of_comparison,
    ast.BinOp: changes_of_arithmetic,
    ast.AugAssign: changes_of_augmented,
    ast.BoolOp: changes_of_boolean,
    ast.UnaryOp: changes_of_unary,
    ast.Constant: changes_of_constant,
    ast.If: changes_of_condition,
    ast.IfExp: changes_of_condition,
    ast.While: changes_of_condition,
    ast.comprehension: changes_of_filter,
    ast.Call: changes_of_call,
    ast.Raise: changes_of_statement,
    ast.Continue: changes_of_statement,
    ast.Break: changes_of_statement,
    ast.Expr: changes_of_expression,
    ast.Assign: changes_of_assignment,
}


def walk(node: ast.AST) -> Iterator[ast.AST]:
    """Yield a node and those below it, without annotations, messages and parts of f-strings."""
    yield node
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns", "exc", "msg") or isinstance(value, ast.JoinedStr):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not isinstance(child, ast.JoinedStr):
                yield from walk(child)


def python_changes(text: str) -> Iterator[Change]:
    source = PythonSource(text)
    for node in walk(ast.parse(text)):
        if type(node) in CHANGES:
            yield from CHANGES[type(node)](source, node)


# What is changed in files without a parser: a kind, a pattern, and what replaces its match.
TextRule = tuple[str, str, str | Callable[[re.Match[str]], str]]


def next_number(match: re.Match[str]) -> str:
    return str(int(match[0]) + 1)


NUMBER: TextRule = ("number", r"(?<![\w.#-])\d+(?![\w.])", next_number)
WORDS_OF_PYTHON: list[TextRule] = [
    ("boolean", r"\bTrue\b", "False"),
    ("boolean", r"\bFalse\b", "True"),
    ("boolean", r"\band\b", "or"),
    ("boolean", r"\bor\b", "and"),
    ("not", r"\bnot (?!in\b)", ""),
]
RULES: dict[str, list[TextRule]] = {
    "smk": [
        NUMBER,
        *WORDS_OF_PYTHON,
        ("comparison", r" == ", " != "),
        ("comparison", r" != ", " == "),
        ("condition", r"\bif (?!not )", "if not "),
        ("arithmetic", r" \+ ", " - "),
        ("arithmetic", r" \* ", " / "),
        ("dropped entry", r"^ {8}\w+=.+,\n", ""),
        ("dropped mark", r"\b(temp|ensure|protected|ancient|update)\(", "("),
        ("file name", r"(?<=/)[a-z_]+(?=/|\.(?:parquet|json|csv|txt)\b)", r"\g<0>_"),
        ("swapped resource", r"\bneeds\((\d+), (\d+)", r"needs(\2, \1"),
        ("string", r'(?<=")[a-z_]+(?=")', r"\g<0>_"),
    ],
    "yaml": [
        NUMBER,
        ("boolean", r"\btrue\b", "false"),
        ("boolean", r"\bfalse\b", "true"),
        ("dropped entry", r"^ *[\w-]+: \S.*\n", ""),
    ],
    "js": [
        NUMBER,
        ("boolean", r"\btrue\b", "false"),
        ("boolean", r"\bfalse\b", "true"),
        ("boolean", r" && ", " || "),
        ("boolean", r" \|\| ", " && "),
        ("comparison", r" === ", " !== "),
        ("comparison", r" !== ", " === "),
        ("comparison", r" < ", " <= "),
        ("comparison", r" > ", " >= "),
        ("arithmetic", r" - ", " + "),
        ("arithmetic", r" \* ", " / "),
        ("arithmetic", r" / ", " * "),
        ("condition", r"\bif \((?=[\w.]+\))", "if (!"),
        ("dropped statement", r"^ +[\w.]+\(.*\);\n", ""),
        ("string", r'(?<=")[a-z_]+(?=")', r"\g<0>_"),
    ],
    "css": [NUMBER, ("dropped entry", r"^ +[\w-]+: .*;\n", "")],
    "html": [("string", r'(?<=id=")[\w-]+', r"\g<0>_")],
}


def text_changes(text: str, rules: list[TextRule]) -> Iterator[Change]:
    silent: set[int] = set()
    for match in re.finditer(r"/\*.*?\*/|\"\"\".*?\"\"\"|<!--.*?-->", text, re.S):
        silent.update(range(*match.span()))
    # A log may have any name.
    silences = r"^\s*(#|//).*$|  (#|//) .*$|description: .*$|^ +\"logs/.*$"
    for match in re.finditer(silences, text, re.M):
        silent.update(range(*match.span()))
    for kind, pattern, replacement in rules:
        for match in re.finditer(pattern, text, re.M):
            if match.start() in silent:
                continue
            after = replacement(match) if callable(replacement) else match.expand(replacement)
            start = len(text[: match.start()].encode())
            yield kind, start, start + len(match[0].encode()), after


def mutants_of(file: str, text: str) -> list[Mutant]:
    """Return all mutants of a file, in the order of their places.

    Parameters
    ----------
    file : str
        The path of the file, whose end says how it is read.
    text : str
        The text of the file.
    """
    suffix = "smk" if file.endswith("Snakefile") else file.rpartition(".")[2]
    changes = python_changes(text) if suffix == "py" else text_changes(text, RULES[suffix])
    source = text.encode()
    mutants = []
    for kind, start, end, after in changes:
        before = source[start:end].decode()
        line = source[:start].count(b"\n") + 1
        mutants.append(Mutant(file, line, kind, start, end, before, after))
    return sorted(mutants, key=lambda mutant: (mutant.start, mutant.end, mutant.after))


def drawn(mutants: Sequence[Mutant], count: int, seed: str) -> list[Mutant]:
    """Draw mutants without replacement, the kinds in turn."""
    generator = random.Random(seed)
    by_kind = defaultdict(list)
    for mutant in mutants:
        by_kind[mutant.kind].append(mutant)
    for each in by_kind.values():
        generator.shuffle(each)
    chosen: list[Mutant] = []
    while len(chosen) < min(count, len(mutants)):
        kinds = sorted(kind for kind, left in by_kind.items() if left)
        generator.shuffle(kinds)
        chosen += [by_kind[kind].pop() for kind in kinds]
    return chosen[:count]
