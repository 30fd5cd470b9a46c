"""ELMo's biLM as a thinc model: documents in, all layers of every token out."""

from dataclasses import asdict
from typing import Callable, List, Literal, Optional, Sequence, Tuple, cast

import torch
from spacy.tokens import Doc
from spacy.util import registry
from thinc.api import Model, torch2xp, xp2torch
from thinc.types import Floats3d

from ..checkpoints import Storage
from ..modules.bilm import BiLMConfig
from ..modules.bilm_state import BiLMState
from ..modules.lookup import look_up
from ..modules.products import Precision
from ..text import ByteIndexer
from ..text.batches import SequenceBatch, SequenceBatcher
from .bilm_shim import BiLMShim
from .carried_state import CARRIED, CarriedState, carried_state
from .types import DocLayers, LanguageModelT

# What only the weights know.
FROM_WEIGHTS = (
    "n_words", "n_characters", "padding_character", "n_input_words", "project_tokens",
    "project_cells", "forget_bias", "target_dim", "aligned",
)  # fmt: skip


@registry.architectures("spacy-elmo-ulmfit.BiLM.v1")
def build_bilm_model(
    char_dim: int = 16,
    filters: Sequence[Sequence[int]] = BiLMConfig.filters,
    n_highway: int = 1,
    activation: Literal["relu", "tanh"] = "relu",
    max_chars: int = 50,
    word_dim: int = 0,
    cell_dim: int = 1024,
    projection_dim: int = 128,
    n_layers: int = 2,
    cell_clip: Optional[float] = 3.0,
    proj_clip: Optional[float] = 3.0,
    residual: bool = True,
    bidirectional: bool = True,
    tie_softmax: bool = False,
    softmax_cutoffs: Sequence[int] = (),
    dropout: float = 0.1,
    initial_state: Literal["warm", "zeros", "carry"] = "warm",
    sequences: Literal["sents", "doc"] = "sents",
    window_length: int = 512,
    keep_sentence_boundaries: bool = False,
    max_batch_tokens: int = 4096,
    word_cache: int = 20000,
    storage: Storage = "float32",
    precision: Precision = "fp32",
) -> LanguageModelT:
    """Build ELMo's biLM (Peters et al. 2018, arXiv:1802.05365).

    The defaults are the sizes of the published small English model.

    char_dim (int): Width of a character embedding.
    filters (Sequence[Sequence[int]]): `[width, number]` of each convolution; `[]`
        for a model that reads whole words.
    n_highway (int): Number of highway layers.
    activation (str): Activation of the convolutions, `"relu"` or `"tanh"`.
    max_chars (int): Characters per word, the two word markers included.
    word_dim (int): Width of the vectors of whole words, 0 for a model that reads
        characters alone.
    cell_dim (int): Width of the LSTM cells.
    projection_dim (int): Width of one direction's output; a layer is twice as wide.
    n_layers (int): Number of LSTM layers per direction.
    cell_clip (Optional[float]): Bound of the LSTM cells, `null` for none.
    proj_clip (Optional[float]): Bound of the LSTM outputs, `null` for none.
    residual (bool): Whether layers above the first add their input to their output.
    bidirectional (bool): Whether there is a backward model.
    tie_softmax (bool): Whether the softmax has the weights of the input words, in a
        model that reads words.
    softmax_cutoffs (Sequence[int]): Where the clusters of an adaptive softmax begin
        (Grave et al. 2017), counted in words: `[2000, 10000]` has two. `[]` for a full
        softmax.
    dropout (float): Dropout while the biLM itself is trained.
    initial_state (str): What sequences start from: `"warm"`, the state after one
        neutral sentence, stored with the weights; `"zeros"`; or `"carry"`, the
        state that the sequence of the same row of the last batch ended in, as the
        older tools have it, so that results depend on all that came before.
    sequences (str): What is read as one sequence: `"sents"`, the sentences where
        they are set and else the whole document, or `"doc"`, the whole document.
    window_length (int): Words of a sequence computed at a time, 0 for all. The state
        is carried over in both directions, so the vectors are those of the whole
        sequence; when the biLM is trained, gradients end at windows.
    keep_sentence_boundaries (bool): Whether the vectors of `<S>` and `</S>` are kept
        as well, in `doc._.elmo.boundaries`.
    max_batch_tokens (int): Most tokens computed at a time in prediction.
    word_cache (int): Most words whose context-independent vectors are kept between
        calls, 0 for none.
    storage (str): Type the weights are stored in: `"float32"`, `"float16"` or `"int8"`.
    precision (str): Type of the numbers that the LSTMs multiply in prediction: `"fp32"`,
        or `"bf16"` or `"int8"` for nearly the same vectors in less time on processors
        that multiply those; on others it is `"fp32"`, and the log says so.
    RETURNS (Model[List[Doc], List[Floats3d]]): For each document
        `(n_layers + 1, n_tokens, 2 * projection_dim)`; with boundaries kept, two
        more rows for each sequence come after the tokens'.
    RAISES (ValueError): If a filter is wider than a word.
    """
    config = BiLMConfig(
        char_dim=char_dim,
        filters=tuple((width, number) for width, number in filters),
        n_highway=n_highway,
        activation=activation,
        max_chars=max_chars,
        word_dim=word_dim,
        cell_dim=cell_dim,
        projection_dim=projection_dim,
        n_layers=n_layers,
        cell_clip=cell_clip,
        proj_clip=proj_clip,
        residual=residual,
        bidirectional=bidirectional,
        tie_softmax=tie_softmax,
        softmax_cutoffs=softmax_cutoffs,
        dropout=dropout,
    )
    _check_input(config)
    settings = asdict(config)
    for name in FROM_WEIGHTS:
        del settings[name]
    shim = BiLMShim(
        settings=settings,
        indexer=ByteIndexer(max_chars),
        word_cache=word_cache,
        storage=storage,
        precision=precision,
    )
    return Model(
        "bilm",
        forward,
        dims={"nO": projection_dim * (2 if bidirectional else 1)},
        attrs={
            "n_outputs": n_layers + 1,
            "initial_state": initial_state,
            "sequences": sequences,
            "window_length": window_length,
            "keep_sentence_boundaries": keep_sentence_boundaries,
            "max_batch_tokens": max_batch_tokens,
            CARRIED: CarriedState(),
        },
        shims=[shim],
    )


def _check_input(config: BiLMConfig) -> None:
    if not config.filters and not config.word_dim:
        raise ValueError(
            "A biLM reads characters (filters), words (word_dim) or both; the config "
            "has filters = [] and word_dim = 0."
        )
    widest = max((width for width, _ in config.filters), default=0)
    if widest > config.max_chars:
        raise ValueError(
            f"filters has a width of {widest}, wider than a word of "
            f"max_chars = {config.max_chars} characters."
        )


def forward(
    model: LanguageModelT, docs: List[Doc], is_train: bool
) -> Tuple[DocLayers, Callable[[DocLayers], List[Doc]]]:
    """Compute all layers; white space tokens get rows of zeros."""
    shim = cast(BiLMShim, model.shims[0])
    shim.bilm.train(is_train)
    batcher = _batcher(model, shim)
    n_outputs, width = model.attrs["n_outputs"], model.get_dim("nO")
    outputs: DocLayers = [
        cast(Floats3d, model.ops.alloc3f(n_outputs, batcher.n_rows(doc), width))
        for doc in docs
    ]
    # A carried state belongs to a row of the whole batch.
    whole = is_train or model.attrs["initial_state"] == "carry"
    computed = []
    with torch.set_grad_enabled(is_train):
        for batch in batcher.batches(
            docs, 0 if whole else model.attrs["max_batch_tokens"]
        ):
            layers = encode_batch(model, batch)
            _scatter(outputs, batch, cast(Floats3d, torch2xp(layers.detach())))
            if is_train:
                computed.append((batch, layers))

    def backprop(d_outputs: DocLayers) -> List[Doc]:
        for batch, layers in computed:
            gradient = _gather(d_outputs, batch, model)
            if layers.requires_grad:
                layers.backward(xp2torch(gradient, device=layers.device))
        return docs

    return outputs, backprop


def _batcher(model: LanguageModelT, shim: BiLMShim) -> SequenceBatcher:
    return SequenceBatcher(
        by=model.attrs["sequences"],
        begin=shim.indexer.begin,
        end=shim.indexer.end,
        keep_boundaries=model.attrs["keep_sentence_boundaries"],
    )


def encode_batch(model: LanguageModelT, batch: SequenceBatch) -> torch.Tensor:
    """Compute all layers of the tokens of a batch that get a row.

    model (Model): The biLM.
    batch (SequenceBatch): The batch.
    RETURNS (Tensor): *Shape:* `(n_layers + 1, n_rows, width)`
    """
    shim = cast(BiLMShim, model.shims[0])
    vectors = shim.encode_words(batch.words)
    device = vectors.device
    encoded = shim.bilm.encode_vectors(
        look_up(vectors, torch.tensor(batch.word_index, device=device)),
        batch.lengths,
        _initial_state(model, shim, len(batch.lengths)),
        window_length=model.attrs["window_length"],
    )
    if model.attrs["initial_state"] == "carry":
        carried_state(model).store(encoded.state)
    return encoded.layers[:, torch.tensor(batch.positions, device=device)]


def _initial_state(model: LanguageModelT, shim: BiLMShim, n_rows: int) -> BiLMState:
    kind = model.attrs["initial_state"]
    if kind != "carry":
        return shim.bilm.initial_state(n_rows, kind)
    return carried_state(model).first(n_rows, shim.bilm.initial_state(n_rows, "zeros"))


def _rows_by_doc(batch: SequenceBatch) -> List[Tuple[int, List[int], List[int]]]:
    """Group a batch's rows: document, rows of the batch, tokens of the document."""
    grouped: dict = {}
    for row, (doc, token) in enumerate(batch.owners):
        rows, tokens = grouped.setdefault(doc, ([], []))
        rows.append(row)
        tokens.append(token)
    return [(doc, rows, tokens) for doc, (rows, tokens) in grouped.items()]


def _scatter(outputs: DocLayers, batch: SequenceBatch, layers: Floats3d) -> None:
    for doc, rows, tokens in _rows_by_doc(batch):
        outputs[doc][:, tokens] = layers[:, rows]


def _gather(d_outputs: DocLayers, batch: SequenceBatch, model: Model) -> Floats3d:
    gradient = model.ops.alloc3f(
        model.attrs["n_outputs"], len(batch.owners), model.get_dim("nO")
    )
    for doc, rows, tokens in _rows_by_doc(batch):
        gradient[:, rows] = d_outputs[doc][:, tokens]
    return cast(Floats3d, gradient)
