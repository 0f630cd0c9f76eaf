"""The adjustments of a loaded model to the tokens of some texts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from tqdm import tqdm

from attnlag.adjustments.batches import runs
from attnlag.adjustments.extraction import Adjustments
from attnlag.adjustments.norms import l2_norms, relative_norms
from attnlag.adjustments.sites import SITES
from attnlag.corpus.tokens import tokenize
from attnlag.errors import UserError, counted, nearest
from attnlag.escaping import text_for
from attnlag.model.checks import context_length
from attnlag.model.hooks import STREAM


@dataclass
class Measurement:
    """Adjustments of a model to the tokens of some texts.

    Attributes
    ----------
    model : str
        Name of the model.
    texts : dict of str to str
        Texts by document id.
    groups : dict of str to str
        Group of each document, in the same order.
    tokens : pandas.DataFrame
        One row per token: ``document``, ``window``, ``position``, ``token_id`` and ``token``,
        the token's piece of the text.
    sizes : dict of str to (layers, tokens) float32 array
        L2 norms of the adjustments by site, in units of the residual stream.
    stream : (layers, tokens) float32 array
        L2 norms of the residual stream that each block receives.
    vectors : dict of str to list of (tokens, width) float32 arrays
        Adjustment vectors by site, one array per layer; empty unless requested.
    identity_error : float
        Difference between block input + adjustments and block output in the first batch,
        relative to the size of the block output.
    """

    model: str
    texts: dict[str, str]
    groups: dict[str, str]
    tokens: pd.DataFrame
    sizes: dict[str, np.ndarray]
    stream: np.ndarray
    vectors: dict[str, list[np.ndarray]] = field(repr=False)
    identity_error: float

    @property
    def sites(self) -> list[str]:
        """Names of the sites that were measured."""
        return list(self.sizes)

    @property
    def layers(self) -> int:
        """Number of layers."""
        return len(self.stream)

    @cached_property
    def norms(self) -> pd.DataFrame:
        """One row per site, layer and token: the columns of ``tokens``, ``norm`` and ``relative``.

        ``norm`` is the L2 norm of the adjustment; ``relative`` is this norm divided by that of
        the residual stream that the block receives.
        """
        frames = [
            self.tokens.assign(
                site=site,
                layer=layer,
                norm=norms[layer],
                relative=relative_norms(norms[layer], self.stream[layer]),
            )
            for site, norms in self.sizes.items()
            for layer in range(self.layers)
        ]
        return pd.concat(frames, ignore_index=True)

    def __repr__(self) -> str:
        return (
            f"{self.model}: {', '.join(self.sites)} in {counted(self.layers, 'layer')}, "
            f"{counted(len(self.tokens), 'token')} of {counted(len(self.texts), 'document')}; "
            f"block input + adjustments = block output within {self.identity_error:.1e}"
        )

    def _repr_html_(self) -> str:
        by_layer = self.norms.groupby(["layer", "site"])[["norm", "relative"]].median().unstack()
        table = by_layer.to_html(float_format="{:.3g}".format, max_rows=12)
        return f"<p>{text_for('html', repr(self))}</p><p>Medians over the tokens:</p>{table}"


def measure(
    model: torch.nn.Module,
    tokenizer: Any,
    texts: Sequence[str] | Mapping[str, str],
    *,
    sites: Sequence[str] = ("attention",),
    groups: Sequence[str] | None = None,
    keep: str = "norms",
    max_length: int | None = None,
    prepend_bos: str | bool = "auto",
    batch_tokens: int = 4096,
    modules: Mapping[str, Any] | None = None,
    name: str | None = None,
    progress: bool = True,
) -> Measurement:
    """Measure the adjustments of a model to each token of some texts.

    The sites are proved on the first batch: block input + attention adjustment + MLP adjustment =
    block output. The model stays on its device and in its precision, and its weights do not change.

    Parameters
    ----------
    model : transformers.PreTrainedModel
        With or without a head, on any device.
    tokenizer : transformers.PreTrainedTokenizerFast
        The tokenizer of the model.
    texts : sequence of str, or mapping of str to str
        Documents, or documents by id; the ids of a sequence are "0", "1", …
    sites : sequence of str
        ``"attention"``, ``"mlp"``, or ``"block"`` for the sum of both.
    groups : sequence of str, optional
        A group, such as a genre, for each text.
    keep : {"norms", "vectors"}
        Whether to keep the vectors in addition to the norms: 4 bytes × width × layers × sites
        per token.
    max_length : int, optional
        Longest sequence in tokens; longer texts are split into windows. The default is the
        model's context length.
    prepend_bos : {"auto", True, False}
        Whether each sequence begins with the begin-of-sequence token; ``"auto"`` does what the
        tokenizer does by default.
    batch_tokens : int
        Tokens in one forward pass, including padding.
    modules : mapping, optional
        Paths of the blocks and sublayers, for an unknown type of model.
    name : str, optional
        Name of the model; by default the last part of ``model.name_or_path``.
    progress : bool
        Whether a progress bar is shown.

    Returns
    -------
    measurement : Measurement

    Raises
    ------
    UserError
        If there is no text, a site is unknown, the tokenizer is not a fast one, or the proof of
        the sites fails.

    Examples
    --------
    >>> import torch, transformers, attnlag
    >>> config = transformers.GPT2Config(n_layer=2, n_embd=32, n_head=2)
    >>> _ = torch.manual_seed(0)
    >>> model = transformers.GPT2LMHeadModel(config)
    >>> measured = attnlag.measure(model, tokenizer, ["The river ran low that summer."])
    >>> measured.norms[["token", "layer", "norm"]].head(2).round(3)
        token  layer   norm
    0     The      0  0.029
    1   river      0  0.022
    """
    if unknown := [site for site in sites if site not in SITES]:
        raise UserError(
            f"sites: found '{unknown[0]}', expected {', '.join(SITES)}{nearest(unknown[0], SITES)}"
        )
    if keep not in ("norms", "vectors"):
        raise UserError(f"keep: found '{keep}', expected 'norms' or 'vectors'")
    if not getattr(tokenizer, "is_fast", False):
        raise UserError(
            f"tokenizer: found {type(tokenizer).__name__}, which gives no character offsets; "
            "expected a fast tokenizer, as AutoTokenizer.from_pretrained returns"
        )
    named = _by_id(texts)
    of_groups = ["all"] * len(named) if groups is None else list(map(str, groups))
    if len(of_groups) != len(named):
        raise UserError(f"groups: found {len(of_groups)} for {len(named)} texts, expected one each")

    trunk: Any = getattr(model, "base_model", model)
    limit = max_length or context_length(trunk.config.get_text_config())
    (sequences,) = tokenize(
        [(list(named), list(named.values()))],
        tokenizer,
        {},
        max_length=limit,
        long_documents="split",
        prepend_bos=prepend_bos,
        special_in_text="text",
    )
    tokens = _tokens(sequences, named)
    path = str(getattr(model, "name_or_path", "")).rstrip("/")
    called = name or path.rsplit("/", 1)[-1] or "model"
    bar = tqdm(
        total=len(tokens), unit="token", desc=f"{called}: tokens", disable=not progress, delay=2
    )
    training, threads = model.training, torch.get_num_threads()
    runner = Adjustments(
        trunk,
        wanted=sites,
        modules=modules,
        name=called,
        batch_tokens=batch_tokens,
        keep=keep,
        threads=threads,
        progress=bar.update,
    )
    found: dict[str, list[list[np.ndarray]]] = {}
    try:
        model.eval()
        for run in runs(sequences.to_batches(), runner.run_tokens):
            for site, arrays in runner.of(run.sequences).items():
                # These arrays are overwritten two batches later.
                found.setdefault(site, []).append([values.copy() for values in arrays])
    finally:
        model.train(training)
        torch.set_num_threads(threads)
        bar.close()
    joined = {
        site: [np.concatenate(parts) for parts in zip(*layers, strict=True)]
        for site, layers in found.items()
    }
    stream = np.stack(joined.pop(STREAM))
    sizes = {
        site: np.stack([v if v.ndim == 1 else l2_norms(v) for v in arrays])
        for site, arrays in joined.items()
    }
    return Measurement(
        model=called,
        texts=named,
        groups=dict(zip(named, of_groups, strict=True)),
        tokens=tokens,
        sizes=sizes,
        stream=stream,
        vectors=joined if keep == "vectors" else {},
        identity_error=float(runner.identity_error or 0.0),
    )


def _by_id(texts: Sequence[str] | Mapping[str, str]) -> dict[str, str]:
    """Return the texts by id, or raise UserError if they are not a list or mapping of texts."""
    if isinstance(texts, str):
        raise UserError("texts: found one text, expected a list of texts")
    named = (
        {str(document): text for document, text in texts.items()}
        if isinstance(texts, Mapping)
        else {str(number): text for number, text in enumerate(texts)}
    )
    if not named:
        raise UserError("texts: found none, expected at least one")
    for document, text in named.items():
        if not isinstance(text, str) or not text:
            raise UserError(f"texts, '{document}': found {text!r}, expected text that is not empty")
    return named


def _tokens(sequences: pa.Table, texts: Mapping[str, str]) -> pd.DataFrame:
    """Return a row per token of some sequences, with its piece of the text."""
    frames = []
    for row in sequences.to_pylist():
        text, ends = texts[row["document"]], zip(row["char_start"], row["char_end"], strict=True)
        columns = {
            "document": row["document"],
            "window": row["window"],
            "position": np.arange(len(row["input_ids"])),
            "token_id": row["input_ids"],
            "token": [text[start:end] for start, end in ends],
        }
        frames.append(pd.DataFrame(columns))
    return pd.concat(frames, ignore_index=True)
