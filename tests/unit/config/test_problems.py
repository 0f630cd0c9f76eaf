"""Every mistake in a configuration is one exact line, and all are reported at once."""

import ast
import json
import os
import re
from pathlib import Path
from string import Template
from textwrap import indent

import jsonschema
import pytest
import yaml
from projects import ROOT
from snakemake.common.configfile import load_configfile

from attnlag.config.problems import check, reading_problems
from attnlag.config.reading import read_yaml
from attnlag.config.removed import REMOVED
from attnlag.config.schema import Config
from attnlag.model.settings import PackageSource
from attnlag.pipeline.outputs import reserved_names
from attnlag.regression.covariates import CATALOGUE
from attnlag.regression.properties import CLASSES, MODERATORS

FILE = "config.yaml"
TINY = "models: {tiny: {source: hub, repository: a/b, revision: c0}}\n"
WORDS = "corpora: {words: {files: [words.txt]}}\n"
LEAST = TINY + WORDS
COMMIT = "c0" * 20
# The records of models on this machine, of which one was fetched before.
MODELS = {
    "mine": '{"num_hidden_layers": 4, "n_embd": 8, "vocab_size": 6}',
    "deep": '{"num_hidden_layers": 5, "n_embd": 8, "vocab_size": 6}',
    "wide": '{"num_hidden_layers": 4, "n_embd": 9, "vocab_size": 6}',
    "worded": '{"num_hidden_layers": 4, "n_embd": 8, "vocab_size": 7}',
    "older": '{"n_layer": 4}',
    "images": '{"text_config": {"num_hidden_layers": 4}}',
    "broken": "{",
    "listed": "[]",
    "empty": "null",
    "data/models/fetched": '{"source": "hub", "repository": "a/b", "revision": "COMMIT", '
    '"layers": 4, "width": 8}'.replace("COMMIT", COMMIT),
}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
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
    for name, content in MODELS.items():
        Path(name).mkdir(parents=True)
        Path(name, "source.json" if "/" in name else "config.json").write_text(content)
    Path("mine.gguf").touch()
    return tmp_path


def problems_of(text, **changes):
    """Return the problems of a file with ``text``, its sections replaced on the command line.

    The folder to which relative paths are relative is called HERE.
    """
    Path(FILE).write_text(text)
    raw = {**(yaml.safe_load(text) or {}), **changes}
    problems = check(raw, [FILE], reserved_names())[1]
    return [line.replace(f"'{Path.cwd()}', where snakemake runs", "HERE") for line in problems]


def sound(raw, *files):
    """Return a configuration that has no problems."""
    config, problems = check(raw, files)
    assert (config is not None, problems) == (True, [])
    return config


def checked(**sections):
    return sound({**yaml.safe_load(LEAST), **sections})


MAPPING = "expected a mapping, as in {key: value}"


def one_of(names):
    *names, last = names
    return f"{', '.join(names)} or {last}"


SHARED_WORDS = {
    "SECTIONS": "models, corpora, tokens, extraction, norms, regressions, controls, inference, "
    "causal, sources, figures",
    "FOLDER_NAME": "becomes a folder: expected letters, digits, '.', '_' and '-', beginning with a "
    "letter or a digit and not ending with a dot",
    "FOLDER": "expected a Hugging Face folder or a .gguf file",
    "COVARIATES": one_of(CATALOGUE),
    "CLASSES": one_of([*CLASSES, *MODERATORS]),
    "COMMIT": COMMIT,
    "SHA": "a" * 64,
    "PACKAGE_KEYS": ", ".join(PackageSource.model_fields),
    "OTHER": "c1" * 20,
    "SHA256": "'" + "0" * 64 + "'",
    **{f"NAME_{length}": "x" * length for length in (100, 101, 300)},
}

# Files, to which a sound model and corpus are added, under the name of their mistake. A line about
# it stands after the line of the file that it names.
CASES = """\
# A section that is not known
tokenz: {}  #> tokenz: unknown key, expected one of $SECTIONS; did you mean 'tokens'?

# A section whose name is a number
1: {}  #> [1]: unknown key, expected one of $SECTIONS

# A list for a section
tokens: [1]  #> tokens: found [1], expected a mapping, as in {key: value}

# False for an optional section
sources: off  #> sources: found false, expected a mapping, as in {key: value}, or null

# Null for a section of optional parts
controls: null
#> controls: found null, expected a mapping, as in {permutation: null, random_weights: null,
#  revisions: null}

# A list for a section of named entries
regressions: [1, 2]
#> regressions: found [1, 2], expected a mapping, as in {name: {key: value}}

# A list of models
models: [tiny]
#> models: found ["tiny"], expected a mapping, as in {name: {key: value}}

# Null for the corpora
corpora:  #> corpora: found null, expected a mapping, as in {name: {key: value}}

# No regressions
regressions: {}  #> regressions: found {}, expected at least one entry

# A section that is empty has its defaults
tokens:

# Text for a whole number
norms: {drop_first: one}  #> norms.drop_first: found "one", expected a whole number

# Text for a whole number or null
tokens: {max_length: long}  #> tokens.max_length: found "long", expected a whole number

# A number for true or false
extraction:
  fast: 2  #> extraction.fast: found 2, expected true or false

# Text for true or false
figures: {titles: none}  #> figures.titles: found "none", expected true or false

# A device that is not known
extraction: {device: gpu}
#> extraction.device: found "gpu", expected auto, cpu, cuda or cuda:NUMBER

# A site with a typing error
extraction:
  sites:
    - attention
    - atention
#> extraction.sites[1]: found "atention", expected attention, mlp or block; did you mean
#  'attention'?

# No sites
extraction: {sites: []}  #> extraction.sites: found [], expected at least one entry

# A level that is no number
inference: {alpha: .nan}  #> inference.alpha: found NaN, expected less than 1

# Targets of interventions in a word that is not known
causal: {targets: most}
#> causal.targets: found "most", expected a number of layers, a list of layers, or all

# Interventions in no document
causal: {documents: 0}
#> causal.documents: found 0, expected a number of at least 1 and at most 1,000,000,000, or all

# An intervention with a typing error
causal: {interventions: [halve, zer]}
#> causal.interventions[1]: found "zer", expected halve, double, zero or mean; did you mean 'zero'?

# Sources at a site that is not measured
causal: {source_sites: [mlp]}
#> causal.source_sites[0]: found mlp, expected one of extraction.sites: attention

# A key of a control with a typing error
controls: {permutation: {draws: 2000, seeed: 1}}
#> controls.permutation.seeed: unknown key, expected one of draws, within, seed; did you mean
#  'seed'?

# Defaults stand for a control that is wrong: its number of draws is not what is complained of
controls: {permutation: {seeed: 1}}
#> controls.permutation.seeed: unknown key, expected one of draws, within, seed; did you mean
#  'seed'?
inference: {alpha: 0.001}

# Fewer draws than the level needs
inference: {alpha: 0.001}
controls: {permutation: {draws: 200}}
#> controls.permutation.draws: found 200, expected at least 999 for inference.alpha 0.001

# Permutations within parts of speech without a tagger
controls: {permutation: {within: upos}}
#> controls.permutation.within: found upos, but corpora.words has no tagger; expected one, for
#  the part of speech of tokens

# Errors that do not go with a bias correction
regressions:
  m: {lags: [1], fixed_effects: document, bias_correction: half-panel}
inference: {covariance: hac}
#> inference.covariance: found hac, expected cluster, cluster-crv1 or cluster-jackknife:
#  regression m has bias_correction: half-panel, which supports no other errors; or
#  bias_correction: none

# Clusters for errors that know none
regressions: {a: {lags: [1]}}
inference: {cluster: group, covariance: hac}
#> inference.cluster: found cluster: group with covariance: hac, expected covariance: cluster,
#  cluster-crv1 or cluster-jackknife: the others know no clusters

# Text for a number of folds
inference: {folds: x}  #> inference.folds: found "x", expected a whole number

# A number for a list of lags
regressions:
  a: {lags: 1}  #> regressions.a.lags: found 1, expected a list, as in [a, b]

# A lag that is there twice
regressions:
  b: {lags: [2, 1, 2]}  #> regressions.b.lags: found 2 twice, expected each entry once

# Two knots of a spline
regressions:
  b: {lags: [1], position_knots: [4, 16]}
#> regressions.b.position_knots: found [4, 16], expected at least 3 entries

# Neither lags nor leads
regressions:
  c: {}
#> regressions.c: found neither lags nor leads, expected lags, as in {lags: [1, 2]}

# A covariate with a typing error
regressions:
  d: {lags: [1], covariates: [positon]}
#> regressions.d.covariates[0]: found "positon", expected $COVARIATES; did you mean 'position'?

# A list for a covariate
regressions:
  d: {lags: [1], covariates: [position, [1]]}
#> regressions.d.covariates[1]: found [1], expected $COVARIATES

# A covariate that mediates the adjustment
regressions:
  e: {lags: [1], covariates: [entropy_next]}
#> regressions.e.covariates[0]: found entropy_next, which is no covariate: it is computed from
#  the adjustment; a regression that holds it fixed hides the part that it mediates

# Slopes by a property with a typing error
regressions:
  f: {lags: [1], slopes_by: {upoz: outcome}}
#> regressions.f.slopes_by.upoz: found "upoz", expected $CLASSES; did you mean 'upos'?

# Slopes by two properties
regressions:
  g: {lags: [1], slopes_by: {word_initial: lag, word_final: lag}}
#> regressions.g.slopes_by: found 2 properties, expected one, as in {upos: outcome}; give another
#  regression for another

# Fixed effects with a typing error
regressions:
  h: {lags: [1], fixed_effects: documnt}
#> regressions.h.fixed_effects: found "documnt", expected none or document; did you mean
#  'document'?

# Parts of speech as a covariate without a tagger
regressions:
  i: {lags: [1], covariates: [upos]}
#> regressions.i.covariates: found upos, but corpora.words has no tagger; expected one, for
#  the part of speech of tokens

# Slopes by parts of speech without a tagger
regressions:
  j: {lags: [1], slopes_by: {upos: lag}}
#> regressions.j.slopes_by: found upos, but corpora.words has no tagger; expected one, for the part
#  of speech of tokens

# Genres beside document effects
regressions:
  k:
    lags: [1]
    covariates: [group]
#> regressions.k.covariates: found the covariate group beside fixed_effects: document,
#  expected one of the two: group is constant within documents
    fixed_effects: document

# A half-panel correction without document effects
regressions:
  l: {lags: [1], bias_correction: half-panel}
#> regressions.l.bias_correction: found bias_correction: half-panel without fixed_effects,
#  expected fixed_effects: document: there is no such bias without document effects

# A half-panel correction with document effects is sound
regressions:
  m: {lags: [1], fixed_effects: document, bias_correction: half-panel}

# A direction as the outcome without geometry
regressions:
  n: {outcome: cosine_previous_centred, lags: [1]}
#> regressions.n.outcome: found cosine_previous_centred with extraction.quantities: [],
#  expected geometry there, or norm or relative
extraction: {quantities: []}

# A centred direction as the outcome without vectors
regressions:
  a: {outcome: cosine_previous_centred, lags: [1]}
#> regressions.a.outcome: found cosine_previous_centred with extraction.keep: norms, expected
#  vectors there: the layer's mean vector needs all vectors; or cosine_previous
extraction: {keep: norms}

# A share of sources as the outcome without sources
regressions:
  b: {outcome: from_itself, lags: [1]}
#> regressions.b.outcome: found from_itself with sources: null, expected sources of attention, and
#  extraction.sites: [attention]
sources: null

# A regression with the name of a result
regressions:
  norms: {lags: [1]}
#> regressions.norms: the name 'norms' is that of a result, expected another

# Two regressions whose names differ in case alone
regressions:
  lagged: {lags: [1]}
  Lagged: {lags: [2]}
#> regressions.Lagged: the name 'Lagged' is 'lagged' but for case, expected another

# Lag 0 in a regression called null, which is no text to YAML
regressions:
  null: {lags: [0]}  #> regressions.null.lags[0]: found 0, expected at least 1

# A lag and a lead that need longer sequences
tokens: {max_length: 5}
regressions:
  both: {lags: [2], leads: [1, 2]}
#> regressions.both.lags: found lag 2 and lead 2, which need sequences of 6 tokens
#  (norms.drop_first is 1), but tokens.max_length is 5

# A lag that needs longer sequences
tokens: {max_length: 5}
regressions:
  far: {lags: [4]}
#> regressions.far.lags: found lag 4, which needs sequences of 6 tokens (norms.drop_first is
#  1), but tokens.max_length is 5

# A lead beside the previous layer that needs longer sequences
tokens: {max_length: 5}
regressions:
  lead: {leads: [3], covariates: [previous_layer]}
#> regressions.lead.leads: found previous_layer and lead 3, which need sequences of 6 tokens
#  (norms.drop_first is 1), but tokens.max_length is 5

# A model without a source
models:
  a: {repository: a/b}
#> models.a.source: is missing, expected one of hub, path, package

# A model of a source with a typing error
models:
  b: {source: hubb}
#> models.b.source: found "hubb", expected one of hub, path, package; did you mean 'hub'?

# A repository with a space
models:
  c: {source: hub, repository: a b, revision: c0}
#> models.c.repository: found "a b", expected a repository, as in openai-community/gpt2

# A revision that is a number
models:
  c: {source: hub, repository: a/b, revision: 1234567}
#> models.c.revision: found 1234567, expected text (quotes make a number text)

# A repository without a revision
models:
  o: {source: hub, repository: a/b}
#> models.o.revision: is missing, expected the commit (best), tag or branch; the run
#  records the commit that it found

# A key of a model with a typing error
models:
  o: {source: hub, repository: a/b, revision: c0, revison: c0}
#> models.o.revison: unknown key, expected one of layers, width, modules, initializer_range,
#  terms, accept_terms, source, repository, revision, revisions; did you mean 'revision'?

# A package whose name has a space
models:
  d: {source: package, package: p q, version: '1', file: a.gguf, sha256: $SHA}
#> models.d.package: found "p q", expected the name of a Python package

# A range of versions
models:
  d: {source: package, package: p, version: '>1', file: a.gguf, sha256: $SHA}
#> models.d.version: found ">1", expected one exact version, as in 0.1.2

# A file of a package that is no model
models:
  d: {source: package, package: p, version: '1', file: a.bin, sha256: $SHA}
#> models.d.file: found "a.bin", expected a path that ends in .gguf or is a model.safetensors

# A checksum in capitals
models:
  d: {source: package, package: p, version: '1', file: a.gguf, sha256: ABC}
#> models.d.sha256: found "ABC", expected 64 hexadecimal digits, lower case

# Modules without attention
models:
  e: {source: path, path: mine, modules: {blocks: h, mlp: mlp}}
#> models.e.modules.attention: is missing, expected path from a block to the module whose
#  output attention adds, with alternatives if blocks differ

# A module whose path has a space
models:
  e: {source: path, path: mine, modules: {blocks: h, attention: attn, mlp: m p}}
#> models.e.modules.mlp: found "m p", expected a module's path, as in self_attn, or several,
#  as in self_attn|mamba

# A folder that is not there
models:
  f: {source: path, path: yours}  #> models.f.path: found no folder 'yours' in HERE, $FOLDER

# A text as a model
models:
  g: {source: path, path: words.txt}  #> models.g.path: 'words.txt' is a file, $FOLDER

# A folder of texts as a model
models:
  h: {source: path, path: texts}
#> models.h.path: the folder 'texts' has no config.json, $FOLDER

# A model whose record is no JSON
models:
  i: {source: path, path: broken}
#> models.i.path: 'broken/config.json' holds no JSON object, $FOLDER

# A model whose record is a list
models:
  j: {source: path, path: listed}
#> models.j.path: 'listed/config.json' holds no JSON object, $FOLDER

# A model whose record is null
models:
  k: {source: path, path: empty}
#> models.k.path: 'empty/config.json' holds no JSON object, $FOLDER

# A GGUF file is a model
models:
  l: {source: path, path: mine.gguf}

# Terms that were not accepted
models:
  m: {source: path, path: mine, terms: 'https://example.org/terms'}
#> models.m.accept_terms: found false, expected true once you have read and accept
#  https://example.org/terms

# A model on this machine without a path
models:
  n: {source: path}
#> models.n.path: is missing, expected a Hugging Face folder (config.json, safetensors,
#  tokenizer files) or a .gguf file

# A mistake under an anchor is named at each use
models:
  p: &p {source: hub, repository: a/b, revision: c0, width: 0}
#> models.p.width: found 0, expected at least 1
  q:  #> models.q.width: found 0, expected at least 1
    <<: *p
    revision: c1
  r: {<<: *p}  #> models.r.width: found 0, expected at least 1

# A name with a slash
models:
  a/b: {source: path, path: mine}  #> models."a/b": the name "a/b" $FOLDER_NAME

# A model with the name of a folder of results
models:
  corpora: {source: path, path: mine}
#> models.corpora: the name 'corpora' is that of a result, expected another

# Null for a model
models:
  t:  #> models.t: found null, expected a mapping, as in {key: value}

# A model where the run puts it
models:
  s: {source: path, path: ./data/models/s}
#> models.s.path: 'data/models/s' is where the run puts the model, expected a Hugging Face folder
#  or a .gguf file elsewhere

# A name that is a number
models:
  1: {source: path, path: mine}
#> models[1]: found the name 1, expected text (quotes make it text)

# A name that is a large number
models:
  9223372036854775808: {source: path, path: mine}
#> models.9223372036854775808: found the name 9223372036854775808, expected text (quotes make
#  it text)

# A name of 100 characters is sound
models:
  $NAME_100: {source: path, path: mine}

# A name of 101 characters
models:
  $NAME_101: {source: path, path: mine}
#> models.$NAME_101: the name has 101 characters and becomes a folder: expected at most 100

# A file for a corpus
corpora:
  a: words.txt  #> corpora.a: found "words.txt", expected a mapping, as in {key: value}

# A corpus without files
corpora:
  b: {}
#> corpora.b.files: is missing, expected files or globs, as in files: texts/*.txt, or dataset:
#  REPOSITORY of the hub

# A number for a file
corpora:
  c: {files: [5]}  #> corpora.c.files[0]: found 5, expected text (quotes make a number text)

# An empty name of a file
corpora:
  c: {files: [words.txt, '']}
#> corpora.c.files[1]: found "", expected text that is not empty

# Two sources of tags
corpora:
  d: {files: [words.txt], tagger: {column: tags, package: en, version: '1', sha256: $SHA256}}
#> corpora.d.tagger.column: found column beside package, expected one source of tags

# A tagger without a version
corpora:
  e: {files: [words.txt], tagger: {package: en-core}}
#> corpora.e.tagger.package: found package without version, expected both

# No shards
corpora:
  f: {files: [words.txt], shards: 0}  #> corpora.f.shards: found 0, expected at least 1

# Tags in a file of their own, which were removed
corpora:
  g: {files: [words.txt], tagger: {file: tags.csv}}
#> corpora.g.tagger.file: was removed; give the words and tags of each document in a field of its
#  row, and the name of the field as column

# A file with a typing error
corpora:
  h: {files: [words.txt, word.txt]}
#> corpora.h.files[1]: found no file 'word.txt' in HERE; did you mean 'words.txt'?

# A file in a folder that is not there
corpora:
  h: {files: [nowhere/x.txt]}  #> corpora.h.files[0]: found no file 'nowhere/x.txt' in HERE

# A pattern that no file matches
corpora:
  h: {files: ['texts/*.csv']}  #> corpora.h.files[0]: 'texts/*.csv' matches no file in HERE

# Links that lead nowhere
corpora:
  h: {files: ['links/*']}
#> corpora.h.files[0]: 'links/a' is a link to 'nowhere', which is missing; so is 1 other file

# A pipe for a file
corpora:
  h: {files: [pipe]}  #> corpora.h.files[0]: 'pipe' is a pipe, expected a file

# A device for a file
corpora:
  h: {files: [/dev/zero]}  #> corpora.h.files[0]: '/dev/zero' is a device, expected a file

# A folder for a file
corpora:
  i: {files: [texts]}
#> corpora.i.files[0]: 'texts' is a folder, expected a file or a glob, as in 'texts/*.txt'

# A file within a file
corpora:
  i: {files: [words.txt/inner.txt]}
#> corpora.i.files[0]: found no file 'words.txt/inner.txt' in HERE

# A name that is too long for a file
corpora:
  j: {files: $NAME_300}
#> corpora.j.files[0]: '$NAME_300' cannot be read: File name too long

# A field of plain text
corpora:
  k: {files: [words.txt], text: body}
#> corpora.k.text: found text for plain text, which has no fields

# A number for a list of files
corpora:
  l: {files: 5}  #> corpora.l.files: found 5, expected a list, as in [a, b]

# A way to split with a typing error
corpora:
  m: {files: [words.txt], split: blank-line}
#> corpora.m.split: found "blank-line", expected none or blank-lines; did you mean 'blank-lines'?

# A number of documents of files
corpora:
  n: {files: [words.txt], documents: 64}
#> corpora.n.documents: found documents without dataset, expected both

# A data set beside files
corpora:
  o: {files: [words.txt], dataset: small/reviews, split: train}
#> corpora.o.dataset: found dataset beside files, expected one of them

# A data set without its split
corpora:
  p: {dataset: small/reviews}
#> corpora.p.split: is missing, expected the split of dataset, as in train

# A data set with a space
corpora:
  q: {dataset: small reviews, split: train}
#> corpora.q.dataset: found "small reviews", expected a repository, as in openai-community/gpt2

# No document of a data set
corpora:
  r: {dataset: small/reviews, split: train, documents: 0}
#> corpora.r.documents: found 0, expected at least 1

# A field and a number of documents of a data set are sound
corpora:
  s: {dataset: small/reviews, split: train, text: review, group: label, documents: 64}

# Layers that a model lacks
models:
  mine: {source: path, path: mine}
extraction: {layers: [3, 0, 7]}
#> extraction.layers[2]: found layer 7, but model mine has layers 0 to 3
causal: null

# Interventions where some layers are measured
models:
  mine: {source: path, path: mine}
extraction: {layers: [3, 0]}
#> extraction.layers: found [0, 3] with interventions, which need all layers; expected causal:
#  null, or no layers

# The previous layer where layers have a gap
models:
  mine: {source: path, path: mine}
extraction: {layers: [3, 0]}
#> extraction.layers: found [0, 3], but regression a has previous_layer; expected layers
#  without a gap, or another covariate
regressions:
  a: {lags: [1], covariates: [previous_layer]}
  b: {lags: [1]}
causal: null

# A figure of a layer that is not measured
models:
  mine: {source: path, path: mine}
extraction: {layers: [3, 0]}
figures: {layers: [0, 1]}
#> figures.layers[1]: found layer 1, expected one of extraction.layers: [0, 3]
causal: null

# No layers
models:
  mine: {source: path, path: mine}
  deep: {source: path, path: deep}
causal:
extraction: {layers: []}  #> extraction.layers: found [], expected at least one entry

# A figure of a layer that the model in a folder lacks
models:
  mine: {source: path, path: mine}
figures: {layers: [2, 5]}
#> figures.layers[1]: found layer 5, but model mine has layers 0 to 3

# A figure of a layer that the model lacks by its stated number
models:
  tiny: {source: hub, repository: a/b, revision: c0, layers: 2}
figures:
  layers:
  - 1
  - 2  #> figures.layers[1]: found layer 2, but model tiny has layers 0 to 1

# A figure of a layer that the model with a mistake of its own lacks
models:
  tiny: {source: hub, repository: a b, revision: c0, layers: 2}
#> models.tiny.repository: found "a b", expected a repository, as in openai-community/gpt2
figures: {layers: [7]}

# A figure of a layer that two models lack
models: {older: {source: path, path: older}, images: {source: path, path: images}}
figures: {layers: [3, 4]}
#> figures.layers[1]: found layer 4, but model older has layers 0 to 3
#> figures.layers[1]: found layer 4, but model images has layers 0 to 3

# A stated number of layers that is not that of the fetched model
models: {fetched: {source: hub, repository: a/b, revision: $COMMIT, layers: 8}}
#> models.fetched.layers: found 8, but the model has 4 layers

# A stated width that is not that of the fetched model
models: {fetched: {source: hub, repository: a/b, revision: $COMMIT, width: 9}}
#> models.fetched.width: found 9, but the model has a width of 8

# A figure of a layer that the fetched model lacks
models: {fetched: {source: hub, repository: a/b, revision: $COMMIT}}
figures: {layers: [5]}
#> figures.layers[0]: found layer 5, but model fetched has layers 0 to 3

# A stated number of layers that is not that of the fetched model of a branch
models: {fetched: {source: hub, repository: a/b, revision: main, layers: 8, width: 8}}
#> models.fetched.layers: found 8, but the model has 4 layers

# A model of another repository is fetched anew and may have any size
models: {fetched: {source: hub, repository: a/c, revision: $COMMIT, layers: 8, width: 9}}
figures: {layers: [5, 8]}
#> figures.layers[1]: found layer 8, but model fetched has layers 0 to 7

# A model of another commit is fetched anew and may have any size
models: {fetched: {source: hub, repository: a/b, revision: $OTHER, layers: 8, width: 9}}
figures: {layers: [5, 8]}
#> figures.layers[1]: found layer 8, but model fetched has layers 0 to 7

# Two revisions of a step
models:
  a: {source: hub, repository: a/b, revision: c0, revisions: [step0, step-1, "2", x0]}
#> models.a.revisions: found "step0" and "x0", both of step 0, expected one of each step; a mapping,
#  as in {64: NAME}, states the steps

# A step with its unit
models:
  b: {source: hub, repository: a/b, revision: c0, revisions: {64: a, 64tokens: b}}
#> models.b.revisions: found the key "64tokens", expected the number of a step

# Text for revisions
models:
  c: {source: hub, repository: a/b, revision: c0, revisions: step0}
#> models.c.revisions: found "step0", expected a list, as in [step0, step64], or a mapping, as in
#  {64: NAME}

# No revisions
models:
  d: {source: hub, repository: a/b, revision: c0, revisions: []}
#> models.d.revisions: found [], expected at least one entry

# A number for a revision
models:
  e: {source: hub, repository: a/b, revision: c0, revisions: [64]}
#> models.e.revisions: found 64 in the list, expected text (quotes make it text)

# A step that is too large
models:
  f: {source: hub, repository: a/b, revision: c0, revisions: {0: a, 9999999999999: c}}
#> models.f.revisions: found the step 9999999999999, expected 0 to 1,000,000,000,000

# A revision with a space
models:
  g: {source: hub, repository: a/b, revision: c0, revisions: {0: "a b"}}
#> models.g.revisions[0]: found "a b", expected a commit, tag or branch

# Revisions of a package
models:
  h: {source: package, package: a, version: "1", file: a.gguf, sha256: $SHA, revisions: [step0]}
#> models.h.revisions: unknown key, expected one of $PACKAGE_KEYS;
#  did you mean 'version'?

# An earlier checkpoint whose folder is not there
models: {mine: {source: path, path: mine, revisions: [older, nowhere]}}
#> models.mine.revisions: found no folder 'nowhere' in HERE, expected a Hugging Face folder of an
#  earlier checkpoint

# A text as an earlier checkpoint
models: {mine: {source: path, path: mine, revisions: [words.txt]}}
#> models.mine.revisions: 'words.txt' is a file, expected a Hugging Face folder of an earlier
#  checkpoint

# An earlier checkpoint with more layers
models: {mine: {source: path, path: mine, revisions: {0: deep}}}
#> models.mine.revisions: found 5 layers in 'deep', but the model has 4 layers

# An earlier checkpoint that is wider
models: {mine: {source: path, path: mine, revisions: {0: older, 64: wide}}}
#> models.mine.revisions: found a width of 9 in 'wide', but the model has a width of 8

# An earlier checkpoint with more tokens
models: {mine: {source: path, path: mine, revisions: {256: worded}}}
#> models.mine.revisions: found 7 tokens in 'worded', but the model has 6 tokens

# Revisions without their control
models: {mine: {source: path, path: mine, revisions: [older]}}
#> models.mine.revisions: found revisions with controls.revisions: null, expected
#  controls.revisions: {documents: 16}, or no revisions
controls: {revisions: null}

# Too few documents for an interval
models: {mine: {source: path, path: mine, revisions: [older]}}
controls: {revisions: {documents: 1}}
#> controls.revisions.documents: found 1, expected at least 6, without which no interval is known

# Revisions without a regression of norms
models: {mine: {source: path, path: mine, revisions: [older]}}
#> models.mine.revisions: found revisions, but no regression of norms; expected one with outcome:
#  norm or relative, or no revisions
regressions: {a: {lags: [1], outcome: angle}}
"""


def parsed(case):
    """Return the text of the file of a case, and the lines about it."""
    lines, problems = [], []
    for line in case.replace("\n#  ", " ").splitlines():
        stated, _, problem = line.partition("#> ")
        if stated:
            lines.append(stated)
        if problem:
            problems.append(f"{FILE}:{len(lines)}: {problem}")
    sections = yaml.safe_load("\n".join(lines))
    if "models" not in sections:
        lines.append(TINY)
    if "corpora" not in sections:
        lines.append(WORDS)
    return "\n".join(lines), problems


CASES_BY_NAME = {
    case.partition("\n")[0].removeprefix("# "): parsed(case)
    for case in Template(CASES).substitute(SHARED_WORDS).split("\n\n")
}


@pytest.mark.parametrize("name", CASES_BY_NAME)
def test_a_mistake_is_exactly_these_lines(name):
    text, problems = CASES_BY_NAME[name]
    assert problems_of(text) == problems


SEVERAL = """\
models:
  mine: {source: path, path: mine}
  c: {source: hub, repository: a b, revision: 1234567}
#> models.c.repository: found "a b", expected a repository, as in openai-community/gpt2
#> models.c.revision: found 1234567, expected text (quotes make a number text)
regressions:
  b: {lags: [2, 1, 2], position_knots: [4, 16]}
#> regressions.b.lags: found 2 twice, expected each entry once
#> regressions.b.position_knots: found [4, 16], expected at least 3 entries
  m: {lags: [1], fixed_effects: document, bias_correction: half-panel}
inference: {folds: x, covariance: hac}
#> inference.folds: found "x", expected a whole number
#> inference.covariance: found hac, expected cluster, cluster-crv1 or cluster-jackknife:
#  regression m has bias_correction: half-panel, which supports no other errors; or
#  bias_correction: none
figures: {layers: [2, 5], formats: [swg]}
#> figures.formats[0]: found "swg", expected svg, png or pdf; did you mean 'svg'?
#> figures.layers[1]: found layer 5, but model mine has layers 0 to 3
"""


def test_all_mistakes_are_reported_at_once():
    """What is wrong by itself does not hide what does not go together."""
    text, problems = parsed(SEVERAL)
    assert problems_of(text) == problems


def test_a_wrong_key_does_not_hide_that_others_of_its_section_exclude_each_other():
    text, problems = parsed(
        """\
inference: {alpha: 3, covariance: hac, cluster: group}
#> inference.alpha: found 3, expected less than 1
#> inference.cluster: found cluster: group with covariance: hac, expected covariance: cluster,
#  cluster-crv1 or cluster-jackknife: the others know no clusters
"""
    )
    assert problems_of(text) == problems


def with_row(row):
    """Return a configuration that states a row of removed keys and values."""
    config = {
        "models": {"own": {"source": "path", "path": "mine"}},
        "corpora": {"own": {"files": ["words.txt"]}},
        "regressions": {"own": {"lags": [1]}},
    }
    key, _, value = row.partition("=")
    *sections, last = key.removesuffix(".*").split(".")
    item = yaml.safe_load(value) if value else 1
    place = config
    for name in sections:
        place = place.setdefault("own" if name == "*" else name, {})
    place[last] = [item] if key.endswith(".*") else item
    return config


@pytest.mark.parametrize("row", REMOVED)
def test_a_key_or_value_that_was_removed_is_answered_by_what_to_do_instead(row):
    key, _, value = row.partition("=")
    key = re.sub(r"\.\*$", "[0]", key).replace("*", "own")
    said = f"found {value}, which was removed" if value else "was removed"
    assert check(with_row(row))[1] == [f"configuration: {key}: {said}; {REMOVED[row]}"]


@pytest.mark.parametrize("raw", [None, {}, {"models": None}, {"corpora": "null"}])
def test_an_empty_configuration_lacks_corpora(raw):
    Path(FILE).write_text("")
    config, (problem,) = check(raw, [FILE])
    assert config is None
    assert "corpora: " in problem
    assert check({})[1] == [
        "configuration: corpora: is missing, expected the corpora, each under a name of your choice"
    ]


@pytest.mark.parametrize("raw", [[], ["models"], "models", 3])
def test_a_configuration_that_is_not_a_mapping_is_refused(raw):
    Path(FILE).write_text(json.dumps(raw))
    assert check(raw, [FILE]) == (None, [f"{FILE}: found {json.dumps(raw)}, {MAPPING}"])


EMPTY = ": found nothing in it, expected at least corpora, as in corpora: {mine: {files: my.txt}}"
BROKEN = {
    # the content of a file: what keeps it from being read
    b"": EMPTY,
    b"# nothing": EMPTY,
    b"- 1": f": found [1], {MAPPING}",
    b"a: 1\nb: [1\n": ":3: no YAML at column 1: while parsing a flow sequence expected ',' or ']', "
    "but got '<stream end>'",
    b"a:\n\tb: 1": ":2: no YAML at column 1: while scanning for the next token found character "
    "'\\t' that cannot start any token; expected spaces in place of a tab",
    b"files: *.txt": ":1: no YAML at column 9: while scanning an alias expected alphabetic or "
    "numeric character, but found '.'; expected quotes around a text that begins with '*'",
    b"a: 1\n---\nb: 2": ":2: no YAML at column 1: expected a single document in the stream but "
    "found another document",
    b"a: !!python/object:os.system [1]": ":1: no YAML at column 4: could not determine a "
    "constructor for the tag 'tag:yaml.org,2002:python/object:os.system'",
    b"a: b\0": ": no YAML: unacceptable character #x0000: special characters are not allowed in "
    '"<unicode string>", position 4',
    b"a: 1\nb: caf\xe9": ":2: found byte 0xe9 at offset 11, expected UTF-8",
    "a: 1".encode("utf-16"): ":1: found byte 0xff at offset 0, expected UTF-8",
    b"a: 1\n? [b]\n: 2": ":2: no YAML at column 3: while constructing a mapping found unhashable "
    "key",
    b"a: 1\nb: 2026-13-45": ": no YAML: month must be in 1..12",
}


@pytest.mark.parametrize(("content", "problem"), BROKEN.items(), ids=lambda value: value[:20])
def test_a_file_that_cannot_be_read_is_one_exact_line(content, problem):
    Path(FILE).write_bytes(content)
    assert reading_problems(FILE) == [f"{FILE}{problem}"]


def test_a_file_that_cannot_be_read_is_a_problem_of_the_configuration():
    """Snakemake may have read it before it was changed."""
    Path(FILE).write_text("a: [")
    assert check(yaml.safe_load(LEAST), [FILE]) == (None, reading_problems(FILE))


def test_every_repeated_key_is_one_line(subtests):
    """Snakemake would take the last value in silence. A key of a merge may be stated again."""
    merged = "x: &x {y: 1}\nz: {<<: *x, y: 2}\n"
    files = {
        f"{merged}a: 1\nb: {{'d e': [{{f: 1,\nf: 2, f: 3}}]}}\na: 2": (
            *['5: b."d e"[0].f: found this key in line 4'] * 2,
            "6: a: found this key in line 3",
        ),
        '{"a": {"b": 1,\n\t"b": 2}}': ["2: a.b: found this key in line 1"],
        # A section that is there twice is one mistake, whatever is in it.
        "a: {b: [1], c: 2}\na: {d: 1, b: [3]}\nd: 1": ["2: a: found this key in line 1"],
    }
    for text, problems in files.items():
        with subtests.test(text=text):
            Path(FILE).write_text(text)
            assert reading_problems(FILE) == [
                f"{FILE}:{one} too, expected it once" for one in problems
            ]


@pytest.mark.parametrize("figures", ["{formats: [pdf]}", "{sizes: [column]}", "{layers: [3]}"])
def test_one_format_size_or_layer_of_figures_is_enough(figures):
    assert problems_of(f"{LEAST}figures: {figures}\n") == []


@pytest.mark.parametrize("content", [LEAST, f"\ufeff{LEAST}", LEAST.replace("\n", "\r\n")])
def test_an_unusual_but_valid_file_is_accepted(content):
    Path(FILE).write_bytes(content.encode())
    assert reading_problems(FILE) == []
    assert check(yaml.safe_load(LEAST), [FILE])[1] == []


def test_a_path_that_is_not_a_file_is_refused():
    assert reading_problems("pipe") == ["pipe: is a pipe, expected a file"]
    assert reading_problems("texts") == ["texts: is a folder, expected a file"]
    assert reading_problems("word.txt") == ["word.txt: no such file; did you mean 'words.txt'?"]


NO_TEXT = b"\xff.txt".decode(errors="surrogateescape")
NAMES = {
    **dict.fromkeys(["a\x1b[2J.txt", "a\n.txt", NO_TEXT], "cannot be printed"),
    **dict.fromkeys(["{corpus}.txt", "<results>.txt"], "brackets"),
}


@pytest.mark.parametrize(("name", "reason"), NAMES.items())
def test_names_that_no_job_can_be_given_are_refused(name, reason):
    """The problem is found even if a glob matches the name."""
    Path("odd").mkdir()
    Path("odd", name).write_text("words")
    Path("models", name).mkdir(parents=True)
    Path("models", name, "config.json").write_text("{}")
    # YAML cannot hold what is no text, so that the path of the model is missing.
    path = {} if name == NO_TEXT else {"path": f"models/{name}"}
    raw = {"models": {"mine": {"source": "path", **path}}, "corpora": {"a": {"files": "odd/*"}}}
    _, problems = check(raw)
    assert len(problems) == 2
    assert sum(reason in problem for problem in problems) == 2 - (name == NO_TEXT)


def test_values_from_the_command_line_have_no_line():
    text = f"{LEAST}inference:\n  alpha: 0.05\n"
    models = {**yaml.safe_load(TINY)["models"], "more": {"source": "hub", "repository": "a/b"}}
    inference = {"alpha": "2", "folds": "x", "fold": "5"}
    assert problems_of(text, inference=inference, models=models, regressions="") == [
        "command line: models.more.revision: is missing, expected the commit (best), tag or "
        "branch; the run records the commit that it found",
        'command line: regressions: found "", expected a mapping, as in {name: {key: value}}',
        'command line: inference.alpha: found "2", expected less than 1',
        'command line: inference.folds: found "x", expected a whole number',
        "command line: inference.fold: unknown key, expected one of equivalence_bound, alpha, "
        "bootstrap, seed, covariance, cluster, adjust, folds, hac_lags; did you "
        "mean 'folds'?",
    ]


def test_a_problem_names_its_line_in_the_right_one_of_two_files():
    """The second is JSON with tabs, which YAML refuses; Snakemake tries to read JSON first."""
    Path("first.yaml").write_text(f"{LEAST}norms: {{drop_first: -1}}\ninference: {{folds: 1}}\n")
    second = {"inference": {"folds": 0, "equivalence_bound": 1e-9}}
    Path("second.yaml").write_text(json.dumps(second, indent="\t"))
    assert reading_problems("second.yaml") == []
    assert read_yaml(Path("second.yaml")).values == load_configfile("second.yaml") == second
    raw = yaml.safe_load(LEAST) | {"norms": {"drop_first": -1}} | second
    assert check(raw, iter(["first.yaml", "second.yaml"]))[1] == [
        "first.yaml:3: norms.drop_first: found -1, expected at least 0",
        "second.yaml:3: inference.folds: found 0, expected at least 2",
    ]


def test_a_problem_in_a_section_of_a_file_has_its_line_and_whole_key():
    """Another workflow keeps this configuration in a section of its own file."""
    section = f"{LEAST}inference: {{covariance: clustr}}\ncolour: red\n"
    text = "models: 1\nours:\n  deep:\n" + indent(section, "    ")
    Path(FILE).write_text(text)
    whole_file = yaml.safe_load(text)
    Path("other.yaml").write_text("mine: 1")

    def keys_of(raw, *files):
        return [": ".join(problem.split(": ")[:2]) for problem in check(raw, files)[1]]

    assert keys_of(whole_file["ours"]["deep"], "other.yaml", FILE) == [
        f"{FILE}:6: ours.deep.inference.covariance",
        f"{FILE}:7: ours.deep.colour",
    ]
    # All of the file, and what the other workflow has made up by itself.
    assert f"{FILE}:1: models" in keys_of(whole_file, FILE)
    made_up = {**whole_file["ours"]["deep"], "figures": {}}
    Path(FILE).write_text("ours:" + text.partition("ours:")[2])
    known = ["configuration: inference.covariance", "configuration: colour"]
    assert keys_of(made_up, FILE) == known


@pytest.mark.parametrize(
    "value", ["off", "yes", "0o17", "017", "1e3", "1_0", "1:30", "y", "2026-01-01", "~", "'5'"]
)
def test_the_values_checked_are_those_that_snakemake_reads(value):
    """Snakemake reads YAML 1.1 with PyYAML. Each mistake has its line in the file."""
    Path(FILE).write_text(f"{LEAST}figures:\n  layers: {value}\n")
    in_force = load_configfile(FILE)
    reading = read_yaml(Path(FILE))
    assert reading.values == in_force
    assert type(reading.values["figures"]["layers"]) is type(in_force["figures"]["layers"])
    problems = check(in_force, [FILE])[1]
    assert [problem.split(":")[:2] for problem in problems] == [[FILE, "4"]] * (value != "~")


@pytest.mark.parametrize("name", ["y", "'yes'", "no", "12"])
def test_a_problem_has_the_line_of_its_name_even_if_yaml_reads_a_number(name):
    problems = problems_of(f"{LEAST}regressions:\n  a: {{lags: [1]}}\n  {name}: {{lags: [0]}}\n")
    assert {int(problem.split(":")[1]) for problem in problems} == {5}


OPTIONAL = [
    name
    for name, field in Config.model_fields.items()
    if not field.is_required() and name not in ("models", "causal", "sources", "controls")
]
# Sections as written, and what they mean. Quoted values are text from the command line; YAML reads
# the bare word off as false.
MEANT = """\
{norms: {drop_first: null}, causal: {lags: null}} = {}
{corpora: {words: {files: [words.txt], id: null, text: null, shards: null}}} = {}
{inference: {alpha: '0.5', folds: '3'}} = {inference: {alpha: 0.5, folds: 3}}
{tokens: {max_length: 'null', prepend_bos: 'true'}} = {tokens: {prepend_bos: true}}
{regressions: {more: {lags: ['1', '2']}}} = {regressions: {more: {lags: [1, 2]}}}
{figures: 'null'} = {}
{extraction: {fast: off}} = {extraction: {fast: 'false'}}
{extraction: {sites: [block, mlp, attention]}} = {extraction: {sites: [attention, mlp, block]}}
{regressions: {a: {lags: [1], covariates: [previous_layer, group, position, log_frequency]}}} =
  {regressions: {a: {lags: [1], covariates: [log_frequency, position, group, previous_layer]}}}
"""
SPELLED = re.findall(r"(\{.*) =\s+(.*)\n", MEANT)
SPELLED += [(f"{name}: null", "{}") for name in OPTIONAL]
SPELLED += [("".join(f"{name}: null\n" for name in OPTIONAL), "{}")]


@pytest.mark.parametrize(("written", "meant"), SPELLED)
def test_a_configuration_means_the_same_written_otherwise(written, meant):
    assert checked(**yaml.safe_load(written)) == checked(**yaml.safe_load(meant))


REVISIONS = {
    # as stated: the names by step
    "[step0, step64, step512]": {0: "step0", 64: "step64", 512: "step512"},
    "[main, earlier]": {0: "main", 1: "earlier"},
    "[step1000-tokens4B, stage2/ckpt_128]": {128: "stage2/ckpt_128", 1000: "step1000-tokens4B"},
    "[v1.5-step8, 3b-x]": {1: "3b-x", 8: "v1.5-step8"},
    "{512: late, 0: early}": {0: "early", 512: "late"},
    "{'512': late, 0: early}": {0: "early", 512: "late"},
    "null": None,
}


@pytest.mark.parametrize("written", REVISIONS)
def test_revisions_have_the_step_in_their_name_or_their_place(written):
    model = {"source": "hub", "repository": "a/b", "revision": "c0"}
    stated = {**model, "revisions": yaml.safe_load(written)}
    source = checked(models={"tiny": stated}).models["tiny"]
    assert source.revisions == REVISIONS[written]
    assert list(source.revisions or {}) == sorted(source.revisions or {})
    assert source.origin() == checked(models={"tiny": model}).models["tiny"].origin()
    for step, keys in source.checkpoints().items():
        assert keys == {**model, "revision": REVISIONS[written][step]}


@pytest.mark.parametrize("null", [None, "null"])
def test_null_turns_a_part_off_and_an_omitted_one_stays_on(null):
    assert checked(causal=null).causal is None
    assert checked(causal=null).sites_changed() == []
    assert checked().sites_changed() == ["attention"]
    controls = checked(controls={"permutation": null}).controls
    assert controls.permutation is None
    assert controls.random_weights.documents == 12
    assert checked(controls={"random_weights": null}).controls.random_weights is None
    assert checked().controls.permutation.draws == 200


def test_defaults_are_not_shared():
    checked().extraction.sites.append("attention")
    assert checked().extraction.sites == ["attention"]


def test_files_and_folders_of_results_are_names_that_are_taken():
    files = {"answers.txt", "README.md", "provenance.json", "layers_fitted.txt", "explorer.html"}
    files |= {"numbers.tex"}  # of a paper
    tables = {"claims.csv", "claims.parquet"}
    assert files | tables | {"activations", "sources"} < reserved_names()


def test_files_of_expands_globs_in_order_and_once(folder):
    Path("odd[1].txt").write_text("its name looks like a glob")
    files = ["texts/b.txt", "texts/*.txt", "./texts/a.md", "texts/**/*.txt", "odd[1].txt"]
    config = checked(corpora={"words": {"files": files}})
    names = ["b.txt", "a.txt", "a.md", "inner/c.txt"]
    assert config.files_of("words") == [*(f"texts/{name}" for name in names), "odd[1].txt"]
    config = checked(corpora={"words": {"files": f"{folder}/texts/*.txt"}})
    assert config.files_of("words") == [f"{folder}/texts/a.txt", f"{folder}/texts/b.txt"]


def load(name):
    return yaml.safe_load((ROOT / "config" / name).read_text(encoding="utf-8"))


@pytest.fixture
def in_project(monkeypatch):
    monkeypatch.chdir(ROOT)


def test_the_default_file_states_every_default(in_project, subtests):
    stated = load("config.yaml")
    config = sound(stated)
    # Corpora alone are a configuration. That of the file has parts of speech, which others need
    # not have, and its model states its size.
    defaults = sound({"corpora": stated["corpora"]})
    defaults.regressions["notebook"].slopes_by = {"upos": "outcome"}
    (model,) = config.models.values()
    model.layers = model.width = None
    assert config == defaults
    assert config.regressions["within"].bias_correction == "half-panel"
    assert list(stated) == list(Config.model_fields)
    for section in ("tokens", "extraction", "norms", "inference", "causal", "figures"):
        with subtests.test(section=section):
            assert set(stated[section]) == set(getattr(config, section).model_dump()), section


def test_the_regressions_in_comments_of_the_default_file_have_no_problems(in_project):
    text = Path("config/config.yaml").read_text(encoding="utf-8")
    before, regressions, after = re.split(r"(?s)(\nregressions:\n.*?)(?=\ninference:\n)", text)
    regressions = re.sub(r"^  # (  )?(\w+:)", r"  \1\2", regressions, flags=re.M)
    config = sound(yaml.safe_load(before + regressions + after))
    assert list(config.regressions) == ["within", "notebook", "lead"]


def test_a_path_that_is_relative_to_the_configuration_says_where_it_would_be(tmp_path):
    """Paths are relative to where snakemake runs; a user may expect the folder of the file."""
    study = Path("elsewhere/study")
    (study / "letters").mkdir(parents=True)
    (study / "letters/a.txt").write_text("A text.")
    (study / "models/mine").mkdir(parents=True)
    raw = {
        "corpora": {
            "a": {"files": "letters/a.txt"},
            "b": {"files": "letters/*.txt"},
            "c": {"files": "letters/b.txt"},
            "d": {"files": "letters/**/a.*"},
        },
        "models": {"mine": {"source": "path", "path": "models/mine"}},
    }
    file = study / "letters.yaml"
    file.write_text(yaml.safe_dump(raw, sort_keys=False))
    here = f"in '{Path.cwd()}', where snakemake runs"
    there = f"but in '{study.resolve()}', the folder of the configuration: run snakemake there, or"
    expected = {
        f"found no file 'letters/a.txt' {here}, {there} write 'elsewhere/study/letters/a.txt'",
        f"'letters/*.txt' matches no file {here}, {there} write 'elsewhere/study/letters/*.txt'",
        f"found no file 'letters/b.txt' {here}",
        f"'letters/**/a.*' matches no file {here}, {there} write 'elsewhere/study/letters/**/a.*'",
        f"found no folder 'models/mine' {here}, {there} write 'elsewhere/study/models/mine'",
    }
    problems = check(raw, [file])[1]
    assert {re.sub(r"^.*(files|path)(\[0\])?: ", "", line) for line in problems} == expected


FAMILY = {"distilgpt2": (6, 768), "gpt2": (12, 768), "gpt2-medium": (24, 1024)}
FAMILY |= {"gpt2-large": (36, 1280), "gpt2-xl": (48, 1600)}


def test_the_gpt2_file_lacks_a_text_and_lists_the_gpt2_family_in_lines_to_uncomment(subtests):
    # In a folder of its own: a user's text may lie in the project's.
    file = ROOT / "config/gpt2.yaml"
    text, stated = file.read_text(encoding="utf-8"), load(file.name)
    line = text[: text.index("files:")].count("\n") + 1
    problem = f"{file}:{line}: corpora.text.files[0]: found no file 'data/text.txt' in "
    problem += f"'{Path.cwd()}', where snakemake runs"
    assert check(stated, [file])[1] == [problem]
    Path("data/text.txt").write_text("A text.")
    assert list(sound(stated, file).models) == ["gpt2"]
    text = re.sub(r"^  # ([\w-]+: \{source: )", r"  \1", text, flags=re.M)
    models = sound(yaml.safe_load(text)).models
    assert {name: (model.layers, model.width) for name, model in models.items()} == FAMILY
    assert len({model.revision for model in models.values()}) == len(FAMILY)
    for name, model in models.items():
        with subtests.test(name=name):
            assert model.repository.split("/")[1] == name
            assert re.fullmatch("[0-9a-f]{40}", model.revision)


@pytest.mark.parametrize("page", ["corpora", "families", "gpu", "models"])
def test_the_examples_of_a_page_are_well_formed(page):
    text = (ROOT / f"docs/{page}.md").read_text(encoding="utf-8")
    examples = re.findall(r"^```yaml\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert examples
    for example in examples:
        Config.model_validate({**yaml.safe_load(LEAST), **yaml.safe_load(example)})


def test_the_study_asks_for_effects_between_all_pairs_of_layers(in_project):
    causal = sound(load("study.yaml")).causal
    assert (causal.targets, causal.documents) == ("all", "all")
    assert causal.sign_draws > causal.lags


def test_the_models_ask_for_nothing_but_the_terms_of_one(in_project):
    values = load("models.yaml")
    _, (problem,) = check(values, ["config/models.yaml"])
    assert "models.gemma-3-270m.accept_terms: found false, expected true" in problem
    values["models"]["gemma-3-270m"]["accept_terms"] = True
    sound(values)


def numbers(part, path=""):
    """Yield the path of each number in a schema with what is stated of it."""
    if isinstance(part, dict):
        if part.get("type") in ("integer", "number"):
            yield path, part
        for key, inner in part.items():
            yield from numbers(inner, f"{path}.{key}")
    elif isinstance(part, list):
        for place, inner in enumerate(part):
            yield from numbers(inner, f"{path}[{place}]")


def test_every_number_states_its_least_and_its_largest_value(subtests):
    stated = dict(numbers(Config.model_json_schema()))
    assert len(stated) > 30
    for path, part in stated.items():
        with subtests.test(path=str(path)):
            assert {"minimum", "exclusiveMinimum"} & part.keys(), path
            assert {"maximum", "exclusiveMaximum"} & part.keys(), path


@pytest.mark.parametrize(
    ("key", "largest"),
    [
        ("inference.bootstrap", "10,000,000"),
        ("inference.seed", "4,294,967,295"),
        ("inference.folds", "1,000,000,000"),
        ("controls.permutation.draws", "100,000"),
        ("corpora.words.shards", "100,000"),
        ("causal.documents", "1,000,000,000, or all"),
        ("causal.lags", "10,000"),
        ("causal.targets", "a number of layers"),
        ("tokens.max_length", "1,000,000,000"),
    ],
)
@pytest.mark.parametrize("number", [10**18, 10**400])
def test_a_number_without_bounds_is_refused(key, largest, number):
    config = yaml.safe_load(LEAST)
    *sections, last = key.split(".")
    place = config
    for section in sections:
        place = place.setdefault(section, {})
    place[last] = number
    (problem,) = check(config)[1]
    assert problem.startswith(f"configuration: {key}: found 10000000")
    assert largest in problem


def test_the_public_series_has_twelve_checkpoints_of_a_model(in_project):
    config = sound(load("pythia.yaml"))
    (model,) = config.models.values()
    assert len(model.revisions) == 12
    assert all(name == f"step{step}" for step, name in model.revisions.items())
    assert config.models_with_revisions() == ["pythia-160m"]
    assert config.regressions_of_training() == ["within"]


def test_the_trained_series_has_the_checkpoints_that_are_trained(subtests):
    stated = load("training.yaml")
    text = (ROOT / "benchmarks/train_checkpoints.py").read_text(encoding="utf-8")
    (steps,) = re.findall(r"^CHECKPOINTS = (\(.*\))$", text, re.M)
    assert sorted(stated["models"]) == sorted(re.findall(r'Run\("([\w-]+)"', text))
    for name, model in stated["models"].items():
        with subtests.test(name=name):
            folders = [f"data/training/{name}/step{step}" for step in ast.literal_eval(steps)]
            assert model["revisions"] == folders
            assert model["path"] == f"data/training/{name}/final"


SHIPPED = ["config.yaml", "gpt2.yaml", "models.yaml", "pythia.yaml", "study.yaml", "training.yaml"]


@pytest.mark.parametrize("name", SHIPPED)
def test_the_schema_accepts_the_shipped_files_and_rejects_mistakes(name):
    schema = load("../workflow/schemas/config.schema.yaml")
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    config = load(name)
    assert [error.message for error in validator.iter_errors(config)] == []
    config["modelz"] = config["models"]["a b"] = 1
    config["figures"] = {"layers": [-1]}
    assert len(list(validator.iter_errors(config))) >= 4
