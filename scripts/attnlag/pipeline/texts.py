"""Check of the user's texts when the workflow is read, before any job."""

from pathlib import Path

from attnlag.config.schema import Config
from attnlag.corpus.documents import Tally, read_documents, shards_problem
from attnlag.errors import UserError, counted
from attnlag.pipeline import stages
from attnlag.regression.limits import MIN_DOCUMENTS

# Larger corpora, in bytes, are checked by the job that reads them: this check is made each time.
MAX_READ = 5_000_000


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
        settings = stages.corpus_settings(config, stages.Names(corpus=name))
        try:
            for _ in tally.counting(read_documents(files, settings)):
                pass
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
    return lines
