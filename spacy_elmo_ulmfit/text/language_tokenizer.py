"""spaCy's tokenizer of a language for text that a language model's rules rewrote."""

import warnings
from typing import Any, Dict, Iterable, List, Optional, Tuple

import numpy
import spacy
from numpy.typing import NDArray
from spacy.symbols import ORTH
from spacy.tokenizer import Tokenizer


class LanguageTokenizer:
    """The tokenizer of a language, built when it is first needed.

    lang (str): Code of the language.
    words (Iterable[str]): Words that are never split.
    version (Optional[str]): The spaCy version whose tokenizer a model was trained
        with; by default the installed one.
    """

    def __init__(
        self, lang: str, words: Iterable[str], version: Optional[str] = None
    ) -> None:
        self.lang, self.words = lang, tuple(words)
        self.version = version or spacy.__version__
        self._tokenizer: Any = None
        if _minor(self.version) != _minor(spacy.__version__):
            warnings.warn(
                f"These weights were trained with the tokenizer of spaCy {self.version}, "
                f"and this is {spacy.__version__}. Some texts may be split in another "
                "way; evaluate before you rely on them.",
                stacklevel=2,
            )

    def __call__(self, text: str) -> Tuple[List[str], NDArray[numpy.int64]]:
        """Split a text.

        text (str): The text.
        RETURNS (Tuple[List[str], NDArray]): The words, white space that is more than
            one space between words included, and where the last character of each is.
        """
        if self._tokenizer is None:
            self._tokenizer = self._build()
        doc = self._tokenizer(text)
        words = [token.text for token in doc]
        starts = doc.to_array("IDX").astype(numpy.int64)
        lengths = doc.to_array("LENGTH").astype(numpy.int64)
        return words, starts + lengths - 1

    def to_json(self) -> Dict[str, Any]:
        """Return plain values for a weight file."""
        return {"lang": self.lang, "spacy": self.version}

    def __getstate__(self) -> Dict[str, Any]:
        # A spaCy tokenizer holds a vocabulary of its own, and is quickly built.
        return {**self.__dict__, "_tokenizer": None}

    def _build(self) -> Any:
        tokenizer = spacy.blank(self.lang).tokenizer
        # Those of a few languages, as Japanese, are programs of their own.
        if isinstance(tokenizer, Tokenizer):
            for word in self.words:
                tokenizer.add_special_case(word, [{ORTH: word}])
        return tokenizer


def _minor(version: str) -> List[str]:
    return version.split(".")[:2]
