"""How many decisions were compared with Casbin, told at the end, whichever process compared them."""

from __future__ import annotations

from _pytest.terminal import TerminalReporter


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    found = [
        value
        for report in terminalreporter.getreports("passed")
        for name, value in report.user_properties
        if name == "decisions" and report.when == "call"
    ]
    if found:
        terminalreporter.write_line(f"{sum(found):,} decisions compared with Casbin's, all alike")
