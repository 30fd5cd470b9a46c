import itertools

import pytest
import torch

from spacy_elmo_ulmfit.modules.generation import (
    GeneratedText,
    Prompt,
    Sampling,
    TextLimits,
    sample_texts,
    search_texts,
)

N_WORDS = 5
END = 4


class Trigrams:
    """A model that predicts from the last two words; its state is the last one."""

    def __init__(self, seed=0, peak=2.0):
        generator = torch.Generator().manual_seed(seed)
        shape = (N_WORDS, N_WORDS, N_WORDS)
        table = torch.randn(shape, generator=generator) * peak
        self.log_probs = table.log_softmax(dim=2)
        self.batches = []

    def read(self, ids, state):
        self.batches.append(len(ids))
        return self.log_probs[state, ids], ids

    def select(self, state, rows):
        return state[rows]

    def prompt(self, *ids):
        state = torch.tensor([ids[-1]])
        return Prompt(list(ids), self.log_probs[[ids[-2]], state], state)

    def log_prob(self, ids):
        """Return the log-probability of all words but the first two."""
        triples = zip(ids, ids[1:], ids[2:])
        return float(sum(self.log_probs[triple] for triple in triples))


def all_texts(model, prompt, limits, length_penalty=0.0):
    """Find every text within the limits, as its definition says, with its score."""
    found = []
    for n in range(limits.max_words + 1):
        for ids in itertools.product(range(N_WORDS), repeat=n):
            if not is_allowed(prompt, ids, limits):
                continue
            text, n_words = [*prompt.ids[-2:], *ids], n
            ends = limits.ends if n >= limits.min_words else []
            if n == limits.max_words:
                total = model.log_prob(text)
            elif ends:
                total = max(model.log_prob([*text, end]) for end in ends)
                n_words = n + 1
            elif any(is_allowed(prompt, (*ids, i), limits) for i in range(N_WORDS)):
                continue
            else:
                total, n_words = model.log_prob(text), n + 1
            score = total / n_words**length_penalty
            found.append((score, GeneratedText(list(ids), total)))
    return sorted(found, key=lambda pair: -pair[0])


def is_allowed(prompt, ids, limits):
    if set(ids) & {*limits.ends, *limits.banned}:
        return False
    return not limits.no_repeat or not repeats(prompt.ids, ids, limits)


def repeats(prompt, ids, limits):
    words = [word for word in [*prompt, *ids] if word not in limits.marks]
    n = limits.no_repeat
    grams = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
    n_before = sum(word not in limits.marks for word in prompt)
    new = range(max(0, n_before - n + 1), len(grams))
    return any(grams[i] in grams[:i] for i in new)


LIMITS = [
    TextLimits(4),
    TextLimits(4, ends=[END]),
    TextLimits(4, min_words=2, ends=[END, 3], banned=[0]),
    TextLimits(4, no_repeat=1),
    TextLimits(5, no_repeat=2, ends=[END]),
    TextLimits(4, no_repeat=2, marks=[1], banned=[2]),
]


@pytest.mark.parametrize("limits", LIMITS)
@pytest.mark.parametrize("length_penalty", [0.0, 1.0])
@pytest.mark.parametrize("seed", [0, 1])
def test_wide_beams_find_the_best_of_all_texts(limits, seed, length_penalty):
    model = Trigrams(seed)
    prompt = model.prompt(1, 0, 2)
    expected = all_texts(model, prompt, limits, length_penalty)
    n_beams = N_WORDS**limits.max_words
    found = search_texts(model, prompt, limits, n_beams, length_penalty)
    scores = {tuple(text.ids): (score, text.log_prob) for score, text in expected}
    assert len(found) == len(expected) == len(scores)
    # Some texts are equally good, so their order is by chance.
    for one, (wanted, _) in zip(found, expected):
        score, log_prob = scores[tuple(one.ids)]
        assert one.log_prob == pytest.approx(log_prob, abs=1e-5)
        assert score == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize("limits", LIMITS)
def test_narrow_beams_find_texts_within_the_limits(limits):
    model = Trigrams(3)
    prompt = model.prompt(1, 0, 2)
    allowed = {tuple(t.ids): t.log_prob for _, t in all_texts(model, prompt, limits)}
    found = search_texts(model, prompt, limits, 3)
    assert 1 <= len(found) <= 3
    totals = [text.log_prob for text in found]
    assert totals == sorted(totals, reverse=True)
    for text in found:
        assert text.log_prob == pytest.approx(allowed[tuple(text.ids)], abs=1e-5)


def test_more_beams_find_likelier_texts():
    best = [[], [], []]
    for model in map(Trigrams, range(5)):
        prompt, limits = model.prompt(1, 0), TextLimits(8)
        for found, n in zip(best, (1, 3, 500)):
            found.append(search_texts(model, prompt, limits, n)[0].log_prob)
    assert sum(best[0]) < sum(best[1]) < sum(best[2])


def test_one_beam_is_the_likeliest_word_at_every_step():
    model = Trigrams()
    prompt, limits = model.prompt(1, 0), TextLimits(6)
    (greedy,) = sample_texts(model, prompt, limits, Sampling(temperature=0), 1)
    (found,) = search_texts(model, prompt, limits, 1)
    assert found.ids == greedy.ids
    assert found.log_prob == pytest.approx(greedy.log_prob, abs=1e-5)


@pytest.mark.parametrize("limits", LIMITS)
def test_drawn_texts_keep_within_the_limits(limits):
    model = Trigrams(1, peak=0.3)
    prompt = model.prompt(1, 0, 2)
    allowed = [text.ids for _, text in all_texts(model, prompt, limits)]
    for text in sample_texts(model, prompt, limits, Sampling(), 40):
        assert text.ids in allowed


def frequencies(sampling, limits=None, n_texts=4000):
    """Return how often each word was drawn first, and its probability."""
    model = Trigrams(2, peak=1.0)
    prompt = model.prompt(1, 0)
    texts = sample_texts(model, prompt, limits or TextLimits(1), sampling, n_texts)
    counts = torch.bincount(
        torch.tensor([text.ids[0] for text in texts]), minlength=N_WORDS
    )
    return counts / n_texts, prompt.log_probs[0]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_words_are_drawn_by_their_probabilities(temperature):
    found, log_probs = frequencies(Sampling(temperature=temperature, seed=1))
    wanted = (log_probs / temperature).softmax(0)
    torch.testing.assert_close(found, wanted, rtol=0, atol=0.03)


def test_top_k_and_min_p_leave_the_likeliest_words():
    found, log_probs = frequencies(Sampling(top_k=2))
    assert set(found.nonzero().flatten().tolist()) == set(
        log_probs.topk(2).indices.tolist()
    )
    found, _ = frequencies(Sampling(min_p=0.3, temperature=3.0))
    share = (log_probs - log_probs.max()).exp()
    assert torch.equal(found > 0, share >= 0.3)
    found, _ = frequencies(Sampling(), TextLimits(1, banned=[0, 3]))
    assert not found[[0, 3]].any()


def test_the_log_probability_is_that_of_the_model_itself():
    model = Trigrams()
    prompt = model.prompt(1, 0)
    limits = TextLimits(5, ends=[END], banned=[2])
    sampling = Sampling(temperature=2.0, top_k=3)
    for text in sample_texts(model, prompt, limits, sampling, 10):
        ids = [1, 0, *text.ids] + [END] * (len(text.ids) < 5)
        assert text.log_prob == pytest.approx(model.log_prob(ids), abs=1e-5)


def test_a_text_depends_on_its_number_alone():
    model = Trigrams(peak=0.5)
    prompt, limits = model.prompt(1, 0), TextLimits(9, ends=[END])
    many = sample_texts(model, prompt, limits, Sampling(seed=7), 9)
    assert many[:2] == sample_texts(model, prompt, limits, Sampling(seed=7), 2)
    assert many != sample_texts(model, prompt, limits, Sampling(seed=8), 9)
    assert len({tuple(text.ids) for text in many}) > 1
    longer = sample_texts(
        model, prompt, TextLimits(20, ends=[END]), Sampling(seed=7), 9
    )
    for one, other in zip(many, longer):
        assert other.ids[: len(one.ids)] == one.ids


def test_texts_that_have_ended_are_computed_no_further():
    model = Trigrams(peak=0.5)
    texts = sample_texts(
        model, model.prompt(1, 0), TextLimits(9, ends=[END]), Sampling(), 20
    )
    lengths = [len(text.ids) for text in texts]
    expected = [sum(n > step for n in lengths) for step in range(8)]
    assert model.batches == [n for n in expected if n]


def test_a_text_ends_where_no_word_may_come():
    model = Trigrams()
    limits = TextLimits(9, no_repeat=1, banned=[3])
    prompt = model.prompt(1, 0)
    for text in sample_texts(model, prompt, limits, Sampling(), 3):
        assert sorted(text.ids) == [2, 4]
    assert sorted(search_texts(model, prompt, limits, 3)[0].ids) == [2, 4]
