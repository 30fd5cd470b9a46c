"""Text from a language model: sampling, and beam search, with the state carried on."""

import math
from dataclasses import dataclass
from typing import Any, List, NamedTuple, Protocol, Sequence, Set, Tuple

import numpy
import torch
from torch import Tensor

_NEVER = float("-inf")


class NextWordModel(Protocol):
    """A language model that reads several texts word by word."""

    def read(self, ids: Tensor, state: Any) -> Tuple[Tensor, Any]:
        """Read a word of each text.

        ids (Tensor): The words. *Shape:* `(n_texts,)`
        state (Any): Where the texts stand.
        RETURNS (Tuple[Tensor, Any]): Log-probabilities of the words that may come
            next, `(n_texts, n_words)`, and the new state.
        """

    def select(self, state: Any, rows: Tensor) -> Any:
        """Take the states of some texts, of one several times if need be.

        state (Any): Where the texts stand.
        rows (Tensor): Which of them. *Shape:* `(n_selected,)`
        RETURNS (Any): Where those stand.
        """


class Prompt(NamedTuple):
    """What generated texts go on from.

    ids (List[int]): The words read so far.
    log_probs (Tensor): Log-probabilities of the word that comes next.
        *Shape:* `(1, n_words)`
    state (Any): Where the model stands.
    """

    ids: List[int]
    log_probs: Tensor
    state: Any


class GeneratedText(NamedTuple):
    """What a language model wrote.

    ids (List[int]): The words, those of the prompt and a word that ended the text left
        out.
    log_prob (float): Their log-probability given the prompt, in nats, with that of the
        word that ended the text, by the model as it is: no word left out, and a
        temperature of 1.
    """

    ids: List[int]
    log_prob: float


@dataclass(frozen=True)
class TextLimits:
    """What generated texts may look like.

    max_words (int): Most words of a text.
    min_words (int): Words before which a text does not end.
    no_repeat (int): No sequence of so many words stands twice in prompt and text, 0 for
        any may.
    ends (Sequence[int]): Words that end a text.
    banned (Sequence[int]): Words that are never written.
    marks (Sequence[int]): Words that do not count in what may not be repeated, such as
        the boundary of a sentence.
    """

    max_words: int
    min_words: int = 0
    no_repeat: int = 0
    ends: Sequence[int] = ()
    banned: Sequence[int] = ()
    marks: Sequence[int] = ()


@dataclass(frozen=True)
class Sampling:
    """How words are drawn.

    temperature (float): Log-probabilities are divided by it: below 1 the likely words
        come more often; with 0 always the likeliest.
    top_k (int): Number of words to draw from, the likeliest, 0 for all.
    min_p (float): Least probability of a word to draw from, as a share of the
        likeliest word's (Nguyen et al. 2024, arXiv:2407.01082).
    seed (int): What is drawn depends on it.
    """

    temperature: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    seed: int = 0


@torch.no_grad()
def sample_texts(
    model: NextWordModel,
    prompt: Prompt,
    limits: TextLimits,
    sampling: Sampling,
    n_texts: int,
) -> List[GeneratedText]:
    """Draw texts word by word.

    A text depends on the seed and its own number, not on how many there are.

    model (NextWordModel): The language model.
    prompt (Prompt): What they go on from.
    limits (TextLimits): What they may look like.
    sampling (Sampling): How words are drawn.
    n_texts (int): Number of texts.
    RETURNS (List[GeneratedText]): The texts.
    """
    texts = [GeneratedText([], 0.0)] * n_texts
    writing = torch.arange(n_texts)
    log_probs, state = _repeat(model, prompt, n_texts)
    draws = _draws(sampling.seed, n_texts, limits.max_words)
    for step in range(limits.max_words):
        written = [texts[number].ids for number in writing.tolist()]
        allowed = _allow(log_probs, written, prompt.ids, limits)
        words = _draw(allowed, sampling, draws[writing, step].to(allowed.device))
        rows = torch.arange(len(writing), device=words.device)
        values = log_probs[rows, words]
        # Where no word may come, the text is at its end too.
        values[torch.isneginf(allowed[rows, words])] = _NEVER
        kept = []
        for row, (number, word, value) in enumerate(
            zip(writing.tolist(), words.tolist(), values.tolist())
        ):
            texts[number], goes_on = _append(texts[number], word, value, limits.ends)
            kept += [row] * goes_on
        if not kept or step + 1 == limits.max_words:
            break
        rows = torch.tensor(kept)
        writing = writing[rows]
        rows = rows.to(words.device)
        log_probs, state = model.read(words[rows], model.select(state, rows))
    return texts


@torch.no_grad()
def search_texts(
    model: NextWordModel,
    prompt: Prompt,
    limits: TextLimits,
    n_beams: int,
    length_penalty: float = 0.0,
) -> List[GeneratedText]:
    """Look for the likeliest texts by beam search.

    model (NextWordModel): The language model.
    prompt (Prompt): What they go on from.
    limits (TextLimits): What they may look like.
    n_beams (int): Number of unfinished texts that are kept at every word; with more,
        likelier ones are found.
    length_penalty (float): Texts are compared by their log-probability divided by this
        power of their number of words, a word that ends them counted. With 0 short
        texts win; with 1 the words' mean counts.
    RETURNS (List[GeneratedText]): Up to `n_beams` texts, the best first.
    """
    beams: List[GeneratedText] = [GeneratedText([], 0.0)]
    # With the score of each.
    finished: List[Tuple[float, GeneratedText]] = []
    log_probs, state = prompt.log_probs, prompt.state
    for n_words in range(1, limits.max_words + 1):
        allowed = _allow(log_probs, [text.ids for text in beams], prompt.ids, limits)
        ended = _ended(beams, allowed, limits.ends)
        finished = _best(finished, ended, n_words**length_penalty, n_beams)
        allowed[:, list(limits.ends)] = _NEVER
        beams, rows = _continue(beams, allowed, n_beams)
        # Texts only become less likely as they go on.
        if not beams or (
            len(finished) == n_beams
            and finished[-1][0] >= beams[0].log_prob / limits.max_words**length_penalty
        ):
            break
        words = torch.tensor([text.ids[-1] for text in beams], device=allowed.device)
        if n_words < limits.max_words:
            rows = rows.to(allowed.device)
            log_probs, state = model.read(words, model.select(state, rows))
    else:
        finished = _best(finished, beams, limits.max_words**length_penalty, n_beams)
    return [text for _, text in finished]


def _repeat(model: NextWordModel, prompt: Prompt, n_texts: int) -> Tuple[Tensor, Any]:
    rows = torch.zeros(n_texts, dtype=torch.long, device=prompt.log_probs.device)
    return prompt.log_probs[rows], model.select(prompt.state, rows)


def _draws(seed: int, n_texts: int, n_words: int) -> Tensor:
    """Return the random numbers of each text, from 0 to 1."""
    generators = [numpy.random.default_rng([seed, i]) for i in range(n_texts)]
    return torch.tensor(numpy.stack([one.random(n_words) for one in generators]))


def _allow(
    log_probs: Tensor,
    written: Sequence[List[int]],
    prompt: List[int],
    limits: TextLimits,
) -> Tensor:
    """Return log-probabilities without the words that may not come."""
    allowed = log_probs.clone()
    allowed[:, list(limits.banned)] = _NEVER
    marks = set(limits.marks)
    for row, ids in enumerate(written):
        if len(ids) < limits.min_words:
            allowed[row, list(limits.ends)] = _NEVER
        if limits.no_repeat:
            words = [word for word in [*prompt, *ids] if word not in marks]
            allowed[row, list(_repeating(words, limits.no_repeat))] = _NEVER
    return allowed


def _repeating(words: List[int], n: int) -> Set[int]:
    """Return the words that would make the last n words stand there twice."""
    last = words[len(words) - n + 1 :]
    starts = range(len(words) - n + 1)
    return {words[i + n - 1] for i in starts if words[i : i + n - 1] == last}


def _draw(allowed: Tensor, sampling: Sampling, uniform: Tensor) -> Tensor:
    """Draw a word of each row, by random numbers from 0 to 1."""
    if sampling.temperature == 0:
        return allowed.argmax(dim=1)
    kept = allowed.double()
    if 0 < sampling.top_k < kept.shape[1]:
        least = kept.topk(sampling.top_k, dim=1).values[:, -1:]
        kept = kept.masked_fill(kept < least, _NEVER)
    if sampling.min_p:
        least = kept.amax(dim=1, keepdim=True) + math.log(sampling.min_p)
        kept = kept.masked_fill(kept < least, _NEVER)
    kept = kept - kept.amax(dim=1, keepdim=True)
    sums = (kept / sampling.temperature).exp().cumsum(dim=1)
    # The first word at which the sum exceeds the number.
    places = uniform.unsqueeze(1) * sums[:, -1:]
    words = torch.searchsorted(sums, places, right=True).squeeze(1)
    return words.clamp(max=allowed.shape[1] - 1)


def _append(
    text: GeneratedText, word: int, log_prob: float, ends: Sequence[int]
) -> Tuple[GeneratedText, bool]:
    """Return a text with one word more, and whether it goes on."""
    if log_prob == _NEVER:
        return text, False
    total = text.log_prob + log_prob
    if word in ends:
        return GeneratedText(text.ids, total), False
    return GeneratedText([*text.ids, word], total), True


def _ended(
    beams: List[GeneratedText], allowed: Tensor, ends: Sequence[int]
) -> List[GeneratedText]:
    """Return the texts that end here: by a word, or where no word may come."""
    values = allowed[:, list(ends)].tolist()
    stuck = torch.isneginf(allowed).all(dim=1).tolist()
    found = []
    for text, row, is_stuck in zip(beams, values, stuck):
        value = 0.0 if is_stuck else max(row, default=_NEVER)
        if value > _NEVER:
            found.append(GeneratedText(text.ids, text.log_prob + value))
    return found


def _continue(
    beams: List[GeneratedText], allowed: Tensor, n_beams: int
) -> Tuple[List[GeneratedText], Tensor]:
    """Return the likeliest texts of one word more, and which beam each goes on."""
    before = torch.tensor([text.log_prob for text in beams], dtype=torch.float64)
    totals = allowed.double() + before.to(allowed.device).unsqueeze(1)
    values, places = totals.flatten().topk(min(n_beams, totals.numel()))
    places = places[values > _NEVER].cpu()
    rows, words = places // allowed.shape[1], places % allowed.shape[1]
    texts = [
        GeneratedText([*beams[row].ids, word], value)
        for row, word, value in zip(rows.tolist(), words.tolist(), values.tolist())
    ]
    return texts, rows


def _best(
    finished: List[Tuple[float, GeneratedText]],
    texts: List[GeneratedText],
    divisor: float,
    n: int,
) -> List[Tuple[float, GeneratedText]]:
    """Return the best of finished texts with others, and their scores."""
    scored = [(text.log_prob / divisor, text) for text in texts]
    return sorted([*finished, *scored], key=lambda pair: -pair[0])[:n]
