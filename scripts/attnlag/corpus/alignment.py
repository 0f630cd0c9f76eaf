"""The bytes of a text that each of its tokens represents.

The character offsets of tokenizers are not reliable: the two halves of a two-byte letter get the
same span, and the span of a token that begins with a space may or may not include the space.
Tokens are therefore spelled in bytes, and the concatenated bytes must equal the text.
"""

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from attnlag.errors import UserError, shown

SPACE_MARK = "▁"

# Shown for a begin-of-sequence token, which has no characters, and for a part of a character.
EMPTY = "⊢"
WITHIN = "·"


def _byte_alphabet() -> dict[str, int]:
    """Return the byte that each character of a byte-level vocabulary stands for.

    Printable Latin-1 characters stand for themselves. The other bytes are mapped, in order, to the
    characters from 256 on (Radford et al. 2019, https://github.com/openai/gpt-2, ``encoder.py``).
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    unprintable = sorted(set(range(256)) - set(printable))
    moved = {chr(256 + place): byte for place, byte in enumerate(unprintable)}
    return {chr(byte): byte for byte in printable} | moved


ALPHABET = _byte_alphabet()


def byte_level(token: str) -> bytes:
    """Return the bytes of a token of a byte-level vocabulary, or of its text if it has others."""
    try:
        return bytes(ALPHABET[character] for character in token)
    except KeyError:
        return token.encode(errors="surrogatepass")


def sentencepiece(token: str) -> bytes:
    """Return the bytes of a SentencePiece token; it marks spaces and spells bytes as ``<0xE2>``."""
    if len(token) == 6 and token.startswith("<0x") and token.endswith(">"):
        return bytes.fromhex(token[3:5])
    return token.replace(SPACE_MARK, " ").encode(errors="surrogatepass")


SPELLINGS: tuple[Callable[[str], bytes], ...] = (byte_level, sentencepiece)


class Spans(NamedTuple):
    """The bytes of a text that its tokens stand for: from ``starts`` to ``ends``."""

    starts: np.ndarray
    ends: np.ndarray


class Speller:
    """Finds the bytes of each token and checks them against the text."""

    def __init__(self, tokenizer: Any):
        self.tokenizer = tokenizer
        self.added: dict[int, str] = {}
        self.special: set[int] = set()
        for number, token in tokenizer.added_tokens_decoder.items():
            self.added[number] = token.content
            if token.special:
                self.special.add(number)
        self._bytes = functools.cache(self._bytes_of)

    def spans(self, document: str, ids: Sequence[int], text: bytes, *, truncated: bool) -> Spans:
        """Return the bytes of a text that the tokens of a document stand for, in order.

        ``ids`` has -1 for a token that is not of the text, whose span is empty. If they are
        truncated, they cover only the beginning of the text. Raise UserError if they do not spell
        it, byte by byte.
        """
        furthest = 0
        for spelling in SPELLINGS:
            pieces = [self._bytes(spelling, token) for token in ids]
            spelled = b"".join(pieces)
            for before in (b"", b" "):
                # Some tokenizers insert a space before the text.
                expected = before + text
                if expected.startswith(spelled) if truncated else spelled == expected:
                    ends = np.cumsum([len(piece) for piece in pieces], dtype=np.int64)
                    bounds = np.maximum(np.concatenate([[0], ends]) - len(before), 0)
                    return Spans(bounds[:-1], bounds[1:])
                pairs = zip(spelled, expected, strict=False)
                alike = itertools.takewhile(lambda pair: pair[0] == pair[1], pairs)
                furthest = max(furthest, sum(1 for _ in alike) - len(before))
        there = text[furthest : furthest + 20].decode(errors="replace")
        raise UserError(
            f"document '{document}': the tokens do not spell its text from byte {furthest:,} on "
            f"({shown(there)}); expected a tokenizer that keeps every byte: byte-level, or "
            "SentencePiece with byte fallback"
        )

    def _bytes_of(self, spelling: Callable[[str], bytes], token: int) -> bytes:
        if token < 0:
            return b""
        if token in self.added:
            return self.added[token].encode()
        # Ids beyond the vocabulary have no text.
        return spelling(self.tokenizer.convert_ids_to_tokens(int(token)) or "")


def token_texts(text: str, starts: Sequence[int], ends: Sequence[int]) -> list[str]:
    """Return the text that each token of a sequence stands for, given its offsets into the text.

    A character that spans several tokens is shown with the first of them; text between tokens is
    shown with the token that follows.
    """
    pieces = []
    done = starts[0] if len(starts) else 0
    for start, end in zip(starts, ends, strict=True):
        if start == end:
            pieces.append(EMPTY)
        elif end <= done:
            pieces.append(WITHIN)
        else:
            pieces.append(text[min(done, start) if pieces else start : end])
        done = max(done, end)
    return pieces
