"""Recurrent language models (ELMo's biLM, ULMFiT's AWD-LSTM) as ordinary spaCy parts."""

import os

import torch

from .__about__ import __version__

__all__ = ["__version__"]


def _use_one_thread() -> None:
    torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):
    # OpenMP's threads do not survive a fork: without this, `nlp.pipe(n_process=2)`
    # hangs once torch has used more than one thread in the parent.
    os.register_at_fork(after_in_child=_use_one_thread)
