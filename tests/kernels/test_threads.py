"""Work of a kernel, shared by threads."""

import multiprocessing
import threading

import numpy as np
import pytest

from fastmoments.kernels.threads import available, limited, spread, workers


def mark(worker, count, rows):
    rows[worker::count] += count


@pytest.mark.parametrize("count", [1, 2, 5])
def test_every_worker_does_its_part_once(count):
    rows = np.zeros(11)
    with limited(count):
        spread(mark, rows)
    np.testing.assert_array_equal(rows, count)


def test_a_limit_holds_inside_and_in_this_thread_only():
    seen = []
    with limited(3):
        with limited(1):
            assert workers() == 1
        assert workers() == 3
        other = threading.Thread(target=lambda: seen.append(workers()))
        other.start()
        other.join()
    assert seen == [workers()] == [available()]


@pytest.mark.parametrize("wrong", [0, 2])
def test_what_a_worker_raises_comes_through_and_the_next_call_works(wrong):
    def kernel(worker, count, rows):
        if worker == wrong:
            raise KeyError(worker)
        mark(worker, count, rows)

    with limited(3):
        with pytest.raises(KeyError):
            spread(kernel, np.zeros(3))
        test_every_worker_does_its_part_once(3)


def test_calls_from_several_threads_do_not_mix():
    rows = np.zeros((4, 7))

    def call(row):
        with limited(3):
            for _ in range(200):
                spread(mark, row)

    threads = [threading.Thread(target=call, args=(row,)) for row in rows]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_array_equal(rows, 600.0)


def _in_child(queue):
    rows = np.zeros(4)
    with limited(2):
        spread(mark, rows)
    queue.put(rows.tolist())


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_has_threads_of_its_own():
    test_every_worker_does_its_part_once(2)
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    child = context.Process(target=_in_child, args=(queue,))
    child.start()
    child.join(30)
    assert child.exitcode == 0
    assert queue.get() == [2.0] * 4
