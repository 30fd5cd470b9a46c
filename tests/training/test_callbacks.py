import pytest
import torch
from thinc.api import Adam

from spacy_elmo_ulmfit.training.callbacks import (
    create_chain_thaw,
    create_gradual_unfreezing,
    create_last_only,
)
from spacy_elmo_ulmfit.training.ulmfit import create_ulmfit

from ..pipeline.util import listener, load, tagged, tagger


@pytest.fixture
def nlp(awd_lstm_path):
    """A tagger that trains the AWD-LSTM it listens to."""
    upstream = {
        "factory": "awd_lstm_tok2vec",
        "frozen": False,
        "model": {
            "@architectures": "spacy-elmo-ulmfit.AWDLSTM.v1",
            "embedding_dim": 8,
            "hidden_dim": 10,
            "n_layers": 2,
        },
    }
    reader = listener("awd_lstm_tok2vec", width=8)
    reader["mix"]["n_layers"] = 2
    nlp = load({"awd_lstm_tok2vec": upstream, "tagger": tagger(reader)})
    nlp.config["initialize"]["components"] = {
        "awd_lstm_tok2vec": {"path": str(awd_lstm_path)}
    }
    nlp.config["training"]["max_steps"] = 6
    return nlp


def moved_groups(nlp, callback, n_epochs):
    """The encoder's groups that move in each epoch, the bottom being 0."""
    optimizer = nlp.initialize(lambda: tagged(nlp), sgd=Adam(0.01, L2=0.1))
    shim = nlp.get_pipe("awd_lstm_tok2vec").shim
    found = []
    for epoch in range(n_epochs):
        before = {n: p.clone() for n, p in shim.module.named_parameters()}
        callback(nlp, {"epoch": epoch, "step": epoch})
        # As spacy train does it: all components first, then all weights.
        nlp.update(tagged(nlp), sgd=False)
        for _, pipe in nlp.pipeline:
            pipe.finish_update(optimizer)
        moved = [
            name
            for name, parameter in shim.module.named_parameters()
            if not torch.equal(parameter, before[name])
        ]
        groups = enumerate(shim.layer_groups)
        found.append([i for i, g in groups if any(n.startswith(g) for n in moved)])
    return found


def test_the_embedding_is_the_bottom_group_of_a_task(nlp):
    nlp.initialize(lambda: tagged(nlp))
    shim = nlp.get_pipe("awd_lstm_tok2vec").shim
    assert [group[0] for group in shim.layer_groups] == [
        "embedding.",
        "layers.0.",
        "layers.1.",
    ]


@pytest.mark.parametrize(
    "create, expected",
    [
        (create_gradual_unfreezing, [[], [2], [1, 2], [0, 1, 2], [0, 1, 2]]),
        (create_chain_thaw, [[], [0], [1], [2], [0, 1, 2]]),
        (create_last_only, [[], [], []]),
    ],
)
def test_components_that_listen_count_as_the_top_group(nlp, create, expected):
    assert moved_groups(nlp, create(), len(expected)) == expected


def test_the_recipe_trains_an_encoder_below_the_components_that_listen(nlp):
    assert moved_groups(nlp, create_ulmfit(), 5) == [
        [],
        [2],
        [1, 2],
        [0, 1, 2],
        [0, 1, 2],
    ]
    update = nlp.get_pipe("awd_lstm_tok2vec").shim.group_update
    assert update.lr_decay == 2.6


def test_a_frozen_encoder_is_left_alone(nlp):
    nlp.initialize(lambda: tagged(nlp))
    nlp.get_pipe("awd_lstm_tok2vec").frozen = True
    create_gradual_unfreezing()(nlp, {"epoch": 0, "step": 0})
    assert nlp.get_pipe("awd_lstm_tok2vec").shim.trainable_groups is None


@pytest.mark.parametrize("create", [create_gradual_unfreezing, create_chain_thaw])
def test_epochs_per_group_must_be_positive(create):
    with pytest.raises(ValueError, match="epochs_per_group of at least 1, got 0"):
        create(epochs_per_group=0)
