"""Frequencies of words in their language."""

import functools
from collections.abc import Callable

from attnlag.corpus.tagging import installed_version
from attnlag.errors import UserError, nearest, told_as


def word_frequencies(language: str) -> Callable[[str], float]:
    """Return the function from a word to log10 of its occurrences per billion words, 0 if unknown.

    From wordfreq (Speer 2022, https://doi.org/10.5281/zenodo.7199437), in whose words the language
    is given, as in ``"en"``. Raise UserError if wordfreq is not installed or does not know the
    language.
    """
    if installed_version("wordfreq") is None:
        raise UserError(
            f"the frequencies of words (language: {language}): found no package 'wordfreq'; "
            "expected it (pip install 'attnlag[tagger]'), or language: null"
        )
    import wordfreq

    languages = wordfreq.available_languages()
    if language not in languages:
        raise UserError(
            f"found the language '{language}', expected one that wordfreq knows: "
            f"{', '.join(sorted(languages))}{nearest(language, languages)}"
        )

    @functools.cache
    def zipf(word: str) -> float:
        with told_as(f"wordfreq cannot look up words of the language '{language}'"):
            return wordfreq.zipf_frequency(word, language)

    return zipf
