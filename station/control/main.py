"""`python -m station.control.main`: the control process. Composition only; each part has its own module.

Order: registry from the ledger (the storage child starts beside it; only the first snapshot waits for it a while) →
first exchange with the members → snapshot to the workers → schedule → ready.
"""

import asyncio
import json
import os
import signal
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

from station.config.schema import Config
from station.control.admin_mirrors import mirror_routes
from station.control.admin_records import record_routes
from station.control.admin_registry import registry_routes
from station.control.admin_retention import retention_routes
from station.control.changes import BadChange
from station.control.chores import Chores
from station.control.copies import Copies
from station.control.feed import Feed
from station.control.fills import FillDesk
from station.control.flips import Flips
from station.control.http_server import HttpServer
from station.control.instances import InstanceApi
from station.control.instances_admin import instance_admin_routes
from station.control.jobs import JobMaker
from station.control.kept import Kept
from station.control.page import admin_token, page_routes
from station.control.peer_routes import relayed_routes
from station.control.public_certificate import PublicCertificate
from station.control.silence_watch import SilenceWatch
from station.control.station import Station
from station.control.storage_watch import StorageWatch
from station.control.syncs import SyncDesk
from station.control.texts import balancer_routes, snippet_routes
from station.model.identity import SourceId
from station.model.publication import Publication
from station.model.records import Kind, PublicationRecord
from station.model.report import SourceReport
from station.model.states import StorageState
from station.peering.changes import Change
from station.peering.desk import JoinDesk
from station.peering.identity import GroupIdentity
from station.peering.ledger import Ledger
from station.peering.pki import Pki
from station.peering.registry import Registry
from station.runtime.clock import Clock, system_clock
from station.runtime.leash import READY, STORAGE_ANSWERS, STORAGE_STALLED, Leash
from station.runtime.lines import line, set_process
from station.runtime.tasks import Tasks
from station.storage.client import StorageChild, StorageError
from station.sync.launcher import IDLE_S, Launcher
from station.sync.memory import recall
from station.sync.schedule import Schedule

HOUR_S = 3600.0


class Control:
    """All parts of the control process."""

    def __init__(self, config: Config, descriptors: dict[str, int], clock: Clock) -> None:
        self._config = config
        self._descriptors = descriptors
        self._clock = clock
        self._stop = asyncio.Event()
        self._tasks = Tasks(on_death=self._failed)
        self._leash = Leash.from_environment(self._stop.set, self._drain)

    async def run(self) -> None:
        """Until the supervisor says stop."""
        config, state = self._config, Path(self._config.state_directory)
        identity = GroupIdentity.load(state)
        self._open_registry(identity, state)
        child = StorageChild(
            storage=config.mirror.directory,
            station=config.name,
            state=state,
            group=identity.group,
        )
        self._kept = Kept(state)
        storage = StorageWatch(child, state, self._storage_changed)
        self._station = station = Station(
            config,
            self._clock,
            self._registry,
            storage,
            kept=self._kept,
            copies=Copies(state),
            certificate=PublicCertificate(config),
            ca_pem=(state / "pki" / "ca.pem").read_text(),
        )
        self._assemble(station, storage)
        loop = asyncio.get_running_loop()
        if self._leash:
            self._leash.attach(loop)
        self._registry.subscribe(station.ask_for_turn)
        self._registry.subscribe(self._schedule_listed)
        self._tasks.start(self._registry.run(), name="registry", is_vital=True)
        self._tasks.start(storage.watch(), name="storage watch", is_vital=True)
        chores = Chores(station)
        servers = await self._serve(station, chores)
        await station.catch_up()
        self._schedule_listed()
        self._schedule.start()
        self._tasks.start(station.turn_for_ever(), name="turns", is_vital=True)
        self._tasks.keep(chores.recognise_for_ever, name="recognise")
        self._tasks.keep(chores.copy_for_ever, name="copy manifests")
        self._tasks.keep(chores.tidy_for_ever, name="tidy the storage")
        self._tasks.keep(SilenceWatch(station, self._clock).run, name="silent instances")
        for warning in station.warnings():
            line("warning", "station.warning", says=warning)
        if self._leash:
            self._leash.report(READY)
        line("info", "control.ready", station=config.name, group=identity.group)
        await self._stop.wait()
        self._schedule.close()
        for server in servers:
            await server.close()
        await station.feed.close()
        await self._fills.close()
        await self._tasks.close()
        await self._launcher.close()
        await self._registry.close()
        await child.close()
        line("info", "control.stopped")

    def _open_registry(self, identity: GroupIdentity, state: Path) -> None:
        self._ledger = Ledger(state)
        self._registry = Registry.open(identity, self._config, self._ledger, self._clock)

    def _assemble(self, station: Station, storage: StorageWatch) -> None:
        self._launcher = launcher = Launcher(idle_s=IDLE_S)
        tasks = self._tasks
        jobs = JobMaker(
            self._config,
            storage=lambda: station.storage.view,
            records=station.records,
            present=lambda: [n for n, (is_here, _) in station.peers().items() if is_here],
        )
        self._schedule = Schedule(self._due)
        syncs = SyncDesk(
            launcher,
            self._clock,
            tasks,
            make_job=jobs.sync_job,
            on_change=station.ask_for_turn,
            on_stored=storage.refresh,
            on_end=self._sync_ended,
            on_kept=station.kept_manifest,
            recall=self._last_look,
        )
        self._fills = FillDesk(
            launcher, tasks, make_job=jobs.fill_job, on_kept=station.kept_manifest
        )
        flips = Flips(
            tasks,
            write=self._write_publication,
            link=self._link,
            keep=self._keep,
            station=station.name,
        )
        feed = Feed(
            self._clock,
            on_want=self._fills.want,
            on_pause=station.catch_up,
            on_gone=self._fills.gone,
        )
        station.assemble(syncs, flips, feed, self._schedule.next_runs)

    async def _serve(self, station: Station, chores: Chores) -> list[HttpServer]:
        config, pki = self._config, Pki(Path(self._config.state_directory))
        desk = JoinDesk(station.name, self._registry, pki.authority)
        snippets = snippet_routes(config, station)
        admin = [
            *retention_routes(config, station, chores),
            *record_routes(station),
            *mirror_routes(station, desk, self._fills, self._clock),
            *snippets,
            *balancer_routes(config, station),
            *instance_admin_routes(station, self._clock),
            *registry_routes(station),
        ]
        sslverify = config.mirror.is_sslverify_enabled
        instances = InstanceApi(station, pki, self._clock, sslverify=sslverify)
        relayed = [
            *relayed_routes(station, desk, self._clock),
            *snippets,
            *instances.routes(),
        ]
        station.feed.on_ask = instances.asked
        await station.feed.serve(self._socket("feed"), self._tasks)
        servers = [
            (HttpServer(relayed, is_relayed=True), "relay"),
            (HttpServer(admin, is_relayed=False), "admin"),
        ]
        if "page" in self._descriptors:
            token = admin_token(Path(config.state_directory))
            routes = page_routes(station, config.admin.listen, token)
            servers.append((HttpServer(routes, is_relayed=False), "page"))
        for server, name in servers:
            await server.serve(self._socket(name))
        return [server for server, _ in servers]

    def _socket(self, name: str) -> socket.socket:
        sock = socket.socket(fileno=os.dup(self._descriptors[name]))
        sock.setblocking(False)
        return sock

    # What the parts call back.

    async def _write_publication(self, source: str, record: PublicationRecord) -> None:
        with suppress(
            BadChange
        ):  # another station was faster, or we may not write yet: the barrier asks again
            await self._station.write([Change.put(Kind.PUBLICATION, source, record)])

    async def _link(self, source: str, publication: Publication) -> None:
        try:
            await self._station.storage.publish(source, publication)
        except StorageError as error:
            line("warning", "link.failed", source=source, code=error.code, detail=error.detail)

    async def _keep(self, source: str, publication: Publication) -> None:
        try:
            await asyncio.to_thread(self._kept.keep, SourceId(source), publication)
        except OSError as error:
            line("error", "keep.failed", source=source, error=str(error))

    def _storage_changed(self) -> None:
        if self._leash:
            stalled = self._station.storage.view.state is StorageState.STALLED
            self._leash.report(STORAGE_STALLED if stalled else STORAGE_ANSWERS)
        self._station.ask_for_turn()

    def _schedule_listed(self) -> None:
        """Each group asks its upstreams once, whichever station has the duty by then."""
        group = self._registry.group()
        if group is None:
            return
        listed = {SourceId(source) for source in self._station.mirror_list()}
        for source in listed:
            self._schedule.set(source, group.sync_every_h * HOUR_S)
        for source in self._schedule.sources() - listed:
            self._schedule.remove(source)

    def _last_look(self, source: str) -> SourceReport:
        """What the last good look at upstream found, before control started. One in the future was by a wrong clock."""
        record = self._station.records().sources.get(source)
        state = Path(self._config.state_directory)
        memory = record and recall(state, SourceId(source), record.url)
        if not memory or memory.looked_at > self._clock.wall():
            return SourceReport()
        return SourceReport(checked_at=memory.looked_at, checked=str(memory.revision))

    def _due(self, source: SourceId) -> None:
        self._station.syncs.due(source)
        self._station.ask_for_turn()

    def _sync_ended(self, source: str, is_good: bool, is_retriable: bool) -> None:
        if is_good:
            self._schedule.succeeded(SourceId(source))
        else:
            self._schedule.failed(SourceId(source), retriable=is_retriable)

    def _failed(self, task: str, error: BaseException) -> None:
        line("error", "control.failed", task=task, error=repr(error), cure="control starts again")
        self._stop.set()

    def _drain(self) -> None:
        self._station.is_draining = True
        self._station.turn()


def main() -> None:
    """Run control with the settings the supervisor gave."""
    settings: dict[str, Any] = json.loads(os.environ["STATION_SETTINGS"])
    set_process("control")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the supervisor's business
    config = Config.model_validate(settings["config"], strict=False)
    asyncio.run(Control(config, settings["descriptors"], system_clock()).run())


if __name__ == "__main__":
    main()
