import numpy
import pytest
import torch
import torch.nn.functional as F

from spacy_elmo_ulmfit.layers.ulmfit_classifier import build_ulmfit_classifier
from spacy_elmo_ulmfit.text import Vocabulary
from spacy_elmo_ulmfit.text.special_words import SPECIALS

from ..util import make_doc

WORDS = [*SPECIALS, "tea", "soup", "train", "bus"]
DOCUMENTS = [["tea", "soup", "tea", "soup", "tea"], [], ["train"], ["bus", "train"]]
TRUTHS = numpy.eye(3, dtype="float32")[[0, 1, 2, 2]]


def build(**settings):
    torch.manual_seed(0)
    sizes = {"embedding_dim": 4, "hidden_dim": 6, "n_layers": 2, "bptt": 2}
    model = build_ulmfit_classifier(**{**sizes, "drop_mult": 0.0, **settings}, nO=3)
    shim = model.shims[0]
    shim.create_tokenizer("en")
    encoder = {**shim.settings["encoder"], "n_words": len(WORDS)}
    vocabulary = Vocabulary(WORDS, [1] * len(WORDS), unknown="xxunk")
    shim.create(vocabulary, n_labels=3, encoder=encoder)
    return model


@pytest.fixture
def docs():
    return [make_doc(words) for words in DOCUMENTS]


def test_gradients_are_those_of_cross_entropy_and_penalty(docs):
    model = build(head_dropout=0.0)
    module, shim = model.shims[0].module, model.shims[0]
    scores, backprop = model.begin_update(docs)
    backprop(scores - TRUTHS)
    found = {name: p.grad.clone() for name, p in module.named_parameters()}
    module.zero_grad()
    output = module.classify(*shim.word_ids([shim.words_of(doc) for doc in docs]))
    assert output.penalty > 0
    loss = F.cross_entropy(output.logits, torch.from_numpy(TRUTHS)) + output.penalty
    loss.backward()
    for name, parameter in module.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad, rtol=1e-4, atol=1e-6)


def test_a_frozen_encoder_gets_no_gradient_and_the_head_the_same(docs):
    gradients = []
    for n_groups in (4, 1):
        model = build(head_dropout=0.0)
        model.shims[0].set_trainable_groups(n_groups)
        scores, backprop = model.begin_update(docs)
        backprop(scores - TRUTHS)
        gradients.append(
            {n: p.grad for n, p in model.shims[0].module.named_parameters()}
        )
    for name, gradient in gradients[1].items():
        if name.startswith("head."):
            torch.testing.assert_close(gradient, gradients[0][name])
        else:
            assert gradient is None


def test_with_nothing_to_learn_an_update_still_works(docs):
    model = build()
    model.shims[0].set_trainable_groups(0)
    scores, backprop = model.begin_update(docs)
    assert backprop(scores - TRUTHS) == docs


def test_documents_are_numbered_without_padding():
    shim = build().shims[0]
    docs = [make_doc(["tea", "bus"] * 1500), *[make_doc(["bus"])] * 63]
    ids, lengths = shim.word_ids([shim.words_of(doc) for doc in docs])
    assert ids.shape == (sum(lengths),) and max(lengths) > 3000


@pytest.mark.parametrize("name", ["bptt", "gradient_windows"])
def test_windows_of_no_words_are_refused(name):
    with pytest.raises(ValueError, match=f"{name} = 0 .* at least 1"):
        build_ulmfit_classifier(**{name: 0})
