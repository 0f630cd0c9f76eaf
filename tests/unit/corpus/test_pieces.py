"""What each token stands for in the text of its document."""

from attnlag.corpus.pieces import token_texts


def test_the_texts_of_tokens_are_the_text():
    text = "The  naïve 猫 sat"
    tokenizer_like = [(0, 3), (3, 4), (4, 10), (10, 12), (11, 12), (12, 16)]
    starts, ends = zip(*tokenizer_like, strict=True)
    found = token_texts(text, starts, ends)
    # A character of two tokens is shown with the first of them.
    assert found == ["The", " ", " naïve", " 猫", "·", " sat"]
    assert "".join(found).replace("·", "") == text


def test_what_no_token_stands_for_goes_with_the_next():
    assert token_texts("one two", [0, 4], [3, 7]) == ["one", " two"]


def test_a_token_without_characters_has_a_sign():
    assert token_texts("one", [0, 0], [0, 3]) == ["⊢", "one"]
