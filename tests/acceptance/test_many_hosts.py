"""Two APIs and two workers on four hosts (network namespaces) against one PostgreSQL: restarted in turn, cut off, killed."""

import asyncio
import contextlib
import urllib.request

import pytest

from bench.crash.balanced import Caller
from bench.crash.clients import Clients
from bench.crash.cutting_proxy import CuttingProxy
from bench.crash.lines import Lines
from bench.crash.service import installed
from tests.fakes.smtp_server import SmtpServer
from tests.support.hosts import network
from tests.support.process import PATIENT, PIPELINING, message_ids, outcomes
from tests.support.waiting import PATIENCE_S, until

pytestmark = [pytest.mark.kill, pytest.mark.slow, pytest.mark.postgres, pytest.mark.timeout(400)]
_ROLES = ("api", "api", "worker", "worker")


class Cluster:
    """An installation whose processes run on hosts of their own; each host has its own journals, all share the keys."""

    def __init__(self, service, hosts, variables):
        self.service, self.hosts, self._variables = service, hosts, variables
        self.running = {}
        self.urls = [f"http://{host.address}:8000" for host, role in zip(hosts, _ROLES, strict=True) if role == "api"]

    async def start(self, number):
        """Start the process of a host, and wait until it is ready."""
        host, role = self.hosts[number], _ROLES[number]
        variables = self._variables | {"NOTICESVC_SERVER__HOST": host.address, "NOTICESVC_SERVER__PORT": "8000",
                                       "NOTICESVC_TELEMETRY__WORKER_METRICS_PORT": "9000",
                                       "NOTICESVC_WORKER__JOURNAL_DIR": f"journal-{number}"}
        process = await self.service.launch(only=role, environment=variables, within=host.within)
        await self.service.ready(process)
        self.running[number] = process

    async def restart(self, number):
        """SIGTERM, its end with status 0, and a new process in its place."""
        assert await self.service.stop(self.running.pop(number)) == [0]
        await self.start(number)

    async def kill(self, number):
        await self.service.kill(self.running.pop(number))


@contextlib.asynccontextmanager
async def cluster(tmp_path, server, *, patient=False):
    """The four, started, with a mail server that all hosts reach; `patient` where nobody vanishes (tests.support.process)."""
    worker, mail_too = (PATIENT["worker"], PATIENT["mail"]) if patient else ({}, {})
    with network(len(_ROLES)) as net:
        async with SmtpServer({}, extensions=PIPELINING) as mail, CuttingProxy(server.port, net.ours) as database, \
                CuttingProxy(mail.port, net.ours) as way:
            url = server.new_database()
            service = await installed(tmp_path / "service", smtp_port=way.port, sms_port=9, database_url=url,
                                      worker={"concurrency": 4, "claim_batch": 8} | worker,
                                      mail={"host": net.ours, "connections": 4} | mail_too)
            variables = {"NOTICESVC_DATABASE__URL": url.replace(f"127.0.0.1:{server.port}", f"{net.ours}:{database.port}")}
            made = Cluster(service, net.hosts, variables)
            try:
                for number in range(len(_ROLES)):
                    await made.start(number)
                async with Clients(made.urls[0], service.key, Lines(tmp_path / "accepted.log"), count=0) as shown:
                    await shown.put_contacts({"u-1": [{"channel": "email", "address": "u@sink.example", "confirmation": "confirmed"}]})
                    yield made, mail, shown
            finally:
                await service.kill()


async def served(shown, notice_id):
    """The notice once it is served."""
    async def look():
        return (await shown.get(f"/v1/notices/{notice_id}"))[1]
    return await until(look, lambda notice: notice["state"] == "served", 2 * PATIENCE_S)


async def audited(made):
    status, output = await made.service.command("ledger", "audit", "--open", "--config", str(made.service.config_file))
    assert status == 0, output


async def test_each_is_restarted_in_turn_and_no_caller_is_refused(durable_postgres, tmp_path):
    """While notices flow: no answer but 202 or one to be repeated, nothing lost, nothing sent twice, and the audit holds."""
    async with cluster(tmp_path, durable_postgres, patient=True) as (made, mail, shown):
        caller = Caller(made.urls, made.service.key)
        calling = asyncio.create_task(caller.run())
        for number in range(len(_ROLES)):
            before = len(caller.accepted)
            await made.restart(number)
            await until(lambda: _size(caller.accepted), lambda size, least=before + 5: size >= least)
        caller.enough.set()
        await calling
        assert caller.refused == []
        for notice_id in caller.accepted:
            assert [o for o in outcomes(await served(shown, notice_id)) if o != "not_sent"] == ["arrived"]
        assert len(mail.contents) == len(set(message_ids(mail))) == len(set(caller.accepted)) == len(caller.accepted)
        told = [await asyncio.to_thread(_metrics, host.address) for host in made.hosts[2:]]  # workers have no API
        assert all("noticesvc_queue_oldest_seconds" in text and "noticesvc_leases_lost_total" in text for text in told)
        assert any('noticesvc_attempts_total{channel="email",outcome="arrived",provider="mail"}' in text for text in told)
        await audited(made)


def _metrics(address):
    with urllib.request.urlopen(f"http://{address}:9000/metrics", timeout=PATIENCE_S) as answer:
        return answer.read().decode()


async def _size(found):
    return len(found)


async def test_the_sequencer_moves_when_its_host_vanishes(durable_postgres, tmp_path):
    """A host loses its network, then the other's process is killed: each time the ledger grows on, by whoever is left."""
    async with cluster(tmp_path, durable_postgres) as (made, mail, shown):
        caller = Caller(made.urls, made.service.key)

        async def grown():
            """A new notice is served and its entries are under a checkpoint."""
            before = await _checkpoint(shown)
            await caller.post()
            await served(shown, caller.accepted[-1])
            await until(lambda: _checkpoint(shown), lambda size: size > before, 2 * PATIENCE_S)
        await grown()
        made.hosts[2].unplug()
        await grown()
        made.hosts[2].plug_in()
        await grown()
        await made.kill(3)
        await grown()
        await caller.close()
        assert len(set(message_ids(mail))) == len(caller.accepted)
        await audited(made)


async def _checkpoint(shown):
    """The size of the newest checkpoint; 0 while there is none."""
    status, text = await shown.get("/v1/ledger/checkpoint")
    return int(text.splitlines()[1]) if status == 200 else 0
