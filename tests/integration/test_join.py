"""`station join` against a real https listener."""

import asyncio
from pathlib import Path

import pytest

from station.peering.identity import FILE, GroupIdentity, IdentityError
from station.peering.join import JoinError, JoinRefused, join_group
from station.peering.ledger import Ledger
from station.peering.token import JoinToken, TokenInvalid
from tests.integration.peering_station import HOST, PeeringStation, port_of, until
from tests.integration.test_peering import Maker, make

__all__ = ["make"]

pytestmark = pytest.mark.timeout(60)


async def founded(make: Maker, name: str = "StationA") -> PeeringStation:
    station = make(name)
    station.create()
    return station


async def test_station_that_joined_holds_the_groups_keys_and_its_own(make: Maker) -> None:
    a, b = await founded(make), make("StationB")
    async with a.up() as registry:
        await until(registry.group, 5)
        identity = await b.join(await a.token(), a)
        assert GroupIdentity.load(b.state) == identity
        assert identity.group == GroupIdentity.load(a.state).group
        assert b.pki.authority() == a.pki.authority()
        assert b.pki.peer_leaf().common_name == "StationB"
        assert b.pki.public_leaf().names == ("lb.test", HOST)
        assert [member.name for member in identity.members] == ["StationA"]
        assert registry.stations()["StationB"].serial == b.pki.peer_leaf().serial


async def test_third_station_joins_at_the_second_with_a_token_of_the_first(make: Maker) -> None:
    a, b, c = await founded(make), make("StationB"), make("StationC")
    async with a.up() as registry:
        await until(registry.group, 5)
        await b.join(await a.token(), a)
        async with b.up() as second:
            await until(lambda: registry.is_present("StationB"), 5)
            token = await a.token()
            await until(lambda: len(second.settings()) == 2, 2)
            await c.join(token, b)
            async with c.up() as third:
                await until(lambda: len(third.stations()) == 3, 5)
                await until(lambda: third.is_present("StationA"), 5)
                await until(lambda: registry.is_present("StationC"), 5)
                with pytest.raises(IdentityError):
                    await c.join(token, a)


async def test_candidate_with_another_port_is_refused_with_both_values_on_both_sides(
    make: Maker, capfd: pytest.CaptureFixture[str]
) -> None:
    a, b = await founded(make), make("StationB")
    async with a.up() as registry:
        await until(registry.group, 5)
        token = await a.token()
        capfd.readouterr()
        with pytest.raises(JoinRefused, match=r"mirror\.sslport.*'18443'.*'17443'") as refusal:
            await b.join(token, a, sslport="18443")
        assert refusal.value.fields == (
            {"field": "mirror.sslport", "candidate": "18443", "group": "17443"},
        )
        said = capfd.readouterr().err.splitlines()
        sides = [text for text in said if "join.refused" in text]
        assert len(sides) == 2
        assert all("18443" in text and "17443" in text for text in sides)
        assert not b.state.exists()
        assert "StationB" not in registry.stations()
        await b.join(token, a)


async def test_token_is_good_once(make: Maker) -> None:
    a = await founded(make)
    async with a.up() as registry:
        await until(registry.group, 5)
        token = await a.token()
        await make("StationB").join(token, a)
        with pytest.raises(JoinRefused, match="used"):
            await make("StationC").join(token, a)


async def test_secret_is_not_said_to_a_station_of_another_group(
    make: Maker, tmp_path: Path
) -> None:
    a, other = await founded(make), await founded(make, "Other")
    b = make("StationB")
    async with a.up() as registry, other.up() as foreign:
        await until(lambda: registry.group() and foreign.group(), 5)
        with pytest.raises(JoinError, match="fingerprint"):
            await b.join(await a.token(), other)
        assert other.joins == []
        assert not (b.state / FILE).exists()


async def test_secret_is_in_no_file_and_no_log(
    make: Maker, capfd: pytest.CaptureFixture[str]
) -> None:
    a, b = await founded(make), make("StationB")
    async with a.up() as registry:
        await until(registry.group, 5)
        text = await a.token()
        secret = JoinToken.parse(text).secret
        await b.join(text, a)
        await asyncio.sleep(0.1)
    said = "".join(capfd.readouterr())
    files = [path for station in (a, b) for path in station.directory.rglob("*") if path.is_file()]
    assert len(files) > 20
    held = b"".join(path.read_bytes() for path in files) + said.encode()
    for form in (secret, secret.hex().encode(), text.encode(), text.upper().encode()):
        assert form not in held


async def test_station_that_lost_its_state_comes_back_under_its_name(make: Maker) -> None:
    a, b = await founded(make), make("StationB")
    async with a.up() as registry:
        await until(registry.group, 5)
        await b.join(await a.token(), a)
        (b.state / FILE).unlink()
        for path in (*b.pki.directory.iterdir(),):
            path.unlink()
        await b.join(await a.token(), a)
        async with b.up() as second:
            await until(lambda: second.is_present("StationA"), 5)
            assert registry.stations()["StationB"].serial == b.pki.peer_leaf().serial


def test_join_without_a_loop_names_a_station_that_does_not_answer(make: Maker) -> None:
    b, nobody = make("StationB"), make("Nobody")
    port = port_of(nobody.public)
    nobody.public.close()
    token = JoinToken(bytes(32), port, bytes(32)).text()
    with pytest.raises(JoinError, match=HOST):
        join_group(b.config(), token, HOST)
    with pytest.raises(TokenInvalid):
        join_group(b.config(), "station-nonsense", HOST)


async def test_identity_of_an_earlier_life_is_a_new_epoch(make: Maker) -> None:
    a = await founded(make)
    async with a.up() as registry:
        await until(registry.group, 5)
        first = registry.gossip.epoch
    async with a.up() as registry:
        assert registry.gossip.epoch == first
    for path in a.state.glob("registry.sqlite*"):
        path.unlink()
    ledger = Ledger(a.state)
    assert ledger.load()[0] != first
    ledger.close()
