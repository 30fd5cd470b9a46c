import pytest
import spacy
import torch

from spacy_elmo_ulmfit.text import BEGIN_SENTENCE, END_SENTENCE

from ..conftest import BILM, create_language_model


def plain(pipe, words):
    """Log-probabilities of every word of a sentence, one sentence at a time."""
    module, words = pipe.language_model, [BEGIN_SENTENCE, *words, END_SENTENCE]
    ids = pipe.shim.word_ids(words)
    with torch.no_grad():
        top = module.encode(ids, torch.arange(len(ids)), [len(ids)])[-1]
        width = module.config.projection_dim
        forward = module.logits(top[:-2, :width]).log_softmax(1)
        backward = module.logits(top[2:, width:]).log_softmax(1)
        unigram = torch.from_numpy(pipe.vocabulary.unigram_log_probs()).float()
        return forward, backward, (forward + backward - unigram).log_softmax(1)


def test_substitutes_are_the_likeliest_words_of_each_direction(elmo):
    pipe = elmo.get_pipe("elmo_tok2vec")
    doc = elmo.make_doc("Anna lives  in Rome .")
    found = pipe.substitutes(doc, n=3)
    assert [item is None for item in found] == [token.is_space for token in doc]
    words = [token.text for token in doc if not token.is_space]
    for expected, name in zip(plain(pipe, words), ("forward", "backward", "both")):
        rows = [getattr(item, name) for item in found if item is not None]
        for row, candidates in zip(expected, rows):
            assert len(candidates) == 3
            for word, log_prob in candidates:
                assert log_prob == pytest.approx(
                    float(row[pipe.vocabulary.id(word)]), abs=1e-5
                )
            assert [p for _, p in candidates] == sorted(
                (p for _, p in candidates), reverse=True
            )
            best = row.clone()
            best[:3] = -torch.inf
            assert candidates[0][1] == pytest.approx(float(best.max()), abs=1e-5)


def test_boundaries_and_unknown_words_are_no_substitutes(elmo):
    pipe = elmo.get_pipe("elmo_tok2vec")
    (found, *_) = pipe.substitutes(elmo.make_doc("Rome"), n=10_000)
    words = [word for word, _ in found.both]
    assert len(words) == len(pipe.vocabulary) - 3
    assert not {"<S>", "</S>", "<UNK>"} & set(words)


def test_each_sentence_is_predicted_by_itself(elmo):
    pipe = elmo.get_pipe("elmo_tok2vec")
    elmo.add_pipe("sentencizer", first=True)
    both = elmo("Anna met Bob . She drinks tea .")
    alone = elmo("She drinks tea .")
    for a, b in zip(pipe.substitutes(both)[4:], pipe.substitutes(alone)):
        assert [word for word, _ in a.both] == [word for word, _ in b.both]


def test_a_forward_model_has_no_backward_candidates():
    nlp = create_language_model(BILM + "bidirectional = false\n")
    found = nlp.get_pipe("elmo_tok2vec").substitutes(nlp.make_doc("tea again"))
    assert found[0].backward == [] and found[0].both == found[0].forward != []


def test_empty_documents_have_none(elmo):
    assert elmo.get_pipe("elmo_tok2vec").substitutes(elmo.make_doc("")) == []


def test_a_model_without_softmax_says_how_to_get_one(elmo):
    pipe = elmo.get_pipe("elmo_tok2vec")
    pipe.language_model.head = None
    with pytest.raises(ValueError, match="lm finetune"):
        pipe.substitutes(spacy.blank("en")("tea"))
