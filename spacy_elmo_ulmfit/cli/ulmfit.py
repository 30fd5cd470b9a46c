"""`python -m spacy ulmfit`: why a text classifier decides as it does, and where it errs."""

from enum import Enum
from pathlib import Path
from typing import List, Optional, Tuple

import torch
import typer
from spacy.cli._util import Arg, Opt, app
from wasabi import msg

from ..explain.error_analysis import (
    Classification,
    classify,
    read_classification,
)
from ..explain.error_page import errors_to_html
from ..explain.explanation import (
    INPUT_GRADIENTS,
    INTRINSIC_ATTENTION,
    METHODS,
    OCCLUSION,
    Explanation,
    correlation,
    explain,
)
from ..explain.render import to_html
from ..pages.html import percent
from ..pipeline.source import load_pipeline
from ._util import prepare, user_errors, write_text

ulmfit_cli = typer.Typer(
    name="ulmfit",
    help="Look into text classifiers: what made them decide, and where they are wrong.",
    no_args_is_help=True,
)
app.add_typer(ulmfit_cli)

_N_PRINTED = 8
_TRAIN = "Write one with 'python -m spacy train'"


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
        # Scores are what explain gives in Python, to the last digits of float32.
        torch.set_float32_matmul_precision("highest")
        nlp = load_pipeline(pipeline, fix=_TRAIN)
        doc = nlp(text)
        methods = METHODS if method is Method.all else [method.value]
        found = [explain(nlp, doc, label, one, component=component) for one in methods]
        write_text(output_path, to_html(found, page=True))
        _print_explanations(found)
        msg.good("Saved the page", str(output_path))


@ulmfit_cli.command("errors")
def errors_cli(
    predictor: str = Arg(
        ..., help="Pipeline with a text classifier, or a .spacy file of its predictions"
    ),
    data_path: Path = Arg(..., help="The .spacy file that spacy evaluate gets"),
    output_path: Path = Opt(..., "--output", "-o", help="HTML file to write"),
    limit: int = Opt(20, "--limit", "-n", help="Most texts in a list", min=1),
    threshold: Optional[float] = Opt(
        None, help="Probability from which one of several labels counts as predicted"
    ),
    component: Optional[str] = Opt(
        None, help="The classifier's component, where there are several"
    ),
    code_path: Optional[Path] = Opt(
        None, "--code", "-c", help="Python file with functions to import"
    ),
    use_gpu: int = Opt(-1, "--gpu-id", "-g", help="GPU ID or -1 for CPU"),
) -> None:
    """Show where a text classifier is wrong, as an HTML page.

    Any classifier that writes doc.cats will do. Instead of a pipeline it can be a file
    of predictions, as spacy apply and the project's scripts/ensemble.py write it.
    """
    with user_errors():
        prepare(use_gpu, code_path, False)
        found = _classify(predictor, data_path, component, threshold)
        html = errors_to_html(
            found,
            page=True,
            limit=limit,
            title=f"Where {Path(predictor).name} is wrong",
        )
        write_text(output_path, html)
        _print_errors(found)
        msg.good("Saved the page", str(output_path))


def _classify(
    predictor: str,
    data_path: Path,
    component: Optional[str],
    threshold: Optional[float],
) -> Classification:
    if not predictor.endswith(".spacy"):
        nlp = load_pipeline(predictor, fix=_TRAIN)
        return classify(nlp, data_path, component=component, threshold=threshold)
    if component is not None:
        raise ValueError(
            f"--component is about a pipeline, but {predictor} holds predictions: leave "
            "it out."
        )
    settings = {} if threshold is None else {"threshold": threshold}
    return read_classification(Path(predictor), data_path, **settings)


def _print_errors(found: Classification) -> None:
    support = found.support()
    rows: List[Tuple[str, ...]] = [
        (label, str(support[label]), *(f"{100 * value:.2f}" for value in scores))
        for label, score in found.scores_per_label().items()
        for scores in [(score.precision, score.recall, score.fscore)]
    ]
    header: Tuple[str, ...] = ("label", "texts", "P", "R", "F")
    msg.table(rows, header=header, aligns=("l", "r", "r", "r", "r"), divider=True)
    if found.multi_label:
        return
    pairs = found.confused_pairs()[:_N_PRINTED]
    rows = [(pair.true, pair.predicted, str(pair.n_texts)) for pair in pairs]
    header = ("true", "predicted", "texts")
    msg.table(rows, header=header, aligns=("l", "l", "r"), divider=True)


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
