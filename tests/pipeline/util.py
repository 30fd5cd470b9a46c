"""Pipelines with listeners, from configs as users write them."""

from typing import Any, Dict, List, NamedTuple, Optional

from spacy.language import Language
from spacy.training import Example
from spacy.util import load_model_from_config
from thinc.api import Config, Optimizer

WIDTH = 12


class Kind(NamedTuple):
    """A kind of language model, in the sizes of the tests' tiny ones.

    component (str): Its component.
    attribute (str): Where its layers are on a document.
    n_layers (int): Their number.
    width (int): Their width.
    weight (str): Name of a matrix in the lowest LSTM layer.
    """

    component: str
    attribute: str
    n_layers: int
    width: int
    weight: str

    def __str__(self) -> str:
        return self.attribute


ELMO = Kind("elmo_tok2vec", "elmo", 3, WIDTH, "forward_layers.0.weight_ih")
AWD_LSTM = Kind("awd_lstm_tok2vec", "awd_lstm", 2, 8, "layers.0.weight_hh_l0")


def listener(upstream: str = "elmo_tok2vec", **changes: Any) -> Dict[str, Any]:
    """Config of a listener."""
    return {
        "@architectures": "spacy-elmo-ulmfit.ElmoListener.v1",
        "width": WIDTH,
        "upstream": upstream,
        "mix": {
            "@architectures": "spacy-elmo-ulmfit.ScalarMix.v1",
            "n_layers": 3,
            "dropout": 0.0,
        },
        **changes,
    }


def tagger(tok2vec: Optional[Dict[str, Any]] = None) -> Dict[str, Any]:
    """Config of a tagger on a listener."""
    return {
        "factory": "tagger",
        "model": {
            "@architectures": "spacy.Tagger.v2",
            "tok2vec": tok2vec or listener(),
        },
    }


def load(config: Dict[str, Any], pipeline: Optional[list] = None) -> Language:
    """Build a pipeline from component configs."""
    return load_model_from_config(
        Config(
            {
                "nlp": {"lang": "en", "pipeline": pipeline or list(config)},
                "components": config,
            }
        ),
        auto_fill=True,
    )


def tagged(nlp: Language) -> list:
    """Examples whose tags tell capitalised words from others."""
    examples = []
    for text in ("Anna lives in Rome", "Bob saw Oslo", "she drinks tea"):
        doc = nlp.make_doc(text)
        tags = ["N" if token.is_title else "O" for token in doc]
        starts = [i == 0 for i in range(len(doc))]
        gold = {"tags": tags, "sent_starts": starts}
        examples.append(Example.from_dict(doc, gold))
    return examples


def train(nlp: Language, steps: int, optimizer: Optimizer, **settings: Any) -> list:
    """Train for some steps as a user's own loop would."""
    examples = tagged(nlp)
    return [nlp.update(examples, sgd=optimizer, **settings) for _ in range(steps)]


def spy_on(pipe: Any) -> List[int]:
    """Return the number of documents of each call of a language model from now on."""
    calls: List[int] = []
    predict = pipe.predict

    def count(docs: Any) -> Any:
        docs = list(docs)
        calls.append(len(docs))
        return predict(docs)

    pipe.predict = count
    return calls
