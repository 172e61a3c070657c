"""Workers: processes and executors that may get lost."""

import multiprocessing
import os
import signal
import subprocess
import sys
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor

import pytest
from grids import SMALL
from workers import doubled

import fastmoments as fm
from fastmoments.sweeps.dispatch import ATTEMPTS, Lost, WorkersLost, on_executor, on_processes
from fastmoments.sweeps.grid import compute, expand, filled, key, parameters


def test_a_worker_of_another_version_ends_the_sweep():
    with pytest.raises(ImportError, match="A worker has fastmoments"):
        compute({}, "0.0.0")
    with ThreadPoolExecutor(1) as executor, pytest.raises(ImportError, match="pip install the same"):
        list(on_executor(compute, {"a": ({}, "0.0.0"), "b": ({}, "0.0.0")}, executor))


@pytest.mark.parametrize("workers", [1, 3])
def test_any_executor_gives_the_same_bytes(table, tmp_path, workers):
    with ThreadPoolExecutor(workers) as executor:
        fm.sweep(SMALL, executor=executor, output=tmp_path / "x.csv")
        assert executor.submit(abs, -1).result() == 1  # it is still there
    assert (tmp_path / "x.csv").read_bytes() == table
    assert os.listdir(tmp_path) == ["x.csv"]


def test_processes_give_the_same_bytes_and_every_row_is_told(table, tmp_path):
    calls = []
    fm.sweep(SMALL, processes=2, output=tmp_path / "x.csv", progress=lambda *call: calls.append(call))
    assert (tmp_path / "x.csv").read_bytes() == table
    assert [call[:2] for call in calls] == [(done, 8) for done in range(9)]
    assert calls[0][2] is None
    assert {key({name: row[name] for name in parameters()}) for *_, row in calls[1:]} == {
        key(item) for item in expand(filled(SMALL))
    }
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("deaths", [1, ATTEMPTS - 1, 1000])
def test_killed_processes(tmp_path, deaths):
    items = {str(value): (value, str(tmp_path), deaths) for value in range(8)}
    results = dict(on_processes(doubled, items, 2))
    assert len(results) == 8
    lost = results.pop("3")
    assert results == {str(value): 2 * value for value in range(8) if value != 3}
    if deaths == 1000:
        assert isinstance(lost, Lost)
        assert len(os.listdir(tmp_path)) == ATTEMPTS
    else:
        assert lost == 6


def test_processes_have_one_thread_each():
    names = ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    assert dict(on_processes(os.getenv, {name: (name,) for name in names}, 2)) == dict.fromkeys(names, "1")


def test_processes_are_deaf_to_interrupts():
    # A terminal sends Ctrl-C to all of them; what to do is for the first process to say.
    handlers = dict(on_processes(signal.getsignal, {"a": (signal.SIGINT,), "b": (signal.SIGINT,)}, 2))
    assert set(handlers.values()) == {signal.SIG_IGN}


def test_an_item_that_loses_every_worker_says_so(monkeypatch, tmp_path):
    item = expand(filled(SMALL))[2]

    class Cruel(ThreadPoolExecutor):
        def submit(self, function, *arguments):
            if arguments and arguments[0] == item:
                future = Future()
                future.set_exception(OSError("the worker is gone"))
                return future
            return super().submit(function, *arguments)

    with Cruel(1) as executor:
        table = fm.sweep(SMALL, executor=executor, output=tmp_path / "x.csv")
    assert [error for error in table["error"] if error] == ["The scan lost its worker 3 times."]
    assert table["error"][2] is not None
    assert {name: table.rows[2][name] for name in item} == item


@pytest.mark.parametrize("problem", [OSError("no route"), BrokenExecutor("all dead"), None])
def test_an_executor_that_is_gone_ends_the_sweep(problem, tmp_path):
    class Gone(Executor):
        def submit(self, *arguments):
            if problem is None:
                raise Exception("the client is closed")
            future = Future()
            future.set_exception(problem)
            return future

    with pytest.raises(WorkersLost, match=r"gone|broke|no more work"):
        fm.sweep(SMALL, executor=Gone(), output=tmp_path / "x.csv")
    assert os.listdir(tmp_path) == ["x.csv.partial"]


def test_a_broken_pool_of_someone_else(tmp_path):
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as executor:
        items = {str(value): (value, str(tmp_path), 1000) for value in range(8)}
        with pytest.raises(WorkersLost, match="The executor broke"):
            list(on_executor(doubled, items, executor))


def test_a_script_without_a_guard_is_told_so(tmp_path):
    path = tmp_path / "script.py"
    path.write_text(f"import fastmoments as fm\nfm.sweep({SMALL!r}, processes=2)\n")
    done = subprocess.run([sys.executable, "-P", path], capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert 'if __name__ == "__main__":' in done.stderr.splitlines()[-1]


@pytest.mark.slow
def test_dask_cluster_with_workers_killed(table, tmp_path):
    distributed = pytest.importorskip("distributed", reason="the cluster needs distributed")
    lists = {**SMALL, "depth": [60, 80], "seed": list(range(10))}
    fm.sweep(lists, processes=1, output=tmp_path / "alone.csv")
    killed = []
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):

        def progress(done, number, row):
            if done in (4, 20, 40):
                pids = list(client.run(os.getpid).values())
                os.kill(pids[0], signal.SIGKILL)
                killed.append(pids[0])

        found = fm.sweep(lists, executor=client.get_executor(), output=tmp_path / "x.csv", progress=progress)
    assert len(set(killed)) == 3
    assert len(found) == 80
    assert set(found["error"]) == {None}
    assert (tmp_path / "x.csv").read_bytes() == (tmp_path / "alone.csv").read_bytes()
