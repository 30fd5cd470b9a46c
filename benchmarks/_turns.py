"""Programs that take one step after the other in turn, so that all see the same machine."""

import json
import os
import statistics
import subprocess
from typing import Any, Dict, List, Sequence

TIMES = ("seconds", "cpu_seconds")


def take_turns(
    commands: Dict[str, List[Any]], steps: int, threads: int
) -> List[Dict[str, Any]]:
    """Let every program take a step after the other; the first ones are not timed.

    A program prints a line of JSON when it is ready, one for each line it reads (with
    "seconds" and "cpu_seconds"), and one when there are no more lines.

    commands (Dict[str, List[Any]]): The programs by name.
    steps (int): Timed steps of each.
    threads (int): Threads of each.
    RETURNS (List[Dict[str, Any]]): For each program its name ("variant"), the times of
        its steps, and what else it said last.
    """
    # A program that waits must not keep a core busy.
    env = {**os.environ, "OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE"}
    programs = {
        name: subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=env,
        )
        for name, command in commands.items()
    }
    rows: Dict[str, Dict[str, Any]] = {
        name: {"variant": name, **answer(program), "seconds": [], "cpu_seconds": []}
        for name, program in programs.items()
    }
    for number in range(steps + 1):
        for name, program in programs.items():
            said = answer(program, f"{number}\n")
            times = {key: said.pop(key) for key in TIMES}
            rows[name].update(said)
            if number:
                for key, value in times.items():
                    rows[name][key].append(value)
    for name, program in programs.items():
        assert program.stdin is not None
        program.stdin.close()
        rows[name].update(answer(program))
        program.wait()
    return list(rows.values())


def answer(program: "subprocess.Popen[str]", line: str = "") -> Dict[str, Any]:
    """Send a line to a program and read the one it answers."""
    assert program.stdin is not None and program.stdout is not None
    if line:
        program.stdin.write(line)
        program.stdin.flush()
    said = program.stdout.readline()
    if not said:
        raise SystemExit(f"{program.args!r} ended with code {program.wait()}.")
    return dict(json.loads(said))


def add_ratios(rows: Sequence[Dict[str, Any]]) -> None:
    """Add to each row how many times as fast as the first one it is.

    rows (Sequence[Dict[str, Any]]): What `take_turns` returned.
    """
    for row in rows:
        for name in TIMES:
            # Of steps next to each other: the machine is not the same all the time.
            pairs = zip(rows[0][name], row[name])
            row[f"{name}_ratio"] = statistics.median(a / b for a, b in pairs)
