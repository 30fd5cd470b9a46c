"""A classifier's head, trained on what a frozen encoder read once (`cache_mb`)."""

import copy

import pytest
import torch
from thinc.api import Adam, fix_random_seed

from spacy_elmo_ulmfit.modules import AWDLSTM

from .test_ulmfit_ensemble import ensemble
from .test_ulmfit_textcat import build, examples

FACTORIES = ("ulmfit_textcat", "ulmfit_textcat_multilabel")


def create(encoder, cache_mb=10, factory=FACTORIES[0], **model):
    component = {"cache_mb": cache_mb}
    nlp = build(factory, encoder=encoder, component=component, **model)
    initialize(nlp)
    return nlp


def initialize(nlp):
    fix_random_seed(0)
    nlp.initialize(lambda: examples(nlp))


def learn(nlp, epochs=3, groups=1, optimizer=None):
    fix_random_seed(1)
    optimizer = optimizer or Adam(0.01)
    nlp.get_pipe("textcat").set_trainable_groups(groups)
    losses = []
    for _ in range(epochs):
        losses.append(nlp.update(examples(nlp), sgd=optimizer)["textcat"])
    return losses


def state(nlp):
    return copy.deepcopy(nlp.get_pipe("textcat").shim.module.state_dict())


def assert_equal_states(first, second):
    assert all(torch.equal(value, second[name]) for name, value in first.items())


def keep_nothing(nlp):
    """Let there be room for nothing, so that every document is read every time."""
    nlp.get_pipe("textcat")._frozen_reader.max_bytes = 1


@pytest.fixture
def count_reads(monkeypatch):
    """Count the rows that encoders read."""
    rows = []
    encode = AWDLSTM.encode

    def counted(self, words, *args, **kwargs):
        rows.append(len(words))
        return encode(self, words, *args, **kwargs)

    monkeypatch.setattr(AWDLSTM, "encode", counted)
    return rows


@pytest.mark.parametrize("factory", FACTORIES)
def test_the_head_learns_and_the_encoder_stays(awd_lstm_path, factory):
    nlp = create(awd_lstm_path, factory=factory)
    before = state(nlp)
    losses = learn(nlp, epochs=40)
    assert losses[-1] < 0.5 * losses[0]
    after = state(nlp)
    for name, value in before.items():
        same = torch.equal(value, after[name])
        assert same == (not name.startswith("head.")), name


def test_each_document_is_read_once(awd_lstm_path, count_reads):
    nlp = create(awd_lstm_path)
    learn(nlp, epochs=1)
    n_reads = len(count_reads)
    assert n_reads
    learn(nlp, epochs=5)
    assert len(count_reads) == n_reads


def test_new_documents_among_known_ones_are_read_alone(awd_lstm_path, count_reads):
    nlp = create(awd_lstm_path)
    nlp.get_pipe("textcat").set_trainable_groups(1)
    nlp.update(examples(nlp)[:4], sgd=Adam(0.01))
    del count_reads[:]
    nlp.update(examples(nlp)[3:], sgd=Adam(0.01))
    assert max(count_reads) == 2


def test_kept_or_read_again_the_numbers_are_the_same(awd_lstm_path):
    kept, read = (create(awd_lstm_path) for _ in range(2))
    keep_nothing(read)
    assert learn(kept) == learn(read)
    assert_equal_states(state(kept), state(read))


def test_what_is_kept_is_never_that_of_other_weights(awd_lstm_path):
    kept, read = (create(awd_lstm_path) for _ in range(2))
    keep_nothing(read)
    for nlp in (kept, read):
        optimizer = Adam(0.01)
        learn(nlp, optimizer=optimizer)
        learn(nlp, groups=4, optimizer=optimizer)
        learn(nlp, optimizer=optimizer)
    assert_equal_states(state(kept), state(read))


def test_the_head_learns_from_what_it_will_see(awd_lstm_path):
    """As if the encoder had no dropouts; those of the head stay."""
    dropouts = {"drop_mult": 1.0, "output_dropout": 0.0}
    expected = learn(create(awd_lstm_path, 0))
    assert learn(create(awd_lstm_path, **dropouts)) == pytest.approx(expected, 1e-4)
    dropped = learn(create(awd_lstm_path, drop_mult=1.0))
    assert dropped != pytest.approx(expected, 1e-4)
    assert learn(create(awd_lstm_path, 0, **dropouts)) != pytest.approx(expected, 1e-4)


def test_off_by_default_as_published(awd_lstm_path, count_reads):
    nlp = build(encoder=awd_lstm_path)
    assert nlp.config["components"]["textcat"]["cache_mb"] == 0
    nlp.initialize(lambda: examples(nlp))
    learn(nlp, epochs=1)
    n_reads = len(count_reads)
    learn(nlp, epochs=1)
    assert len(count_reads) == 2 * n_reads


def test_nothing_is_read_ahead_while_a_layer_learns(awd_lstm_path, count_reads):
    nlp = create(awd_lstm_path)
    learn(nlp, epochs=1, groups=2)
    n_reads = len(count_reads)
    learn(nlp, epochs=1, groups=2)
    assert len(count_reads) == 2 * n_reads


def test_both_directions_keep_their_own(awd_lstm_path, backward_path):
    paths = {"encoder": str(awd_lstm_path), "backward_encoder": str(backward_path)}
    kept, read = (
        ensemble(initialize=paths, component={"cache_mb": 10}) for _ in range(2)
    )
    keep_nothing(read)
    for nlp in (kept, read):
        initialize(nlp)
        learn(nlp)
    for name, shim in kept.get_pipe("textcat").shims.items():
        other = read.get_pipe("textcat").shims[name]
        assert_equal_states(shim.module.state_dict(), other.module.state_dict())
    forward, backward = kept.get_pipe("textcat").shims.values()
    head = "head.linears.0.weight"
    heads = [shim.module.state_dict()[head] for shim in (forward, backward)]
    assert not torch.equal(*heads)
