"""Rates of providers that several workers share."""

import asyncio
import os
import time

import pytest

from noticesvc.dispatch.rates import Rates
from noticesvc.operations.claim import lease_now
from noticesvc.storage.database import Database
from noticesvc.storage.transaction import Sources
from tests.support.migrated import lay

RATE = 400.0


def worker(url):
    return Database(url, Sources(lambda: time.time_ns() // 1000, os.urandom))


@pytest.mark.postgres
async def test_many_workers_share_one_rate_exactly(postgres_url):
    """Six greedy workers of one database: never more than the rate allows by its clock, and everything that it allows."""
    await lay(postgres_url)
    databases = [worker(postgres_url) for _ in range(6)]
    taken = []

    async def greedy(database):
        rates = Rates(database)
        while sum(taken) < RATE:
            (granted, wait), = (await rates.reserve({"sms": (RATE, 32)})).values()
            taken.append(granted)
            if not granted:
                await asyncio.sleep(wait / 1e6)

    began = await databases[0].read(lease_now)
    await asyncio.gather(*(greedy(database) for database in databases))
    took_s = (await databases[0].read(lease_now) - began) / 1e6
    for database in databases:
        await database.close()
    assert RATE <= sum(taken) <= RATE * took_s + RATE * 0.1 + 1
    assert sum(1 for granted in taken if granted) > 6


async def test_one_process_keeps_its_rate_by_itself(sqlite_url):
    """SQLite has one worker: it asks no database, and each provider has its own rate."""
    database = worker(sqlite_url)
    rates = Rates(database)
    first = await rates.reserve({"sms": (0.01, 5), "mail": (1000.0, 50)})
    assert (first["sms"][0], first["mail"][0]) == (1, 50)
    assert (await rates.reserve({"sms": (0.01, 5)}))["sms"][0] == 0
    await database.close()
