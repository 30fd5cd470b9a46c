import pytest
import torch

from spacy_elmo_ulmfit.modules import CharacterEncoder, TokenEncoder

from ..util import char_ids

WORDS = ["a", "of", "Zürich"]


def characters(n_filters=6):
    torch.manual_seed(0)
    return CharacterEncoder(
        char_dim=3,
        filters=[(1, 2), (2, n_filters - 2)],
        n_highway=1,
        activation="relu",
    )


@pytest.mark.parametrize("project", [None, True])
def test_words_of_characters_are_projected_where_the_widths_differ(project):
    encoder = TokenEncoder(5, characters=characters(), project=project)
    ids = char_ids(WORDS)
    inner = encoder.characters(ids)
    expected = inner @ encoder.projection.weight.t() + encoder.projection.bias
    torch.testing.assert_close(encoder(ids), expected)


@pytest.mark.parametrize("project, n_weights", [(None, 0), (False, 0), (True, 2)])
def test_equal_widths_have_a_projection_only_on_demand(project, n_weights):
    encoder = TokenEncoder(6, characters=characters(), project=project)
    assert len(list(encoder.projection.parameters())) == n_weights


def test_words_alone_are_rows_of_the_table():
    encoder = TokenEncoder(4, n_words=7, word_dim=4)
    found = encoder(torch.tensor([[1], [7], [0]]))
    assert torch.equal(found, encoder.words.weight[[1, 7, 0]])
    assert not found[2].any()


def test_a_words_own_vector_comes_before_that_of_its_characters():
    encoder = TokenEncoder(9, characters=characters(), n_words=7, word_dim=3)
    ids = char_ids(WORDS)
    both = encoder(torch.column_stack([torch.tensor([2, 1, 3]), ids]))
    expected = torch.cat([encoder.words.weight[[2, 1, 3]], encoder.characters(ids)], 1)
    assert torch.equal(both, expected)
