"""No credential of an address is ever shown or kept, however it is written."""

from __future__ import annotations

import pytest

from tracelet_otel._support.redact import without_credentials


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("https://me:sEcReT@host:5000/path", "https://host:5000/path"),
        ("https://me:sE@cReT@host", "https://host"),
        ("http://me:sE#cReT@host:5000", "http://host:5000"),
        ("http://me:sE/cReT@host", "http://host"),
        ("http://sEcReT@host", "http://host"),
        ("http://host:5000/of/me@home", "http://host:5000/of/me@home"),
        ("http://[::1]:5000/of/me@home", "http://[::1]:5000/of/me@home"),
        ("postgresql://me:sEcReT@host:5432/db", "postgresql://host:5432/db"),
        ("postgresql://me:sE#cReT@host/db", "postgresql://host/db"),
        ("postgresql+psycopg2://me:sE/cReT@host/db", "postgresql+psycopg2://host/db"),
        ("mysql://me:sE?cReT@host/db", "mysql://host/db"),
        ("postgresql://host/db?user=me&password=sEcReT", "postgresql://host/db?user=me"),
        ("postgresql://host/db?sslpassword=sEcReT", "postgresql://host/db"),
        ("postgresql://host/db?options=a@b", "postgresql://host/db?options=a@b"),
        ("sqlite:////home/me@work/mlflow.db", "sqlite:////home/me@work/mlflow.db"),
        ("file:///home/me@work", "file:///home/me@work"),
        ("/home/me@work", "/home/me@work"),
        ("databricks", "databricks"),
    ],
)
def test_what_may_be_shown(uri, shown):
    assert without_credentials(uri) == shown
