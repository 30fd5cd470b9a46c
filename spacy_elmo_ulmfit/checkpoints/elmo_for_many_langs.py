"""The folders of ELMoForManyLangs: Unicode characters and words by dictionaries."""

import json
from pathlib import PurePosixPath
from typing import Any, Dict, List, Optional, Tuple

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..modules.bilm import BiLM, BiLMConfig, build_bilm
from .files import SourceFiles, find_name, full_name, read_bytes
from .native import Checkpoint
from .pickles import load_state_dict
from .torch_elmo import (
    State,
    check_shapes,
    count,
    filter_sizes,
    get_tensor,
    highways,
    lstms,
    warm_state,
)

TOKENS_FILE, ENCODER_FILE = "token_embedder.pkl", "encoder.pkl"
_CONFIG_FILE, _CHARACTERS_FILE, _WORDS_FILE = "config.json", "char.dic", "word.dic"
_PAD = "<pad>"
_SYMBOLS = ("<bos>", "<eos>", "<bow>", "<eow>", "<oov>", _PAD)


class _Settings(BaseModel):
    model_config = ConfigDict(extra="ignore")


class _TokenEmbedder(_Settings):
    name: str = Field("cnn", pattern="^cnn$")
    activation: str = Field("relu", pattern="^(relu|tanh)$")
    max_characters_per_token: int = Field(50, ge=3)
    char_dim: Optional[int] = None
    word_dim: Optional[int] = None
    n_highway: Optional[int] = None


class _Encoder(_Settings):
    name: str = Field("elmo", pattern="^elmo$")
    cell_clip: Optional[float] = 3.0
    proj_clip: Optional[float] = 3.0
    projection_dim: Optional[int] = None
    dim: Optional[int] = None
    n_layers: Optional[int] = None


class _Config(_Settings):
    """The network; the defaults are what the arrays do not say of the published ones."""

    token_embedder: _TokenEmbedder = Field(default_factory=dict, validate_default=True)
    encoder: _Encoder = Field(default_factory=dict, validate_default=True)


def is_many_langs(files: SourceFiles) -> bool:
    """Whether this is a folder of ELMoForManyLangs."""
    return find_name(files, TOKENS_FILE) is not None


def read_many_langs(files: SourceFiles) -> Tuple[Checkpoint, List[str]]:
    """Read a biLM.

    files (SourceFiles): The folder, or an archive of it.
    RETURNS (Tuple[Checkpoint, List[str]]): The biLM, and what the user should know.
    RAISES (ValueError): If something is missing, damaged or contradictory.
    """
    settings, notes = _read_config(files)
    tokens, tokens_name = _read_state(files, TOKENS_FILE)
    encoder, encoder_name = _read_state(files, ENCODER_FILE)
    characters = _read_dictionary(files, _CHARACTERS_FILE)
    missing = [symbol for symbol in _SYMBOLS if symbol not in characters]
    if missing:
        raise ValueError(
            f"{files.path}/{_CHARACTERS_FILE} lacks {', '.join(missing)}. It must be the "
            "file that the model was trained with."
        )
    words = None
    if "word_emb_layer.embedding.weight" in tokens:
        words = _read_dictionary(files, _WORDS_FILE)
    _check_rows(tokens, characters, words, tokens_name)
    state, n_layers = lstms(encoder, "", encoder_name)
    state.update(_token_state(tokens, tokens_name))
    config = _config(settings, tokens, state, n_layers, characters)
    _check_config(settings, config, files)
    state.update(warm_state(n_layers, config.projection_dim, config.cell_dim))
    expected = build_bilm(vars(config)).state_dict()
    check_shapes(state, dict(expected), str(files.path))
    indexer = {
        "kind": "dictionary",
        "characters": characters,
        "words": words,
        "max_chars": config.max_chars,
    }
    checkpoint = Checkpoint(
        BiLM.kind,
        {**vars(config), "filters": list(config.filters)},
        {key: state[key].contiguous() for key in expected},
        {"indexer": indexer},
        {},
    )
    return checkpoint, notes


def _check_config(settings: _Config, found: BiLMConfig, files: SourceFiles) -> None:
    embedder, encoder = settings.token_embedder, settings.encoder
    for field, said, has in (
        ("token_embedder.char_dim", embedder.char_dim, found.char_dim),
        ("token_embedder.word_dim", embedder.word_dim, found.word_dim),
        ("token_embedder.n_highway", embedder.n_highway, found.n_highway),
        ("encoder.projection_dim", encoder.projection_dim, found.projection_dim),
        ("encoder.dim", encoder.dim, found.cell_dim),
        ("encoder.n_layers", encoder.n_layers, found.n_layers),
    ):
        if said not in (None, has):
            raise ValueError(
                f"{files.path}: the config of the network "
                f"({', '.join(n for n in files.names if n.endswith('.json'))}) has "
                f"{field} = {said}, but the weights have {has}. It belongs to another "
                "model."
            )


def _read_config(files: SourceFiles) -> Tuple[_Config, List[str]]:
    """Find the network's config: the path that the model names is often a wrong one."""
    name = find_name(files, _CONFIG_FILE)
    arguments = {} if name is None else _read_json(files, name)
    path = str(arguments.get("config_path", "")).replace("\\", "/")
    found = None
    if path:
        found = find_name(files, PurePosixPath(path).name)
    if found is None:
        candidates = [n for n in files.names if n.endswith(".json") and n != name]
        with_encoder = [n for n in candidates if "encoder" in _read_json(files, n)]
        found = with_encoder[0] if len(with_encoder) == 1 else None
    if found is None:
        return _Config(), [
            f"{files.path} lacks the config of its network ({path or 'config_path'}): "
            "activation relu, words of 50 characters and clips of 3 were taken, those "
            "of all published models."
        ]
    try:
        return _Config.model_validate(_read_json(files, found)), []
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise ValueError(
            f"{full_name(files, found)}: {field}: {first['msg']}, not "
            f"{first.get('input')!r}. Only the networks of the published models (cnn and "
            "elmo) can be read."
        ) from error


def _read_json(files: SourceFiles, name: str) -> Dict[str, Any]:
    try:
        values = json.loads(read_bytes(files, name))
    except ValueError as error:
        raise ValueError(f"{full_name(files, name)} is not JSON ({error}).") from error
    return values if isinstance(values, dict) else {}


def _read_state(files: SourceFiles, name: str) -> Tuple[State, str]:
    found = find_name(files, name)
    if found is None:
        raise ValueError(
            f"{files.path} lacks {name}; a model of ELMoForManyLangs consists of "
            f"{TOKENS_FILE}, {ENCODER_FILE}, {_CHARACTERS_FILE}, {_WORDS_FILE} and "
            f"{_CONFIG_FILE}."
        )
    with files.open(found) as handle:
        return load_state_dict(handle, full_name(files, found)), full_name(files, found)


def _read_dictionary(files: SourceFiles, name: str) -> Dict[str, int]:
    """Read lines of a token and its number, with the quirks of the published reader."""
    found = find_name(files, name)
    if found is None:
        raise ValueError(
            f"{files.path} lacks {name}, which says which row belongs to which token."
        )
    entries = {}
    try:
        text = read_bytes(files, found).decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{full_name(files, found)} is not UTF-8 text ({error})."
        ) from error
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        # What is left of a white space token is its number alone.
        fields = ["\u3000", *line.strip().split("\t")][-2:]
        if not fields[1].isdigit():
            raise ValueError(
                f"{full_name(files, found)}, line {number}: expected a token, a tab and "
                f"a number, found {line.strip()!r}."
            )
        entries[fields[0]] = int(fields[1])
    return entries


def _check_rows(
    tokens: State,
    characters: Dict[str, int],
    words: Optional[Dict[str, int]],
    name: str,
) -> None:
    tables = (("char_emb_layer", _CHARACTERS_FILE, characters),)
    if words is not None:
        tables += (("word_emb_layer", _WORDS_FILE, words),)
    for layer, file, entries in tables:
        rows = len(get_tensor(tokens, f"{layer}.embedding.weight", name))
        largest = max(entries.values(), default=-1)
        if largest >= rows:
            raise ValueError(
                f"{file} numbers its tokens up to {largest}, but {name} has {rows} rows "
                f"for them. The files belong to different models."
            )


def _token_state(tokens: State, name: str) -> State:
    ours = "token_encoder.characters"
    state = highways(tokens, "", name)
    for i in range(count(tokens, "convolutions.{}.weight")):
        for kind in ("weight", "bias"):
            key = f"convolutions.{i}.{kind}"
            state[f"{ours}.{key}"] = get_tensor(tokens, key, name)
    for kind in ("weight", "bias"):
        state[f"token_encoder.projection.{kind}"] = get_tensor(
            tokens, f"projection.{kind}", name
        )
    rows = get_tensor(tokens, "char_emb_layer.embedding.weight", name)
    state[f"{ours}.embedding.weight"] = _add_row(rows)
    if "word_emb_layer.embedding.weight" in tokens:
        rows = tokens["word_emb_layer.embedding.weight"]
        state["token_encoder.words.weight"] = _add_row(rows)
    return state


def _add_row(rows: torch.Tensor) -> torch.Tensor:
    # Our row 0 is for masked positions.
    return torch.cat([rows.new_zeros(1, rows.shape[1]), rows])


def _config(
    settings: _Config,
    tokens: State,
    state: State,
    n_layers: int,
    characters: Dict[str, int],
) -> BiLMConfig:
    embedding = state["token_encoder.characters.embedding.weight"]
    words = state.get("token_encoder.words.weight")
    projection = state["forward_layers.0.weight_hr"]
    return BiLMConfig(
        char_dim=embedding.shape[1],
        filters=tuple(
            (w, n) for w, n in filter_sizes(tokens, "convolutions.{}.weight")
        ),
        n_highway=count(tokens, "highways._layers.{}.weight"),
        activation=settings.token_embedder.activation,
        max_chars=settings.token_embedder.max_characters_per_token,
        n_characters=len(embedding),
        padding_character=characters.get(_PAD, -1) + 1,
        n_input_words=0 if words is None else len(words) - 1,
        word_dim=0 if words is None else words.shape[1],
        project_tokens=True,
        cell_dim=projection.shape[1],
        projection_dim=projection.shape[0],
        project_cells=True,
        n_layers=n_layers,
        cell_clip=settings.encoder.cell_clip or None,
        proj_clip=settings.encoder.proj_clip or None,
    )
