"""A random history from one seed: writes on all sides while everything breaks, then repair and judgement."""

from tests.simulation.world import World

KEYS = [f"k{n}" for n in range(8)]
FAULTS_S = 9.0
REVISIONS = [f"{n:x}" * 64 for n in range(1, 6)]


def run_seed(seed: int) -> World:
    """The whole history of a seed. Raises Violation with the seed and the story."""
    names = "ABCDE"[: 2 + seed % 4]
    world = World(seed, names)
    dice = world.dice
    for node in world.nodes.values():
        node.skew_s = dice.choice([0.0, 0.0, dice.uniform(-25, 25)])
    world.run(1.0)  # a station is a member once another holds its record; then everything may break
    world.network.loss = dice.choice([0.0, 0.1, 0.5])
    world.network.duplication = dice.choice([0.0, 0.2])
    world.network.slow = dice.choice([0.0, 0.2])
    end = world.time + FAULTS_S * dice.uniform(0.4, 1.0)
    while world.time < end:
        _step(world)
        world.run(dice.expovariate(1 / 0.25))
    world.heal()
    world.expect_agreement(10.0)
    return world


def _step(world: World) -> None:
    dice = world.dice
    name = dice.choice(list(world.nodes))
    node = world.nodes[name]
    roll = dice.random()
    if node.gossip is None:
        if roll < 0.4:
            world.start(name)
        elif roll < 0.5 and _others_know_the_group(world, name):
            world.lose_disk(name)
    elif roll < 0.35:
        world.put(name, dice.choice(KEYS), {"by": name, "n": dice.randrange(1000)})
    elif roll < 0.50:
        world.put(name, dice.choice(KEYS), None)
    elif roll < 0.58:
        keys = dice.sample(KEYS, 3)
        world.write(name, [("settings", key, {"batch": name, "n": 1}) for key in keys])
    elif roll < 0.68:
        _publish(world, name)
    elif roll < 0.76:
        world.crash(name)
    elif roll < 0.80:
        if _others_know_the_group(world, name):
            world.lose_disk(name)
            world.start(name)
    elif roll < 0.90:
        names = list(world.nodes)
        dice.shuffle(names)
        middle = dice.randrange(1, len(names))
        world.network.split(set(names[:middle]), set(names[middle:]))
        world.tell(f"split {names[:middle]} | {names[middle:]}")
    elif roll < 0.95:
        other = dice.choice([n for n in world.nodes if n != name])
        world.network.cut.add((name, other))
        world.tell(f"cut {name} → {other}")
    else:
        world.network.cut.clear()
        world.tell("network whole")


def _publish(world: World, name: str) -> None:
    held = world.gossip(name).get("publication", "ol9") or {"number": 0}
    world.write(
        name,
        [
            (
                "publication",
                "ol9",
                {
                    "number": held["number"] + 1,
                    "order": world.dice.randrange(5),
                    "revision": world.dice.choice(REVISIONS),
                    "by": name,
                },
            )
        ],
    )


def _others_know_the_group(world: World, name: str) -> bool:
    """With the last copy of the members' records the group itself would be gone: that is no fault to survive."""
    return any(
        entry.origin.station
        for other, node in world.nodes.items()
        for entry in node.disk.rows.get(("station", name), [])
        if other != name
    )
