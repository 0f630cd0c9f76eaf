"""The parts of speech that a token may have."""

# Universal part-of-speech tags, https://universaldependencies.org/u/pos/
UPOS = (
    *("ADJ", "ADP", "ADV", "AUX", "CCONJ", "DET", "INTJ", "NOUN", "NUM", "PART", "PRON"),
    *("PROPN", "PUNCT", "SCONJ", "SYM", "VERB", "X"),
)
# Tags of tokens that are not words: white space, and text without tags.
SPACE, NONE = "SPACE", "none"
TAGS = (*UPOS, SPACE, NONE)
