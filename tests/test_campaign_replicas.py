"""The campaign over replicas judges a history rightly, and its links cut. campaigns/replicas.py makes the history."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from tests.campaigns.history import (
    Arrival,
    Post,
    Span,
    Take,
    Takeover,
    booked_by_lost,
    late,
    most_in_flight,
    percentile,
    takeovers,
    two_at_once,
    within,
)
from tests.campaigns.links import Links

BOTH = frozenset(("portal1-call-1", "portal1-call-2"))
# Process 17 takes the lane at 100 and does not renew it. Process 18 takes it at 111, and releases it at 120.
TAKES = [
    Take("portal1", None, None, "a", "`syncd run`, process 17 on here", 1, 100.0),
    Take("portal1", "a", 110.0, "b", "`syncd run`, process 18 on here", 2, 111.0),
    Take("portal1", "b", 125.0, None, None, 2, 120.0),
]
POST = Post(1, "a", BOTH, 105.0, 112.0, "b")  # booked by 17, recovered by 18


@pytest.mark.parametrize(("at", "is_late"), [(110.9, False), (111.1, True)])
def test_a_post_is_late_from_the_moment_another_process_has_its_lane(at: float, is_late: bool) -> None:
    arrival = Arrival(at, 17, 1, BOTH)
    assert late([arrival], [POST], TAKES) == ([arrival] if is_late else [], 0)


def test_a_post_of_the_new_holder_is_not_late_though_it_sends_the_same() -> None:
    again = Post(2, "b", BOTH, 113.0, 114.0, "b")
    assert late([Arrival(113.5, 18, 1, BOTH)], [POST, again], TAKES) == ([], 0)
    assert late([Arrival(121.0, 18, 1, BOTH)], [again], TAKES) == ([], 0), "a lane that was released was not lost"


def test_a_post_whose_intent_is_gone_is_counted_unless_it_was_refused_unread() -> None:
    assert late([Arrival(121.0, 17, 1, frozenset(("portal1-call-3",)))], [POST], TAKES) == ([], 1)
    assert late([Arrival(104.9, 17, 1, BOTH)], [POST], TAKES) == ([], 1), "before its intent"
    assert late([Arrival(121.0, 17, 1, frozenset())], [POST], TAKES) == ([], 0)


def test_a_verdict_that_a_holder_books_after_it_lost_its_lane_is_found() -> None:
    assert booked_by_lost([POST], TAKES) == []
    wrong = POST._replace(settled_by="a")
    assert booked_by_lost([wrong], TAKES) == [wrong]
    assert booked_by_lost([wrong._replace(settled_at=110.5)], TAKES) == [], "nobody had taken the lane by then"


def test_a_lane_that_is_taken_before_its_lease_has_ended_is_found() -> None:
    assert two_at_once(TAKES) == []
    early = TAKES[1]._replace(at=109.9)
    assert two_at_once([TAKES[0], early]) == [early]


def test_a_takeover_is_measured_from_the_fault_that_ended_the_lease() -> None:
    ready = [Span(100.0, 130.0)]
    assert takeovers(TAKES, {17: [101.5]}, ready) == [Takeover("portal1", 1.0, 9.5, True)]
    assert takeovers(TAKES, {17: [110.9, 101.5]}, ready)[0].after_fault_s == 9.5, "it froze, and was killed later"
    assert takeovers(TAKES, {17: [99.9]}, ready) == [Takeover("portal1", 1.0, None, True)], "it has renewed since"
    assert takeovers(TAKES, {}, [Span(110.5, 130.0)]) == [Takeover("portal1", 1.0, None, False)]


def test_a_replica_is_ready_outside_its_faults() -> None:
    assert within([Span(0, 100)], [Span(10, 20), Span(90, 95)], settle_s=3) == [
        Span(0, 10),
        Span(23, 90),
        Span(98, 100),
    ]
    assert within([Span(0, 100)], [Span(-5, 200)]) == []


def test_posts_in_flight_around_a_late_one_do_not_count() -> None:
    arrivals = [Arrival(100.0, 17, 4, BOTH), Arrival(103.0, 17, 6, BOTH), Arrival(120.0, 18, 5, BOTH)]
    assert most_in_flight(arrivals, [], for_s=5) == 6
    assert most_in_flight(arrivals, [arrivals[1]], for_s=5) == 5


def test_percentiles_are_values_that_were_seen() -> None:
    assert [percentile([3.0, 1.0, 2.0], share) for share in (0.0, 0.5, 1.0)] == [1.0, 2.0, 3.0]
    assert percentile([], 0.5) == 0.0


@contextmanager
def echo() -> Iterator[int]:
    """Serve connections that hear what they say, and yield the port."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                threading.Thread(target=answer, args=(connection,), daemon=True).start()

        def answer(connection: socket.socket) -> None:
            with connection, suppress(ConnectionError):
                while said := connection.recv(100):
                    connection.sendall(said)

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


def call(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=0.2)


def test_a_silent_cut_holds_back_all_that_is_said_until_it_is_mended() -> None:
    with echo() as port, Links() as links:
        through = links.add("recotap", port)
        with call(through) as connection:
            connection.sendall(b"one")
            assert connection.recv(100) == b"one"
            links.cut("recotap@127.0.0.1", silently=True)
            connection.sendall(b"two")
            with pytest.raises(TimeoutError):
                connection.recv(100)
            links.mend("recotap@127.0.0.1")
            assert connection.recv(100) == b"two"


def test_a_cut_with_resets_ends_what_is_open_and_what_is_opened() -> None:
    with echo() as port, Links() as links:
        through, other = links.add("ledger", port), links.add("other", port)
        with call(through) as connection, call(other) as beside:
            connection.sendall(b"one")
            assert connection.recv(100) == b"one"
            links.cut("ledger@127.0.0.1", silently=False)
            with pytest.raises(ConnectionError):
                connection.recv(100)
            beside.sendall(b"two")
            assert beside.recv(100) == b"two"
        with call(through) as connection, pytest.raises(ConnectionError):
            assert connection.recv(100) == b"never"
        links.mend("ledger@127.0.0.1")
        with call(through) as connection:
            connection.sendall(b"three")
            assert connection.recv(100) == b"three"
