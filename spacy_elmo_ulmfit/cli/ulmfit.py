"""`python -m spacy ulmfit`: why a text classifier decides as it does, and where it errs."""

from enum import Enum
from pathlib import Path
from typing import List, Optional

import typer
from spacy.cli._util import Arg, Opt, app
from wasabi import msg

from ..explain.explanation import (
    INPUT_GRADIENTS,
    INTRINSIC_ATTENTION,
    METHODS,
    OCCLUSION,
    Explanation,
    correlation,
    explain,
)
from ..explain.html import percent
from ..explain.render import to_html
from ..pipeline.source import load_pipeline
from ._util import prepare, user_errors, write_text

ulmfit_cli = typer.Typer(
    name="ulmfit",
    help="Look into text classifiers: what made them decide, and where they are wrong.",
    no_args_is_help=True,
)
app.add_typer(ulmfit_cli)

_N_PRINTED = 8


class Method(str, Enum):
    """Values of `--method`."""

    attention = INTRINSIC_ATTENTION
    gradients = INPUT_GRADIENTS
    occlusion = OCCLUSION
    all = "all"


@ulmfit_cli.command("explain")
def explain_cli(
    pipeline: str = Arg(..., help="Pipeline with a ulmfit_textcat"),
    text: str = Arg(..., help="The text, or the path of a .txt file"),
    output_path: Path = Opt(..., "--output", "-o", help="HTML file to write"),
    label: Optional[str] = Opt(
        None, "--label", "-l", help="Label to explain  [default: the likeliest]"
    ),
    method: Method = Opt(Method.attention, "--method", "-m", help="How to explain it"),
    component: Optional[str] = Opt(
        None, help="The classifier's component, where there are several"
    ),
    use_gpu: int = Opt(-1, "--gpu-id", "-g", help="GPU ID or -1 for CPU"),
) -> None:
    """Show which tokens of a text made a ULMFiT classifier decide, as an HTML page.

    With --method all the three methods stand below each other, with their correlation
    with occlusion, which is slow and needs no gradients.
    """
    with user_errors():
        text = _read_text(text)
        prepare(use_gpu, None, False)
        nlp = load_pipeline(pipeline, fix="Write one with 'python -m spacy train'")
        doc = nlp(text)
        methods = METHODS if method is Method.all else [method.value]
        found = [explain(nlp, doc, label, one, component=component) for one in methods]
        write_text(output_path, to_html(found, page=True))
        _print_explanations(found)
        msg.good("Saved the page", str(output_path))


def _print_explanations(explanations: List[Explanation]) -> None:
    first = explanations[0]
    ranked = sorted(first.probabilities.items(), key=lambda item: -item[1])
    msg.table(
        [(name, percent(value)) for name, value in ranked],
        header=("label", "probability"),
        aligns=("l", "r"),
        divider=True,
    )
    rows = []
    for i in first.strongest(_N_PRINTED):
        scores = (f"{one.scores[i]:.3g}" for one in explanations)
        rows.append((first.doc[i].text, " ".join(first.words[i]), *scores))
    msg.table(
        rows,
        header=(f"why {first.label}", "read as", *(one.method for one in explanations)),
        aligns=("l", "l", *("r" for _ in explanations)),
        divider=True,
    )
    check = next((one for one in explanations if one.method == OCCLUSION), None)
    if check is None or len(explanations) == 1:
        return
    for one in explanations:
        if one is not check:
            value = correlation(one, check)
            shown = "none, as the scores of one do not differ"
            if value is not None:
                shown = f"{value:.2f}"
            msg.info(f"Correlation of {one.method} with {OCCLUSION}: {shown}")


def _read_text(text: str) -> str:
    """Return the text given, or that of the file given."""
    if not text.endswith(".txt") or any(character.isspace() for character in text):
        return text
    path = Path(text)
    if not path.is_file():
        raise ValueError(
            f"There is no file {path}. Correct the path, or give the text itself."
        )
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8. Convert it first.") from error
