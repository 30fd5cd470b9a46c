"""Vocabulary files of AWD-LSTMs: a word for each row of the embedding."""

import json
from collections import Counter
from pathlib import PurePosixPath
from typing import Any, List

from .files import SourceFiles, full_name, read_bytes
from .options import WordList, read_text
from .pickles import load_plain

# fastai fills vocabularies up with this word, any number of times; it is never read.
_FILLER = "xxfake"


def read_word_list(files: SourceFiles, name: str) -> WordList:
    """Read a vocabulary.

    files (SourceFiles): The files.
    name (str): Which of them it is: `.pkl` with a list of words, `.json` with a list or
        with each word's id, `.vocab` of SentencePiece, else UTF-8 text with a word a
        line.
    RETURNS (WordList): The words; a word's position is its id.
    RAISES (ValueError): If it is damaged, or anything else.
    """
    shown, suffix = full_name(files, name), PurePosixPath(name).suffix.lower()
    if suffix in (".pkl", ".pickle"):
        with files.open(name) as file:
            return WordList(_as_words(load_plain(file, shown), shown), shown)
    text = read_text(read_bytes(files, name), shown)
    if suffix != ".json":
        return WordList(_lines(text, suffix), shown)
    try:
        return WordList(_as_words(json.loads(text), shown), shown)
    except json.JSONDecodeError as error:
        raise ValueError(f"{shown} is not JSON ({error}).") from error


def name_repeated(words: List[str]) -> List[str]:
    """Give rows that no text can lead to names of their own.

    Such are the rows of `xxfake`, and of a word that comes again later: fastai reads
    the last one.

    words (List[str]): The words.
    RETURNS (List[str]): The words, each of them once; rows that are never read are
        called `xxfake_1`, `xxfake_2`, ...
    """
    last = {word: row for row, word in enumerate(words)}
    named, n_unread = [], 0
    for row, word in enumerate(words):
        if word == _FILLER or last[word] != row:
            n_unread += 1
            word = f"{_FILLER}_{n_unread}"
        named.append(word)
    return named


def repeated_words(words: List[str]) -> List[str]:
    """Return the words that occur more than once, but for `xxfake`."""
    return [w for w, n in Counter(words).items() if n > 1 and w != _FILLER]


def is_filler(word: str) -> bool:
    """Say whether a word of `name_repeated` names a row that no text can lead to."""
    return word.startswith(f"{_FILLER}_")


def unname_repeated(words: List[str]) -> List[str]:
    """Return words as fastai's vocabularies have them: the inverse of `name_repeated`."""
    return [_FILLER if is_filler(w) else w for w in words]


def _lines(text: str, suffix: str) -> List[str]:
    # Words may be white space of other kinds, so nothing else is stripped off.
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    if not lines[-1]:
        lines.pop()
    # SentencePiece writes a score behind each piece.
    return [line.split("\t")[0] for line in lines] if suffix == ".vocab" else lines


def _as_words(value: Any, name: str) -> List[str]:
    if isinstance(value, dict):
        value = _in_order(value, name)
    if isinstance(value, (list, tuple)) and all(isinstance(w, str) for w in value):
        return list(value)
    raise ValueError(
        f"{name} holds no list of words, but {_describe(value)}. It must be the "
        "vocabulary of a language model: its words in the order of their ids."
    )


def _in_order(ids: Any, name: str) -> List[Any]:
    words = {n: word for word, n in ids.items() if isinstance(n, int)}
    if set(words) != set(range(len(ids))):
        raise ValueError(
            f"{name} gives its {len(ids)} words other ids than 0 to {len(ids) - 1}, each "
            "once. It must be the vocabulary of a language model."
        )
    return [words[number] for number in range(len(words))]


def _describe(value: Any) -> str:
    if not isinstance(value, (list, tuple)):
        return f"a value of type {type(value).__name__}"
    other = next(item for item in value if not isinstance(item, str))
    return f"a list with a value of type {type(other).__name__}"
