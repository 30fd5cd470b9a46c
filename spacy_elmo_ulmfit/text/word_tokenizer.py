"""Words by rules on the text, spaCy's tokenizer of the language, and rules on its words."""

from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

from spacy.tokens import Doc
from torch import Tensor

from .aligned_text import AlignedText
from .language_tokenizer import ChunkRules, LanguageTokenizer
from .lm_tokens import LMTokens, find_owners
from .markers import Markers
from .special_words import SHOWN_SPACE


class WordRules(NamedTuple):
    """The rules of one version of fastai.

    kind (str): Their name in configs and weight files.
    specials (Tuple[str, ...]): The words that a new vocabulary begins with.
    unknown (str): The one of them that stands for all words outside the vocabulary.
    whole (Tuple[str, ...]): Words that spaCy's tokenizer must not split.
    rewrite (Callable[[AlignedText], None]): Applies the rules on the text, and writes
        in front what every document begins with.
    chunks (ChunkRules): The rules around spaCy's tokenizer.
    markers (Markers): What their special words tell.
    """

    kind: str
    specials: Tuple[str, ...]
    unknown: str
    whole: Tuple[str, ...]
    rewrite: Callable[[AlignedText], None]
    chunks: ChunkRules
    markers: Markers = Markers()


class WordTokenizer:
    """The tokens of a version of fastai, each with the `Doc`'s token that holds its text.

    The text is tokenised anew, whatever the tokens of the `Doc` are. White space other
    than one space between words is a token.

    rules (WordRules): The version's rules.
    lang (str): Code of the language.
    version (Optional[str]): The spaCy version whose tokenizer a model was trained
        with; by default the installed one.
    """

    def __init__(
        self, rules: WordRules, lang: str, version: Optional[str] = None
    ) -> None:
        self.kind = rules.kind
        self.specials, self.unknown = rules.specials, rules.unknown
        self.rewrite, self.markers = rules.rewrite, rules.markers
        self.split = LanguageTokenizer(lang, rules.whole, rules.chunks, version)

    def __call__(self, doc: Doc) -> LMTokens:
        """See `LMTokenizer`."""
        text = self._rewritten(doc)
        words, places = self.split(text.text)
        return LMTokens(words, find_owners(doc, text.origins[places]))

    def words(self, doc: Doc) -> List[str]:
        """See `LMTokenizer.words`."""
        return self.split.words(self._rewritten(doc).text)

    def _rewritten(self, doc: Doc) -> AlignedText:
        text = AlignedText(doc.text)
        self.rewrite(text)
        return text

    def decode(self, words: Sequence[str]) -> str:
        """See `LMTokenizer.decode`."""
        text = " ".join(self.markers.restore(words))
        # The rules that show spaces do so within white space only.
        return text.replace(SHOWN_SPACE, " ")

    def to_json(self) -> Dict[str, Any]:
        """See `LMTokenizer.to_json`."""
        return {"kind": self.kind, **self.split.to_json()}

    def tensors(self) -> Dict[str, Tensor]:
        """See `LMTokenizer.tensors`."""
        return {}
