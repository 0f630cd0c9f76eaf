"""The text of its document that each token stands for."""

from attnlag.corpus.pieces import token_texts


def test_the_texts_of_tokens_add_up_to_the_document():
    text = "The  naïve 猫 sat"
    tokenizer_like = [(0, 3), (3, 4), (4, 10), (10, 12), (11, 12), (12, 16)]
    starts, ends = zip(*tokenizer_like, strict=True)
    found = token_texts(text, starts, ends)
    # A character of two tokens is shown with the first of them.
    assert found == ["The", " ", " naïve", " 猫", "·", " sat"]
    assert "".join(found).replace("·", "") == text


def test_characters_outside_every_token_go_to_the_next_token():
    assert token_texts("one two", [0, 4], [3, 7]) == ["one", " two"]


def test_a_token_without_characters_is_shown_as_a_sign():
    assert token_texts("one", [0, 0], [0, 3]) == ["⊢", "one"]
