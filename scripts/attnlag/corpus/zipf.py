"""Frequencies of words in their language."""

from attnlag.corpus.tagging import installed_version
from attnlag.errors import UserError, nearest, told_as


class WordFrequencies:
    """Zipf frequencies of words: log10 of the occurrences per billion words.

    From wordfreq (Speer 2022, https://doi.org/10.5281/zenodo.7199437).

    Parameters
    ----------
    language : str
        Code of the language in wordfreq, such as ``"en"``.

    Raises
    ------
    UserError
        If wordfreq is not installed or does not know the language.
    """

    def __init__(self, language: str):
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
        self.language = language
        self._frequency = wordfreq.zipf_frequency
        self._known: dict[str, float] = {}

    def zipf(self, word: str) -> float:
        """Return the Zipf frequency of a word, 0 if the word is not listed."""
        if word not in self._known:
            with told_as(f"wordfreq cannot look up words of the language '{self.language}'"):
                self._known[word] = self._frequency(word, self.language)
        return self._known[word]
