"""Calls made ahead of who takes their results: in order, however long each takes."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator

import pytest

from ocrmypdf_trocr_mlx.pipeline import map_ahead

WORKERS = 3


class Calls:
    """A function that keeps some of its calls waiting, and notes which have begun."""

    def __init__(self, slow: set[int]) -> None:
        self.release = threading.Event()
        self._slow = slow
        self._begun: set[int] = set()
        self._changed = threading.Condition()

    def __call__(self, item: int) -> int:
        with self._changed:
            self._begun.add(item)
            self._changed.notify_all()
        if item in self._slow:
            assert self.release.wait(20)
        if item < 0:
            raise ValueError(str(item))
        return -item

    def begun(self, enough: Callable[[set[int]], bool], seconds: float = 20) -> set[int]:
        """Those that have begun once they are enough, or when there was time for it."""
        with self._changed:
            self._changed.wait_for(lambda: enough(self._begun), seconds)
            return set(self._begun)


@pytest.fixture
def first_slow() -> Iterator[Calls]:
    calls = Calls({0})
    yield calls
    calls.release.set()


def test_results_come_in_order_of_the_items() -> None:
    calls = Calls(set())
    assert list(map_ahead(calls, range(20), WORKERS)) == [-i for i in range(20)]


def test_others_begin_while_one_takes_long_but_not_all(first_slow: Calls) -> None:
    results = map_ahead(first_slow, itertools.count(), WORKERS)
    found: list[int] = []
    taker = threading.Thread(target=lambda: found.append(next(results)))
    taker.start()
    begun = first_slow.begun(lambda begun: len(begun) > 2 * WORKERS)
    assert begun == set(range(2 * WORKERS + 1)) and not found
    assert first_slow.begun(lambda begun: len(begun) > 2 * WORKERS + 1, 0.3) == begun
    first_slow.release.set()
    taker.join(20)
    assert found == [0]
    results.close()  # type: ignore[attr-defined]


def test_no_more_are_at_work_than_may_be() -> None:
    calls = Calls(set(range(100)))
    results = map_ahead(calls, itertools.count(), WORKERS)
    taker = threading.Thread(target=lambda: next(results))
    taker.start()
    assert calls.begun(lambda begun: len(begun) > WORKERS, 0.3) == set(range(WORKERS))
    calls.release.set()
    taker.join(20)
    results.close()  # type: ignore[attr-defined]


def test_what_a_call_raises_comes_in_its_place() -> None:
    calls = Calls(set())
    results = map_ahead(calls, [3, 2, -1, 4], WORKERS)
    assert [next(results), next(results)] == [-3, -2]
    with pytest.raises(ValueError, match=r"^-1$"):
        next(results)


def test_nothing_is_taken_for_who_gives_up(first_slow: Calls) -> None:
    taken = []

    def items() -> Iterator[int]:
        for item in itertools.count(1):
            taken.append(item)
            yield item

    results = map_ahead(first_slow, items(), WORKERS)
    assert next(results) == -1
    results.close()  # type: ignore[attr-defined]
    count = len(taken)
    assert first_slow.begun(lambda begun: len(begun) > count, 0.3) == set(taken)
    assert len(taken) == count
