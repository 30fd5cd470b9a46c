from hypothesis import given
from hypothesis import strategies as st

from spacy_elmo_ulmfit.modules.cuts import cut_for_speed

SIZES = st.lists(st.integers(1, 60), min_size=1, max_size=12)


@given(
    sizes=SIZES,
    wanted=st.sets(st.integers(0, 70)),
    max_words=st.integers(1, 90),
    max_padding=st.integers(0, 40),
    max_steps=st.integers(1, 30),
)
def test_windows_keep_their_bounds(sizes, wanted, max_words, max_padding, max_steps):
    sizes = sorted(sizes, reverse=True)
    starts = cut_for_speed(sizes, wanted, max_words, max_padding, max_steps)
    assert starts[0] == 0
    assert starts == sorted(set(starts))
    assert {start for start in wanted if start < sizes[0]} <= set(starts)
    for start, stop in zip(starts, [*starts[1:], sizes[0]]):
        left = [size - start for size in sizes if size > start]
        n_steps = stop - start
        assert n_steps <= max_steps
        assert len(left) * n_steps <= max(max_words, len(left))
        assert sum(max(0, n_steps - n) for n in left) <= max_padding


def test_documents_of_like_length_are_read_at_once():
    assert cut_for_speed([100, 99, 98], [0]) == [0]
    assert cut_for_speed([100, 99, 20], [0], max_padding=10) == [0, 20]


def test_a_document_of_any_length_is_cut_by_the_number_of_words():
    assert cut_for_speed([2500], [0], max_words=1000) == [0, 1000, 2000]
    assert cut_for_speed([2500], [0, 1900], max_words=1000) == [0, 1000, 1900]
