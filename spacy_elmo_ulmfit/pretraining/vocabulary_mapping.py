"""Give a trained language model another vocabulary."""

from typing import Any, Dict, NamedTuple, Optional

import torch
from torch import Tensor, nn

from ..checkpoints import build_module
from ..checkpoints.native import module_settings
from ..modules.bilm import BiLM
from ..text import Vocabulary

# Parameters with a row per word.
_ROWS = {
    "bilm": ("head.weight", "head.bias"),
    "awd_lstm": ("embedding.weight", "decoder_bias"),
}
# The same in a biLM that reads the words it predicts; its first row is for masking.
_INPUT_WORDS = "token_encoder.words.weight"
# What maps outputs to word vectors, in a biLM that predicts those.
_VECTOR_HEAD = "vector_head."


class MappedModel(NamedTuple):
    """A model with a new vocabulary.

    module (nn.Module): The model.
    n_known (int): Words that kept their rows.
    n_new (int): Words that got the mean row.
    """

    module: nn.Module
    n_known: int
    n_new: int


def map_vocabulary(
    module: nn.Module, old: Optional[Vocabulary], new: Vocabulary
) -> MappedModel:
    """Build the same model for other words.

    Words are matched by name: known ones keep their rows, new ones start from the
    mean row and the mean bias (Howard & Ruder 2018, section 3.2). A biLM without
    softmax, as the published ones are, gets a new one, whose bias starts from the
    words' frequencies.

    module (nn.Module): A biLM or an AWD-LSTM; it is left as it is.
    old (Optional[Vocabulary]): Its words, `None` for a biLM without softmax.
    new (Vocabulary): The words to predict from now on.
    RETURNS (MappedModel): The new model, on the CPU.
    """
    settings: Dict[str, Any] = {**module_settings(module), "n_words": len(new)}
    state: Dict[str, Tensor] = dict(module.state_dict())
    if settings.pop("target_dim", 0):
        # From now on it predicts words.
        state = {k: v for k, v in state.items() if not k.startswith(_VECTOR_HEAD)}
    if old is None:
        mapped = build_module(str(module.kind), settings)
        fresh = mapped.state_dict()
        log_probs = torch.from_numpy(new.unigram_log_probs())
        state["head.weight"] = fresh["head.weight"]
        state["head.bias"] = log_probs.to(fresh["head.bias"])
        mapped.load_state_dict(state)
        return MappedModel(mapped, 0, len(new))
    source = torch.tensor([old.id(w) if w in old else -1 for w in new.words])
    for name in _ROWS[str(module.kind)]:
        if name in state:
            state[name] = _map_rows(state[name].cpu(), source)
    if isinstance(module, BiLM) and module.config.tie_softmax:
        settings["n_input_words"] = len(new)
        rows = state[_INPUT_WORDS].cpu()
        state[_INPUT_WORDS] = torch.cat([rows[:1], _map_rows(rows[1:], source)])
    mapped = build_module(str(module.kind), settings)
    mapped.load_state_dict(state)
    n_known = int((source >= 0).sum())
    return MappedModel(mapped, n_known, len(new) - n_known)


def _map_rows(rows: Tensor, source: Tensor) -> Tensor:
    mapped = rows.mean(dim=0).expand(len(source), *rows.shape[1:]).clone()
    known = source >= 0
    mapped[known] = rows[source[known]]
    return mapped
