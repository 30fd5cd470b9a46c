"""Components whose models are stored as safetensors files."""

from pathlib import Path
from typing import Iterable, Mapping, Union, cast

from spacy import util
from thinc.api import Model

from ..checkpoints import read_checkpoint
from ..layers.shim import LanguageModelShim
from .checksums import read_checked, read_checksums, write_checksums

_SUFFIX = ".safetensors"
WEIGHTS_FILE = f"model{_SUFFIX}"


class SafetensorsModel:
    """Mixin for a `TrainablePipe` whose model is a `LanguageModelShim`, or several.

    In a pipeline directory the weights of each, their settings and their vocabulary
    are one file, so they cannot be mixed up, and its checksum lies beside it; in bytes
    they are part of the model.
    """

    name: str
    model: Model

    @property
    def shim(self) -> LanguageModelShim:
        """The shim that holds the torch module and its vocabulary."""
        return cast(LanguageModelShim, self.model.shims[0])

    @property
    def shims(self) -> Mapping[str, LanguageModelShim]:
        """All shims by the names of their files."""
        return {"model": self.shim}

    def to_disk(
        self, path: Union[str, Path], *, exclude: Iterable[str] = tuple()
    ) -> None:
        """Write the component to a directory.

        path (Union[str, Path]): The directory.
        exclude (Iterable[str]): Names of parts to leave out.
        """
        super().to_disk(path, exclude=[*exclude, "model"])  # type: ignore[misc]
        if "model" in exclude:
            return
        folder = util.ensure_path(path)
        written = {}
        for name, shim in self.shims.items():
            data = shim.to_bytes()
            if data:
                written[f"{name}{_SUFFIX}"] = data
                (folder / f"{name}{_SUFFIX}").write_bytes(data)
        if written:
            write_checksums(folder, written)

    def from_disk(
        self, path: Union[str, Path], *, exclude: Iterable[str] = tuple()
    ) -> "SafetensorsModel":
        """Read the component from a directory.

        path (Union[str, Path]): The directory.
        exclude (Iterable[str]): Names of parts to leave out.
        RETURNS: The component.
        RAISES (ValueError): If the weights are damaged, are not those that were stored, or
            do not fit the config.
        """
        super().from_disk(path, exclude=[*exclude, "model"])  # type: ignore[misc]
        if "model" in exclude:
            return self
        folder = util.ensure_path(path)
        checksums = read_checksums(folder)
        for name, shim in self.shims.items():
            weights = folder / f"{name}{_SUFFIX}"
            if weights.exists() or weights.name in checksums:
                data = read_checked(weights, checksums)
                checkpoint = read_checkpoint(data, source=weights)
                shim.load(checkpoint, source=str(weights))
                self._weights_changed()
        return self

    def from_bytes(
        self, bytes_data: bytes, *, exclude: Iterable[str] = tuple()
    ) -> "SafetensorsModel":
        """Read the component from bytes."""
        super().from_bytes(bytes_data, exclude=exclude)  # type: ignore[misc]
        self._weights_changed()
        return self

    def _weights_changed(self) -> None:
        """Called after weights were read."""
