"""Thinc shims around torch modules: what `thinc.api.PyTorchShim` leaves to be desired.

Averaged weights reach the module, copies do not share optimizer state, frozen
groups of layers move by exactly nothing, gradients are clipped by their global
norm, and weights are stored as safetensors.
"""

import contextlib
from typing import (
    Any,
    Collection,
    Dict,
    FrozenSet,
    Iterator,
    List,
    Optional,
    Sequence,
    Tuple,
    Union,
    cast,
)

import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from spacy.util import logger
from thinc.api import (
    ArgsKwargs,
    Optimizer,
    PyTorchShim,
    get_torch_default_device,
    xp2torch,
)
from thinc.shims.shim import Shim
from torch import nn

from ..checkpoints import build_module, read_checkpoint, save_module
from ..checkpoints.native import Checkpoint, module_settings
from ..modules.products import Precision
from ..text import Vocabulary
from .group_update import GroupStep, GroupUpdate, spared_from_decay

TrainableGroups = Union[int, Collection[int]]

_EXACT: Precision = "fp32"
_STORAGE_DTYPES: Dict[str, torch.dtype] = {
    "float32": torch.float32,
    "float16": torch.float16,
    "int8": torch.int8,
}


class TorchShim(PyTorchShim):
    """A torch module as part of a thinc model.

    module (Optional[nn.Module]): The module; may be set later.
    lr_decay (float): Factor between the learning rates of neighbouring layer
        groups; the top group has the full rate (ULMFiT's discriminative fine-tuning).
    max_grad_norm (float): Bound of the global norm of all gradients, 0 for none.
    """

    def __init__(
        self,
        module: Optional[nn.Module] = None,
        *,
        lr_decay: float = 1.0,
        max_grad_norm: float = 0.0,
    ) -> None:
        super().__init__(module)
        self.lr_decay = lr_decay
        self.max_grad_norm = max_grad_norm
        self.trainable_groups: Optional[FrozenSet[int]] = None
        self.group_update: Optional[GroupUpdate] = None

    @property
    def module(self) -> nn.Module:
        """The torch module."""
        return self._model

    def predict(self, inputs: ArgsKwargs) -> Any:
        """Run the module without dropout and without gradients."""
        self.module.eval()
        with torch.no_grad():
            return self.module(*inputs.args, **inputs.kwargs)

    def begin_update(self, inputs: ArgsKwargs) -> Tuple[Any, Any]:
        """Run the module for training; the callback takes the gradients of its outputs."""
        self.module.train()
        output = self.module(*inputs.args, **inputs.kwargs)

        def backprop(grads: ArgsKwargs) -> ArgsKwargs:
            if any(tensor.requires_grad for tensor in grads.args[0]):
                torch.autograd.backward(*grads.args, **grads.kwargs)
            return ArgsKwargs(
                tuple(getattr(value, "grad", None) for value in inputs.args), {}
            )

        return output, backprop

    @property
    def layer_groups(self) -> List[Tuple[str, ...]]:
        """Parameter name prefixes of the module's layer groups, bottom first."""
        return getattr(self.module, "layer_groups", [("",)])

    def set_trainable_groups(self, groups: TrainableGroups) -> None:
        """Let some layer groups learn; the others will not move at all.

        groups (Union[int, Collection[int]]): How many groups learn, counted from the
            top, or the numbers of those that do, the bottom one being 0.
        """
        n_groups = len(self.layer_groups)
        if isinstance(groups, int):
            groups = range(n_groups)[n_groups - max(0, min(groups, n_groups)) :]
        self.trainable_groups = frozenset(groups)
        for name, parameter in self.module.named_parameters():
            learns = _group_of(name, self.layer_groups) in self.trainable_groups
            parameter.requires_grad_(learns)
            if not learns:
                # A gradient of zero is not enough: Adam's momentum would go on.
                parameter.grad = None

    def set_group_update(self, update: Optional[GroupUpdate]) -> None:
        """Give the next steps settings of their own.

        update (Optional[GroupUpdate]): The settings, until others are given; `None`
            for those of the optimizer.
        """
        self.group_update = update

    def finish_update(self, optimizer: Optimizer) -> None:
        """Update the parameters that have a gradient, each group at its own rate."""
        groups, update = self.layer_groups, self.group_update
        lr_decay = self.lr_decay if update is None else update.lr_decay
        updated = []
        step = GroupStep(optimizer, self.id, update)
        for name, parameter in self.module.named_parameters():
            if update is not None and update.fresh:
                step.forget(name)
            if parameter.grad is not None:
                updated.append((name, parameter))
            elif not parameter.requires_grad:
                step.forget_average(name)
        if self.max_grad_norm:
            nn.utils.clip_grad_norm_([p for _, p in updated], self.max_grad_norm)
        spared = spared_from_decay(self.module)
        with step.settings():
            for name, parameter in updated:
                depth = len(groups) - 1 - _group_of(name, groups)
                scale = lr_decay**-depth
                step(name, parameter, lr_scale=scale, decayed=name not in spared)

    @contextlib.contextmanager
    def use_params(self, params: Dict[Tuple[int, str], Any]) -> Iterator[None]:
        """Use other parameters, such as an optimizer's averages, for a while."""
        if self._model is None:
            yield
            return
        replaced = {}
        for name, parameter in self.module.named_parameters():
            if (self.id, name) in params:
                replaced[name] = parameter.data
                parameter.data = xp2torch(
                    params[(self.id, name)], device=parameter.device
                ).reshape(parameter.shape)
        try:
            yield
        finally:
            for name, parameter in self.module.named_parameters():
                if name in replaced:
                    parameter.data = replaced[name]

    def copy(self) -> "TorchShim":
        """Copy module and settings; the copy has optimizer state of its own."""
        copied = super().copy()
        copied.renew_id()
        return copied

    def renew_id(self) -> None:
        """Make optimizers take this for a module that they have not seen."""
        with Shim.global_id_lock:
            Shim.global_id += 1
            self.id = Shim.global_id

    def to_bytes(self) -> bytes:
        """Write the weights as a safetensors file."""
        return save_tensors(dict(self.module.state_dict()))

    def from_bytes(self, bytes_data: bytes) -> "TorchShim":
        """Read weights that `to_bytes` wrote."""
        self.module.load_state_dict(load_tensors(bytes_data))
        return self


class LanguageModelShim(TorchShim):
    """A module whose sizes are known only with its weights or its training data.

    kind (str): Kind of module, as `build_module` knows it.
    settings (Dict[str, Any]): What the config says about the module. Values that
        shape the weights must agree with what is loaded; dropouts and other
        settings without weights replace what is loaded.
    runtime (Sequence[str]): Names of the settings that shape no weights.
    nested_runtime (Optional[Dict[str, Sequence[str]]]): The same for nested settings.
    storage (str): Type the weights are stored in: `"float32"`, `"float16"` or `"int8"`.
    precision (str): Type of the numbers multiplied in prediction, of modules that have
        a choice: `"fp32"`, `"bf16"` or `"int8"`.
    lr_decay (float): See `TorchShim`.
    max_grad_norm (float): See `TorchShim`.
    """

    def __init__(
        self,
        *,
        kind: str,
        settings: Dict[str, Any],
        runtime: Sequence[str],
        nested_runtime: Optional[Dict[str, Sequence[str]]] = None,
        storage: str = "float32",
        precision: Precision = "fp32",
        lr_decay: float = 1.0,
        max_grad_norm: float = 0.0,
    ) -> None:
        super().__init__(lr_decay=lr_decay, max_grad_norm=max_grad_norm)
        if storage not in _STORAGE_DTYPES:
            raise ValueError(
                f"storage = {storage!r} is not a type weights can be stored in; "
                f"use one of {sorted(_STORAGE_DTYPES)}."
            )
        self.kind = kind
        self.settings = settings
        self.runtime = tuple(runtime)
        self.nested_runtime = dict(nested_runtime or {})
        self.storage = storage
        self.precision: Precision = precision
        self.vocabulary: Optional[Vocabulary] = None

    @property
    def has_weights(self) -> bool:
        """Whether there is a module yet."""
        return self._model is not None

    @property
    def module(self) -> nn.Module:
        """The torch module; an error when there are no weights yet."""
        if self._model is None:
            raise ValueError(self.no_weights)
        return self._model

    @property
    def no_weights(self) -> str:
        """What to say to those who use a model without weights."""
        return (
            f"This {self.kind} has no weights yet. Take a trained one with "
            'source = "PIPELINE" in the component\'s config block, or with '
            'path = "PIPELINE" in [initialize.components.NAME], or make one with '
            "'python -m spacy lm pretrain'."
        )

    def create(self, vocabulary: Optional[Vocabulary], **sizes: Any) -> nn.Module:
        """Build the module with fresh weights.

        vocabulary (Optional[Vocabulary]): The words of its softmax or embedding.
        sizes (Any): Settings the config cannot know, such as `n_words`.
        RETURNS (nn.Module): The module.
        """
        return self.set_module(
            build_module(self.kind, {**self.settings, **sizes}), vocabulary
        )

    def set_module(
        self, module: nn.Module, vocabulary: Optional[Vocabulary]
    ) -> nn.Module:
        """Take a module and the vocabulary it belongs to.

        It is ready for prediction: who trains says so.
        """
        self._model = module.to(get_torch_default_device()).eval()
        self.vocabulary = vocabulary
        self._set_precision()
        if self.trainable_groups is not None:
            self.set_trainable_groups(self.trainable_groups)
        return self._model

    def _set_precision(self) -> None:
        if self.precision == _EXACT:
            return
        used = cast(Any, self.module).set_precision(self.precision)
        if used != self.precision:
            logger.info(
                "precision = '%s' would save no time on this machine: its %s computes in %s.",
                self.precision,
                self.kind,
                used,
            )

    def to_bytes(self) -> bytes:
        """Write weights, settings and vocabulary as one safetensors file.

        A model without weights is written as no bytes at all.
        """
        if self._model is None:
            return b""
        checkpoint = self.checkpoint()
        return save_module(
            self.module,
            dtype=_STORAGE_DTYPES[self.storage],
            extra=checkpoint.extra,
            extra_tensors=checkpoint.extra_tensors,
        )

    def checkpoint(self) -> Checkpoint:
        """Return the model as if it had been read from a weight file."""
        extra = {}
        if self.vocabulary is not None:
            extra["vocabulary"] = self.vocabulary.to_json()
        return Checkpoint(
            kind=self.kind,
            settings=module_settings(self.module),
            state=dict(self.module.state_dict()),
            extra=extra,
            extra_tensors={},
        )

    def from_bytes(self, bytes_data: bytes) -> "LanguageModelShim":
        """Read what `to_bytes` wrote."""
        if bytes_data:
            self.load(read_checkpoint(bytes_data))
        return self

    def load(self, checkpoint: Checkpoint, *, source: str = "the weights") -> None:
        """Build the module that a checkpoint describes and give it the weights.

        checkpoint (Checkpoint): What was read.
        source (str): Where it was read from, for error messages.
        RAISES (ValueError): If the checkpoint is of another kind, or its sizes
            are not those of the config.
        """
        if checkpoint.kind != self.kind:
            raise ValueError(
                f"{source} holds a {checkpoint.kind}, but a {self.kind} is needed here."
            )
        module = build_module(self.kind, self._with_runtime(checkpoint.settings))
        check_settings(self.settings, module_settings(module), source=source)
        module.load_state_dict(checkpoint.state)
        vocabulary = checkpoint.extra.get("vocabulary")
        self.set_module(
            module, None if vocabulary is None else Vocabulary.from_json(vocabulary)
        )

    def _with_runtime(self, loaded: Dict[str, Any]) -> Dict[str, Any]:
        """Return loaded settings with those of the config that shape no weights."""
        settings = {**loaded, **{name: self.settings[name] for name in self.runtime}}
        for key, names in self.nested_runtime.items():
            values = {name: self.settings[key][name] for name in names}
            settings[key] = {**loaded[key], **values}
        return settings


def check_settings(
    expected: Dict[str, Any], found: Dict[str, Any], *, source: str
) -> None:
    """Make sure that loaded weights have the sizes that a config gives.

    expected (Dict[str, Any]): The config's values; nested values are compared too.
    found (Dict[str, Any]): The values of the loaded model.
    source (str): Where the weights come from.
    RAISES (ValueError): Naming the first setting that differs, and both values.
    """
    for name, value in expected.items():
        other = found.get(name)
        if isinstance(value, dict) and isinstance(other, dict):
            check_settings(value, other, source=source)
        elif _plain(value) != _plain(other):
            raise ValueError(
                f"The config says {name} = {_plain(value)}, but {source} has {name} = "
                f"{_plain(other)}. Set {name} = {_plain(other)} in the [...model] block "
                "of the component, or use other weights."
            )


def _plain(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def _group_of(name: str, groups: Sequence[Tuple[str, ...]]) -> int:
    return next(i for i, prefixes in enumerate(groups) if name.startswith(prefixes))
