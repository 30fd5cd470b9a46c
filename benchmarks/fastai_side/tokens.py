"""The part of `token_parity.py` that needs fastai; it knows nothing of this project.

python tokens.py TEXTS RESULT REPEATS

TEXTS is a JSON file with texts by the name of their data set. RESULT gets fastai's tokens
of each, and the seconds of one process for all texts of a set, measured several times.
"""

import json
import sys
import time
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any, Dict, List

from fastai.text.core import WordTokenizer, tokenize_texts


def main(texts: Path, result: Path, repeats: int) -> None:
    """Tokenise all texts as fastai tokenises a data set."""
    sets: Dict[str, List[str]] = json.loads(texts.read_text(encoding="utf-8"))
    found: Dict[str, Any] = {"fastai": version("fastai"), "spacy": version("spacy")}
    found["tokens"], found["seconds"] = {}, {}
    for name, lines in sets.items():
        seconds = []
        for _ in range(repeats):
            tokenizer = WordTokenizer("en")
            start = time.process_time()
            tokens = tokenize_texts(lines, n_workers=0, tok=tokenizer)
            seconds.append(time.process_time() - start)
        found["tokens"][name] = [list(words) for words in tokens]
        found["seconds"][name] = seconds
    result.write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
