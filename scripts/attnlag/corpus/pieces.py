"""The part of a document's text that each token represents."""

from collections.abc import Sequence

# For a token without characters, as at the start of a sequence, and one within a character.
EMPTY, WITHIN = "⊢", "·"


def token_texts(text: str, starts: Sequence[int], ends: Sequence[int]) -> list[str]:
    """Return what each token of a sequence stands for.

    Parameters
    ----------
    text : str
        The document's.
    starts, ends : sequences of int
        Places of characters. A character of several tokens is shown with the first of them;
        what no token stands for is shown with the one that follows.
    """
    found = []
    done = starts[0] if len(starts) else 0
    for start, end in zip(starts, ends, strict=True):
        if start == end:
            found.append(EMPTY)
        elif end <= done:
            found.append(WITHIN)
        else:
            found.append(text[min(done, start) if found else start : end])
        done = max(done, end)
    return found
