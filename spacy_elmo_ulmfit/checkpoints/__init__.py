"""Weight files: the native format, and one module per published format."""

from .bilm_tf import write_bilm_tf
from .elmo import ImportedELMo, read_elmo
from .native import Checkpoint, build_module, read_checkpoint, save_module

__all__ = [
    "Checkpoint",
    "ImportedELMo",
    "build_module",
    "read_checkpoint",
    "read_elmo",
    "save_module",
    "write_bilm_tf",
]
