"""Check of the user's texts when the workflow is read, before any job."""

from pathlib import Path

from attnlag.config.schema import Config
from attnlag.config.values import tokens_needed
from attnlag.corpus.documents import Tally, read_documents, shards_problem
from attnlag.errors import UserError, counted
from attnlag.pipeline import stages
from attnlag.regression.limits import MIN_DOCUMENTS

# Larger corpora, in bytes, are checked by the job that reads them: this check is made each time.
MAX_READ = 5_000_000

# A text has at most a token for each byte, and these.
SPECIAL_TOKENS = 3


def problems(config: Config) -> list[str]:
    """Return the problems of the corpora whose files are small enough to be read at once."""
    lines = []
    for name, corpus in config.corpora.items():
        files = config.files_of(name)
        if corpus.dataset:
            # It may not have been fetched yet.
            continue
        if sum(Path(file).stat().st_size for file in files) > MAX_READ:
            continue
        tally = Tally()
        longest = 0
        settings = stages.corpus_settings(config, stages.Names(corpus=name))
        try:
            for document in tally.counting(read_documents(files, settings)):
                longest = max(longest, len(document.text.encode()))
        except UserError as error:
            lines += error.problems
            continue
        problem = shards_problem(name, corpus.shards, tally.documents)
        if problem:
            lines.append(problem)
        groups = len(tally.groups)
        if config.inference.cluster == "group" and groups < MIN_DOCUMENTS <= tally.documents:
            lines.append(
                f"inference.cluster: found group, but corpora.{name} has "
                f"{counted(groups, 'group')}, expected at least {MIN_DOCUMENTS}; or document"
            )
        lines += _of_regressions(config, name, longest + SPECIAL_TOKENS, groups)
    return lines


def _of_regressions(config: Config, corpus: str, longest: int, groups: int) -> list[str]:
    """Return the problems of regressions with the texts of a corpus.

    No text has more than ``longest`` tokens; ``groups`` is the number of groups of its documents.
    """
    lines = []
    for name, regression in config.regressions.items():
        needed, key, found = tokens_needed(config, regression)
        if longest < needed:
            lines.append(
                f"regressions.{name}.{key}: {found}, but the longest text of corpora.{corpus} has "
                f"{longest - SPECIAL_TOKENS:,} bytes, so at most {longest:,} tokens"
            )
        if "group" in regression.covariates and groups == 1:
            lines.append(
                f"regressions.{name}.covariates: found group, but corpora.{corpus} has 1 group, so "
                "it is constant; expected several groups, or another covariate"
            )
    return lines
