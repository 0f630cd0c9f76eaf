"""Problems of the earlier checkpoints that models state, and of their control."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from attnlag.config.folders import folder_problem, sizes_of_folder
from attnlag.config.reading import KeyPath
from attnlag.config.schema import Config
from attnlag.model.settings import PathSource
from attnlag.regression.limits import MIN_DOCUMENTS

SIZE_IN_WORDS = {"layers": "{} layers", "width": "a width of {}", "vocabulary": "{} tokens"}


def revision_problems(config: Config) -> Iterator[tuple[KeyPath, str]]:
    """Yield what is wrong with revisions, each with the key that it is about."""
    with_revisions = [name for name, model in config.models.items() if model.checkpoints()]
    control = config.controls.revisions
    for name in with_revisions:
        key: KeyPath = ("models", name, "revisions")
        if control is None:
            yield (
                key,
                "found revisions with controls.revisions: null, expected "
                "controls.revisions: {documents: 16}, or no revisions",
            )
        elif config.regressions and not config.regressions_of_training():
            yield (
                key,
                "found revisions, but no regression of norms; expected one with outcome: norm or "
                "relative, or no revisions",
            )
        model = config.models[name]
        if isinstance(model, PathSource):
            sizes = sizes_of_folder(model.path)
            for folder in (model.revisions or {}).values():
                for problem in _folder_problems(folder, sizes):
                    yield key, problem
    documents = control.documents if control else "all"
    if with_revisions and documents != "all" and documents < MIN_DOCUMENTS:
        yield (
            ("controls", "revisions", "documents"),
            f"found {documents}, expected at least {MIN_DOCUMENTS}, without which no interval "
            "is known",
        )


def _folder_problems(folder: Path, sizes: Mapping[str, int]) -> Iterator[str]:
    """Yield what is wrong with the folder of a checkpoint of a model of some sizes."""
    problem = folder_problem(folder, "expected a Hugging Face folder of an earlier checkpoint")
    if problem:
        yield problem
        return
    own = sizes_of_folder(folder)
    for size, words in SIZE_IN_WORDS.items():
        if size in own and size in sizes and own[size] != sizes[size]:
            found = words.format(own[size])
            expected = words.format(sizes[size])
            yield f"found {found} in '{folder}', but the model has {expected}"
