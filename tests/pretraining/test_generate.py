"""Text from pipelines with a language model."""

import pytest
import spacy
import torch

from spacy_elmo_ulmfit.pretraining.generate import generate
from spacy_elmo_ulmfit.text import BEGIN_SENTENCE

from ..conftest import AWD_LSTM, BILM, create_language_model

CONFIGS = {
    "bilm": BILM,
    "awd_lstm": AWD_LSTM,
    "qrnn": AWD_LSTM + 'rnn = "qrnn"\n',
    "adaptive": AWD_LSTM + "softmax_cutoffs = [10, 20]\n",
}
PROMPT = "Anna lives in"
SPECIALS = {"<S>", "<UNK>", "xxunk", "xxpad", "xxbos", "xxeos", "xxfld"}


@pytest.fixture(params=list(CONFIGS))
def nlp(request):
    nlp = create_language_model(CONFIGS[request.param])
    return sharpen(nlp)


def sharpen(nlp):
    """Make the random model's predictions differ more than by rounding."""
    module = nlp.pipeline[-1][1].language_model
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(3.0)
    return nlp


def next_log_probs(nlp, prompt, words):
    """Return what the model expects next, the whole text read anew from its start."""
    name, pipe = nlp.pipeline[-1]
    module, doc = pipe.language_model, nlp.make_doc(prompt)
    with torch.no_grad():
        if name == "awd_lstm_tok2vec":
            read = [*pipe.lm_tokens(doc).words, *words]
            ids = torch.tensor([pipe.vocabulary.ids(read)])
            return module(ids)[0][0, -1].log_softmax(0)
        read = [BEGIN_SENTENCE, *(token.text for token in doc), *words]
        read = [BEGIN_SENTENCE if word == "</S>" else word for word in read]
        ids = pipe.shim.word_ids(read)
        top = module.encode(ids, torch.arange(len(ids)), [len(ids)])[-1, -1]
        return module.logits(top[: module.config.projection_dim]).log_softmax(0)


def allowed(nlp, log_probs):
    vocabulary = nlp.pipeline[-1][1].vocabulary
    banned = [i for i, word in enumerate(vocabulary.words) if word in SPECIALS]
    log_probs = log_probs.clone()
    log_probs[banned] = -torch.inf
    return log_probs


def test_the_state_carried_on_gives_what_the_whole_text_gives(nlp):
    words = nlp.pipeline[-1][1].vocabulary.words
    (found,) = generate(nlp, PROMPT, n_words=12, min_words=12, temperature=0)
    expected, total = [], 0.0
    for _ in range(12):
        log_probs = next_log_probs(nlp, PROMPT, expected)
        best = int(allowed(nlp, log_probs).argmax())
        total += float(log_probs[best])
        expected.append(words[best])
    assert found.words == expected
    assert found.log_prob == pytest.approx(total, abs=1e-3)


@pytest.mark.parametrize("prompt", [PROMPT, "", "  "])
def test_drawn_texts_depend_on_seed_and_number_alone(nlp, prompt):
    many = generate(nlp, prompt, n_samples=5, n_words=10, seed=3)
    assert len({text.text for text in many}) > 1
    assert [text.words for text in generate(nlp, prompt, n_words=10, seed=3)] == [
        many[0].words
    ]
    other = generate(nlp, prompt, n_samples=5, n_words=10, seed=4)
    assert [text.words for text in other] != [text.words for text in many]


def test_special_words_are_never_written(nlp):
    for text in generate(nlp, PROMPT, n_samples=30, n_words=30, temperature=3.0):
        assert not SPECIALS & set(text.words)
        assert not {"xxmaj", "xxup", "</S>"} & set(text.text.split())
    texts = generate(
        nlp, PROMPT, n_samples=30, n_words=30, temperature=9.0, unknown=True
    )
    assert any({"<UNK>", "xxunk"} & set(text.words) for text in texts)


def test_no_words_are_repeated(nlp):
    prompt = "Anna lives in Rome and Anna"
    for settings in ({"n_samples": 5, "temperature": 0.1}, {"beams": 3}):
        for text in generate(nlp, prompt, n_words=25, no_repeat=2, **settings):
            words = [w.lower() for w in f"{prompt} {text.text}".split()]
            pairs = list(zip(words, words[1:]))
            assert len(set(pairs)) == len(pairs)


def test_beams_find_likelier_texts_than_the_likeliest_words(nlp):
    settings = {"n_words": 5, "min_words": 5}
    (greedy,) = generate(nlp, PROMPT, temperature=0, **settings)
    found = generate(nlp, PROMPT, beams=20, n_samples=3, **settings)
    assert len(found) == 3
    assert found[0].log_prob >= greedy.log_prob - 1e-4
    assert [t.log_prob for t in found] == sorted((t.log_prob for t in found))[::-1]


def test_an_awd_lstm_writes_capitals_and_ends_with_the_document():
    nlp = create_language_model(AWD_LSTM)
    pipe = nlp.get_pipe("awd_lstm_tok2vec")
    ids, bias = pipe.vocabulary.id, pipe.language_model.decoder_bias
    with torch.no_grad():
        bias[ids("xxmaj")], bias[ids("rome")] = 20.0, 20.0
    found = generate(nlp, PROMPT, n_words=20, n_samples=10)
    assert any("Rome" in text.text for text in found)
    with torch.no_grad():
        bias[ids("xxbos")] = 40.0
    (found,) = generate(nlp, PROMPT, n_words=20, min_words=3)
    assert len(found.words) == 3


def test_a_bilm_begins_another_sentence():
    nlp = create_language_model(BILM)
    pipe = nlp.get_pipe("elmo_tok2vec")
    with torch.no_grad():
        pipe.language_model.head.bias[pipe.vocabulary.id("</S>")] = 3.0
    (found,) = generate(nlp, PROMPT, n_words=20, no_repeat=2)
    assert 1 < found.words.count("</S>") < 20
    assert found.text.split() == [word for word in found.words if word != "</S>"]


def test_words_outside_the_vocabulary_are_read_by_their_characters():
    nlp = sharpen(create_language_model(BILM))
    vocabulary = nlp.get_pipe("elmo_tok2vec").vocabulary
    prompts = ["Zxyv", "qqqq"]
    assert not any(prompt in vocabulary for prompt in prompts)
    one, other = (generate(nlp, p, n_words=3, temperature=0)[0] for p in prompts)
    assert one.log_prob != pytest.approx(other.log_prob, abs=1e-3)


def test_the_sentences_of_a_prompt_follow_each_other():
    nlp = sharpen(create_language_model(BILM))
    nlp.add_pipe("sentencizer", first=True)
    settings = {"n_words": 4, "temperature": 0}
    (split,) = generate(nlp, "Anna lives here . Bob drinks", **settings)
    nlp.remove_pipe("sentencizer")
    (whole,) = generate(nlp, "Anna lives here . Bob drinks", **settings)
    (last,) = generate(nlp, "Bob drinks", **settings)
    assert len({round(text.log_prob, 3) for text in (split, whole, last)}) == 3


def test_a_forward_model_alone_writes_too():
    nlp = create_language_model(BILM + "bidirectional = false\n")
    assert generate(nlp, PROMPT, n_words=5)[0].words


def test_models_that_cannot_write_are_refused(backward_path):
    with pytest.raises(ValueError, match="from its end"):
        generate(spacy.load(backward_path), PROMPT)
    nlp = create_language_model(BILM)
    nlp.get_pipe("elmo_tok2vec").language_model.head = None
    with pytest.raises(ValueError, match="lm finetune"):
        generate(nlp, PROMPT)
    with pytest.raises(ValueError, match="holds no language model"):
        generate(spacy.blank("en"), PROMPT)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"n_words": 0}, "n_words must be at least 1"),
        ({"temperature": -1.0}, "temperature must be at least 0"),
        ({"temperature": float("nan")}, "temperature"),
        ({"min_p": 1.5}, "min_p is a share"),
        ({"beams": 2, "top_k": 5}, "nothing is drawn"),
        ({"beams": 2, "n_samples": 3}, "no 3 texts"),
        ({"seed": -1}, "seed"),
    ],
)
def test_settings_that_mean_nothing_are_refused(nlp, settings, message):
    with pytest.raises(ValueError, match=message):
        generate(nlp, PROMPT, **settings)
