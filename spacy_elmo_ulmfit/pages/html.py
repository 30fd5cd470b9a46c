"""Self-contained HTML: templates, colours and display in notebooks."""

from functools import lru_cache
from typing import Any, Tuple

from jinja2 import Environment, PackageLoader, StrictUndefined

Color = Tuple[int, int, int]

# Light enough for black text, and apart for readers who do not tell red from green.
FOR: Color = (255, 170, 64)
AGAINST: Color = (121, 178, 235)
_WHITE: Color = (255, 255, 255)


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("spacy_elmo_ulmfit.pages"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters["percent"] = percent
    return environment


def render_template(name: str, **values: Any) -> str:
    """Fill in a template of this package; all values are escaped.

    name (str): File in `templates`.
    values (Any): What it shows.
    RETURNS (str): The HTML.
    """
    return _environment().get_template(name).render(**values).strip()


def percent(share: float) -> str:
    """Write a share in percent; only what is certain reads as 0 or 100."""
    if 0 < share < 0.0001:
        return "<0.01%"
    if 0.9999 < share < 1:
        return ">99.99%"
    digits = 1 if 0.001 <= share <= 0.999 or share in (0, 1) else 2
    return f"{share:.{digits}%}"


def shade(strength: float, color: Color) -> str:
    """Mix a colour with white.

    strength (float): From 0, white, to 1, the colour.
    color (Tuple[int, int, int]): Red, green and blue, to 255.
    RETURNS (str): A colour of CSS.
    """
    mixed = [round(w + strength * (c - w)) for w, c in zip(_WHITE, color)]
    return "#{:02x}{:02x}{:02x}".format(*mixed)


def show_in_notebook(html: str) -> None:
    """Display HTML as the output of a notebook's cell.

    html (str): The HTML.
    """
    from IPython.display import HTML, display

    # The class keeps MathJax away from dollar signs in the text.
    display(HTML(f'<div class="tex2jax_ignore">{html}</div>'))
