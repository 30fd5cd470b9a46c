import pickle
from functools import partial
from pathlib import Path

import pytest
import torch
from numpy.testing import assert_allclose
from spacy.util import load_config

from spacy_elmo_ulmfit.pretraining.setup import setup_finetuning
from spacy_elmo_ulmfit.pretraining.vocabulary_mapping import map_vocabulary
from spacy_elmo_ulmfit.text import Vocabulary

from ..reference.commands import run
from ..reference.fastai_files import SPECIALS_V2, random_model, v2_state
from ..reference.fastai_files import vocabulary as published
from ..reference.files import saved, write_folder
from ..util import tiny_awd_lstm, tiny_bilm

OLD = ["<unk>", "<pad>", "a", "b", "c"]
CONFIG = Path(__file__).parents[2] / "configs" / "awd_lstm_finetune.cfg"
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


@pytest.mark.parametrize("kind", sorted(ROWS))
def test_another_order_of_the_words_changes_nothing_but_the_order(kind):
    """A loader that goes by position would give each word the row of another."""
    module = build(kind)
    words = ["c", "a", "<pad>", "b", "<unk>"]
    mapped = map_vocabulary(module, vocabulary(OLD), vocabulary(words))
    assert (mapped.n_known, mapped.n_new) == (len(OLD), 0)
    old, new = module.state_dict(), mapped.module.state_dict()
    for name in ROWS[kind]:
        by_name = {word: row for word, row in zip(OLD, old[name])}
        for word, row in zip(words, new[name]):
            assert torch.equal(row, by_name[word]), (name, word)


def test_a_model_in_another_order_predicts_the_same_words():
    module = build("awd_lstm")
    words = ["new", *OLD[::-1]]
    mapped = map_vocabulary(module, vocabulary(OLD), vocabulary(words)).module.eval()
    text = ["a", "c", "b", "a", "<unk>"]
    before, _, _ = module(torch.tensor([vocabulary(OLD).ids(text)]))
    after, _, _ = mapped(torch.tensor([vocabulary(words).ids(text)]))
    order = [words.index(word) for word in OLD]
    torch.testing.assert_close(after[:, :, order], before)


@pytest.mark.parametrize("how", ["replace", "extend"])
def test_a_published_vocabulary_with_fillers(how, write_text, tmp_path):
    """The task's words come in an order of their own; no word gets a filler's row."""
    words = [*published(SPECIALS_V2, n_fake=5), "xxfake"]
    model = random_model(len(words))
    files = {"lm.pth": saved(v2_state(model)), "itos.pkl": pickle.dumps(words)}
    run("init", "ulmfit", "en", write_folder(tmp_path / "in", files), tmp_path / "lm")
    text = write_text(["xxfake zither in rome . it drank tea , zither"] * 9)
    overrides = {"paths.train": str(text), "paths.dev": str(text)}
    overrides.update({"lm.vocabulary": how, "lm.min_freq": 1, "lm.batch_size": 2})
    config = load_config(CONFIG, overrides=overrides)
    trainer = setup_finetuning(config, tmp_path / "out", source=tmp_path / "lm")
    found = trainer.vocabulary.words
    assert found[:2] == ["xxunk", "xxpad"] and "zither" in found
    rows = trainer.module.embedding.weight.detach().numpy()
    bias = trainer.module.decoder_bias.detach().numpy()
    known = {word: row for row, word in enumerate(words) if word != "xxfake"}
    n_new = 0
    for row, word in enumerate(found):
        if word in known:
            assert_allclose(rows[row], model.embedding[known[word]], err_msg=word)
            assert_allclose(bias[row], model.bias[known[word]], err_msg=word)
        elif not word.startswith("xxfake_"):
            n_new += 1
            assert_allclose(rows[row], model.embedding.mean(0), atol=1e-6)
            assert_allclose(bias[row], model.bias.mean(), atol=1e-6)
    assert n_new >= 2
