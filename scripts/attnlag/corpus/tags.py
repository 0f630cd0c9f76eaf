"""The parts of speech that a token may have."""

# Universal part-of-speech tags, https://universaldependencies.org/u/pos/
UPOS = (
    *("ADJ", "ADP", "ADV", "AUX", "CCONJ", "DET", "INTJ", "NOUN", "NUM", "PART", "PRON"),
    *("PROPN", "PUNCT", "SCONJ", "SYM", "VERB", "X"),
)
# What tokens have that are no words: white space alone, and those that nobody tagged.
SPACE, NONE = "SPACE", "none"
TAGS = (*UPOS, SPACE, NONE)
