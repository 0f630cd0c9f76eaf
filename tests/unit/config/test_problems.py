"""Every mistake in a configuration is one exact line, and all are reported at once."""

import json
import os
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from snakemake.common.configfile import load_configfile

from attnlag.config.problems import check, reading_problems
from attnlag.config.reading import null_named, read_yaml
from attnlag.config.schema import Config
from attnlag.regression.settings import SampleSettings

ROOT = Path(__file__).parents[3]
FILE = "config.yaml"

# Five lines without a mistake; what a test adds starts in line 6.
LEAST = """\
models:
  tiny: {source: hub, repository: a/b, revision: c0}
corpora:
  words:
    files: [words.txt]
"""
WORDS = "corpora: {words: {files: [words.txt]}}\n"
TINY = "models: {tiny: {source: hub, repository: a/b, revision: c0}}\n"
SHA256 = "0" * 64


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with one text and one model."""
    monkeypatch.chdir(tmp_path)
    Path("words.txt").write_text("some words")
    Path("texts/inner").mkdir(parents=True)
    for name in ("b.txt", "a.txt", "a.md", ".hidden.txt", "inner/c.txt"):
        Path("texts", name).write_text(name)
    Path("links").mkdir()
    for name in ("a", "b"):
        Path("links", name).symlink_to("nowhere")
    os.mkfifo("pipe")
    Path("mine").mkdir()
    Path("mine/config.json").write_text('{"num_hidden_layers": 4, "n_embd": 8}')
    return tmp_path


def problems_of(text: str, **changes: Any) -> list[str]:
    """Return the problems of a file with ``text``, its sections replaced on the command line."""
    Path(FILE).write_text(text)
    raw = {**(yaml.safe_load(text) or {}), **changes}
    return check(raw, [FILE])[1]


def checked(**sections: Any) -> Config:
    config, problems = check({**yaml.safe_load(LEAST), **sections})
    assert problems == []
    assert config is not None
    return config


# --- one mistake, one line -----------------------------------------------------------------

SECTIONS = (
    "models, corpora, tokens, extraction, norms, regressions, controls, inference, causal, "
    "vectors, sources, comparison, "
    "figures"
)
MAPPING = "expected a mapping, as in {key: value}"
NAMES = "expected a mapping, as in {name: {key: value}}"
QUOTES = "expected text (quotes make a number text)"
FOLDER_NAME = (
    "becomes a folder: expected letters, digits, '.', '_' and '-', beginning with a letter or a "
    "digit and not ending with a dot"
)
FOLDER = "expected a Hugging Face folder or a .gguf file"

ADDED = {
    # text from line 6 on: its one problem
    "tokenz: {}": f"6: tokenz: unknown key, expected one of {SECTIONS}; did you mean 'tokens'?",
    "1: {}": f"6: [1]: unknown key, expected one of {SECTIONS}",
    "tokens: [1]": f"6: tokens: found [1], {MAPPING}",
    "tokens:\n  max_lenght: 5": (
        "7: tokens.max_lenght: unknown key, expected one of max_length, long_documents, "
        "prepend_bos, special_in_text; did you mean 'max_length'?"
    ),
    "tokens:\n  max_length: 1": "7: tokens.max_length: found 1, expected at least 2",
    "tokens:\n  max_length: long": '7: tokens.max_length: found "long", expected a whole number',
    "extraction: {sites: []}": "6: extraction.sites: found [], expected at least one entry",
    "extraction:\n  sites:\n    - attention\n    - atention": (
        '9: extraction.sites[1]: found "atention", expected attention, mlp or block; '
        "did you mean 'attention'?"
    ),
    "extraction: {device: gpu}": (
        '6: extraction.device: found "gpu", expected auto, cpu, cuda or cuda:NUMBER'
    ),
    "regressions: {}": "6: regressions: found {}, expected at least one entry",
    "regressions: [1, 2]": f"6: regressions: found [1, 2], {NAMES}",
    "regressions: {a: {}}": (
        "6: regressions.a: found neither lags nor leads, expected lags, as in {lags: [1, 2]}"
    ),
    "regressions: {a: {lags: 1}}": (
        "6: regressions.a.lags: found 1, expected a list, as in [a, b]"
    ),
    "regressions: {a: {lags: [2, 1, 2]}}": (
        "6: regressions.a.lags: found 2 twice, expected each entry once"
    ),
    "regressions:\n  a:\n    lags: [1]\n    covariates: [positon]": (
        '9: regressions.a.covariates[0]: found "positon", expected position, log_frequency, group, '
        "upos, upos_previous, word_initial, word_final, pieces, token_characters, zipf, surprisal, "
        "entropy_before or previous_layer; did you mean 'position'?"
    ),
    "regressions: {a: {lags: [1], covariates: [upos]}}": (
        "6: regressions.a.covariates: found upos, but corpora.words has no tagger; expected "
        "one, for the part of speech of tokens"
    ),
    "regressions: {a: {lags: [1], by: {zipf: lag}}}": (
        "6: regressions.a.by: found zipf, but corpora.words has no tagger.language; expected "
        "one, for the frequency of words"
    ),
    "controls: {permutation: {within: upos}}": (
        "6: controls.permutation.within: found upos, but corpora.words has no tagger; expected "
        "one, for the part of speech of tokens"
    ),
    "regressions: {a: {lags: [1], covariates: [entropy_next]}}": (
        "6: regressions.a.covariates[0]: found entropy_next, which is no covariate: it is computed "
        "from the adjustment; a regression that holds it fixed hides the part that it mediates"
    ),
    "regressions: {a: {lags: [1], by: {upoz: outcome}}}": (
        '6: regressions.a.by.upoz: found "upoz", expected upos, word_initial, word_final, '
        "token_characters, zipf, surprisal or entropy_before; did "
        "you mean 'upos'?"
    ),
    "regressions: {a: {lags: [1], by: {upos: lag, word_final: lag}}}": (
        "6: regressions.a.by: found 2 properties, expected one, as in {upos: outcome}; give "
        "another regression for another"
    ),
    "regressions: {a: {lags: [1], fixed_effects: documnt}}": (
        '6: regressions.a.fixed_effects: found "documnt", expected none or document; did you mean '
        "'document'?"
    ),
    "regressions: {a: {lags: [1], fixed_effects: [token]}}": (
        "6: regressions.a.fixed_effects: found fixed_effects: [token], expected document among "
        "them: tokens differ between documents"
    ),
    "regressions:\n  a:\n    lags: [1]\n    fixed_effects: [document, token]\n    "
    "bias_correction: half-panel": (
        "10: regressions.a.bias_correction: found bias_correction: half-panel with effects of "
        "tokens, expected none: the halves of documents do not tell the effects of all tokens"
    ),
    "regressions: {a: {lags: [1], position_knots: [4, 16]}}": (
        "6: regressions.a.position_knots: found [4, 16], expected at least 3 entries"
    ),
    # Keys that do not go together, at the one to change.
    "regressions:\n  a:\n    lags: [1]\n    fixed_effects: document\n    covariates: [group]": (
        "10: regressions.a.covariates: found the covariate group beside fixed_effects: document, "
        "expected one of the two: group is constant within documents"
    ),
    "regressions:\n  a:\n    lags: [1]\n    bias_correction: half-panel": (
        "9: regressions.a.bias_correction: found bias_correction: half-panel without "
        "fixed_effects, expected fixed_effects: document: there is no such bias without document "
        "effects"
    ),
    "regressions:\n  a: {lags: [1], fixed_effects: document, bias_correction: half-panel}\n"
    "inference:\n  covariance: hac": (
        "9: inference.covariance: found hac, expected cluster, cluster-crv1 or cluster-jackknife: "
        "regression a has bias_correction: half-panel, which supports no other errors; or "
        "bias_correction: none"
    ),
    "inference:\n  adjust: max-t\n  bootstrap: 38": (
        "7: inference.adjust: found adjust: max-t with 38 draws of bootstrap, expected at least "
        "39 at alpha 0.05"
    ),
    "extraction: {fast: on}": "6: extraction.fast: found true, expected auto, off, fused or packed",
    "regressions: {norms: {lags: [1]}}": (
        "6: regressions.norms: the name 'norms' is that of a folder of the results, "
        "expected another"
    ),
    "inference: {alpha: 1}": "6: inference.alpha: found 1, expected less than 1",
    "inference: {alpha: .nan}": "6: inference.alpha: found NaN, expected less than 1",
    "inference: {cluster: group, covariance: hac}": "6: inference.cluster: found cluster: group "
    "with covariance: hac, expected covariance: cluster, cluster-crv1 or cluster-jackknife: the "
    "others know no clusters",
    "tokens: {max_length: 4}\nregressions:\n  far: {lags: [3, 1]}": (
        "8: regressions.far.lags: found lag 3, which needs sequences of 5 tokens "
        "(norms.drop_first is 1), but tokens.max_length is 4"
    ),
    "tokens: {max_length: 5}\nregressions:\n  both: {lags: [2], leads: [1, 2]}": (
        "8: regressions.both.lags: found lag 2 and lead 2, which need sequences of 6 tokens "
        "(norms.drop_first is 1), but tokens.max_length is 5"
    ),
    "tokens: {max_length: 4}\nregressions: {lead: {leads: [2], covariates: [previous_layer]}}": (
        "7: regressions.lead.leads: found previous_layer and lead 2, which need sequences of 5 "
        "tokens (norms.drop_first is 1), but tokens.max_length is 4"
    ),
    # The common sample adds no second line to this.
    "tokens: {max_length: 4}\nnorms: {common_sample: true}\nregressions: {a: {lags: [3]}}": (
        "8: regressions.a.lags: found lag 3, which needs sequences of 5 tokens "
        "(norms.drop_first is 1), but tokens.max_length is 4"
    ),
    "tokens: {max_length: 4}\nnorms: {common_sample: true}\n"
    "regressions: {a: {lags: [2]}, b: {leads: [2]}}": (
        "7: norms.common_sample: found true: over all regressions lag 2 and lead 2, which need "
        "sequences of 6 tokens (norms.drop_first is 1), but tokens.max_length is 4"
    ),
}

MODELS = {
    "  tiny: {source: path, path: mine, modules: {blocks: h, attention: attn.0, mlp: m p}}": (
        '2: models.tiny.modules.mlp: found "m p", expected a module\'s path, as in self_attn, or '
        "several, as in self_attn|mamba"
    ),
    "  tiny: {source: path, path: mine, modules: {blocks: h, mlp: mlp}}": (
        "2: models.tiny.modules.attention: is missing, expected path from a block to the module "
        "whose output attention adds, with alternatives if blocks differ"
    ),
    # the models of a file, the first of them in line 2: its one problem
    "  - tiny": f'1: models: found ["tiny"], {NAMES}',
    "  tiny: {repository: a/b}": (
        "2: models.tiny.source: is missing, expected one of hub, path, package, random"
    ),
    "  tiny:\n    source: hubb": (
        '3: models.tiny.source: found "hubb", expected one of hub, path, package, random; '
        "did you mean 'hub'?"
    ),
    "  tiny: {source: hub, repository: a/b}": (
        "2: models.tiny.revision: is missing, expected the commit (best), tag or branch; "
        "the run records the commit that it found"
    ),
    "  tiny: {source: hub, repository: a b, revision: c}": (
        '2: models.tiny.repository: found "a b", expected a repository, as in openai-community/gpt2'
    ),
    "  tiny: {source: hub, repository: a/b, revision: 1234567}": (
        f"2: models.tiny.revision: found 1234567, {QUOTES}"
    ),
    f"  tiny: {{source: package, package: p q, version: '1', file: a.gguf, sha256: '{SHA256}'}}": (
        '2: models.tiny.package: found "p q", expected the name of a Python package'
    ),
    f"  tiny: {{source: package, package: p, version: '>1', file: a.gguf, sha256: '{SHA256}'}}": (
        '2: models.tiny.version: found ">1", expected one exact version, as in 0.1.2'
    ),
    f"  tiny: {{source: package, package: p, version: 1.0, file: a.gguf, sha256: '{SHA256}'}}": (
        f"2: models.tiny.version: found 1.0, {QUOTES}"
    ),
    f"  tiny: {{source: package, package: p, version: '1', file: a.bin, sha256: '{SHA256}'}}": (
        '2: models.tiny.file: found "a.bin", expected a path that ends in .gguf or is a '
        "model.safetensors"
    ),
    "  tiny: {source: package, package: p, version: '1', file: a.gguf, sha256: ABC}": (
        '2: models.tiny.sha256: found "ABC", expected 64 hexadecimal digits, lower case'
    ),
    "  tiny: {source: path, path: yours}": (
        f"2: models.tiny.path: found no folder 'yours', {FOLDER}"
    ),
    "  tiny: {source: path, path: words.txt}": (
        f"2: models.tiny.path: 'words.txt' is a file, {FOLDER}"
    ),
    "  tiny: {source: path, path: texts}": (
        f"2: models.tiny.path: the folder 'texts' has no config.json, {FOLDER}"
    ),
    "  tiny: {source: path, path: mine, layers: 6}": (
        "2: models.tiny.layers: found 6, but the model has 4 layers"
    ),
    "  tiny: {source: path, path: mine}\n  twin: {source: random, of: tinny}": (
        "3: models.twin.of: found \"tinny\", expected tiny; did you mean 'tiny'?"
    ),
    "  a: {source: path, path: mine}\n  b: {source: path, path: mine}\n"
    "  twin: {source: random, of: other}": (
        '4: models.twin.of: found "other", expected one of a, b'
    ),
    "  tiny: {source: path, path: mine}\n  twin: {source: random, of: tiny}\n"
    "  third: {source: random, of: twin}": (
        '4: models.third.of: found "twin", which is random itself, expected tiny'
    ),
    "  twin: {source: random, of: twin}": (
        '2: models.twin.of: found "twin", which is random itself, expected a model that is not '
        "random, and this configuration has none"
    ),
    # A mistake in the original is not one of the twin.
    "  tiny: {source: path}\n  twin: {source: random, of: tiny}": (
        "2: models.tiny.path: is missing, expected a Hugging Face folder (config.json, "
        "safetensors, tokenizer files) or a .gguf file"
    ),
    "  tiny: {source: path, path: mine, terms: 'https://example.org/terms'}": (
        "2: models.tiny.accept_terms: found false, expected true once you have read and accept "
        "https://example.org/terms"
    ),
    # A twin has the layers of its original.
    "  tiny: {source: path, path: mine}\n  twin: {source: random, of: tiny, layers: 6}": (
        "3: models.twin.layers: found 6, but the model has 4 layers"
    ),
    "  a/b: {source: path, path: mine}": (f'2: models."a/b": the name "a/b" {FOLDER_NAME}'),
    "  corpora: {source: path, path: mine}": (
        "2: models.corpora: the name 'corpora' is that of a folder of the results, expected another"
    ),
    "  1: {source: path, path: mine}": (
        "2: models[1]: found the name 1, expected text (quotes make it text)"
    ),
    f"  {2**63}: {{source: path, path: mine}}": (
        f"2: models.{2**63}: found the name {2**63}, expected text (quotes make it text)"
    ),
}

FILES = {
    # the corpora of a file, the first of them in line 3: its one problem
    "": f"2: corpora: found null, {NAMES}",
    "  words: words.txt": f'3: corpora.words: found "words.txt", {MAPPING}',
    "  words: {}": (
        "3: corpora.words.files: is missing, expected files or globs: JSON lines, plain text, "
        "CSV, TSV or Parquet, also .gz and .zst"
    ),
    "  words: {files: [5]}": f"3: corpora.words.files[0]: found 5, {QUOTES}",
    "  words: {files: ['']}": (
        '3: corpora.words.files[0]: found "", expected text that is not empty'
    ),
    "  words: {files: [words.txt], tagger: {column: tags, file: words.txt}}": (
        "3: corpora.words.tagger.file: found file beside column, expected one source of tags"
    ),
    "  words: {files: [words.txt], tagger: {package: en-core}}": (
        "3: corpora.words.tagger.package: found package without version, expected both"
    ),
    "  words:\n    files:\n      - words.txt\n      - word.txt": (
        "6: corpora.words.files[1]: found no file 'word.txt'; did you mean 'words.txt'?"
    ),
    "  words: {files: nowhere/x.txt}": "3: corpora.words.files[0]: found no file 'nowhere/x.txt'",
    "  words: {files: 'texts/*.csv'}": "3: corpora.words.files[0]: 'texts/*.csv' matches no file",
    "  words: {files: 'links/*'}": (
        "3: corpora.words.files[0]: 'links/a' is a link to 'nowhere', which is missing; so is 1 "
        "other file"
    ),
    "  words: {files: pipe}": "3: corpora.words.files[0]: 'pipe' is a pipe, expected a file",
    "  words: {files: /dev/zero}": (
        "3: corpora.words.files[0]: '/dev/zero' is a device, expected a file"
    ),
    "  words: {files: texts}": (
        "3: corpora.words.files[0]: 'texts' is a folder, expected a file or a glob, "
        "as in 'texts/*.txt'"
    ),
    "  words: {files: words.txt/inner.txt}": (
        "3: corpora.words.files[0]: found no file 'words.txt/inner.txt'"
    ),
}


@pytest.mark.parametrize(("text", "problem"), ADDED.items(), ids=ADDED)
def test_a_mistake_in_a_section_is_one_exact_line(text: str, problem: str) -> None:
    assert problems_of(LEAST + text) == [f"{FILE}:{problem}"]


@pytest.mark.parametrize(("text", "problem"), MODELS.items(), ids=MODELS)
def test_a_mistake_in_a_model_is_one_exact_line(text: str, problem: str) -> None:
    assert problems_of(f"models:\n{text}\n{WORDS}") == [f"{FILE}:{problem}"]


@pytest.mark.parametrize(("text", "problem"), FILES.items(), ids=FILES)
def test_a_mistake_in_a_corpus_is_one_exact_line(text: str, problem: str) -> None:
    assert problems_of(f"{TINY}corpora:\n{text}\n") == [f"{FILE}:{problem}"]


def test_all_mistakes_are_reported_at_once() -> None:
    text = """\
models:
  tiny: {source: hub, repository: a/b, revison: c0, layers: 6}
  mine: {source: path, path: mine}
  lost: {source: path, path: lost}
corpora:
  words:
    files: [word.txt]
    shards: 0
  others: {files: ['*.csv']}
inference:
  alpha: 7
figures: {layers: [2, 5], formats: [svg]}
tokens:
"""
    assert problems_of(text) == [
        f"{FILE}:{line}"
        for line in (
            "2: models.tiny.revision: is missing, expected the commit (best), tag or branch; "
            "the run records the commit that it found",
            "2: models.tiny.revison: unknown key, expected one of layers, width, modules, terms, "
            "accept_terms, source, repository, revision; did you mean 'revision'?",
            f"4: models.lost.path: found no folder 'lost', {FOLDER}",
            "8: corpora.words.shards: found 0, expected at least 1",
            "9: corpora.others.files[0]: '*.csv' matches no file",
            "11: inference.alpha: found 7, expected less than 1",
            "12: figures.layers[1]: found layer 5, but model mine has layers 0 to 3",
        )
    ]


@pytest.mark.parametrize("corpora", ["{}", "[words]", "{words: {files: 5}}"])
def test_documents_of_an_invalid_corpus_are_not_checked(corpora: str) -> None:
    text = f"{TINY}figures: {{documents: {{words: [a]}}}}\ncorpora: {corpora}\n"
    problems = problems_of(text)
    assert [problem.split(":")[1] for problem in problems] == ["3"]


@pytest.mark.parametrize("raw", [None, {}, {"models": None}, {"corpora": "null"}])
def test_an_empty_configuration_lacks_corpora(raw: Any) -> None:
    Path(FILE).write_text("")
    config, (problem,) = check(raw, [FILE])
    assert config is None
    assert "corpora: " in problem
    assert check({})[1] == [
        "configuration: corpora: is missing, expected the corpora, each under a name of your "
        "choice",
    ]


def test_three_lines_are_a_configuration_with_the_model_of_the_default_run() -> None:
    Path("mine.txt").write_text("words")
    config, problems = check({"corpora": {"mine": {"files": "mine.txt"}}})
    assert problems == []
    default = null_named(read_yaml(ROOT / "config/config.yaml").values)
    (model,) = Config.model_validate(default).models.values()
    assert config.models["smollm2-135m-instruct"] == model.model_copy(
        update={"layers": None, "width": None}
    )


@pytest.mark.parametrize("raw", [[], ["models"], "models", 3])
def test_a_configuration_that_is_not_a_mapping_is_refused(raw: Any) -> None:
    Path(FILE).write_text(json.dumps(raw))
    assert check(raw, [FILE]) == (None, [f"{FILE}: found {json.dumps(raw)}, {MAPPING}"])


BROKEN = {
    # the content of a file: what keeps it from being read
    b"": ": found nothing in it, expected at least corpora, as in corpora: {mine: {files: my.txt}}",
    b"# nothing": ": found nothing in it, expected at least corpora, as in "
    "corpora: {mine: {files: my.txt}}",
    b"- 1": f": found [1], {MAPPING}",
    b"words": f': found "words", {MAPPING}',
    b"a: 1\nb: [1\n": (
        ":3: no YAML at column 1: while parsing a flow sequence expected ',' or ']', but got "
        "'<stream end>'"
    ),
    b"a: 1\nb: c: 2": ":2: no YAML at column 5: mapping values are not allowed here",
    b"a:\n\tb: 1": (
        ":2: no YAML at column 1: while scanning for the next token found character '\\t' that "
        "cannot start any token; expected spaces in place of a tab"
    ),
    b"a: 1\na: 2": (
        ':2: no YAML at column 1: while constructing a mapping found duplicate key "a" with value '
        '"2" (original value: "1")'
    ),
    b"a: *b": ":1: no YAML at column 4: found undefined alias 'b'",
    b"a: 1\n---\nb: 2": (
        ":2: no YAML at column 1: expected a single document in the stream but found another "
        "document"
    ),
    b"a: !!python/object:os.system [1]": (
        ":1: no YAML at column 4: could not determine a constructor for the tag "
        "'tag:yaml.org,2002:python/object:os.system'"
    ),
    b"a: b\0": (
        ": no YAML: unacceptable character #x0000: special characters are not allowed in "
        '"<unicode string>", position 4'
    ),
    b"a: 1\nb: caf\xe9": ":2: found byte 0xe9 at offset 11, expected UTF-8",
    "a: 1".encode("utf-16"): ":1: found byte 0xff at offset 0, expected UTF-8",
    b"a: 1\n? [b]\n: 2": (
        ":2: no YAML at column 3: while constructing a mapping found unhashable key"
    ),
    b"a: 1\nb: 2026-13-45": ": no YAML: month must be in 1..12",
}


@pytest.mark.parametrize(("content", "problem"), BROKEN.items(), ids=lambda value: value[:20])
def test_a_file_that_cannot_be_read_is_one_exact_line(content: bytes, problem: str) -> None:
    Path(FILE).write_bytes(content)
    assert reading_problems(FILE) == [f"{FILE}{problem}"]


@pytest.mark.parametrize(
    "content",
    [
        LEAST,
        f"\ufeff{LEAST}",
        # JSON, which YAML refuses for its tabs.
        json.dumps(yaml.safe_load(LEAST), indent="\t"),
        LEAST.replace("\n", "\r\n"),
    ],
)
def test_an_unusual_but_valid_file_is_accepted(content: str) -> None:
    Path(FILE).write_bytes(content.encode())
    assert reading_problems(FILE) == []
    assert check(yaml.safe_load(LEAST), [FILE])[1] == []


def test_a_path_that_is_not_a_file_is_refused() -> None:
    os.mkfifo("pipe.yaml")
    assert reading_problems("pipe.yaml") == ["pipe.yaml: is a pipe, expected a file"]
    assert reading_problems("texts") == ["texts: is a folder, expected a file"]
    assert reading_problems("word.txt") == ["word.txt: no such file; did you mean 'words.txt'?"]


def test_names_of_more_than_100_characters_are_refused() -> None:
    for length in (100, 101):
        problem = (
            f"{FILE}:2: models.{'x' * 101}: the name has 101 characters and becomes a folder: "
            "expected at most 100"
        )
        text = f"models:\n  {'x' * length}: {{source: path, path: mine}}\n{WORDS}"
        assert problems_of(text) == [problem] * (length - 100)


# --- layers --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "facts",
    [{"num_hidden_layers": 4}, {"n_layer": 4}, {"text_config": {"num_hidden_layers": 4}}],
)
def test_layers_of_figures_must_be_in_a_local_model(facts: dict[str, Any]) -> None:
    Path("mine/config.json").write_text(json.dumps(facts))
    models = "models: {mine: {source: path, path: mine}}\n"
    assert problems_of(f"{models}{WORDS}figures: {{layers: [3, 4]}}") == [
        f"{FILE}:3: figures.layers[1]: found layer 4, but model mine has layers 0 to 3"
    ]


@pytest.mark.parametrize("content", ["{", "[]", "null"])
def test_a_local_model_with_a_broken_config_is_refused(content: str) -> None:
    Path("mine/config.json").write_text(content)
    assert problems_of(f"models: {{mine: {{source: path, path: mine}}}}\n{WORDS}") == [
        f"{FILE}:1: models.mine.path: 'mine/config.json' holds no JSON object, {FOLDER}"
    ]


def test_a_local_gguf_file_is_a_model() -> None:
    Path("mine.gguf").write_text("")
    assert problems_of(f"models: {{a: {{source: path, path: mine.gguf}}}}\n{WORDS}") == []


def test_layers_of_figures_must_be_among_those_declared() -> None:
    models = "models: {tiny: {source: hub, repository: a/b, revision: c0, layers: 2}}\n"
    assert problems_of(f"{models}{WORDS}figures:\n  layers:\n  - 1\n  - 2\n") == [
        f"{FILE}:6: figures.layers[1]: found layer 2, but model tiny has layers 0 to 1"
    ]


def test_layers_of_a_twin_are_those_of_its_original() -> None:
    models = "models:\n  tiny: {source: hub, repository: a/b, revision: c0, layers: 2}\n"
    twin = "  twin: {source: random, of: tiny}\n"
    assert problems_of(f"{models}{twin}{WORDS}figures: {{layers: [2]}}") == [
        f"{FILE}:5: figures.layers[0]: found layer 2, but model {name} has layers 0 to 1"
        for name in ("tiny", "twin")
    ]


COMMIT = "c0" * 20


@pytest.mark.parametrize("revision", [COMMIT, "main"])
def test_the_stated_size_must_be_that_of_the_fetched_model(revision: str) -> None:
    fetched_before()
    model = f"source: hub, repository: a/b, revision: {revision}"
    figures = f"{WORDS}figures: {{layers: [5]}}"
    assert problems_of(f"models: {{tiny: {{{model}, layers: 8, width: 9}}}}\n{figures}") == [
        f"{FILE}:1: models.tiny.layers: found 8, but the model has 4 layers",
        f"{FILE}:1: models.tiny.width: found 9, but the model has a width of 8",
        f"{FILE}:3: figures.layers[0]: found layer 5, but model tiny has layers 0 to 3",
    ]
    assert problems_of(f"models: {{tiny: {{{model}, layers: 4, width: 8}}}}\n{WORDS}") == []


def test_the_size_of_a_model_is_not_checked_if_it_will_be_fetched_anew() -> None:
    """The folder still holds the model that the name stood for before."""
    fetched_before()
    for other in (
        f"repository: a/b, revision: {'c1' * 20}",
        f"repository: a/c, revision: {COMMIT}",
    ):
        model = f"{{source: hub, {other}, layers: 8, width: 9}}"
        assert problems_of(f"models: {{tiny: {model}}}\n{WORDS}figures: {{layers: [5]}}") == []


def fetched_before() -> None:
    Path("data/models/tiny").mkdir(parents=True)
    record = {"source": "hub", "repository": "a/b", "revision": COMMIT, "layers": 4, "width": 8}
    Path("data/models/tiny/source.json").write_text(json.dumps(record))


# --- the command line, several files, anchors ----------------------------------------------


def test_values_from_the_command_line_have_no_line() -> None:
    text = f"{LEAST}inference:\n  alpha: 0.05\n"
    assert problems_of(text, inference={"alpha": "2", "folds": "x", "fold": "5"}) == [
        'command line: inference.alpha: found "2", expected less than 1',
        'command line: inference.folds: found "x", expected a whole number',
        "command line: inference.fold: unknown key, expected one of negligible, alpha, bootstrap, "
        "seed, covariance, cluster, adjust, stack_mb, wild_bootstrap, folds, hac_lags; did you "
        "mean 'folds'?",
    ]
    models = {**yaml.safe_load(LEAST)["models"], "more": {"source": "hub", "repository": "a/b"}}
    assert problems_of(LEAST, models=models) == [
        "command line: models.more.revision: is missing, expected the commit (best), tag or "
        "branch; the run records the commit that it found"
    ]
    assert problems_of(LEAST, regressions="") == [f'command line: regressions: found "", {NAMES}']


def test_text_from_the_command_line_is_coerced() -> None:
    config = checked(
        inference={"alpha": "0.5", "folds": "3"},
        tokens={"max_length": "null", "prepend_bos": "true"},
        regressions={"more": {"lags": ["1", "2"]}},
        figures="null",
    )
    typed = checked(
        inference={"alpha": 0.5, "folds": 3},
        tokens={"max_length": None, "prepend_bos": True},
        regressions={"more": {"lags": [1, 2]}},
    )
    assert config == typed


def test_a_problem_names_its_line_in_the_right_one_of_two_files() -> None:
    Path("first.yaml").write_text(f"{LEAST}norms: {{drop_first: -1}}\ninference: {{folds: 1}}\n")
    Path("second.yaml").write_text("\ninference: {folds: 0}\n")
    raw = yaml.safe_load(LEAST) | {"norms": {"drop_first": -1}, "inference": {"folds": 0}}
    assert check(raw, iter(["first.yaml", "second.yaml"]))[1] == [
        "first.yaml:6: norms.drop_first: found -1, expected at least 0",
        "second.yaml:2: inference.folds: found 0, expected at least 2",
    ]


def test_a_problem_in_a_section_of_a_file_has_its_line_and_whole_key():
    """Another workflow keeps this configuration in a section of its own file."""
    lines = [*LEAST.splitlines(), "inference: {covariance: clustr}", "colour: red"]
    text = "models: 1\nours:\n  deep:\n" + "".join(f"    {line}\n" for line in lines)
    Path(FILE).write_text(text)
    whole = yaml.safe_load(text)
    Path("other.yaml").write_text("mine: 1")
    problems = check(whole["ours"]["deep"], ["other.yaml", FILE])[1]
    assert [problem.split(": ")[:2] for problem in problems] == [
        [f"{FILE}:9", "ours.deep.inference.covariance"],
        [f"{FILE}:10", "ours.deep.colour"],
    ]
    # All of the file, and what the other workflow has made up by itself.
    assert f"{FILE}:1: models: found 1, {NAMES}" in check(whole, [FILE])[1]
    made_up = {**whole["ours"]["deep"], "figures": {}}
    Path(FILE).write_text("ours:" + text.partition("ours:")[2])
    problems = check(made_up, [FILE])[1]
    assert [problem.split(": ")[:2] for problem in problems] == [
        ["configuration", "inference.covariance"],
        ["configuration", "colour"],
    ]


@pytest.mark.parametrize(
    "value", ["off", "yes", "0o17", "017", "1e3", "1_0", "1:30", "y", "2026-01-01", "~", "'5'"]
)
def test_the_values_checked_are_those_that_snakemake_reads(value: str) -> None:
    """Snakemake reads YAML 1.1 with PyYAML. Each mistake has its line in the file."""
    Path(FILE).write_text(f"{LEAST}figures:\n  layers: {value}\n")
    in_force = load_configfile(FILE)
    reading = read_yaml(Path(FILE))
    assert reading.values == in_force
    assert type(reading.values["figures"]["layers"]) is type(in_force["figures"]["layers"])
    problems = check(in_force, [FILE])[1]
    assert [problem.split(":")[:2] for problem in problems] == [[FILE, "7"]] * (value != "~")


@pytest.mark.parametrize(("name", "line"), [("y", 8), ("'yes'", 8), ("no", 6), ("12", 8)])
def test_a_problem_has_the_line_of_its_name_even_if_yaml_reads_a_number(
    name: str, line: int
) -> None:
    """A name that ruamel.yaml reads differently, by YAML 1.2, has the line of its section."""
    text = f"{LEAST}regressions:\n  a: {{lags: [1]}}\n  {name}: {{lags: [0]}}\n"
    problems = problems_of(text)
    assert {int(problem.split(":")[1]) for problem in problems} == {line}


def test_a_problem_in_a_json_file_has_its_line() -> None:
    """Snakemake first tries to read a file as JSON, which may contain tabs."""
    values = {**yaml.safe_load(LEAST), "norms": {"drop_first": -1}}
    text = json.dumps(values, indent="\t")
    Path(FILE).write_text(text)
    line = text[: text.index("drop_first")].count("\n") + 1
    assert reading_problems(FILE) == []
    assert check(values, [FILE])[1] == [
        f"{FILE}:{line}: norms.drop_first: found -1, expected at least 0"
    ]


def test_a_problem_under_an_anchor_is_named_at_each_use() -> None:
    text = """\
models:
  one: &one {source: hub, repository: a/b, revision: c0, width: 0}
  two:
    <<: *one
    revision: c1
  three: {<<: *one}
corpora: {words: {files: [words.txt]}}
"""
    assert problems_of(text) == [
        f"{FILE}:2: models.one.width: found 0, expected at least 1",
        f"{FILE}:3: models.two.width: found 0, expected at least 1",
        f"{FILE}:6: models.three.width: found 0, expected at least 1",
    ]


# --- well-formed configurations ------------------------------------------------------------


@pytest.mark.parametrize(
    "section",
    [
        name
        for name, field in Config.model_fields.items()
        if not field.is_required() and name not in {*Config.switched_off_by_null, "models"}
    ],
)
def test_a_section_without_a_value_has_its_defaults(section: str) -> None:
    assert checked(**{section: None}) == checked()
    assert problems_of(f"{LEAST}{section}:\n") == []


@pytest.mark.parametrize("value", [None, "null"])
def test_null_turns_the_interventions_off(value: str | None) -> None:
    assert checked(causal=value).causal is None
    assert checked(causal=value).sites_changed() == []
    assert checked().sites_changed() == ["attention"]
    assert checked(causal={"lags": None}) == checked()


def test_each_mistake_in_the_interventions_is_one_line() -> None:
    wrong = "causal: {targets: most, documents: 0, scales: [1], sources: [1.5]}"
    assert problems_of(f"{LEAST}{wrong}\n") == [
        f'{FILE}:6: causal.targets: found "most", expected a number of layers, a list of layers, '
        "or all",
        f"{FILE}:6: causal.documents: found 0, expected a number of at least 1, or all",
        f"{FILE}:6: causal.scales[0]: found 1, expected a factor that changes something",
        f"{FILE}:6: causal.sources: found [1.5], expected a list of layers, as in [0, 15, 29]",
    ]
    assert problems_of(f"{LEAST}causal: {{source_sites: [mlp]}}\n") == [
        f"{FILE}:6: causal.source_sites[0]: found mlp, expected one of extraction.sites: attention"
    ]


def test_vectors_are_regressed_only_if_they_are_kept() -> None:
    assert checked().vector_regression() is not None
    assert checked(vectors=None).vector_regression() is None
    assert checked(extraction={"keep": "norms"}).vector_regression() is None
    wrong = "extraction: {keep: norms}\nvectors: {ridge: [0], folds: 2}\n"
    assert problems_of(f"{LEAST}{wrong}") == [
        f"{FILE}:7: vectors.ridge[0]: found 0, expected at least 1e-05",
        f"{FILE}:7: vectors.folds: found 2, expected at least 3",
        f"{FILE}:7: vectors: found a regression of vectors with extraction.keep: norms, expected "
        "keep: vectors; or vectors: null",
    ]


def test_a_key_without_a_value_has_its_default() -> None:
    words = {"files": ["words.txt"], "id": None, "text": None, "group": None, "shards": None}
    config = checked(norms={"drop_first": None}, corpora={"words": words})
    assert config == checked()


def test_defaults_are_not_shared() -> None:
    checked().extraction.sites.append("attention")
    assert checked().extraction.sites == ["attention"]


def test_files_of_expands_globs_in_order_and_once() -> None:
    Path("odd[1].txt").write_text("its name looks like a glob")
    files = ["texts/b.txt", "texts/*.txt", "./texts/a.md", "texts/**/*.txt", "odd[1].txt"]
    config = checked(corpora={"words": {"files": files}})
    assert config.files_of("words") == [
        "texts/b.txt",
        "texts/a.txt",
        "texts/a.md",
        "texts/inner/c.txt",
        "odd[1].txt",
    ]


def test_files_of_takes_absolute_globs_and_one_string(folder: Path) -> None:
    config = checked(corpora={"words": {"files": f"{folder}/texts/*.txt"}})
    assert config.files_of("words") == [f"{folder}/texts/a.txt", f"{folder}/texts/b.txt"]


def test_a_path_that_cannot_be_read_is_one_line() -> None:
    name = "x" * 300
    assert problems_of(f"{TINY}corpora: {{words: {{files: {name}}}}}") == [
        f"{FILE}:2: corpora.words.files[0]: {name!r} cannot be read: File name too long"
    ]


def test_the_bare_word_off_turns_fast_paths_off() -> None:
    """YAML reads the bare word as false."""
    assert checked(extraction=yaml.safe_load("fast: off")).extraction.fast == "off"
    assert checked().extraction.fast == "auto"


def test_the_order_of_covariates_does_not_matter() -> None:
    names = ["previous_layer", "group", "position", "log_frequency"]
    one, two = (
        checked(regressions={"a": {"lags": [1], "covariates": order}}).regressions["a"]
        for order in (names, names[::-1])
    )
    assert one == two


def test_the_common_sample_is_the_union_of_what_regressions_need() -> None:
    regressions = {
        "a": {"lags": [5, 1]},
        "b": {"leads": [2], "lags": [1]},
        "c": {"leads": [3], "covariates": ["previous_layer"], "outcome": "relative"},
    }
    assert checked(regressions=regressions).sample() is None
    config = checked(regressions=regressions, norms={"common_sample": "true"})
    assert config.sample() == SampleSettings(
        lags=[1, 5], leads=[2, 3], covariates=["previous_layer"], relative=True
    )
    assert all(config.needs_stream(name) for name in regressions)
    del regressions["c"]
    config = checked(regressions=regressions, norms={"common_sample": True})
    assert config.sample() == SampleSettings(lags=[1, 5], leads=[2], covariates=[], relative=False)
    assert not config.needs_stream("a")


def test_null_turns_a_control_off_and_an_omitted_one_stays_on() -> None:
    controls = checked(controls={"permutation": None}).controls
    assert controls.permutation is None
    assert controls.random_weights.documents == 16
    assert checked(controls={"random_weights": "null"}).controls.random_weights is None
    assert checked().controls.permutation.draws == 200


def test_a_configuration_of_models_and_corpora_alone_has_the_safeguards() -> None:
    assert list(checked().regressions) == ["within", "notebook"]
    assert checked().regressions["within"].bias_correction == "half-panel"


def test_a_regression_may_be_called_null() -> None:
    # To YAML that is no text.
    text = f"{LEAST}regressions:\n  null: {{lags: [1]}}\n"
    assert list(checked(**yaml.safe_load(text)).regressions) == ["null"]
    assert problems_of(text) == []
    assert problems_of(text.replace("[1]", "[0]")) == [
        f"{FILE}:7: regressions.null.lags[0]: found 0, expected at least 1"
    ]


# --- the files of the project --------------------------------------------------------------


def load(name: str) -> Any:
    return yaml.safe_load((ROOT / "config" / name).read_text(encoding="utf-8"))


def test_the_default_file_has_no_problems(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert check(load("config.yaml"), ["config/config.yaml"])[1] == []


def test_the_order_of_sites_does_not_matter() -> None:
    (first, second) = (
        checked(extraction={"sites": sites}).extraction
        for sites in (["block", "mlp", "attention"], ["attention", "mlp", "block"])
    )
    assert first == second
    assert first.sites == ["attention", "mlp", "block"]


def test_the_default_file_states_every_default() -> None:
    config = Config.model_validate(load("config.yaml"))
    defaults = Config(models=config.models, corpora=config.corpora)
    # The bundled corpus has parts of speech, which others need not have.
    defaults.regressions["notebook"].by = {"upos": "outcome"}
    assert config == defaults
    stated = load("config.yaml")
    assert list(stated) == list(Config.model_fields)
    for section in (
        *("tokens", "extraction", "norms", "inference", "causal", "vectors", "comparison"),
        "figures",
    ):
        assert set(stated[section]) == set(getattr(config, section).model_dump()), section


def test_the_regressions_in_comments_of_the_default_file_have_no_problems(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(ROOT)
    text = Path("config/config.yaml").read_text(encoding="utf-8")
    before, _, rest = text.partition("\nregressions:\n")
    section, _, after = rest.partition("\ninference:\n")
    section = re.sub(r"^  # (  )?(\w+:)", r"  \1\2", section, flags=re.M)
    config, problems = check(
        yaml.safe_load(f"{before}\nregressions:\n{section}\ninference:\n{after}")
    )
    assert problems == []
    assert config is not None
    assert list(config.regressions) == ["within", "notebook", "lead"]


def test_the_gpt2_file_lacks_only_the_text_to_measure() -> None:
    # In a folder of its own: a user's text may lie in the project's.
    name = "config/gpt2.yaml"
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    line = next(number for number, text in enumerate(lines, 1) if "files:" in text)
    config, problems = check(load("gpt2.yaml"), [ROOT / name])
    assert problems == [
        f"{ROOT / name}:{line}: corpora.text.files[0]: found no file 'data/text.txt'"
    ]
    Path("data").mkdir()
    Path("data/text.txt").write_text("A text.")
    assert check(load("gpt2.yaml"), [ROOT / name]) == (config, [])


FAMILY = {
    "distilgpt2": (6, 768),
    "gpt2": (12, 768),
    "gpt2-medium": (24, 1024),
    "gpt2-large": (36, 1280),
    "gpt2-xl": (48, 1600),
}


def test_the_gpt2_file_lists_the_gpt2_family_in_lines_to_uncomment() -> None:
    Path("data").mkdir()
    Path("data/text.txt").write_text("A text.")
    text = (ROOT / "config/gpt2.yaml").read_text(encoding="utf-8")
    assert list(load("gpt2.yaml")["models"]) == ["gpt2"]
    text = re.sub(r"^  # ([\w-]+: \{source: )", r"  \1", text, flags=re.M)
    config, problems = check(yaml.safe_load(text))
    assert (config is not None, problems) == (True, [])
    models = dict(config.models) if config else {}
    twin = models.pop("gpt2-twin")
    assert (twin.source, twin.of) == ("random", "gpt2")
    assert {name: (model.layers, model.width) for name, model in models.items()} == FAMILY
    assert len({model.revision for model in models.values()}) == len(FAMILY)
    for name, model in models.items():
        assert model.repository.split("/")[1] == name
        assert re.fullmatch("[0-9a-f]{40}", model.revision)


@pytest.mark.parametrize("page", ["corpora", "families", "gpu", "models", "questions", "tutorial"])
def test_the_examples_of_a_page_are_well_formed(page: str) -> None:
    text = (ROOT / f"docs/{page}.md").read_text(encoding="utf-8")
    examples = re.findall(r"^```yaml\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert examples
    for example in examples:
        Config.model_validate({**yaml.safe_load(LEAST), **yaml.safe_load(example)})


def test_the_study_asks_for_effects_between_all_pairs_of_layers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(ROOT)
    config, problems = check(load("study.yaml"), ["config/study.yaml"])
    assert problems == []
    assert config is not None
    assert config.causal is not None
    assert (config.causal.targets, config.causal.documents) == ("all", "all")
    assert config.causal.probes > config.causal.lags


def test_the_models_ask_for_nothing_but_the_terms_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    values = load("models.yaml")
    _, (problem,) = check(values, ["config/models.yaml"])
    assert "models.gemma-3-270m.accept_terms: found false, expected true" in problem
    values["models"]["gemma-3-270m"]["accept_terms"] = True
    config, problems = check(values, ["config/models.yaml"])
    assert (config is not None, problems) == (True, [])


def test_the_seeds_are_a_population_of_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    config, problems = check(load("seeds.yaml"), ["config/seeds.yaml"])
    assert (config is not None, problems) == (True, [])
    models = list(config.models.values()) if config else []
    assert len(models) >= 3
    assert len({(model.layers, model.width) for model in models}) == 1
    assert len({model.repository for model in models}) == len(models)


SHIPPED = ["config.yaml", "gpt2.yaml", "models.yaml", "seeds.yaml", "study.yaml"]


@pytest.mark.parametrize("name", SHIPPED)
def test_the_schema_accepts_the_shipped_files_and_rejects_mistakes(name: str) -> None:
    schema = json.loads((ROOT / "workflow/schemas/config.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    config = load(name)
    assert [error.message for error in validator.iter_errors(config)] == []
    config["modelz"] = config["models"]["a b"] = 1
    config["figures"] = {"layers": [-1]}
    assert len(list(validator.iter_errors(config))) >= 4
