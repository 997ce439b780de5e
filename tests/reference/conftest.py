# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests against golden data, and the summary at the end.

A test module names its family, and gets one test a case. Its `is_slow(path)`,
if it has one, returns whether the test of a case is slow:

    FAMILY = "losses"

    def test_losses_equal_the_reference(reference_case):
        with reference_case() as case:
            actual = compute(case.input("gt"), case.meta["options"])
            case.compare("loss", actual, rtol=1e-5)
"""

import functools

import pytest

from deeplab2_like.testing import reference

_LEDGER = pytest.StashKey[reference.Ledger]()


def pytest_configure(config):
    config.stash[_LEDGER] = reference.Ledger()


def pytest_generate_tests(metafunc):
    if "reference_case" not in metafunc.fixturenames:
        return
    family = metafunc.module.FAMILY
    pattern = getattr(metafunc.module, "PATTERN", None)
    cases = reference.find_cases(family, pattern)
    present = (reference.folder() / family).is_dir()
    is_slow = getattr(metafunc.module, "is_slow", lambda _: False)
    parameters = [
        pytest.param(
            path,
            id=f"{path.parent.name}/{path.name}",
            marks=[pytest.mark.slow] * is_slow(path),
        )
        for path in cases
    ]
    if not parameters:
        parameters = [pytest.param(None, id="empty" if present else "absent")]
    metafunc.parametrize("reference_case", parameters, indirect=True)


@pytest.fixture
def reference_case(request):
    """Returns a function that opens the case: `with reference_case() as case:`.

    `reference_case.path` is the file of the case. Cases that are not `.npz`
    files are opened by `reference_case(entries=[...])` with the names of the
    entries to compare.
    """
    family = request.module.FAMILY
    if request.param is None:
        root = reference.folder() / family
        if root.is_dir():
            pytest.fail(f"{root} contains no golden cases of {family}.")
        pytest.skip(f"no golden data: {root} is absent")
    ledger = request.config.stash[_LEDGER]
    opened = functools.partial(ledger.open, family, request.param)
    opened.path = request.param
    return opened


def pytest_collection_modifyitems(items):
    for item in items:
        if "reference_case" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.reference)


def pytest_terminal_summary(terminalreporter, config):
    ledger = config.stash[_LEDGER]
    if not ledger.scores:
        return
    terminalreporter.section("golden data")
    for line, _ in ledger.summary():
        terminalreporter.write_line(line)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session, exitstatus):
    if not session.config.getoption("reference_complete", default=False):
        return
    lines = session.config.stash[_LEDGER].summary()
    if exitstatus == 0 and not all(in_order for _, in_order in lines):
        session.exitstatus = 1
