import pytest

from spacy_elmo_ulmfit.pages.html import FOR, percent, shade


@pytest.mark.parametrize(
    "share, shown",
    [
        (0.0, "0.0%"),
        (0.00001, "<0.01%"),
        (0.0005, "0.05%"),
        (0.25, "25.0%"),
        (0.9994, "99.94%"),
        (0.999999, ">99.99%"),
        (1.0, "100.0%"),
    ],
)
def test_only_what_is_certain_reads_as_certain(share, shown):
    assert percent(share) == shown


def test_a_shade_goes_from_white_to_the_colour():
    assert shade(0.0, FOR) == "#ffffff"
    assert shade(1.0, FOR) == "#{:02x}{:02x}{:02x}".format(*FOR)
