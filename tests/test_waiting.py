"""The queues of a pass by themselves: their order, their parts, and what they hold of an activity."""

import pytest

from syncd.ledger import Claimed, Due
from syncd.passes.waiting import MOST_SUSPECTS, Waiting


def claimed(*numbers: int) -> tuple[Claimed, ...]:
    body = "x" * 1000
    return tuple(Claimed(number, False, False, f"id-{number}", body, False, (1, str(number))) for number in numbers)


def numbers(group) -> list[int]:
    return [activity.id for activity in group.activities]


@pytest.fixture
def waiting() -> Waiting:
    return Waiting()


def test_only_ids_are_held_and_no_payload(waiting):
    waiting.send_again(claimed(1))
    waiting.suspect(claimed(2), silent=True)
    waiting.set_aside(claimed(3)[0], silent=True)
    groups = [waiting.next_again(), waiting.next_suspects(50), waiting.next_suspects(50)]
    assert [each for group in groups for each in group.activities] == [Due(n, False, False) for n in (1, 2, 3)]


def test_what_was_refused_goes_out_in_its_order_and_in_halves(waiting):
    waiting.send_again(claimed(1, 2, 3), halved=True)
    waiting.send_again(claimed(4))
    waiting.send_again(())
    found = []
    while waiting.has_again:
        found.append(numbers(waiting.next_again()))
    assert found == [[1, 2], [3], [4]]


def test_halves_of_a_suspect_group_go_before_the_other_suspects(waiting):
    waiting.suspect(claimed(1), silent=False)
    waiting.suspect(claimed(2, 3, 4), silent=True, halved=True)
    assert [numbers(waiting.next_suspects(50)) for _ in range(3)] == [[2, 3], [4], [1]]
    assert not waiting.has_any


def test_suspects_go_out_in_parts_of_the_size_that_is_asked_for(waiting):
    waiting.suspect(claimed(*range(7)), silent=True)
    assert [numbers(waiting.next_suspects(3)) for _ in range(3)] == [[0, 1, 2], [3, 4, 5], [6]]


@pytest.mark.parametrize(("share", "chosen"), [(0.0, 4), (0.5, 5), (0.99, 6)])
def test_a_probe_is_any_one_of_the_last_group_and_the_rest_stays(waiting, share, chosen):
    waiting.suspect(claimed(1, 2), silent=False)
    waiting.suspect(claimed(4, 5, 6), silent=True)
    probe = waiting.one_suspect(share)
    assert (numbers(probe), probe.silent) == ([chosen], True)
    assert numbers(waiting.next_suspects(50)) == [1, 2]
    assert numbers(waiting.next_suspects(50)) == [n for n in (4, 5, 6) if n != chosen]


def test_what_has_failed_as_a_probe_comes_after_all_others_and_is_no_probe_again(waiting):
    waiting.set_aside(claimed(1)[0], silent=True)
    assert not waiting.has_probe
    waiting.suspect(claimed(2, 3), silent=True)
    assert waiting.has_probe
    waiting.set_aside(claimed(9)[0], silent=True)
    assert numbers(waiting.one_suspect(0.0)) == [2]
    assert [numbers(waiting.next_suspects(50)) for _ in range(3)] == [[3], [9], [1]]


def test_it_is_full_of_suspects_alone_and_at_a_bound(waiting):
    waiting.send_again(claimed(*range(MOST_SUSPECTS)))
    assert not waiting.is_full
    waiting.suspect(claimed(*range(MOST_SUSPECTS - 1)), silent=True)
    assert not waiting.is_full
    waiting.suspect(claimed(1), silent=True)
    assert waiting.is_full
    assert len(waiting) == 2 * MOST_SUSPECTS
