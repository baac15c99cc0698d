"""Ports are checked before anything starts; settings keep all state in the checkout."""

import socket
from pathlib import Path

import pytest

from tasks.machine import up
from tasks.params import UserError


def test_a_busy_port_is_one_line_and_nothing_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.socket() as busy:
        busy.bind((up.HOST, 0))
        busy.listen()
        number = busy.getsockname()[1]
        monkeypatch.setenv("PREFECT_PORT", str(number))
        with pytest.raises(UserError) as caught:
            up.main([])
    text = str(caught.value)
    assert f"port {number} cannot be used" in text and "make up PREFECT_PORT=" in text
    assert "\n" not in text
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", ["0", "70000", "http", "-1", "1.5"])
def test_a_port_that_is_none_names_the_variable(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_PORT", value)
    with pytest.raises(UserError, match=f"MLFLOW_PORT = '{value}' must be a port, 1 to 65535"):
        up.port("MLFLOW_PORT", 5000)


def test_two_servers_need_two_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as probe:
        probe.bind((up.HOST, 0))
        number = str(probe.getsockname()[1])
    monkeypatch.setenv("PREFECT_PORT", number)
    monkeypatch.setenv("MLFLOW_PORT", number)
    with pytest.raises(UserError, match=f"PREFECT_PORT and MLFLOW_PORT are both {number}"):
        up.main([])


def test_all_state_is_in_the_checkout_and_nothing_is_sent() -> None:
    root = Path(__file__).resolve().parents[3]
    seen = up.environment(root, 4321, 5432)
    assert seen["PREFECT_HOME"] == f"{root}/.sordino/prefect"
    assert seen["MLFLOW_BACKEND_STORE_URI"] == f"sqlite:///{root}/mlflow/mlflow.db"
    assert seen["PREFECT_API_URL"] == "http://127.0.0.1:4321/api"
    assert seen["MLFLOW_PORT"] == "5432"
    off = {"PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "true"}
    off |= {"MLFLOW_DISABLE_TELEMETRY": "true", "DVC_NO_ANALYTICS": "1"}
    assert off.items() <= seen.items()
    assert seen["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"
