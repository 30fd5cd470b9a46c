"""The `options.json` of bilm-tf and AllenNLP, and vocabulary files."""

import json
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError

from ..modules.bilm import BiLMConfig

UNKNOWN = "<UNK>"


class _Options(BaseModel):
    # Training files have many more keys, which say nothing about the weights.
    model_config = ConfigDict(extra="ignore")


class _Embedding(_Options):
    dim: PositiveInt


class _CharCNN(_Options):
    activation: str = Field(pattern="^(relu|tanh)$")
    filters: List[Tuple[PositiveInt, PositiveInt]] = Field(min_length=1)
    n_highway: int = Field(0, ge=0)
    embedding: _Embedding
    n_characters: int = 262
    max_characters_per_token: int = Field(ge=3)


class _LSTM(_Options):
    dim: PositiveInt
    projection_dim: PositiveInt
    n_layers: PositiveInt = 1
    cell_clip: Optional[float] = Field(None, ge=0)
    proj_clip: Optional[float] = Field(None, ge=0)
    use_skip_connections: bool = False


class ELMoOptions(_Options):
    """What `options.json` says of a model.

    char_cnn (Optional): Settings of the characters; a model without reads words.
    lstm: Settings of the LSTMs.
    bidirectional: Whether there is a backward model.
    """

    char_cnn: Optional[_CharCNN] = None
    lstm: _LSTM
    bidirectional: bool = True

    def config(self) -> Dict[str, Any]:
        """Return what they say as settings of a `BiLMConfig`."""
        lstm, settings = self.lstm, {}
        if self.char_cnn is not None:
            cnn = self.char_cnn
            settings = {
                "char_dim": cnn.embedding.dim,
                "filters": tuple(cnn.filters),
                "n_highway": cnn.n_highway,
                "activation": cnn.activation,
                "max_chars": cnn.max_characters_per_token,
            }
        else:
            settings = {"char_dim": 0, "filters": (), "n_highway": 0}
        return {
            **settings,
            "cell_dim": lstm.dim,
            "projection_dim": lstm.projection_dim,
            "n_layers": lstm.n_layers,
            "cell_clip": lstm.cell_clip or None,
            "proj_clip": lstm.proj_clip or None,
            "residual": lstm.use_skip_connections,
            "bidirectional": self.bidirectional,
        }


def read_options(data: bytes, name: str) -> ELMoOptions:
    """Read `options.json`.

    data (bytes): Its content.
    name (str): Its name, for error messages.
    RETURNS (ELMoOptions): The options.
    RAISES (ValueError): If it is not JSON, or lacks something.
    """
    try:
        values = json.loads(data)
    except ValueError as error:
        raise ValueError(f"{name} is not JSON ({error}). Download it again.") from error
    try:
        options = ELMoOptions.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "the file"
        raise ValueError(
            f"{name} does not describe a biLM: {field}: {first['msg']}. It must be the "
            "options file that was published with the weights."
        ) from error
    cnn = options.char_cnn
    widest = 0 if cnn is None else max(width for width, _ in cnn.filters)
    if cnn is not None and widest > cnn.max_characters_per_token:
        raise ValueError(
            f"{name} has a filter of width {widest}, wider than a word of "
            f"char_cnn.max_characters_per_token = {cnn.max_characters_per_token}."
        )
    if cnn is not None and cnn.n_characters not in (261, 262):
        raise ValueError(
            f"{name} has char_cnn.n_characters = {cnn.n_characters}, but biLMs of this "
            "format read 261 characters (262 with the mask)."
        )
    return options


def write_options(config: BiLMConfig) -> Dict[str, Any]:
    """Return what `options.json` says of a model, as AllenNLP reads it."""
    options: Dict[str, Any] = {
        "bidirectional": config.bidirectional,
        "lstm": {
            "dim": config.cell_dim,
            "projection_dim": config.projection_dim,
            "n_layers": config.n_layers,
            "cell_clip": config.cell_clip,
            "proj_clip": config.proj_clip,
            "use_skip_connections": config.residual,
        },
    }
    if config.filters:
        options["char_cnn"] = {
            "activation": config.activation,
            "embedding": {"dim": config.char_dim},
            "filters": [list(pair) for pair in config.filters],
            "max_characters_per_token": config.max_chars,
            "n_characters": config.n_characters,
            "n_highway": config.n_highway,
        }
    return options


class WordList(NamedTuple):
    """The words of a vocabulary file.

    words (List[str]): The words; a word's position is its id.
    name (str): Name of the file, for error messages.
    """

    words: List[str]
    name: str


def read_text(data: bytes, name: str) -> str:
    """Decode a text file.

    data (bytes): Its content.
    name (str): Its name, for error messages.
    RETURNS (str): The text.
    RAISES (ValueError): If it is not UTF-8.
    """
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{name} is not UTF-8 text ({error}). Convert it, for example with: "
            "iconv -f ISO-8859-1 -t UTF-8."
        ) from error


def read_vocabulary(data: bytes, name: str) -> List[str]:
    """Read a vocabulary file: one word per line, as bilm-tf reads it.

    data (bytes): Its content.
    name (str): Its name, for error messages.
    RETURNS (List[str]): The words; a word's position is its id.
    RAISES (ValueError): If it is not UTF-8.
    """
    lines = read_text(data, name).split("\n")
    if lines and not lines[-1]:
        lines.pop()
    words = [line.strip() for line in lines]
    return [word for word in words if word != "!!!MAXTERMID"]
