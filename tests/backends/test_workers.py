"""The pool of worker threads: all the work is done once, and nothing goes wrong when something does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import functrans as ft
from functrans.backends.numpy.workers import Pool, Workspace, available, pool
from functrans.config import override

ROOT = Path(__file__).resolve().parents[2]
X = np.linspace(0.0, 1.0, 3_000_000)


@pytest.mark.parametrize(("high", "step"), [(1, 1), (10, 3), (1000, 7), (64, 64), (65, 64)])
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_every_unit_is_done_once_and_cut_at_steps(high: int, step: int, threads: int) -> None:
    done = np.zeros(high, int)
    cuts = []

    def body(low: int, end: int) -> None:
        cuts.append(low)
        done[low:end] += 1

    with override("threads", threads):
        pool.run(body, 0, high, step)
    assert done.tolist() == [1] * high
    assert all(c % step == 0 for c in cuts)


def test_several_threads_take_part() -> None:
    meeting = threading.Barrier(3, timeout=30)
    with override("threads", 3):
        pool.run(lambda low, high: meeting.wait() and None, 0, 3, 1)


def test_an_exception_ends_the_others_and_is_raised_here() -> None:
    began: list[int] = []

    def body(low: int, high: int) -> None:
        began.append(low)
        if low == 0:
            raise ValueError("the first piece")

    with override("threads", 2), pytest.raises(ValueError, match="the first piece"):
        pool.run(body, 0, 1000, 1)
    with override("threads", 2):
        pool.run(lambda low, high: None, 0, 100, 1)


def test_work_inside_of_a_worker_stays_there() -> None:
    sizes: list[int] = []
    with override("threads", 3):
        meeting = threading.Barrier(3, timeout=30)

        def body(low: int, high: int) -> None:
            meeting.wait()
            if threading.current_thread() is not threading.main_thread():
                sizes.append(pool.size())

        pool.run(body, 0, 3, 1)
    assert sizes == [1, 1]


def test_many_threads_call_at_once() -> None:
    f = ft.jit(lambda x: np.sum(np.sin(x) * x))
    expected = f(X)
    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(f(X))) for _ in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert found == [expected] * 6


def test_settings_of_the_caller_reach_the_workers() -> None:
    f = ft.jit(lambda x: np.log(x - 1.0) * 2.0)
    with override("threads", 2), np.errstate(all="ignore"):
        f(X)
    with override("threads", 2), np.errstate(invalid="raise"), pytest.raises(FloatingPointError):
        f(X)


def test_a_fork_starts_threads_of_its_own() -> None:
    code = (
        "import os, numpy as np, functrans as ft, warnings\n"
        "warnings.simplefilter('ignore')\n"
        "ft.config.threads = 2\n"
        "x = np.linspace(0.0, 1.0, 3_000_000)\n"
        "f = ft.jit(lambda x: np.sum(np.sin(x) * x))\n"
        "expected = f(x)\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    os._exit(0 if f(x) == expected else 1)\n"
        "assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0\n"
        "assert f(x) == expected\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=120)


def test_control_c_is_raised_and_the_pool_goes_on() -> None:
    timer = threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGINT))
    stop = threading.Event()
    # A shell starts what runs in its background with the signal ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    timer.start()
    with override("threads", 2), pytest.raises(KeyboardInterrupt):
        pool.run(lambda low, high: stop.wait(0.3) and None, 0, 100_000, 1)
    signal.signal(signal.SIGINT, before)
    done = np.zeros(50, int)

    def body(low: int, high: int) -> None:
        done[low:high] += 1

    with override("threads", 2):
        pool.run(body, 0, 50, 1)
    assert done.tolist() == [1] * 50


def test_the_interpreter_ends_while_threads_wait() -> None:
    code = "import numpy as np, functrans as ft; ft.config.threads = 3; ft.jit(lambda x: np.sin(x) * 2)(np.ones(10**6))"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0 and result.stderr == ""


def test_a_pool_starts_nothing_by_itself() -> None:
    assert Pool().started == 0 and available() >= 1


def test_the_workspace_grows_and_is_used_again() -> None:
    space = Workspace()
    first = space.take(100)
    space.give(first)
    assert space.take(50) is first
    space.give(first)
    assert space.take(200).size == 200
