"""How much room the storage of an order has: asked before anything is written, so that the floor stays free."""

from typing import NamedTuple

from station.storage.space import measure_space
from station.sync.order import Order
from station.sync.partial import writing


class Room(NamedTuple):
    """Bytes: what the file system grants now, and what every writer leaves of it."""

    free: int
    floor: int


def room_of(order: Order) -> Room:
    """Of now. Raises SyncFailed "storage"."""
    with writing():
        space = measure_space(order.storage)
    return Room(space.free, space.floor if order.floor_bytes is None else order.floor_bytes)
