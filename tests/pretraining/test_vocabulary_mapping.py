from functools import partial

import pytest
import torch

from spacy_elmo_ulmfit.pretraining.vocabulary_mapping import map_vocabulary
from spacy_elmo_ulmfit.text import Vocabulary

from ..util import tiny_awd_lstm, tiny_bilm

OLD = ["<unk>", "<pad>", "a", "b", "c"]
NEW = ["<unk>", "<pad>", "new", "c", "a", "newer"]
ROWS = {
    "bilm": ("head.weight", "head.bias"),
    "awd_lstm": ("embedding.weight", "decoder_bias"),
    "qrnn": ("embedding.weight", "decoder_bias"),
}
BUILD = {
    "bilm": tiny_bilm,
    "awd_lstm": tiny_awd_lstm,
    "qrnn": partial(tiny_awd_lstm, rnn="qrnn"),
}


def vocabulary(words):
    return Vocabulary(words, [1] * len(words), unknown="<unk>")


def build(kind):
    module = BUILD[kind](n_words=len(OLD))
    bias = dict(module.named_parameters())[ROWS[kind][1]]
    torch.nn.init.normal_(bias)
    return module


@pytest.mark.parametrize("kind", sorted(ROWS))
def test_known_words_keep_their_rows_and_new_ones_get_the_mean(kind):
    module = build(kind)
    mapped = map_vocabulary(module, vocabulary(OLD), vocabulary(NEW))
    assert (mapped.n_known, mapped.n_new) == (4, 2)
    old, new = module.state_dict(), mapped.module.state_dict()
    for name in ROWS[kind]:
        assert len(new[name]) == len(NEW)
        for row, word in zip(new[name], NEW):
            expected = (
                old[name].mean(0) if "new" in word else old[name][OLD.index(word)]
            )
            torch.testing.assert_close(row, expected)


@pytest.mark.parametrize("kind", sorted(ROWS))
def test_everything_else_stays_and_the_old_model_is_untouched(kind):
    module = build(kind)
    module_before = {name: v.clone() for name, v in module.state_dict().items()}
    mapped = map_vocabulary(module, vocabulary(OLD), vocabulary(NEW)).module
    assert mapped.config.n_words == len(NEW)
    with torch.no_grad():
        for parameter in mapped.parameters():
            parameter.add_(1.0)
    for name, value in module.state_dict().items():
        assert torch.equal(value, module_before[name])
        if name not in ROWS[kind] and "warm" not in name:
            torch.testing.assert_close(mapped.state_dict()[name], value + 1.0)


@pytest.mark.parametrize("kind", sorted(ROWS))
def test_the_same_words_give_the_same_model(kind):
    module = build(kind)
    mapped = map_vocabulary(module, vocabulary(OLD), vocabulary(OLD))
    assert (mapped.n_known, mapped.n_new) == (len(OLD), 0)
    for name, value in module.state_dict().items():
        assert torch.equal(mapped.module.state_dict()[name], value)
