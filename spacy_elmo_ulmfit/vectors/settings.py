"""What a file of vectors holds, whatever its format."""

from dataclasses import dataclass
from typing import Any, Dict, List, Tuple

import numpy
from numpy.typing import NDArray
from spacy.tokens import Doc

from ..layers.doc_layers import get_doc_layers
from .choices import LayerChoice

FORMAT_VERSION = 1
DTYPES = ("float32", "float16")

# A document's tokens, and their vectors: (n_tokens, width), or with all layers
# (n_layers, n_tokens, width).
TokenVectors = Tuple[List[str], NDArray[numpy.floating]]


@dataclass(frozen=True)
class VectorSettings:
    """What a file of vectors holds, and says about itself.

    pipeline (str): Name of the pipeline, such as `"en_elmo_sm"`.
    pipeline_version (str): Its version.
    component (str): Name of the language model's component.
    attribute (str): The extension attribute that shows its layers, such as `"elmo"`.
    choice (LayerChoice): Which layers.
    dtype (str): `"float32"` or `"float16"`.
    """

    pipeline: str
    pipeline_version: str
    component: str
    attribute: str
    choice: LayerChoice
    dtype: str = "float32"

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise ValueError(
                f"dtype = {self.dtype!r} is not a type vectors can be stored in; use "
                f"{' or '.join(DTYPES)}."
            )

    def vectors(self, doc: Doc) -> NDArray[numpy.floating]:
        """Return what is stored of a document that the component has read."""
        layers = get_doc_layers(doc, self.component)
        if layers is None:
            raise ValueError(f"A document has no vectors of '{self.component}'.")
        return self.choice(layers).astype(self.dtype, copy=False)

    def attributes(self) -> Dict[str, Any]:
        """Return the settings as plain values."""
        attributes: Dict[str, Any] = {
            "format_version": FORMAT_VERSION,
            "pipeline": self.pipeline,
            "pipeline_version": self.pipeline_version,
            "component": self.component,
            "layers": self.choice.name,
            "dtype": self.dtype,
        }
        if self.choice.weights:
            attributes["weights"] = list(self.choice.weights)
            attributes["gamma"] = self.choice.gamma
        return attributes
