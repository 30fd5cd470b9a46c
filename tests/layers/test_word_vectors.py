import torch
from torch import nn

from spacy_elmo_ulmfit.layers.word_vectors import WordVectorCache

ENCODER = nn.Linear(1, 1)


class Compute:
    """Gives each word the vector of its number, and counts what was asked for."""

    def __init__(self):
        self.asked = []

    def __call__(self, words):
        self.asked.append(list(words))
        return torch.tensor([[float(word), -float(word)] for word in words])


def look_up(cache, words, compute, encoder=ENCODER):
    found = cache.lookup(words, compute, encoder)
    assert torch.equal(found, Compute()(words))
    return found


def test_a_known_word_is_not_computed_again():
    cache, compute = WordVectorCache(10), Compute()
    look_up(cache, ["1", "2"], compute)
    look_up(cache, ["3", "2", "1"], compute)
    look_up(cache, ["2", "3"], compute)
    assert compute.asked == [["1", "2"], ["3"]]


def test_the_least_recently_used_words_go_first():
    cache, compute = WordVectorCache(3), Compute()
    look_up(cache, ["1", "2", "3"], compute)
    look_up(cache, ["1"], compute)
    look_up(cache, ["4", "5"], compute)
    assert len(cache) == 3
    compute.asked.clear()
    look_up(cache, ["1", "4", "5"], compute)
    assert compute.asked == []
    look_up(cache, ["2"], compute)
    assert compute.asked == [["2"]]


def test_more_words_than_fit_and_no_cache_at_all_work():
    for size in (0, 1, 2):
        cache, compute = WordVectorCache(size), Compute()
        for words in (["1", "2", "3"], ["3", "4", "1", "5"], ["6"], ["6", "1"]):
            look_up(cache, words, compute)
            assert len(cache) <= size


def test_many_words_stay_apart():
    cache, compute = WordVectorCache(3000), Compute()
    for start in range(0, 5000, 700):
        look_up(cache, [str(i) for i in range(start, start + 900)], compute)
    assert len(cache) == 3000


def test_changed_weights_empty_the_cache():
    encoder, compute = nn.Linear(2, 2), Compute()
    cache = WordVectorCache(10)
    for change in (
        lambda: None,
        lambda: torch.optim.SGD(encoder.parameters(), lr=0.1).step(),
        lambda: setattr(encoder.weight, "data", torch.zeros(2, 2)),
    ):
        encoder.weight.grad = torch.ones(2, 2)
        change()
        compute.asked.clear()
        look_up(cache, ["1"], compute, encoder)
        assert compute.asked == [["1"]]


def test_a_fused_optimizer_empties_the_cache():
    encoder, compute, cache = nn.Linear(2, 2), Compute(), WordVectorCache(10)
    look_up(cache, ["1"], compute, encoder)
    encoder.weight.grad, encoder.bias.grad = torch.ones(2, 2), torch.ones(2)
    torch.optim.AdamW(encoder.parameters(), fused=True).step()
    look_up(cache, ["1"], compute, encoder)
    assert len(compute.asked) == 2


def test_published_vectors_are_used_as_they_are_until_the_weights_change():
    encoder, cache, compute = nn.Linear(2, 2), WordVectorCache(1), Compute()
    words, vectors = ["1", "2", "3"], Compute()(["1", "2", "3"])
    cache.publish(words, vectors, encoder)
    look_up(cache, ["2", "3", "1"], compute, encoder)
    assert compute.asked == []
    assert cache.published(encoder)[0] == words
    with torch.no_grad():
        encoder.weight.add_(1.0)
    assert cache.published(encoder) is None
