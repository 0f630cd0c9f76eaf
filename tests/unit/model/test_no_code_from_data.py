"""No part of a configuration, a file name or a model is run as code, by a check of the sources."""

import ast
import re
import string

import pytest
from projects import ROOT

SOURCES = sorted((ROOT / "scripts").rglob("*.py"))
RULES = sorted((ROOT / "workflow").rglob("*.smk"))

# What Snakemake makes numbers of.
NUMBERS = {"threads", "resources.mem_mb", "resources.layers", "resources.width"}
RUNS_TEXT = {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "runpy.run_path"}
RUNS_PICKLES = {"torch.load", "pandas.read_pickle", "pd.read_pickle"}
RUNS_TAGS = {"yaml.load", "yaml.unsafe_load", "yaml.full_load"}
# What is to be false where it is stated.
TRUSTING = {"shell": "a shell", "allow_pickle": "pickles", "trust_remote_code": "trust"}
PICKLERS = {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}


def commands(rules):
    """Yield the text of each shell block; COMMAND is what most rules share."""
    program = (ROOT / "workflow/rules/program.smk").read_text(encoding="utf-8")
    shared = re.search(r"^COMMAND = (\(\n.*?^\))", program, re.M | re.S)[1]
    for block in re.finditer(r"^( *)shell:\n((?:\1 +.*\n|\n)+)", rules, re.M):
        yield ast.literal_eval(shared if block[2].strip() == "COMMAND" else f"({block[2]})")


@pytest.mark.parametrize("path", RULES, ids=lambda path: path.stem)
def test_every_field_of_a_command_is_quoted(path):
    text = path.read_text(encoding="utf-8")
    found = list(commands(text))
    assert len(found) == text.count("shell:")
    assert not re.search(r"^ *(run|script|notebook|wrapper):", text, re.M)
    for command in found:
        for _, field, quoted, _ in string.Formatter().parse(command):
            assert field is None or quoted == "q" or field in NUMBERS, f"{field} in: {command}"
        # A name that begins with a dash is no option: the user's files come after --.
        if "{input:q}" in command and "prepare_corpus" in command:
            assert command.endswith(" -- {input:q}")
        # Nor does the shell split, or match with files, what is in a variable.
        assert not re.search(r'(?<!")\$\w', command)


def dangers(source):
    """Yield what in a source runs text or pickles, or would run the code of a model."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [getattr(node, "module", None) or "", *(alias.name for alias in node.names)]
            yield from (f"imports {name}" for name in names if name.split(".")[0] in PICKLERS)
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        stated = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        runs = RUNS_TEXT | RUNS_PICKLES | RUNS_TAGS
        if called in runs or called.startswith(("os.exec", "os.spawn")):
            yield called
        for option, words in TRUSTING.items():
            if stated.get(option, "False") != "False":
                yield f"{called} with {words}"
        # The default of transformers asks at the terminal. A mapping that is drawn in may state it.
        automatic = called.startswith(("Auto", "transformers.Auto"))
        if automatic and not {"trust_remote_code", None} & stated.keys():
            yield f"{called} without trust_remote_code=False"


def test_no_program_runs_what_it_reads():
    found = {path: list(dangers(path.read_text(encoding="utf-8"))) for path in SOURCES}
    assert {path: dangerous for path, dangerous in found.items() if dangerous} == {}
    assert len(found) > 100


@pytest.mark.parametrize(
    "source",
    [
        *("os.system(command)", "eval(text)", "torch.load(path)", "yaml.load(text)"),
        *("subprocess.run(command, shell=True)", "subprocess.run(command, shell=shell)"),
        *("import pickle", "from pickle import loads", "np.load(path, allow_pickle=True)"),
        "AutoModel.from_pretrained(folder)",
        "AutoModel.from_pretrained(folder, trust_remote_code=True)",
        "transformers.AutoConfig.from_pretrained(folder)",
    ],
)
def test_the_check_finds_each_dangerous_call(source):
    assert list(dangers(source))
