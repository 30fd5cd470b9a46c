"""From the words of an AWD-LSTM back to text: what its markers tell is done again."""

from typing import List, NamedTuple, Optional, Sequence, Tuple

from .special_words import (
    BEGIN,
    CAPITALIZED,
    END,
    FIELD,
    PADDING,
    REPEATED_CHARACTER,
    REPEATED_WORD,
    UNKNOWN,
    UPPER,
)

# Most characters of a word, or words: a language model may write any number.
_MAX_REPEATED = 100


class Markers(NamedTuple):
    """The special words of token rules, by what they tell.

    unknown (Tuple[str, ...]): A word that is not known.
    silent (Tuple[str, ...]): Nothing that a text could hold after its beginning.
    ends (Tuple[str, ...]): A document ends, or another begins.
    upper (str): The next word is in capitals.
    capitalized (str): The next word has a capital.
    repeated_character (str): A number and the character that is so often repeated come
        next.
    repeated_word (str): A number and the word that is so often repeated come next.
    """

    unknown: Tuple[str, ...] = (UNKNOWN,)
    silent: Tuple[str, ...] = (PADDING, FIELD)
    ends: Tuple[str, ...] = (BEGIN, END)
    upper: str = UPPER
    capitalized: str = CAPITALIZED
    repeated_character: str = REPEATED_CHARACTER
    repeated_word: str = REPEATED_WORD

    @property
    def announcing(self) -> Tuple[str, ...]:
        """The words that tell something of the next one."""
        return (
            self.upper,
            self.capitalized,
            self.repeated_character,
            self.repeated_word,
        )

    def restore(self, words: Sequence[str]) -> List[str]:
        """Write words without markers, as fastai does.

        words (Sequence[str]): The words of a language model.
        RETURNS (List[str]): The words of a text.
        """
        # Seen from the end, what a marker tells of is known when it comes; each entry
        # is what one word has become.
        restored: List[List[str]] = []
        for word in reversed(words):
            if word not in self.announcing:
                restored.append([word])
            elif restored:
                self._apply(word, restored)
        return [word for group in reversed(restored) for word in group]

    def _apply(self, marker: str, restored: List[List[str]]) -> None:
        following = restored.pop()
        if marker == self.upper:
            restored.append([word.upper() for word in following])
        elif marker == self.capitalized:
            restored.append([word[:1].upper() + word[1:] for word in following])
        else:
            times = _number(following)
            if times is None or not restored:
                restored.append(following)
                return
            group = restored.pop()
            if marker == self.repeated_word:
                restored.append(_repeat(group, times))
            else:
                restored.append(["".join(_repeat(list(word), times)) for word in group])


def _number(words: List[str]) -> Optional[int]:
    text = "".join(words)
    is_number = text.isdecimal() and len(text) <= len(str(_MAX_REPEATED))
    return int(text) if is_number else None


def _repeat(parts: List[str], times: int) -> List[str]:
    """Repeat characters or words, but not without bound: markers may announce markers."""
    return parts * times if len(parts) * times <= _MAX_REPEATED else parts
