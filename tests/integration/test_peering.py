"""Registries of several stations over real mutual TLS."""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from station.gossip.effects import Alarm
from station.model.records import Kind, SourceRecord
from station.peering.candidate import GROUP_KEY
from station.peering.changes import Change
from station.peering.conversation import ConversationFailed
from station.peering.group import renew_keys
from station.peering.keys import peer_host_name
from station.peering.transport import PeerTransport
from station.runtime.clock import SystemClock
from tests.integration.peering_station import HOST, PeeringStation, port_of, until

pytestmark = pytest.mark.timeout(60)


def source(name: str) -> Change:
    record = SourceRecord.model_validate({"id": name, "url": "http://upstream.test/"})
    return Change.put(Kind.SOURCE, name, record)


@pytest.fixture
def make(tmp_path: Path) -> Iterator["Maker"]:
    maker = Maker(tmp_path)
    yield maker
    maker.close()


class Maker:
    """Makes stations and closes their listeners."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._made: list[PeeringStation] = []

    def __call__(self, name: str, clock: SystemClock | None = None) -> PeeringStation:
        self._made.append(PeeringStation(self._directory, name, clock))
        return self._made[-1]

    def close(self) -> None:
        for station in self._made:
            station.peers.close()
            station.public.close()


@pytest.fixture
async def pair(make: Maker) -> AsyncIterator[tuple[PeeringStation, PeeringStation]]:
    """Two stations of one group, both up and aware of each other; B's clock is 200 ms ahead."""
    a, b = make("StationA"), make("StationB", SystemClock(0.2))
    a.create()
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(a.up())
        await until(lambda: a.registry.group(), 5)
        await b.join(await a.token(), a)
        await stack.enter_async_context(b.up())
        await until(lambda: b.registry.is_present("StationA"), 5)
        await until(lambda: a.registry.is_present("StationB"), 5)
        yield a, b


async def test_change_on_either_station_is_on_both_within_two_seconds(
    pair: tuple[PeeringStation, PeeringStation],
) -> None:
    a, b = pair
    for writer, reader, name in ((a, b, "one"), (b, a, "two")):
        begun = time.monotonic()
        result = await writer.registry.write([source(name)])
        assert result.held_by == 1
        await until(lambda r=reader, n=name: n in r.registry.sources(), 2)  # type: ignore[misc]
        assert time.monotonic() - begun < 2
    await a.registry.write([Change.delete(Kind.SOURCE, "one")])
    await until(lambda: "one" not in b.registry.sources(), 2)
    assert a.registry.gossip.digest() == b.registry.gossip.digest()


async def test_group_and_members_are_known_on_both(
    pair: tuple[PeeringStation, PeeringStation],
) -> None:
    a, b = pair
    await until(lambda: a.registry.stations() == b.registry.stations(), 2)
    assert set(a.registry.stations()) == {"StationA", "StationB"}
    assert a.registry.group() == b.registry.group()
    for station in pair:
        record = a.registry.stations()[station.name]
        assert record.serial == station.pki.peer_leaf().serial
        assert record.peer_port == port_of(station.peers)


async def test_stations_that_join_after_the_group_got_another_hostname_are_spoken_with(
    make: Maker,
) -> None:
    a, b, c = make("StationA"), make("StationB"), make("StationC")
    a.create()
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(a.up())
        await until(lambda: a.registry.group(), 5)
        group = a.registry.group()
        assert group is not None
        renamed = group.model_copy(update={"hostname": "lb.other.example"})
        await a.registry.write([Change.put(Kind.GROUP, GROUP_KEY, renamed)])
        await b.join(await a.token(), a, hostname="lb.other.example")
        await stack.enter_async_context(b.up())
        await until(lambda: b.registry.is_present("StationA"), 5)
        await c.join(await b.token(), b, hostname="lb.other.example")  # from one that came later
        await stack.enter_async_context(c.up())
        for station, others in ((a, "BC"), (b, "AC"), (c, "AB")):
            for name in others:
                await until(
                    lambda s=station, n=name: s.registry.is_present(f"Station{n}"),  # type: ignore[misc]
                    5,
                )
        assert c.registry.group() == renamed


async def test_status_travels_and_silence_is_noticed(
    pair: tuple[PeeringStation, PeeringStation],
) -> None:
    a, b = pair
    b.registry.set_status({"free": 17})
    await until(lambda: a.registry.statuses()["StationB"].payload == {"free": 17}, 2)
    assert a.registry.statuses()["StationB"].is_present


async def test_clocks_are_compared_with_a_stated_error(
    pair: tuple[PeeringStation, PeeringStation],
) -> None:
    a, b = pair
    await until(lambda: a.registry.offset("StationB") and b.registry.offset("StationA"), 3)
    for station, peer, expected in ((a, "StationB", 0.2), (b, "StationA", -0.2)):
        offset, error = station.registry.offset(peer) or (0.0, 0.0)
        assert abs(offset - expected) <= error + 0.001
        assert error < 0.2


async def test_what_was_written_is_there_after_a_restart_without_peers(make: Maker) -> None:
    a = make("StationA")
    a.create()
    async with a.up() as registry:
        await until(registry.group, 5)
        assert (await registry.write([source("kept")])).held_by == 0
        serial = registry.stations()["StationA"].serial
    async with a.up() as registry:
        assert "kept" in registry.sources()
        assert registry.stations()["StationA"].serial == serial


async def test_station_that_was_away_gets_what_it_missed(make: Maker) -> None:
    a, b = make("StationA"), make("StationB")
    a.create()
    async with a.up() as registry:
        await until(registry.group, 5)
        await b.join(await a.token(), a)
        async with b.up():
            await until(lambda: registry.is_present("StationB"), 5)
        await registry.write([source("missed")])
        async with b.up() as other:
            # The first exchange at start is enough: nothing waits for a round.
            assert "missed" in other.sources()


async def test_listeners_are_told_of_changes_and_of_peers(
    pair: tuple[PeeringStation, PeeringStation],
) -> None:
    a, b = pair
    told: list[str] = []
    unsubscribe = b.registry.subscribe(lambda: told.append("told"))
    await a.registry.write([source("one")])
    await until(lambda: told, 2)
    unsubscribe()
    told.clear()
    await a.registry.write([source("two")])
    await until(lambda: "two" in b.registry.sources(), 2)
    assert told == []


async def test_removed_station_is_refused_although_its_certificate_is_good(
    pair: tuple[PeeringStation, PeeringStation],
) -> None:
    a, b = pair
    await a.registry.write([Change.delete(Kind.STATION, "StationB")])
    assert not a.registry.allowed("StationB")
    transport = PeerTransport(b.pki, b.clock)
    record = a.registry.stations()["StationA"]
    try:
        with pytest.raises(ConversationFailed, match="member"):
            await transport.exchange(record, b"{}")
    finally:
        await transport.close()
    # It is told so, in whichever way comes first: by the answer to its message, or by a refusal of gossip itself.
    await until(lambda: b.registry.alarms, 5)
    said = b.registry.alarms[0]
    assert said.peer == "StationA"
    assert (
        said.code == "turned_away"
        if isinstance(said, Alarm)
        else (said.field, said.theirs) == ("member", "removed")
    )


async def test_message_that_is_none_is_answered_400_and_the_peer_stays_a_peer(
    pair: tuple[PeeringStation, PeeringStation],
) -> None:
    a, b = pair
    for body in (b"", b"{", b"[" * 100_000, b'{"type":"syn"}', b"\xff" * 100):
        assert (await a.registry.handle_request("StationB", body)).status == 400
    await b.registry.write([source("after")])
    await until(lambda: "after" in a.registry.sources(), 2)


async def test_peer_that_hangs_delays_nobody(
    pair: tuple[PeeringStation, PeeringStation], make: Maker
) -> None:
    a, b = pair
    deaf = make("Deaf")  # its listener accepts into the backlog and never answers
    record = a.registry.stations()["StationB"].model_copy(
        update={"name": "Deaf", "peer_port": port_of(deaf.peers)}
    )
    await a.registry.write([Change.put(Kind.STATION, "Deaf", record)])
    await until(lambda: "Deaf" in b.registry.stations(), 2)
    await asyncio.sleep(1.5)
    for name in ("one", "two", "three"):
        assert (await a.registry.write([source(name)])).held_by == 1
        await until(lambda n=name: n in b.registry.sources(), 2)  # type: ignore[misc]
    begun = time.monotonic()
    assert await a.registry.first_exchange(deadline_s=0.5)
    assert time.monotonic() - begun < 1.5


async def test_stranger_with_keys_of_another_group_is_refused_in_the_handshake(
    pair: tuple[PeeringStation, PeeringStation], make: Maker
) -> None:
    a, _ = pair
    stranger = make("StationB")
    stranger.directory = stranger.directory / "other"
    stranger.state = stranger.directory / "state"
    stranger.pki = type(stranger.pki)(stranger.state)
    stranger.create()
    context = stranger.pki.peer_client_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # the stranger does not mind whom it talks to
    assert not await can_talk(a, context)
    nameless = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    nameless.check_hostname = False
    nameless.verify_mode = ssl.CERT_NONE
    assert not await can_talk(a, nameless)
    assert await can_talk(a, pair[1].pki.peer_client_context())


async def can_talk(station: PeeringStation, context: ssl.SSLContext) -> bool:
    """Whether anything at all is answered to these certificates."""
    try:
        reader, writer = await asyncio.open_connection(
            HOST,
            port_of(station.peers),
            ssl=context,
            server_hostname=peer_host_name(station.name),
        )
    except (ssl.SSLError, OSError):
        return False
    try:
        writer.write(b"POST /gossip HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        return bool(await asyncio.wait_for(reader.read(100), 5))
    except (ssl.SSLError, OSError):
        return False
    finally:
        writer.transport.abort()


async def test_station_that_answers_in_anothers_place_is_not_believed(
    pair: tuple[PeeringStation, PeeringStation],
) -> None:
    a, _ = pair
    transport = PeerTransport(a.pki, a.clock)
    misled = a.registry.stations()["StationB"].model_copy(update={"peer_port": port_of(a.peers)})
    try:
        with pytest.raises(ConversationFailed, match=r"(?i)certificate"):
            await transport.exchange(misled, b"{}")
    finally:
        await transport.close()


async def test_renewed_certificate_is_told_to_the_group(make: Maker) -> None:
    a = make("StationA")
    a.create()
    async with a.up() as registry:
        await until(lambda: registry.stations().get("StationA"), 5)
        old = registry.stations()["StationA"].serial
    late = time.time() + 300 * 86400
    assert renew_keys(a.config(), late) == ["peer", "public"]
    async with a.up() as registry:
        await until(lambda: registry.stations()["StationA"].serial != old, 5)
        assert registry.stations()["StationA"].serial == a.pki.peer_leaf().serial


async def test_while_nobody_answers_it_waits_longer_than_for_the_last_of_several(
    pair: tuple[PeeringStation, PeeringStation], make: Maker
) -> None:
    a, _ = pair
    deaf = make("Deaf")  # its listener accepts into the backlog and never answers
    record = a.registry.stations()["StationB"].model_copy(update={"peer_port": port_of(deaf.peers)})
    await a.registry.write([Change.put(Kind.STATION, "StationB", record)])
    was_heard = True
    while was_heard:  # an exchange that was under way may be answered yet
        begun = time.monotonic()
        was_heard = await a.registry.first_exchange(deadline_s=0.1, silence_s=0.6)
    assert 0.5 < time.monotonic() - begun < 2.0
