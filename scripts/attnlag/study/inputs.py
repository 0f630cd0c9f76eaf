"""What the library is given in a notebook: a model, its tokenizer, and texts."""

import contextlib
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import torch

from attnlag.corpus.alignment import token_texts
from attnlag.corpus.documents import Document, Tally, value_problem
from attnlag.corpus.settings import Tokens
from attnlag.corpus.tokens import tokenize, within_vocabulary
from attnlag.errors import UserError, shown
from attnlag.model.checks import context_length
from attnlag.model.decoder import vocabulary_of


def prepared(
    model: Any,
    tokenizer: Any,
    texts: Sequence[str] | Mapping[str, str] | pd.Series,
    groups: Sequence[str] | None,
    settings: Tokens,
    name: str | None,
) -> tuple[Any, str, list[Document], pd.DataFrame]:
    """Return a model without a wrapper, its name, the documents, and their tokens.

    Parameters and errors are those of `measure`.

    Raise UserError as `measure` does.
    """
    if not getattr(tokenizer, "is_fast", False):
        raise UserError(
            f"tokenizer: found {type(tokenizer).__name__}, which gives no character offsets; "
            "expected a fast tokenizer, as AutoTokenizer.from_pretrained returns"
        )
    documents = _documents(texts, groups)
    text_of = {document.id: document.text for document in documents}
    model = unwrapped(model)
    name = name_of(model, name)
    base_model: Any = getattr(model, "base_model", model)
    context = context_length(base_model.config.get_text_config())
    if context and settings.max_length and settings.max_length > context:
        raise UserError(
            f"max_length: found {settings.max_length:,}, expected at most {context:,}, the context "
            "length of the model"
        )
    sequences = tokenize(
        [(list(text_of), list(text_of.values()))],
        tokenizer,
        {},
        **settings.changed(max_length=settings.max_length or context).model_dump(),
    )
    embedded = vocabulary_of(base_model, name)
    (sequences_of_model,) = within_vocabulary(sequences, embedded, "tokenizer")
    return model, name, documents, _tokens(sequences_of_model, text_of)


def _documents(
    texts: Sequence[str] | Mapping[str, str] | pd.Series, groups: Sequence[str] | None
) -> list[Document]:
    """Return texts as documents, or raise UserError; warn if a text occurs more than once."""
    if isinstance(texts, str):
        raise UserError("texts: found one text, expected a list of texts")
    if isinstance(texts, pd.DataFrame):
        raise UserError("texts: found a data frame, expected one column of it, as in frame['text']")
    if not isinstance(texts, Iterable):
        raise UserError(f"texts: found {shown(texts)}, expected a list of texts")
    if groups is not None and not isinstance(groups, Iterable):
        raise UserError(f"groups: found {shown(groups)}, expected a group for each text")
    keyed = texts.items() if isinstance(texts, Mapping | pd.Series) else enumerate(texts)
    text_of: dict[str, str] = {}
    for key, text in keyed:
        document = str(key)
        if document in text_of:
            raise UserError(f"texts: found the id '{document}' twice, expected an id for each text")
        text_of[document] = text
        problem = value_problem("text", document, text_of)
        if problem:
            raise UserError(f"texts, '{document}': {problem}")
    if not text_of:
        raise UserError("texts: found none, expected at least one")
    group_of = ["all"] * len(text_of) if groups is None else list(map(str, groups))
    if len(group_of) != len(text_of):
        raise UserError(
            f"groups: found {len(group_of)} for {len(text_of)} texts, expected one each"
        )
    tally = Tally()
    documents = list(tally.counting(map(Document, text_of, group_of, text_of.values())))
    if tally.notice:
        warnings.warn(tally.notice, stacklevel=4)  # the line of the user
    return documents


def unwrapped(model: Any) -> Any:
    """Return the model of transformers in a wrapper of PEFT, TransformerLens or nnsight.

    The first two hold their adapters and hooks in its modules. Raise UserError if there is none, or
    if nnsight has not loaded its weights.
    """
    if isinstance(model, str | Path):
        raise UserError("model: found a path or name, expected a model, as from_pretrained returns")
    # nnsight and nnterp, which are no modules, state the attribute in their guides.
    inside = getattr(model, "_model", None)
    if not isinstance(model, torch.nn.Module) and isinstance(inside, torch.nn.Module):
        if any(weights.is_meta for weights in inside.parameters()):
            raise UserError(
                f"model: found {type(model).__name__} without weights, expected them to be loaded, "
                "by model.dispatch()"
            )
        return inside
    original = getattr(model, "original_model", None)
    if isinstance(original, torch.nn.Module):
        return original
    get_base_model = getattr(model, "get_base_model", None)
    if get_base_model is None:
        if isinstance(model, torch.nn.Module) and hasattr(model, "config"):
            return model
        found = type(model).__name__
        raise UserError(f"model: found {found}, expected a model, as from_pretrained returns")
    if getattr(getattr(model, "active_peft_config", None), "is_prompt_learning", False):
        raise UserError(
            "model: found a PEFT wrapper with a learned prompt; expected a model without one, or "
            "adapters in its modules"
        )
    return get_base_model()


def name_of(model: Any, name: str | None) -> str:
    """Return the name of a model without a wrapper, which the user may have given.

    Without one, it is the last part of the path that the model is from, or the name of its class.
    Raise UserError if the name is no text.
    """
    if name is not None and not isinstance(name, str):
        raise UserError(f"name: found {shown(name)}, expected text")
    path = str(getattr(model, "name_or_path", "")).rstrip("/")
    return name or path.rpartition("/")[2] or type(model).__name__


def _tokens(sequences: pa.Table, texts: Mapping[str, str]) -> pd.DataFrame:
    """Return a row per token of some sequences, with its piece of the text."""
    frames: list[pd.DataFrame] = []
    for row in sequences.to_pylist():
        text = texts[row["document"]]
        columns = {
            "document": row["document"],
            "window": row["window"],
            "position": np.arange(len(row["input_ids"])),
            "token_id": row["input_ids"],
            "token": token_texts(text, row["char_start"], row["char_end"]),
        }
        frames.append(pd.DataFrame(columns))
    return pd.concat(frames, ignore_index=True)


@contextlib.contextmanager
def evaluated(model: torch.nn.Module) -> Iterator[None]:
    """Put a model into evaluation mode; in the end restore modes, gradient flags and threads."""
    modes = {module: module.training for module in model.modules()}
    gradients = {parameter: parameter.requires_grad for parameter in model.parameters()}
    threads = torch.get_num_threads()
    model.eval()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        for module, mode in modes.items():
            module.training = mode
        for parameter, gradient in gradients.items():
            parameter.requires_grad_(gradient)
