"""All random number generators of the process, to be stored and restored."""

import random
from typing import Any, Dict

import numpy
import torch


def random_states() -> Dict[str, Any]:
    """Return the states of Python's, numpy's and torch's generators.

    RETURNS (Dict[str, Any]): States of plain types and tensors, which a checkpoint can
        hold.
    """
    version, numbers, gauss = random.getstate()
    name, keys, position, has_gauss, cached = numpy.random.get_state()
    return {
        "python": [version, list(numbers), gauss],
        "numpy": [name, numpy.asarray(keys).tolist(), position, has_gauss, cached],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def restore_random_states(states: Dict[str, Any]) -> None:
    """Set all generators to the states they had.

    states (Dict[str, Any]): What `random_states` returned. The states of GPUs that are
        not there any more are left out.
    """
    version, numbers, gauss = states["python"]
    random.setstate((version, tuple(numbers), gauss))
    numpy.random.set_state(tuple(states["numpy"]))
    torch.set_rng_state(states["torch"])
    for device, state in zip(range(torch.cuda.device_count()), states["cuda"]):
        torch.cuda.set_rng_state(state, device)
