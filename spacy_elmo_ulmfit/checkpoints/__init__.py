"""Weight files: the native format, and one module per published format."""

from .bilm_tf_writer import write_bilm_tf
from .elmo import ImportedELMo, read_elmo
from .fastai_writer import write_fastai
from .native import (
    Checkpoint,
    Storage,
    build_module,
    read_checkpoint,
    save_module,
)
from .ulmfit import ImportedULMFiT, read_ulmfit

__all__ = [
    "Checkpoint",
    "ImportedELMo",
    "ImportedULMFiT",
    "Storage",
    "build_module",
    "read_checkpoint",
    "read_elmo",
    "read_ulmfit",
    "save_module",
    "write_bilm_tf",
    "write_fastai",
]
