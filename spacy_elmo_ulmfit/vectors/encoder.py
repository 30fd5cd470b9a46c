"""The language model's component in a pipeline, and documents with its layers."""

from typing import Iterable, Iterator, Optional, Tuple, Union

from spacy.language import Language
from spacy.tokens import Doc

from ..layers.doc_layers import get_doc_layers
from ..layers.scalar_mix import mix_weights
from ..pipeline.language_model import LanguageModelTok2Vec
from ..pipeline.source import find_language_model


def find_encoder(
    nlp: Language, component: Optional[str] = None, *, source: str = "the pipeline"
) -> LanguageModelTok2Vec:
    """Find the component that gives tokens a language model's layers.

    nlp (Language): The pipeline.
    component (Optional[str]): Its name; `None` where there is only one.
    source (str): Where the pipeline comes from, for error messages.
    RETURNS (LanguageModelTok2Vec): The component.
    RAISES (ValueError): If there is none of that name, or a name is needed.
    """
    encoders = {
        name: pipe
        for name, pipe in nlp.pipeline
        if isinstance(pipe, LanguageModelTok2Vec)
    }
    if component is None:
        if len(encoders) > 1:
            raise ValueError(
                f"{source} has {len(encoders)} language models; say which component "
                f"you mean: {', '.join(encoders)}."
            )
        component = find_language_model(nlp, source=source).name
    if component not in encoders:
        raise ValueError(
            f"{source} has no language model component '{component}'; it has "
            f"{', '.join(encoders) or 'none'}."
        )
    return encoders[component]


def encode(
    nlp: Language,
    encoder: LanguageModelTok2Vec,
    inputs: Iterable[Union[str, Doc]],
    *,
    batch_size: int,
    n_process: int = 1,
) -> Iterator[Doc]:
    """Run a pipeline up to its language model.

    What comes before may set the sentences that the language model reads; what comes
    after does not matter to it.

    nlp (Language): The pipeline.
    encoder (LanguageModelTok2Vec): The language model's component.
    inputs (Iterable[Union[str, Doc]]): The documents.
    batch_size (int): Number of documents computed at a time.
    n_process (int): Number of processes.
    YIELDS (Doc): The documents in order, with their layers.
    """
    pipes = [pipe for _, pipe in nlp.pipeline]
    after = nlp.pipe_names[pipes.index(encoder) + 1 :]
    yield from nlp.pipe(
        inputs, batch_size=batch_size, n_process=n_process, disable=after
    )


def has_layers(doc: Doc, encoder: LanguageModelTok2Vec) -> bool:
    """Whether a document carries the layers of a component already."""
    layers = get_doc_layers(doc, encoder.name)
    width, n_layers = encoder.model.get_dim("nO"), encoder.model.attrs["n_outputs"]
    return layers is not None and layers.shape == (n_layers, len(doc), width)


def learnt_mix(
    nlp: Language, encoder: LanguageModelTok2Vec, component: str
) -> Tuple[Tuple[float, ...], float]:
    """Return the mix of layers that a component has learnt.

    nlp (Language): The pipeline.
    encoder (LanguageModelTok2Vec): The language model's component.
    component (str): Name of a component that listens to it.
    RETURNS (Tuple[Tuple[float, ...], float]): Each layer's share, and gamma.
    RAISES (ValueError): If the component does not listen, or has several mixes.
    """
    listeners = encoder.listener_map.get(component, [])
    if component not in nlp.pipe_names or not listeners:
        raise ValueError(
            f"'{component}' does not listen to '{encoder.name}', so it has no mix of "
            "its layers; those that do: "
            f"{', '.join(encoder.listening_components) or 'none'}."
        )
    mixes = [mix_weights(listener.layers[0]) for listener in listeners]
    if len(mixes) > 1:
        shown = "; ".join(
            f"{','.join(f'{share:.4f}' for share in shares)} and gamma {gamma:.4f}"
            for shares, gamma in mixes
        )
        raise ValueError(
            f"'{component}' has {len(mixes)} mixes; give the weights of one: {shown}."
        )
    shares, gamma = mixes[0]
    return tuple(shares), gamma
