"""What a user's mistake is as an exception, and the words that all sentences share."""

import pytest

from attnlag.errors import UserError, nearest, numbers_in_words


@pytest.mark.parametrize(
    ("given", "problems"),
    [("one: found a", ["one: found a"]), (iter(["one", "two"]), ["one", "two"])],
)
def test_a_mistake_shows_each_of_its_problems_on_a_line(given, problems):
    """A notebook shows the text of an exception, programs print its problems."""
    error = UserError(given)
    assert error.problems == problems
    assert str(error) == "\n".join(problems)


def test_the_nearest_of_all_valid_names_is_suggested_and_a_far_one_is_not():
    assert (
        nearest("covarance", ["alpha", "covariance", "covariates"])
        == "; did you mean 'covariance'?"
    )
    assert nearest("xyz", ["alpha", "covariance"]) == ""


@pytest.mark.parametrize(
    ("numbers", "words"),
    [(range(30), "0 to 29"), ([3, 4, 5], "3 to 5"), ([0, 15, 29], "0, 15, 29")],
)
def test_numbers_without_gaps_are_told_by_their_ends(numbers, words):
    assert numbers_in_words(numbers) == words
