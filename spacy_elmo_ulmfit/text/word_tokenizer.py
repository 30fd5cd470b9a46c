"""What the tokenizers of fastai's versions share: rules, spaCy's tokenizer, rules."""

from typing import Any, Dict, Optional, Tuple

from spacy.tokens import Doc
from torch import Tensor

from .aligned_text import AlignedText
from .language_tokenizer import ChunkRules, LanguageTokenizer
from .lm_tokens import LMTokens, find_owners


class WordTokenizer:
    """The tokens of a version of fastai, each with the `Doc`'s token that holds its text.

    The text is tokenised anew, whatever the tokens of the `Doc` are.

    lang (str): Code of the language.
    version (Optional[str]): The spaCy version whose tokenizer a model was trained
        with; by default the installed one.
    """

    kind: str
    specials: Tuple[str, ...]
    unknown: str
    # Words that spaCy's tokenizer must not split, and the rules around it.
    whole: Tuple[str, ...]
    chunk_rules: ChunkRules

    def __init__(self, lang: str, version: Optional[str] = None) -> None:
        self.split = LanguageTokenizer(lang, self.whole, self.chunk_rules, version)

    def __call__(self, doc: Doc) -> LMTokens:
        """See `LMTokenizer`."""
        text = AlignedText(doc.text)
        self.rewrite(text)
        words, places = self.split(text.text)
        return LMTokens(words, find_owners(doc, text.origins[places]))

    def rewrite(self, text: AlignedText) -> None:
        """Apply the rules on the text, and write in front what every document begins with.

        text (AlignedText): The text.
        """
        raise NotImplementedError

    def to_json(self) -> Dict[str, Any]:
        """See `LMTokenizer.to_json`."""
        return {"kind": self.kind, **self.split.to_json()}

    def tensors(self) -> Dict[str, Tensor]:
        """See `LMTokenizer.tensors`."""
        return {}
