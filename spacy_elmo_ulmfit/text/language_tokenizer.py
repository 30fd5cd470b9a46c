"""spaCy's tokenizer of a language for text that a language model's rules rewrote."""

import re
import warnings
from collections import defaultdict
from itertools import chain, product
from typing import (
    Any,
    Callable,
    Dict,
    Iterable,
    List,
    NamedTuple,
    Optional,
    Set,
    Tuple,
)

import numpy
import spacy
from numpy.typing import NDArray
from spacy.symbols import ORTH
from spacy.tokenizer import Tokenizer

from .affixes import AffixSplitter
from .pieces import PieceReader, cut, lay_out

_CHUNKS = re.compile(r"\S+|\s+")


class ChunkRules(NamedTuple):
    """What a family of language models does before and after spaCy's tokenizer.

    before (Callable[[str], Tuple[str, str]]): Takes a stretch without white space,
        returns a word that announces it, or "", and the stretch, lower-cased or not.
    after (Callable[[str], List[str]]): Takes a word of spaCy's, returns the words
        that are read for it.
    """

    before: Callable[[str], Tuple[str, str]]
    after: Callable[[str], List[str]]


class _Read(NamedTuple):
    # The words of a piece of text, where the last character of each is, and the first
    # and last word of spaCy's, where they may be part of a special case.
    words: List[str]
    places: List[int]
    first: Optional[str]
    last: Optional[str]


class LanguageTokenizer:
    """The tokenizer of a language between rules, built when it is first needed.

    A spaCy tokenizer splits what stands between white space by itself, so each such
    piece of text is split once and then remembered. The exception are special cases
    that might be found across white space: such pieces are split together.

    lang (str): Code of the language.
    specials (Iterable[str]): Words that are never split.
    rules (ChunkRules): What is done before and after.
    version (Optional[str]): The spaCy version whose tokenizer a model was trained
        with; by default the installed one.
    """

    def __init__(
        self,
        lang: str,
        specials: Iterable[str],
        rules: ChunkRules,
        version: Optional[str] = None,
    ) -> None:
        self.lang, self.specials, self.rules = lang, tuple(specials), rules
        self.version = version or spacy.__version__
        self._tokenizer: Any = None
        self._splitter: Optional[AffixSplitter] = None
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
        RETURNS (Tuple[List[str], NDArray]): The words, as of `words`, and the place in
            the text of the last character of each; one that announces has the place of
            what it announces.
        """
        pieces, read = self._read_pieces(text)
        places = [piece.places for piece in read]
        return lay_out(pieces, [piece.words for piece in read], places)

    def words(self, text: str) -> List[str]:
        """Split a text, without places.

        text (str): The text.
        RETURNS (List[str]): The words, white space that is more than one space between
            words included.
        """
        _, read = self._read_pieces(text)
        return list(chain.from_iterable([piece.words for piece in read]))

    def _read_pieces(self, text: str) -> Tuple[List[str], List[_Read]]:
        if self._tokenizer is None:
            self._build()
        if self._splitter is None:
            pieces = [text] if text else []
            return pieces, self._pieces(pieces)
        pieces = cut(text)
        read = self._pieces(pieces)
        joined = self._join(pieces, read)
        return (pieces, read) if joined is None else (joined, self._pieces(joined))

    def to_json(self) -> Dict[str, Any]:
        """Return plain values for a weight file."""
        return {"lang": self.lang, "spacy": self.version}

    def __getstate__(self) -> Dict[str, Any]:
        # A spaCy tokenizer holds a vocabulary of its own, and is quickly built.
        state = {**self.__dict__, "_tokenizer": None, "_splitter": None}
        state.pop("_pieces", None)
        return state

    def _build(self) -> None:
        tokenizer: Any = spacy.blank(self.lang).tokenizer
        self._pairs: Set[Tuple[Optional[str], Optional[str]]] = set()
        # Those of a few languages, as Japanese, are programs of their own.
        if isinstance(tokenizer, Tokenizer):
            for word in self.specials:
                tokenizer.add_special_case(word, [{ORTH: word}])
            self._pairs.update(_special_pairs(tokenizer))
            self._splitter = AffixSplitter(tokenizer, self._pairs)
        self._firsts = {first for first, _ in self._pairs}
        self._seconds = {second for _, second in self._pairs}
        self._tokenizer = tokenizer
        self._pieces = PieceReader(self._read)

    def _read(self, piece: str) -> _Read:
        chunk = piece[:-1] if piece[-1] == " " else piece
        # Of a joined piece, or of white space, only the tokenizer knows.
        is_chunk = self._splitter is not None and len(chunk.split(None, 1)) == 1
        if not is_chunk or chunk[0].isspace() or chunk[-1].isspace():
            return self._read_by_tokenizer(piece)
        return self._read_chunk(chunk)

    def _read_chunk(self, chunk: str) -> _Read:
        assert self._splitter is not None
        announcement, text = self.rules.before(chunk)
        split = self._splitter(text)
        words = [announcement] if announcement else []
        places = [0] * len(words)
        origins = None if len(text) == len(chunk) else _lowered_origins(chunk)
        end = 0
        for word in split:
            end += len(word)
            read = self.rules.after(word)
            words += read
            places += [end - 1 if origins is None else origins[end - 1]] * len(read)
        return self._note_ends(words, places, announcement or split[0], split[-1])

    def _read_by_tokenizer(self, piece: str) -> _Read:
        text, origins = self._announce(piece)
        words: List[str] = []
        places: List[int] = []
        split = self._tokenizer(text)
        for token in split:
            read = self.rules.after(token.text)
            words += read
            places += [origins[token.idx + len(token) - 1]] * len(read)
        first, last = (split[0].text, split[-1].text) if len(split) else ("", "")
        return self._note_ends(words, places, first, last)

    def _note_ends(
        self, words: List[str], places: List[int], first: str, last: str
    ) -> _Read:
        return _Read(
            words,
            places,
            first if first in self._seconds else None,
            last if last in self._firsts else None,
        )

    def _announce(self, piece: str) -> Tuple[str, List[int]]:
        parts: List[str] = []
        origins: List[int] = []
        for match in _CHUNKS.finditer(piece):
            start = match.start()
            announcement, chunk = self.rules.before(match.group())
            if announcement:
                parts += [announcement, " "]
                origins += [start] * (len(announcement) + 1)
            parts.append(chunk)
            if len(chunk) == match.end() - start:
                origins += range(start, match.end())
            else:
                origins += [start + i for i in _lowered_origins(match.group())]
        return "".join(parts), origins

    def _join(self, pieces: List[str], read: List[_Read]) -> Optional[List[str]]:
        """Join neighbours over which a special case might reach, if there are any."""
        places = [
            i
            for i, (_, _, first, _) in enumerate(read)
            if first is not None and i and (read[i - 1].last, first) in self._pairs
        ]
        if not places:
            return None
        reached = set(places)
        groups: List[List[str]] = []
        for i, piece in enumerate(pieces):
            if i in reached:
                groups[-1].append(piece)
            else:
                groups.append([piece])
        return ["".join(group) for group in groups]


def _lowered_origins(text: str) -> List[int]:
    """Return which character each one of the lower-cased text comes from."""
    # A few letters become several characters.
    return [
        i for i, character in enumerate(text) for _ in range(len(character.lower()))
    ]


def _special_pairs(tokenizer: Tokenizer) -> Set[Tuple[str, str]]:
    """Find neighbours that may be part of a special case which other rules split.

    Such cases are searched for in the words that the other rules leave, and may have
    been put in their place since.
    """
    plain = Tokenizer(
        tokenizer.vocab,
        rules={},
        prefix_search=tokenizer.prefix_search,
        suffix_search=tokenizer.suffix_search,
        infix_finditer=tokenizer.infix_finditer,
        token_match=tokenizer.token_match,
        url_match=tokenizer.url_match,
    )
    pairs: Set[Tuple[str, str]] = set()
    beginnings: Dict[str, Set[str]] = defaultdict(set)
    ends: Dict[str, Set[str]] = defaultdict(set)
    for special, tokens in tokenizer.rules.items():
        words = [token.text for token in plain(special)]
        if len(words) > 1:
            pairs.update(zip(words, words[1:]))
            beginnings[words[0]].add(tokens[0][ORTH])
            ends[words[-1]].add(tokens[-1][ORTH])
    return {
        pair
        for last, first in pairs
        for pair in product({last, *ends[last]}, {first, *beginnings[first]})
    }


def _minor(version: str) -> List[str]:
    return version.split(".")[:2]
