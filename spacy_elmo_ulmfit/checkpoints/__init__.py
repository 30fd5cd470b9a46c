"""Weight files: the native format, and one module per published format."""

from .native import Checkpoint, build_module, read_checkpoint, save_module

__all__ = ["Checkpoint", "build_module", "read_checkpoint", "save_module"]
