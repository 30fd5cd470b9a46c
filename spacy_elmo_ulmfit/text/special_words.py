"""The words by which fastai's token rules tell what lower-casing and counting lose."""

UNKNOWN = "xxunk"
PADDING = "xxpad"
BEGIN = "xxbos"
END = "xxeos"
FIELD = "xxfld"
REPEATED_CHARACTER = "xxrep"
REPEATED_WORD = "xxwrep"
UPPER = "xxup"
CAPITALIZED = "xxmaj"
# How a space within a word of white space is written.
SHOWN_SPACE = "▁"

# In the order of fastai v2; the ids of the vocabulary start with them.
SPECIALS = (
    UNKNOWN, PADDING, BEGIN, END, FIELD,
    REPEATED_CHARACTER, REPEATED_WORD, UPPER, CAPITALIZED,
)  # fmt: skip
