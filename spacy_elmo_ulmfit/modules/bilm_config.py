"""Sizes of a biLM, as its weight file and its checkpoints keep them."""

from dataclasses import dataclass
from typing import Any, Dict, Optional, Sequence, Tuple

from .char_cnn import N_CHARACTERS, PADDING_CHARACTER


@dataclass(frozen=True)
class BiLMConfig:
    """Sizes of a biLM; the defaults are those of the published small English model.

    char_dim (int): Width of a character embedding.
    filters (Sequence[Tuple[int, int]]): `(width, number)` of each convolution;
        none for a model that reads no characters.
    n_highway (int): Number of highway layers.
    activation (str): Activation of the convolutions, `"relu"` or `"tanh"`.
    max_chars (int): Characters per word, the two word markers included.
    n_characters (int): Number of characters, the masking one included.
    padding_character (int): The character that fills a word up.
    n_input_words (int): Words that have an input vector of their own; 0 for a model
        that reads characters alone.
    word_dim (int): Width of those vectors.
    project_tokens (Optional[bool]): Whether a linear layer follows the token
        encoder; `None` for only where its width is not `projection_dim`.
    cell_dim (int): Width of the LSTM cells.
    projection_dim (int): Width P of one direction; an ELMo layer is 2P wide.
    project_cells (Optional[bool]): Whether the LSTMs project their output; `None`
        for only where `cell_dim` is not `projection_dim`.
    n_layers (int): Number of LSTM layers per direction.
    cell_clip (Optional[float]): Bound of the LSTM cells, `None` for none.
    proj_clip (Optional[float]): Bound of the LSTM outputs, `None` for none.
    forget_bias (float): Added to the stored bias of the forget gates.
    residual (bool): Whether layers above the first add their input to their output.
    bidirectional (bool): Whether there is a backward model; without it a layer is
        P wide.
    dropout (float): Dropout of every LSTM layer's input and of the output, in training.
    n_words (int): Words the softmax can predict; 0 for a model without softmax.
    tie_softmax (bool): Whether the softmax has the weights of the input words.
    softmax_cutoffs (Sequence[int]): Where the clusters of an adaptive softmax begin,
        counted in words; none for a full softmax.
    target_dim (int): Width of the word vectors that outputs are mapped to, in a model that
        predicts those instead of words; 0 for none.
    aligned (bool): Whether there is a matrix that maps the vectors of this language
        into those of another.
    """

    char_dim: int = 16
    filters: Sequence[Tuple[int, int]] = (
        (1, 32), (2, 32), (3, 64), (4, 128), (5, 256), (6, 512), (7, 1024),
    )  # fmt: skip
    n_highway: int = 1
    activation: str = "relu"
    max_chars: int = 50
    n_characters: int = N_CHARACTERS
    padding_character: int = PADDING_CHARACTER
    n_input_words: int = 0
    word_dim: int = 0
    project_tokens: Optional[bool] = None
    cell_dim: int = 1024
    projection_dim: int = 128
    project_cells: Optional[bool] = None
    n_layers: int = 2
    cell_clip: Optional[float] = 3.0
    proj_clip: Optional[float] = 3.0
    forget_bias: float = 0.0
    residual: bool = True
    bidirectional: bool = True
    dropout: float = 0.1
    n_words: int = 0
    tie_softmax: bool = False
    softmax_cutoffs: Sequence[int] = ()
    target_dim: int = 0
    aligned: bool = False


def read_bilm_config(values: Dict[str, Any]) -> BiLMConfig:
    """Return the sizes that are stored as plain values.

    values (Dict[str, Any]): Values of `BiLMConfig`'s fields, lists for tuples.
    RETURNS (BiLMConfig): The sizes.
    """
    filters = tuple((int(width), int(number)) for width, number in values["filters"])
    # Weights stored by earlier versions have a full softmax.
    cutoffs = tuple(values.get("softmax_cutoffs", ()))
    return BiLMConfig(**{**values, "filters": filters, "softmax_cutoffs": cutoffs})
