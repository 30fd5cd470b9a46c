"""Put two `tok2vec` side by side: `[x; ELMo]`."""

from typing import Any, List, Optional, cast

from spacy.util import registry
from thinc.api import Maxout, Model, chain, concatenate, with_array
from thinc.types import Floats2d

from .types import Tok2VecT


@registry.architectures("spacy-elmo-ulmfit.Concat.v1")
def build_concat(
    left: Model[Any, List[Floats2d]],
    right: Model[Any, List[Floats2d]],
    width: Optional[int] = None,
) -> Tok2VecT:
    """Concatenate the vectors of two layers, token by token.

    left (Model[List[Doc], List[Floats2d]]): For example an embedding layer.
    right (Model[List[Doc], List[Floats2d]]): For example an `ElmoListener`.
    width (Optional[int]): Project to this width with a maxout layer and layer
        norm, which encoders such as `spacy.MaxoutWindowEncoder.v2` need; `null`
        leaves the vectors side by side. `[training] dropout` applies to it.
    RETURNS (Model[List[Doc], List[Floats2d]]): `(n_tokens, width)` for each document.
    """
    joined: Model[Any, List[Floats2d]] = concatenate(left, right)
    if width is None:
        return cast(Tok2VecT, joined)
    # The width of what comes in is inferred when the model is initialized.
    projection: Model[List[Floats2d], List[Floats2d]] = with_array(
        Maxout(width, nP=3, normalize=True, dropout=0.0)
    )
    projected: Tok2VecT = chain(joined, projection)
    projected.set_dim("nO", width)
    return projected
