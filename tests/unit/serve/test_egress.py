import asyncio
import socket
import threading

from station.serve.egress import Addresses, EgressError, Resolver


async def resolved(resolver: Resolver, host: str) -> Addresses | EgressError:
    answer: asyncio.Future[Addresses | EgressError] = asyncio.get_running_loop().create_future()
    resolver.resolve(host, answer.set_result)
    return await asyncio.wait_for(answer, 5)


async def test_a_name_is_asked_for_once_and_remembered() -> None:
    asked = []

    def ask(host: str) -> Addresses:
        asked.append(host)
        return ("192.0.2.1", "192.0.2.2")

    resolver = Resolver(asyncio.get_running_loop(), ask)
    assert await resolved(resolver, "h") == ("192.0.2.1", "192.0.2.2")
    assert await resolved(resolver, "h") == ("192.0.2.1", "192.0.2.2")
    assert asked == ["h"]
    resolver.close()


async def test_many_who_wait_for_one_name_ask_once() -> None:
    asked, go = [], threading.Event()

    def ask(host: str) -> Addresses:
        asked.append(host)
        go.wait(5)
        return ("192.0.2.1",)

    resolver = Resolver(asyncio.get_running_loop(), ask)
    both = asyncio.gather(resolved(resolver, "h"), resolved(resolver, "h"))
    await asyncio.sleep(0)
    go.set()
    assert set(await both) == {("192.0.2.1",)}
    assert asked == ["h"]
    resolver.close()


async def test_names_without_addresses_or_with_thousands_are_no_targets() -> None:
    def ask(host: str) -> Addresses:
        if host == "none":
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        if host == "later":
            raise socket.gaierror(socket.EAI_AGAIN, "try again")
        return tuple(f"10.{n // 256}.{n % 256}.1" for n in range(4000))

    resolver = Resolver(asyncio.get_running_loop(), ask)
    statuses = {}
    for host in ("none", "later", "many"):
        answer = await resolved(resolver, host)
        assert isinstance(answer, EgressError)
        statuses[host] = answer.status
    assert statuses == {"none": 502, "later": 504, "many": 502}
    resolver.close()


async def test_a_silent_resolver_collects_a_bounded_number_of_names() -> None:
    go = threading.Event()

    def ask(host: str) -> Addresses:
        go.wait(10)
        return ("192.0.2.1",)

    resolver = Resolver(asyncio.get_running_loop(), ask)
    refused: list[Addresses | EgressError] = []
    for n in range(300):
        resolver.resolve(f"h{n}", refused.append)
    assert len(refused) == 300 - 256
    assert all(isinstance(answer, EgressError) and answer.status == 504 for answer in refused)
    resolver.close()
    go.set()
