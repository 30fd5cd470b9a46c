import pytest
from hypothesis import given
from hypothesis import strategies as st

from spacy_elmo_ulmfit.pretraining.batching.layout import NO_TARGET, create_layout

from ...util import tiny_classifier
from ..conftest import make_setting, rows_of, text_of

DOCUMENTS = [["a", "b", "c"], ["d"], ["e", "a"], ["b", "f", "g", "h", "i"]]
TEXT = st.lists(
    st.lists(st.sampled_from("abcdef"), min_size=1, max_size=5), min_size=1, max_size=6
)


def spelled(setting, rows, direction):
    """Return inputs and targets of a direction as words."""
    words = setting.vocabulary.words
    return (
        [[setting.stream.types[i] for i in row] for row in rows.inputs[direction]],
        [
            [None if i == NO_TARGET else words[i] for i in row]
            for row in rows.targets[direction]
        ],
    )


def test_bilm_reads_and_predicts_its_sentences_in_both_directions():
    setting = make_setting("bilm", [["a", "b"], ["c"]])
    rows = rows_of(setting, 1)
    assert spelled(setting, rows, 0) == (
        [["<S>", "a", "b", "<S>", "c"]],
        [["a", "b", "</S>", "c", "</S>"]],
    )
    assert spelled(setting, rows, 1) == (
        [["</S>", "c", "</S>", "b", "a"]],
        [["c", "<S>", "b", "a", "<S>"]],
    )


@given(TEXT, st.integers(1, 5))
def test_neither_direction_predicts_that_a_sentence_begins(documents, batch_size):
    setting = make_setting("bilm", documents)
    rows = rows_of(setting, batch_size, pad=True)
    begin, end = setting.vocabulary.id("<S>"), setting.vocabulary.id("</S>")
    assert begin not in rows.targets[0] and end in rows.targets[0]
    assert end not in rows.targets[1] and begin in rows.targets[1]


@given(TEXT, st.integers(1, 5))
def test_padded_bilm_rows_hold_every_token_once_as_target(documents, batch_size):
    setting = make_setting("bilm", documents)
    rows = rows_of(setting, batch_size, pad=True)
    words = sorted(word for document in documents for word in document)
    for direction, boundary in ((0, "</S>"), (1, "<S>")):
        _, targets = spelled(setting, rows, direction)
        found = [word for row in targets for word in row if word is not None]
        assert sorted(found) == sorted(words + [boundary] * len(documents))


@given(TEXT, st.integers(1, 5))
def test_awd_lstm_targets_are_the_inputs_moved_by_one(documents, batch_size):
    setting = make_setting("awd_lstm", documents)
    rows = rows_of(setting, batch_size, pad=True)
    ids = setting.vocabulary.ids(setting.stream.types[i] for i in setting.stream.tokens)
    inputs, targets = rows.inputs[0].ravel(), rows.targets[0].ravel()
    n_targets = len(ids) - 1
    assert inputs[:n_targets].tolist() == ids[:-1]
    assert targets[:n_targets].tolist() == ids[1:]
    assert (targets[n_targets:] == NO_TARGET).all()


@pytest.mark.parametrize("batch_size", [1, 2, 3, 7, 100])
def test_unpadded_rows_have_targets_everywhere(kind, batch_size):
    setting = make_setting(kind, DOCUMENTS)
    rows = rows_of(setting, batch_size)
    assert rows.inputs.shape == rows.targets.shape
    assert (rows.targets != NO_TARGET).all()
    n_targets = len(setting.stream.tokens) - (kind != "bilm")
    assert rows.inputs.shape[1:] == (batch_size, n_targets // batch_size)


def test_a_window_reads_its_own_words_alone():
    setting = make_setting("bilm", DOCUMENTS)
    text, rows = text_of(setting), rows_of(setting, 1)
    window = text.window(rows.inputs[:, :, 4:6], rows.targets[:, :, 4:6])
    whole = text.window(*rows)
    assert len(window.words) == len({*window.inputs.ravel().tolist()}) <= 4
    read = window.words[window.inputs]
    assert (read == whole.words[whole.inputs[:, :, 4:6]]).all()


def test_modules_that_read_no_streams_are_refused():
    setting = make_setting("bilm", DOCUMENTS)
    with pytest.raises(TypeError, match="ULMFiTClassifier"):
        create_layout(tiny_classifier(), setting.vocabulary)
