"""The part of a document's text that each token represents."""

from collections.abc import Sequence

# Shown for a begin-of-sequence token, which has no characters, and for a part of a character.
EMPTY, WITHIN = "⊢", "·"


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
