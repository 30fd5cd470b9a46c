"""Processes in step, by processes that torch starts as torchrun does."""

import os
import socket

import pytest
import torch
import torch.multiprocessing

from spacy_elmo_ulmfit.pretraining.workers import Workers, join_workers, local_gpu


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


def speak(rank, size, port, folder):
    """Do in one process what the test below looks at."""
    os.environ.update(
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(port),
        WORLD_SIZE=str(size),
        RANK=str(rank),
    )
    torch.set_num_threads(1)
    with join_workers() as workers:
        with workers.main_first():
            if not workers.is_main:
                seen = (folder / "first").exists()
                assert seen
            (folder / "first").touch()
        linear = torch.nn.Linear(1, 1, bias=False)
        torch.nn.init.constant_(linear.weight, float(1 + rank))
        parallel = workers.parallel(linear)
        parallel(torch.tensor([[float(1 + rank)]])).sum().backward()
        assert linear.weight.grad is not None
        result = {
            "sum": workers.sum([rank, 0.5]),
            "gather": workers.gather({"rank": rank}),
            "broadcast": workers.broadcast(f"from {rank}"),
            "rows": torch.arange(6)[workers.share_of(6)].tolist(),
            "weight": linear.weight.item(),
            "gradient": linear.weight.grad.item(),
        }
    torch.save(result, folder / f"{rank}.pt")


def test_processes_speak_with_each_other(tmp_path):
    torch.multiprocessing.spawn(speak, (2, free_port(), tmp_path), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    for result in (first, second):
        assert result["sum"] == [1.0, 1.0]
        assert result["broadcast"] == "from 0"
        # The mean of the inputs 1 and 2, from the first process's weight.
        assert result["gradient"] == 1.5
        assert result["weight"] == 1.0
    assert first["gather"] == [{"rank": 0}, {"rank": 1}]
    assert second["gather"] == []
    assert first["rows"] == [0, 1, 2] and second["rows"] == [3, 4, 5]


def test_a_process_alone_needs_nobody(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    linear = torch.nn.Linear(1, 1)
    with join_workers() as workers, workers.main_first():
        assert workers == Workers() and workers.is_main
        assert workers.sum([3, 0.5]) == [3, 0.5]
        assert workers.gather("me") == ["me"]
        assert workers.broadcast("me") == "me"
        assert workers.share_of(6) == slice(0, 6)
        assert workers.parallel(linear) is linear


@pytest.mark.parametrize(
    "asked, local_rank, expected",
    [(-1, None, -1), (-1, "1", -1), (2, None, 2), (0, "1", 1)],
)
def test_each_process_of_a_machine_has_its_own_gpu(
    monkeypatch, asked, local_rank, expected
):
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    if local_rank is not None:
        monkeypatch.setenv("LOCAL_RANK", local_rank)
    assert local_gpu(asked) == expected
