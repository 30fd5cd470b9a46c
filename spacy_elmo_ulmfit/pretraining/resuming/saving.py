"""Pipelines that language model training writes."""

from pathlib import Path
from typing import Any, List, Optional

import numpy
from spacy.language import Language
from torch import nn

from ...modules.bilm import BiLM
from ...pipeline.source import META_KEY
from ...replacing import replace_directory
from ...text import BEGIN_SENTENCE, ByteIndexer, Indexer
from ...text.neutral import store_warm_state
from ..batching.training_text import Streams
from ..corpus.stream import TokenStream
from ..watching.progress import Progress

# Sentences whose states make the warm state.
_N_NEUTRAL = 5


class PipelineSaver:
    """Saves a pipeline as it is to be used, while its language model is in training.

    nlp (Language): The pipeline.
    component (str): Name of the language model's component.
    module (nn.Module): The language model in it.
    indexer (Optional[Indexer]): How a biLM reads words; by default as UTF-8 bytes.
    dev (Streams): Held-out text; states after its sentences are the warm state.
    config_at_rest (Any): Settings of the module outside of this training.
    """

    def __init__(
        self,
        nlp: Language,
        component: str,
        module: nn.Module,
        *,
        indexer: Optional[Indexer],
        dev: Streams,
        config_at_rest: Any,
    ) -> None:
        self.nlp, self.component, self.module = nlp, component, module
        self.indexer, self.dev = indexer, dev
        self.config_at_rest = config_at_rest

    def save(self, directory: Path, progress: Progress) -> None:
        """Write the pipeline; after an error the directory is as it was.

        directory (Path): Where to write it.
        progress (Progress): Where the run stands, with the metrics of the weights.
        RAISES (ValueError): If it cannot be written.
        """
        if isinstance(self.module, BiLM):
            indexer = self.indexer or ByteIndexer(self.module.config.max_chars)
            store_warm_state(self.module, indexer, neutral_sentences(self.dev[0]))
        self.nlp.meta[META_KEY] = {
            **self.nlp.meta.get(META_KEY, {}),
            self.component: {
                "kind": str(self.module.kind),
                "steps": progress.step,
                "tokens_seen": progress.n_tokens,
                "seconds": round(progress.seconds),
                **{key: round(value, 4) for key, value in progress.metrics.items()},
            },
        }
        config, self.module.config = self.module.config, self.config_at_rest
        try:
            replace_directory(directory, self.nlp.to_disk)
        except OSError as error:
            raise ValueError(
                f"{directory} could not be written ({error.strerror}). Make room for "
                "it, then go on with --resume."
            ) from error
        finally:
            self.module.config = config


def neutral_sentences(stream: TokenStream) -> List[List[str]]:
    """Return the first sentences of middling length, or the first one of all.

    The state after them is what the biLM starts from in a pipeline.
    """
    boundary = stream.types.index(BEGIN_SENTENCE)
    text = numpy.asarray(stream.tokens)
    edges = numpy.append(numpy.flatnonzero(text == boundary), len(text))
    middling = [i for i, n in enumerate(numpy.diff(edges)) if 10 <= n <= 30] or [0]
    return [
        [stream.types[i] for i in text[edges[sentence] + 1 : edges[sentence + 1]]]
        for sentence in middling[:_N_NEUTRAL]
    ]
