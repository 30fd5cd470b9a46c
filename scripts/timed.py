"""Run a command and write down how long it took.

python scripts/timed.py metrics/ner.seconds.json python -m spacy train ...
"""

import subprocess
import sys
import time
from pathlib import Path

import srsly


def main() -> int:
    """Run the command given after the output file; pass its exit code on."""
    if len(sys.argv) < 3:
        print(__doc__)
        return 2
    output, command = Path(sys.argv[1]), sys.argv[2:]
    if command[0] == "python":
        command[0] = sys.executable
    started = time.perf_counter()
    code = subprocess.run(command, check=False).returncode
    if code == 0:
        output.parent.mkdir(parents=True, exist_ok=True)
        srsly.write_json(output, {"seconds": round(time.perf_counter() - started, 1)})
    return code


if __name__ == "__main__":
    sys.exit(main())
