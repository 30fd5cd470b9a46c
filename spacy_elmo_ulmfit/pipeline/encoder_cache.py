"""The cache that goes with a frozen language model's weights, as they are."""

from pathlib import Path
from typing import Hashable, Optional

from ..layers.types import LanguageModelT
from .cache import LayerCache, OutputCache
from .disk_cache import DiskCache
from .fingerprint import fingerprint, state_key


class EncoderCache:
    """Opens a cache when there is something to keep, and another one for other weights.

    name (str): The component's name.
    cache_mb (int): Most megabytes to keep, 0 for none.
    cache_dir (Optional[str]): Folder to keep them in, `None` for memory.
    """

    def __init__(self, name: str, cache_mb: int, cache_dir: Optional[str]) -> None:
        self.name, self.cache_dir = name, cache_dir
        self.max_bytes = cache_mb * 2**20
        self._cache: Optional[OutputCache] = None
        self._state: Optional[Hashable] = None

    def open(self, model: LanguageModelT) -> OutputCache:
        """Return the cache for a language model's weights and settings.

        model (Model): The language model.
        RETURNS (OutputCache): A new one, in memory or on disk, if they have changed.
        RAISES (ValueError): If there can be no such folder.
        """
        state = state_key(model)
        if self._cache is None or state != self._state:
            self._cache, self._state = self._create(model), state
        return self._cache

    def _create(self, model: LanguageModelT) -> OutputCache:
        if self.cache_dir is None:
            return LayerCache(self.max_bytes)
        self.make_folder()
        return DiskCache(Path(self.cache_dir) / fingerprint(model), self.max_bytes)

    def make_folder(self) -> None:
        """Make the folder, if there is to be one.

        RAISES (ValueError): If there can be none.
        """
        if self.cache_dir is None:
            return
        try:
            Path(self.cache_dir).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(
                f"[components.{self.name}] cache_dir = {self.cache_dir!r} cannot be a "
                f"folder: {error.strerror}. Name another one, or set cache_dir = null "
                "to keep the outputs in memory."
            ) from error

    def clear(self) -> None:
        """Let go of the cache: the weights have changed. What is on disk stays there."""
        self._cache, self._state = None, None
