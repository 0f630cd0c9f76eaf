"""The text of its document that each token stands for."""

import pytest

from attnlag.corpus.alignment import token_texts


@pytest.mark.parametrize(
    ("text", "spans", "texts"),
    [
        # A character of two tokens is shown with the first of them.
        (
            "The  naïve 猫 sat",
            [(0, 3), (3, 4), (4, 10), (10, 12), (11, 12), (12, 16)],
            ["The", " ", " naïve", " 猫", "·", " sat"],
        ),
        # Characters outside every token go to the next one.
        ("one two", [(0, 3), (4, 7)], ["one", " two"]),
        # A token without characters is shown as a sign.
        ("one", [(0, 0), (0, 3)], ["⊢", "one"]),
    ],
)
def test_the_texts_of_tokens_add_up_to_the_document(text, spans, texts):
    assert token_texts(text, *zip(*spans, strict=True)) == texts
