"""Runs the probes on a real engine, and keeps the README's table true."""

import pytest

import probes
import world
from engine import Engine
from model import ROOT, services

BEGIN, END = "<!-- conformance: tests/e2e/conformance writes this table -->\n", "<!-- /conformance -->\n"


@pytest.fixture(scope="module")
def furnished(tmp_path_factory):
    with Engine(tmp_path_factory.mktemp("home")) as engine:
        engine.cli("start")
        yield engine, world.build(engine)


def test_every_operation_keeps_to_its_model(furnished):
    engine, things = furnished
    rows = [probes.probe_service(engine, service, things) for service in services()]
    table = probes.table(rows)
    print(table)
    failures = [str(failure) for row in rows for failure in row.failures]
    (ROOT / "target" / "conformance.md").write_text(table)
    (ROOT / "target" / "conformance.log").write_text("\n".join(failures) + "\n")
    assert all(row.answered for row in rows), "a service of which no probe was answered is not probed at all"
    assert not failures, f"{len(failures)} probes failed (target/conformance.log):\n" + "\n".join(failures[:40])
    readme = (ROOT / "README.md").read_text()
    written = readme.partition(BEGIN)[2].partition(END)[0]
    assert written == table, "the README's table is not this one: copy target/conformance.md there"
