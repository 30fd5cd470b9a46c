"""ELMo inside an AllenNLP model: the weights of its archive, with what its mixes learnt."""

import json
import re
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from torch import Tensor

from ..modules.bilm import BiLM, BiLMConfig, build_bilm
from .files import SourceFiles, find_name, find_only, full_name, read_bytes
from .native import Checkpoint
from .options import ELMoOptions, read_options
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

_CHARACTERS = "_token_embedder._char_embedding_weights"
_CONFIG = "config.json"


class LearntMix(NamedTuple):
    """What a task's mix of the layers has learnt.

    weights (List[float]): s_j, before the softmax.
    gamma (float): The scale.
    """

    weights: List[float]
    gamma: float


def find_weights(files: SourceFiles) -> Optional[str]:
    """Return the name of the weights, `None` if there are none."""
    return find_only(files, "--weights", "weights.th", "best.th", "*.th")


def read_allennlp(
    files: SourceFiles, weights_name: str, options_name: Optional[str]
) -> Tuple[Checkpoint, List[str]]:
    """Read the biLM of an AllenNLP model.

    files (SourceFiles): The archive, the folder it was unpacked to, or the weights.
    weights_name (str): Which of them holds the weights.
    options_name (Optional[str]): Which is the biLM's options file, where the archive
        does not say.
    RETURNS (Tuple[Checkpoint, List[str]]): The biLM, and what the user should know.
    RAISES (ValueError): If there is no biLM in it, or its options are missing.
    """
    name = full_name(files, weights_name)
    with files.open(weights_name) as handle:
        state = load_state_dict(handle, name)
    prefixes = [key[: -len(_CHARACTERS)] for key in state if key.endswith(_CHARACTERS)]
    if not prefixes:
        raise ValueError(
            f"{name} holds no ELMo: no weights whose name ends in {_CHARACTERS}. It "
            "must be the weights of an AllenNLP model with an ELMo token embedder."
        )
    options_name = options_name or _find_options(files, name)
    described_by = full_name(files, options_name)
    options = read_options(read_bytes(files, options_name), described_by)
    translated, config = _translate(state, prefixes[0], options, name, described_by)
    notes = _mix_notes(learnt_mixes(state))
    if len(prefixes) > 1:
        notes.append(f"{name} has {len(prefixes)} biLMs; {prefixes[0]} was taken.")
    indexer = {"kind": "bytes", "max_chars": config.max_chars}
    settings = {**vars(config), "filters": list(config.filters)}
    return Checkpoint(BiLM.kind, settings, translated, {"indexer": indexer}, {}), notes


def learnt_mixes(state: State) -> Dict[str, LearntMix]:
    """Return what the mixes in an AllenNLP model have learnt, by their names.

    state (Dict[str, Tensor]): The model's weights.
    RETURNS (Dict[str, LearntMix]): The mixes.
    """
    mixes = {}
    for key in state:
        found = re.fullmatch(r"(.*scalar_mix[^.]*)\.gamma", key)
        if found is None:
            continue
        pattern = f"{found[1]}.scalar_parameters.{{}}"
        weights = [
            float(state[pattern.format(i)]) for i in range(count(state, pattern))
        ]
        mixes[found[1].split(".")[-1]] = LearntMix(weights, float(state[key]))
    return mixes


def _find_options(files: SourceFiles, name: str) -> str:
    """Find the options beside the weights, or where the model's config says."""
    candidates = ["options.json", "*options.json", "*options_file*"]
    config_name = find_name(files, _CONFIG)
    if config_name is not None:
        for path in _options_paths(_read_config(files, config_name)):
            candidates.insert(0, path.replace("\\", "/").split("/")[-1])
    found = find_name(files, *candidates)
    if found is None:
        raise ValueError(
            f"{name} does not say which activation and which clips its biLM has, and "
            "there is no options file with it. Give the one it was trained with by "
            "--options."
        )
    return found


def _read_config(files: SourceFiles, name: str) -> Any:
    try:
        return json.loads(read_bytes(files, name))
    except ValueError as error:
        raise ValueError(f"{full_name(files, name)} is not JSON ({error}).") from error


def _options_paths(config: Any) -> List[str]:
    if isinstance(config, dict):
        own = [
            v for k, v in config.items() if k == "options_file" and isinstance(v, str)
        ]
        return own + [
            path for value in config.values() for path in _options_paths(value)
        ]
    if isinstance(config, list):
        return [path for value in config for path in _options_paths(value)]
    return []


def _translate(
    state: State, prefix: str, options: ELMoOptions, name: str, described_by: str
) -> Tuple[State, BiLMConfig]:
    tokens = f"{prefix}_token_embedder."
    config = BiLMConfig(**options.config(), project_tokens=True, project_cells=True)
    if not config.residual:
        raise ValueError(
            f"{described_by} has use_skip_connections = false, which no AllenNLP model "
            "has. It belongs to another model."
        )
    result, n_layers = lstms(state, f"{prefix}_elmo_lstm.", name)
    sizes = filter_sizes(state, f"{tokens}char_conv_{{}}.weight")
    n_highway = count(state, f"{tokens}_highways._layers.{{}}.weight")
    for field, found, said in (
        ("lstm.n_layers", n_layers, config.n_layers),
        ("char_cnn.filters", sizes, [list(pair) for pair in config.filters]),
        ("char_cnn.n_highway", n_highway, config.n_highway),
    ):
        if found != said:
            raise ValueError(
                f"{described_by} has {field} = {said}, but {name} has {found}. It "
                "belongs to another model."
            )
    result.update(highways(state, f"{tokens}_", name))
    result.update(_characters(state, tokens, len(sizes), name))
    result.update(warm_state(n_layers, config.projection_dim, config.cell_dim))
    expected = build_bilm(vars(config)).state_dict()
    check_shapes(result, dict(expected), name)
    return {key: result[key].contiguous() for key in expected}, config


def _characters(state: State, tokens: str, n_filters: int, name: str) -> State:
    ours = "token_encoder.characters"
    names: Dict[str, str] = {f"{ours}.embedding.weight": "_char_embedding_weights"}
    for i in range(n_filters):
        for kind in ("weight", "bias"):
            names[f"{ours}.convolutions.{i}.{kind}"] = f"char_conv_{i}.{kind}"
    for kind in ("weight", "bias"):
        names[f"token_encoder.projection.{kind}"] = f"_projection.{kind}"
    result: Dict[str, Tensor] = {
        mine: get_tensor(state, tokens + theirs, name) for mine, theirs in names.items()
    }
    return result


def _mix_notes(mixes: Dict[str, LearntMix]) -> List[str]:
    return [
        f"{name} had learnt initial_weights = {[round(w, 6) for w in mix.weights]} and "
        f"initial_gamma = {mix.gamma:.6g}; a ScalarMix.v1 can start from them."
        for name, mix in mixes.items()
    ]
