"""Engines for the end-to-end tests.

Every engine is real: it has a home, ports, namespaces and cgroups of its own, so that tests run beside each other
and beside a user's engine. When it goes, the test fails if anything of it is left on the host.
"""

import pytest

from engine import Engine, node_app


@pytest.fixture
def engine(tmp_path_factory):
    """A running engine with nothing in it."""
    with Engine(tmp_path_factory.mktemp("home")) as engine:
        engine.cli("start")
        yield engine


@pytest.fixture(scope="module")
def deployed(tmp_path_factory):
    """An engine with an app of two tasks, shared by the tests of a module that leave it as it is."""
    app = node_app(tmp_path_factory.mktemp("apps") / "shared")
    with Engine(tmp_path_factory.mktemp("home")) as engine:
        engine.up(app)
        yield engine


@pytest.fixture
def app(tmp_path):
    """The directory of a small app without dependencies."""
    return node_app(tmp_path / "web")


def pytest_terminal_summary(terminalreporter):
    """What was left out is said where nobody can miss it."""
    reasons = {report.longrepr[2] for report in terminalreporter.stats.get("skipped", []) if isinstance(report.longrepr, tuple)}
    for reason in sorted(reasons):
        terminalreporter.write_line(f"*** LEFT OUT: {reason} ***", yellow=True, bold=True)
