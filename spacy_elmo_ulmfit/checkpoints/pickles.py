"""Files of others that hold pickles, read without running anything that is in them."""

import pickle
import re
from typing import Any, BinaryIO, Dict, Optional

import torch
from torch import Tensor

from .files import check_start

# What programs save besides weights, by its module, and how to save weights alone.
_RECIPES = {
    "fastcore.": (
        "It has its optimizer in it, which only fastai can read. Save it again there by "
        "learn.save('NAME', with_opt=False)."
    ),
    "fastai.": (
        "It is a whole learner, as learn.export writes it. Where you trust the file, save "
        "its weights alone by load_learner(PATH).save('NAME', with_opt=False)."
    ),
    "model.": (
        "It is a model object of awd-lstm-lm. Where you trust the file, load it beside "
        "that program's model.py and save its weights alone by "
        "torch.save(torch.load(PATH, weights_only=False)[0].state_dict(), 'NAME.pt')."
    ),
    "": (
        "Where you trust the file, load it with the program that wrote it and save its "
        "weights alone: torch.save(model.state_dict(), PATH)."
    ),
}


def load_weights(file: BinaryIO, name: str) -> Any:
    """Read a torch file that holds tensors and plain values alone.

    file (BinaryIO): The file.
    name (str): Its name, for error messages.
    RETURNS (Any): What is in it.
    RAISES (ValueError): If it holds anything else, or is damaged.
    """
    check_start(file, name)
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL ([\w.]+)", str(error))
        if found is None:
            raise ValueError(
                f"{name} is no torch file of weights, so it is refused. It must be what "
                "torch.save(model.state_dict(), PATH) writes."
            ) from error
        raise ValueError(
            f"{name} holds more than weights ({found[1]}), and reading it could run code "
            f"that came with it, so it is refused. {_recipe(found[1])}"
        ) from error
    except (RuntimeError, EOFError, OSError, KeyError, ValueError) as error:
        reason = str(error).split("\n")[0] or type(error).__name__
        raise ValueError(
            f"{name} is no readable torch file ({reason}). Was it copied completely?"
        ) from error


def _recipe(what: str) -> str:
    return next(text for start, text in _RECIPES.items() if what.startswith(start))


def load_state_dict(
    file: BinaryIO, name: str, *, wrapper: Optional[str] = None
) -> Dict[str, Tensor]:
    """Read the state dict of a torch module.

    file (BinaryIO): The file.
    name (str): Its name, for error messages.
    wrapper (Optional[str]): The key that the state dict may be found under.
    RETURNS (Dict[str, Tensor]): The tensors by name, as float32.
    RAISES (ValueError): If it is damaged, or holds anything else.
    """
    state = load_weights(file, name)
    if isinstance(state, dict) and isinstance(state.get(wrapper), dict):
        state = state[wrapper]
    if not isinstance(state, dict) or not any(
        isinstance(value, Tensor) for value in state.values()
    ):
        raise ValueError(
            f"{name} holds no weights by name, but a {type(state).__name__}. It must be "
            "what torch.save(model.state_dict(), PATH) writes."
        )
    return {
        str(key): value.float() if value.is_floating_point() else value
        for key, value in state.items()
        if isinstance(value, Tensor)
    }


def load_plain(file: BinaryIO, name: str) -> Any:
    """Read a pickle of plain values: lists, dictionaries, strings, numbers.

    fastcore's `L` counts as the list that is in it.

    file (BinaryIO): The file.
    name (str): Its name, for error messages.
    RETURNS (Any): What is in it.
    RAISES (ValueError): If it holds anything else, or is damaged.
    """
    check_start(file, name)
    unpickler = _PlainUnpickler(file)
    try:
        value = unpickler.load()
    except _NotPlain as error:
        raise ValueError(
            f"{name} holds more than plain values ({error}), and reading it could run "
            "code that came with it, so it is refused. Where you trust the file, save a "
            "plain list: pickle.dump([str(word) for word in vocab], file)."
        ) from error
    except Exception as error:  # a damaged pickle can raise anything
        raise ValueError(
            f"{name} is no readable pickle ({type(error).__name__}: {error}). Was it "
            "copied completely?"
        ) from error
    return unpickler.plain(value)


class _NotPlain(pickle.UnpicklingError):
    """A pickle asks for something by its name."""


class _PlainUnpickler(pickle.Unpickler):
    """Knows no name but that of fastcore's list."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file)
        # A class for each file: a pickle could change its attributes.
        self._list: type = type("L", (), {})

    def find_class(self, module_name: str, global_name: str) -> Any:
        """Return what stands for a name, or refuse it."""
        if (module_name, global_name) != ("fastcore.foundation", "L"):
            raise _NotPlain(f"{module_name}.{global_name}")
        return self._list

    def persistent_load(self, pid: Any) -> Any:
        """Refuse objects that are stored elsewhere."""
        raise _NotPlain(f"persistent object {pid!r}")

    def plain(self, value: Any) -> Any:
        """Return the list that fastcore's list holds, or any other value as it is."""
        return vars(value).get("items") if isinstance(value, self._list) else value
