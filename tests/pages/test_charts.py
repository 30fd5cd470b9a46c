import pytest
from hypothesis import given
from hypothesis import strategies as st

from spacy_elmo_ulmfit.pages.charts import Scale, Series, line_chart, short_number

POINTS = [(0.0, 900.0), (5000.0, 80.0), (10000.0, 60.0)]


def chart(points=POINTS, **settings):
    return line_chart("a", [Series("b", points, "#000")], x_label="x", **settings)


def test_places_are_inside_the_frame_and_larger_values_higher():
    for logarithmic in (False, True):
        drawn = chart(logarithmic=logarithmic)
        left, top, right, bottom = drawn["frame"]
        (line,) = drawn["lines"]
        places = [tuple(map(float, p.split(","))) for p in line["path"].split()]
        assert [x for x, _ in places] == [left, (left + right) / 2, right]
        assert top <= places[0][1] < places[1][1] < places[2][1] <= bottom
        assert line["last"] == "60"
        assert line["dots"][1][2] == "b: 80 at 5,000"


def test_equal_ratios_are_equal_distances():
    scale = Scale(1.0, 100.0, 300.0, 0.0, logarithmic=True)
    assert [scale.place(value) for value in (1, 10, 100)] == [300.0, 150.0, 0.0]
    assert scale.ticks() == [1, 2, 5, 10, 20, 50, 100]
    assert Scale(1.0, 1e9, 0.0, 1.0, True).ticks() == [10.0**e for e in range(10)]


@given(
    st.lists(st.floats(1e-9, 1e14), min_size=1, max_size=5),
    st.booleans(),
)
def test_every_chart_has_a_few_round_ticks(values, logarithmic):
    drawn = chart(
        [(10.0 * i, v) for i, v in enumerate(values)], logarithmic=logarithmic
    )
    _, top, _, bottom = drawn["frame"]
    assert len(drawn["y_ticks"]) <= 25
    for place, label in drawn["y_ticks"]:
        assert top <= place <= bottom and len(label) <= 9


def test_lines_without_points_are_left_out():
    assert chart([])["lines"] == []
    assert chart([], logarithmic=True)["lines"] == []


def test_a_long_line_has_few_dots_and_all_its_points():
    (line,) = chart([(float(i), 1.0 + i) for i in range(5000)])["lines"]
    assert len(line["path"].split()) == 5000
    assert len(line["dots"]) <= 151 and line["dots"][-1][2] == "b: 5,000 at 4,999"


@pytest.mark.parametrize(
    "value, text",
    [(0, "0"), (0.00012, "0.00012"), (0.5, "0.5"), (68.64, "68.64"), (9999, "9,999")]
    + [(12345, "12.3k"), (2_000_000, "2M"), (1.5e9, "1.5G")],
)
def test_numbers_are_short(value, text):
    assert short_number(value) == text


def test_numbers_of_an_axis_have_one_unit():
    assert [short_number(v, 15000) for v in (0, 5000, 10000)] == ["0", "5k", "10k"]
