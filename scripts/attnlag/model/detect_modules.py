"""The blocks of a model of any type, by a layout that passes the proof."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from attnlag.errors import UserError
from attnlag.model import architectures, hooks, identity
from attnlag.model.architectures import BlockModules

# Number of tokens in the pass that tries a layout.
TOKENS = 12


@dataclass(frozen=True)
class Decoder:
    """A model with the modules of its blocks."""

    whole: Any  # with a head or without
    name: str  # in the configuration, for messages
    blocks: list[BlockModules]
    layout: str  # that was found by trying, in words; empty for the usual one

    @property
    def model(self) -> Any:
        """The base model."""
        return getattr(self.whole, "base_model", self.whole)

    @property
    def called(self) -> str:
        """The name and type, for the beginning of messages."""
        return f"model {self.name}, of type '{self.model.config.model_type}'"

    @property
    def dtype(self) -> torch.dtype:
        """The precision of the weights."""
        return next(self.model.parameters()).dtype

    @property
    def config(self) -> Any:
        """What the base model's config states of its text decoder."""
        return self.model.config.get_text_config()

    @property
    def mixers(self) -> dict[str, str]:
        """The class of the mixer of layers without attention, by layer."""
        kinds = enumerate(block.kind for block in self.blocks)
        return {str(layer): kind for layer, kind in kinds if kind != "attention"}

    @property
    def remark(self) -> str:
        """The layout, and the layers with another mixer than attention, in words, if any."""
        layers_of: dict[str, list[str]] = {}
        for layer, kind in self.mixers.items():
            layers_of.setdefault(kind, []).append(layer)
        others = (
            f"layer{'s' if len(layers) > 1 else ''} {', '.join(layers)} "
            f"{'have' if len(layers) > 1 else 'has'} {kind} in place of attention"
            for kind, layers in layers_of.items()
        )
        return "; ".join(filter(None, [self.layout, *others]))

    def check_identity(self, evidence: list[identity.Evidence]) -> float:
        """Return the largest error of `residual_identity`; raise UserError if the proof fails."""
        if problems := identity.problems_of(evidence, self.blocks, self.name):
            more = f", and {len(problems) - 3} more" if len(problems) > 3 else ""
            raise UserError(
                f"{self.called}, fails the proof of its sites: block input + attention adjustment "
                "+ MLP adjustment is not shown to be the block's output "
                f"({', '.join(problems[:3])}{more}; expected at most {identity.BOUND:.0e}, "
                f"relative); tried {self.blocks[0].paths}; nothing was stored; other modules can "
                "be declared, but a block that normalises the sum itself has none"
            )
        return max(observation.error for observation in evidence)


def decoder_of(
    model: Any, declared: Mapping[str, Any] | None = None, name: str = "NAME"
) -> Decoder:
    """Return a model, with a head or without, and the blocks that are found in it.

    Each layout whose modules exist is tried until one passes the proof in a short pass. The run
    proves it again. A factor that is not ``declared`` is found by the proof.
    """
    whole, model = model, getattr(model, "base_model", model)
    vocabulary_of(model, name)
    if declared:
        try:
            blocks = architectures.blocks_at(model, **declared)
        except UserError as error:
            where = f"model {name}, of type '{model.config.model_type}', modules declared"
            raise UserError(f"{where}: {error}; {architectures.how_to_declare()}") from None
        if declared.get("scale") is None:
            blocks, _ = tried(model, blocks, name)
        return Decoder(whole, name, blocks, layout="")
    failures: list[str] = []
    for path, candidate in architectures.candidates(model):
        blocks, failure = tried(model, candidate, name)
        layout = f"{blocks[0].paths} in '{path}'"
        if failure is None:
            times = f", times {blocks[0].scale:.7g}," if blocks[0].scale is not None else ""
            were = "were tried and pass" if len(blocks[0].sublayers) > 1 else "was tried and passes"
            # The usual layout needs no remark.
            found = f"{layout}{times} {were} the proof" if failures or times else ""
            return Decoder(whole, name, blocks, found)
        failures.append(f"{layout} ({failure})")
    raise UserError(architectures.unknown(model, name, failures))


def tried(
    model: Any, blocks: list[BlockModules], name: str
) -> tuple[list[BlockModules], str | None]:
    """Return the blocks with the factors that the proof finds, and why they fail it, if they do."""
    mask = torch.ones(1, TOKENS, dtype=torch.bool)
    ids = torch.arange(TOKENS)[None] % vocabulary_of(model, name)
    # The second pass is with the factors that the first one finds.
    for _ in range(2):
        try:
            with torch.no_grad(), identity.residual_identity(blocks, mask) as evidence:
                hooks.forward(model, ids)
        except hooks.NotGiven as reason:
            return blocks, f"found {reason}"
        # For example, an encoder beside the decoder needs tokens of its own.
        except hooks.FAILURES as error:
            message = str(error).strip().partition("\n")[0]
            return blocks, f"fails on a sequence of tokens with {type(error).__name__}: {message}"
        problems = identity.problems_of(evidence, blocks, name)
        scales = [observation.scale for observation in evidence]
        if len(scales) != len(blocks) or not any(scales):
            break
        blocks = [replace(b, scale=s or b.scale) for b, s in zip(blocks, scales, strict=True)]
    return blocks, problems[0] if problems else None


def vocabulary_of(model: Any, name: str = "NAME") -> int:
    """Return the number of tokens that a base model has embeddings for.

    Raise UserError if it has none, like the decoder of an encoder-decoder model.
    """
    try:
        return len(model.get_input_embeddings().weight)
    # What transformers raises, by the type of the model.
    except (NotImplementedError, AttributeError):
        raise UserError(
            f"model {name}, of type '{model.config.model_type}': transformers finds no embeddings "
            f"of tokens in its {type(model).__name__}, expected a decoder that runs by itself"
        ) from None
