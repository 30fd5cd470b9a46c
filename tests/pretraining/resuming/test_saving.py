import pytest

from spacy_elmo_ulmfit.pretraining.resuming.saving import neutral_sentences

from ...util import make_doc, stream_of


@pytest.mark.parametrize(
    "lengths, expected",
    [([3, 12, 15], [12, 15]), ([3, 4], [3]), ([50], [50]), ([12] * 9, [12] * 5)],
)
def test_neutral_sentences_are_the_first_of_middling_length(lengths, expected):
    docs = [make_doc([f"w{i}" for i in range(n)]) for n in lengths]
    sentences = neutral_sentences(stream_of("bilm", docs))
    assert sentences == [[f"w{i}" for i in range(n)] for n in expected]
