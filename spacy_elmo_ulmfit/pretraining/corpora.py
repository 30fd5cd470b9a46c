"""Raw text from files: the reader that LM configs name in `[corpora]`."""

import gzip
import json
import lzma
import zlib
from pathlib import Path
from typing import IO, Callable, Dict, Iterator, Optional, cast

from spacy.language import Language
from spacy.tokenizer import Tokenizer
from spacy.tokens import Doc
from spacy.util import ensure_path, registry

_OPENERS: Dict[str, Callable[..., IO[str]]] = {".gz": gzip.open, ".xz": lzma.open}
_SUFFIXES = (".txt", ".jsonl")


@registry.readers("spacy-elmo-ulmfit.RawText.v1")
def create_raw_text_reader(
    path: Optional[Path], limit: int = 0
) -> Callable[[Language], Iterator[Doc]]:
    """Read raw text, one document per line.

    path (Optional[Path]): A `.txt` file with a document per line, or a `.jsonl`
        file with a `text` field; also `.gz` or `.xz`; or a folder of such files.
    limit (int): Most documents to read, 0 for all.
    RETURNS (Callable[[Language], Iterator[Doc]]): The reader.
    """
    return RawTextReader(path, limit=limit)


class RawTextReader:
    """Iterate over the documents of a file or a folder.

    path (Optional[Path]): See `create_raw_text_reader`.
    limit (int): Most documents to read, 0 for all.
    """

    def __init__(self, path: Optional[Path], *, limit: int = 0) -> None:
        self.path = ensure_path(path)
        self.limit = limit

    def __call__(self, nlp: Language) -> Iterator[Doc]:
        """Yield documents, tokenised by the pipeline's tokenizer."""
        yield from cast(Tokenizer, nlp.tokenizer).pipe(self.texts())

    def texts(self) -> Iterator[str]:
        """Yield the texts of documents, empty lines left out.

        RAISES (ValueError): If a file is missing, of another type or not UTF-8,
            or a line of JSON has no text.
        """
        n_texts = 0
        for file in self._files():
            for text in _read_texts(file):
                if self.limit and n_texts >= self.limit:
                    return
                n_texts += 1
                yield text

    def _files(self) -> Iterator[Path]:
        if self.path is None:
            raise ValueError(
                "A raw text corpus has no path. Set it in the config, for example "
                "with --paths.train FILE."
            )
        if not self.path.exists():
            raise ValueError(f"There is no text at {self.path}. Correct the path.")
        if not self.path.is_dir():
            yield self.path
            return
        files = sorted(file for file in self.path.iterdir() if _base_suffix(file))
        if not files:
            raise ValueError(
                f"The folder {self.path} holds no {' or '.join(_SUFFIXES)} file."
            )
        yield from files


def _base_suffix(path: Path) -> str:
    """Return `.txt` or `.jsonl`, or nothing for other files."""
    suffixes = [suffix for suffix in path.suffixes if suffix not in _OPENERS]
    return suffixes[-1] if suffixes and suffixes[-1] in _SUFFIXES else ""


def _read_texts(path: Path) -> Iterator[str]:
    kind = _base_suffix(path)
    if not kind:
        raise ValueError(
            f"{path} is not a text file this reader knows: its name must end in "
            ".txt or .jsonl, with .gz or .xz after it if it is compressed."
        )
    number = 0
    with _OPENERS.get(path.suffix, open)(path, "rt", encoding="utf-8-sig") as file:
        try:
            for line in file:
                number += 1
                line = line.strip()
                if line and kind == ".jsonl":
                    line = json.loads(line)["text"].strip()
                if line:
                    yield line
        except (EOFError, OSError, lzma.LZMAError, zlib.error) as error:
            raise ValueError(
                f"{path} is damaged after line {number}: {error}."
            ) from error
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{path} is not UTF-8 after line {number}: {error.reason}. Convert it, "
                "for example with: iconv -f ISO-8859-1 -t UTF-8"
            ) from error
        except (AttributeError, KeyError, TypeError, json.JSONDecodeError) as error:
            raise ValueError(
                f'{path}, line {number}: expected a JSON object with a "text" field.'
            ) from error
