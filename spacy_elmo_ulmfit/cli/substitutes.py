"""`python -m spacy lm substitutes`: what a language model expects in a word's place."""

from typing import List, Tuple, cast

from spacy.cli._util import Arg, Opt
from wasabi import msg

from ..pipeline.elmo_tok2vec import ElmoTok2Vec
from ..pipeline.source import find_language_model, load_pipeline
from ..pretraining.corpus.stream import prepared_docs
from ._util import user_errors
from .lm import lm_cli


@lm_cli.command("substitutes")
def substitutes_cli(
    pipeline: str = Arg(..., help="Pipeline with a biLM that has its softmax"),
    text: str = Arg(..., help="The text"),
    n: int = Opt(5, "--n-words", "-n", help="Words for each token", min=1),
) -> None:
    """Print the likeliest words in the place of each token, with log-probabilities.

    Forward: given the words before it; backward: given those after it; both: given
    all others.
    """
    with user_errors():
        nlp = load_pipeline(pipeline)
        name = find_language_model(nlp, "bilm", source=pipeline).name
        (doc,) = prepared_docs(nlp, name, [nlp.make_doc(text)])
        found = cast(ElmoTok2Vec, nlp.get_pipe(name)).substitutes(doc, n)
        rows = [
            (token.text, *(_format(candidates) for candidates in item))
            for token, item in zip(doc, found)
            if item is not None
        ]
        header = ("token", "forward", "backward", "both")
        msg.table(rows, header=header, divider=True, max_col=60)


def _format(candidates: List[Tuple[str, float]]) -> str:
    return "  ".join(f"{word} {log_prob:.2f}" for word, log_prob in candidates)
