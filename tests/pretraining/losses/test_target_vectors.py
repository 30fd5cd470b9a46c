"""A biLM that learns to predict word vectors (ELMo-C)."""

import numpy
import pytest
import spacy
import torch
import torch.nn.functional as F

from spacy_elmo_ulmfit.pretraining.batching.layout import NO_TARGET, create_layout
from spacy_elmo_ulmfit.pretraining.evaluate import evaluate_distance
from spacy_elmo_ulmfit.pretraining.losses.objectives import create_objective
from spacy_elmo_ulmfit.pretraining.losses.target_vectors import (
    VectorLoss,
    have_vectors,
    read_target_vectors,
)
from spacy_elmo_ulmfit.text import Vocabulary

from ..conftest import make_setting

WIDTH = 3
DOCUMENTS = [["the", "cat", "sat"], ["a", "dog", "ran", "the"]]
WITH_VECTOR = ("the", "cat", "dog", "ran")


@pytest.fixture
def pipeline(tmp_path):
    nlp = spacy.blank("en")
    for number, word in enumerate(WITH_VECTOR):
        values = numpy.random.default_rng(number).normal(size=WIDTH)
        nlp.vocab.set_vector(word, values.astype("float32"))
    nlp.to_disk(tmp_path / "vectors")
    return tmp_path / "vectors"


@pytest.fixture
def setting():
    return make_setting("bilm", DOCUMENTS, dropout=0.0)


@pytest.fixture
def vectors(pipeline, setting):
    return read_target_vectors(pipeline, setting.vocabulary)


def vector_model(setting):
    made = make_setting("bilm", DOCUMENTS, dropout=0.0, target_dim=WIDTH)
    return made.module


def test_vectors_are_those_of_the_words_and_of_no_others(vectors, setting, pipeline):
    nlp = spacy.load(pipeline)
    for word, vector in zip(setting.vocabulary.words, vectors):
        if word in WITH_VECTOR:
            expected = torch.from_numpy(nlp.vocab.get_vector(word))
            torch.testing.assert_close(vector, F.normalize(expected, dim=0))
        else:
            assert not vector.any()
    assert have_vectors(vectors).sum() == len(WITH_VECTOR)


def test_words_without_vectors_are_no_targets(vectors, setting):
    layout = create_layout(
        setting.module, setting.vocabulary, are_targets=have_vectors(vectors)
    )
    rows = layout(setting.stream).rows(setting.stream.tokens, 1, pad=True)
    predicted = [
        [setting.vocabulary.words[i] for i in direction[0] if i != NO_TARGET]
        for direction in rows.targets
    ]
    assert predicted[0] == ["the", "cat", "dog", "ran", "the"]
    assert predicted[1] == ["the", "ran", "dog", "cat", "the"]


def test_the_loss_is_the_cosine_distance(vectors, setting):
    module = vector_model(setting)
    outputs = torch.randn(2, 2, 4, module.config.projection_dim)
    known = [i for i, vector in enumerate(vectors) if vector.any()]
    targets = numpy.random.default_rng(0).choice(known, (2, 2, 4))
    targets[0, 1, 2] = NO_TARGET
    losses = VectorLoss(module, vectors)(list(outputs), targets)
    for loss, output, words in zip(losses, outputs, targets):
        expected = sum(
            1 - F.cosine_similarity(module.vector_head(h), vectors[i], dim=0)
            for h, i in zip(output.reshape(8, -1), words.reshape(8))
            if i != NO_TARGET
        )
        torch.testing.assert_close(loss, expected)


def test_the_distance_of_a_text_falls_in_training(vectors, setting):
    module = vector_model(setting)

    def distance():
        return evaluate_distance(module, [setting.stream], setting.vocabulary, vectors)

    before = distance()
    assert before.keys() >= {"distance_forward", "distance_backward"}
    assert "perplexity" not in before
    assert before["n_tokens"] == 5 and before["n_words"] == len(WITH_VECTOR)
    layout = create_layout(
        module, setting.vocabulary, are_targets=have_vectors(vectors)
    )
    text = layout(setting.stream)
    window = text.window(*text.rows(setting.stream.tokens, 1, pad=True))
    objective = create_objective(module, loss=VectorLoss(module, vectors))
    optimizer = torch.optim.Adam(module.parameters(), lr=0.02)
    for _ in range(30):
        result = objective.step(window, objective.zero_state(1))
        result.losses.sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    assert distance()["distance"] < 0.5 * before["distance"]


def test_a_window_without_a_target_is_read_all_the_same(vectors, setting):
    module = vector_model(setting)
    layout = create_layout(
        module, setting.vocabulary, are_targets=have_vectors(vectors)
    )
    text = layout(setting.stream)
    inputs, targets = text.rows(setting.stream.tokens, 1, pad=True)
    objective = create_objective(module, loss=VectorLoss(module, vectors))
    window = text.window(inputs, numpy.full_like(targets, NO_TARGET))
    result = objective.step(window, objective.zero_state(1))
    assert result.n_targets == 0 and result.losses.tolist() == [0.0, 0.0]
    assert result.state.forward[0][0].any()


def test_a_pipeline_without_these_words_is_refused(pipeline):
    words = Vocabulary(["<UNK>", "zither"], [1, 1], unknown="<UNK>")
    with pytest.raises(ValueError, match="no vector of any word of the training text"):
        read_target_vectors(pipeline, words)
