"""What the papers define, in plain PyTorch: no spaCy and no thinc in here."""

from .awd_lstm import AWDLSTM, AWDLSTMConfig, AWDLSTMState
from .bilm import BiLM, BiLMConfig
from .bilm_state import BiLMState
from .char_cnn import CharacterEncoder
from .classifier import ClassifierConfig, ULMFiTClassifier
from .heads import Softmax, SoftmaxHead
from .projected_lstm import ProjectedLSTM
from .scalar_mix import ScalarMix
from .softmax import softmax_loss
from .token_encoder import TokenEncoder

__all__ = [
    "AWDLSTM",
    "AWDLSTMConfig",
    "AWDLSTMState",
    "BiLM",
    "BiLMConfig",
    "BiLMState",
    "CharacterEncoder",
    "ClassifierConfig",
    "ProjectedLSTM",
    "ScalarMix",
    "Softmax",
    "SoftmaxHead",
    "TokenEncoder",
    "ULMFiTClassifier",
    "softmax_loss",
]
