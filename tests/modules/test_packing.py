import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.utils.rnn import pack_sequence

from spacy_elmo_ulmfit.modules.packing import PackedLayout, unpack

LENGTHS = st.lists(st.integers(1, 12), min_size=1, max_size=10)


@given(LENGTHS)
def test_indices_are_permutations_and_unpack_inverts_them(lengths):
    layout = PackedLayout.from_lengths(lengths)
    n_tokens = sum(lengths)
    flat = torch.arange(n_tokens).unsqueeze(1)
    assert sum(layout.batch_sizes) == n_tokens
    for index in (layout.forward_index, layout.backward_index):
        assert sorted(index.tolist()) == list(range(n_tokens))
        assert torch.equal(unpack(flat[index], index), flat)


@given(LENGTHS)
def test_layout_is_that_of_torch_packed_sequences(lengths):
    layout = PackedLayout.from_lengths(lengths)
    sequences = list(torch.arange(sum(lengths)).split(lengths))
    # Python's sort is stable, so sequences of one length keep their order.
    sequences.sort(key=lambda sequence: -len(sequence))
    forward = pack_sequence(sequences)
    backward = pack_sequence([sequence.flip(0) for sequence in sequences])
    assert layout.batch_sizes == forward.batch_sizes.tolist()
    assert torch.equal(layout.forward_index, forward.data)
    assert torch.equal(layout.backward_index, backward.data)


def test_gradient_goes_back_to_the_row_it_came_from():
    index = PackedLayout.from_lengths([1, 3, 2]).backward_index
    packed = torch.randn(6, 2, requires_grad=True)
    weights = torch.randn(6, 2)
    (unpack(packed, index) * weights).sum().backward()
    assert torch.equal(packed.grad, weights[index])


@pytest.mark.parametrize("lengths", [[1], [4], [2, 2, 2]])
def test_equal_lengths_have_equal_steps(lengths):
    layout = PackedLayout.from_lengths(lengths)
    assert layout.batch_sizes == [len(lengths)] * lengths[0]
