"""The address of a repository never tells a credential, however it is written."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tracelet_otel.resource.remote import shown

SECRET = "sEcReT"


@pytest.mark.parametrize(
    ("remote", "address"),
    [
        ("https://github.com/org/repo.git", "https://github.com/org/repo"),
        ("https://github.com/org/repo/", "https://github.com/org/repo"),
        ("http://git.local:8080/org/repo.git", "http://git.local:8080/org/repo"),
        (f"https://{SECRET}@github.com/org/repo.git", "https://github.com/org/repo"),
        (f"https://ada:{SECRET}@github.com/org/repo.git", "https://github.com/org/repo"),
        (f"https://x-access-token:{SECRET}@github.com/org/repo", "https://github.com/org/repo"),
        (f"https://oauth2:{SECRET}@gitlab.local:8443/group/sub/repo.git", "https://gitlab.local:8443/group/sub/repo"),
        (f"https://ada:se@c{SECRET}@github.com/org/repo", "https://github.com/org/repo"),
        (f"https://ada:{SECRET}%40@github.com/org/repo", "https://github.com/org/repo"),
        (f"HTTPS://ada:{SECRET}@github.com/org/repo", "https://github.com/org/repo"),
        (f"https://github.com/org/repo.git?private_token={SECRET}", "https://github.com/org/repo"),
        (f"https://github.com/org/repo.git#{SECRET}", "https://github.com/org/repo"),
        (f"https://ada:{SECRET}/x@github.com/org/repo", None),
        (f"https://ada:7/{SECRET}@github.com/org/repo", None),
        (f"https://ada?{SECRET}@github.com/org/repo", None),
        (f"https://ada#{SECRET}@github.com/org/repo", None),
        (f"https://github.com/org/repo?token=a@{SECRET}", None),
        ("git@github.com:org/repo.git", "https://github.com/org/repo"),
        ("github.com:org/repo.git", "https://github.com/org/repo"),
        ("git@github.com:/org/repo.git/", "https://github.com/org/repo"),
        ("git@[::1]:org/repo.git", "https://[::1]/org/repo"),
        (f"ada:{SECRET}@github.com:org/repo.git", "https://github.com/org/repo"),
        (f"ada:{SECRET}@github.com/org/repo.git", None),
        (f"{SECRET}@github.com/org/repo.git", None),
        (f"git@github.com:org/repo?token={SECRET}", "https://github.com/org/repo"),
        (f"git@github.com:org/repo?token=a@{SECRET}:x", None),
        ("ssh://git@github.com/org/repo.git", "https://github.com/org/repo"),
        ("ssh://git@git.local:2222/org/repo.git", "https://git.local/org/repo"),
        (f"ssh://ada:{SECRET}@[fe80::1]:22/repo", "https://[fe80::1]/repo"),
        ("git+ssh://git@github.com/org/repo", "https://github.com/org/repo"),
        ("git://git.local:9418/repo.git", "https://git.local/repo"),
        (f"ftp://ada:{SECRET}@git.local/repo", None),
        (f"codecommit::eu-west-1://{SECRET}@repo", None),
        (f"ext::ssh {SECRET}@host %S repo", None),
        ("/srv/git/repo.git", "file:///srv/git/repo"),
        ("/home/me@work/repo/.git", "file:///home/me@work/repo"),
        ("file:///srv/git/repo.git", "file:///srv/git/repo"),
        (f"file://ada:{SECRET}@host/repo", None),
        (f"//ada:{SECRET}@host/repo", None),
        ("../repo", None),
        ("C:/repo", None),
        ("https://", None),
        ("", None),
    ],
)
def test_an_address_without_credentials(remote, address):
    assert shown(remote) == address


PIECES = st.text(st.one_of(st.sampled_from(":/@?#%.[]\\ =&"), st.characters()), max_size=6)


@settings(max_examples=1000)
@given(
    st.sampled_from(["https://", "http://", "ssh://", "git://", "git+ssh://", "ftp://", "", "x::", "file://", "//"]),
    st.tuples(PIECES, PIECES),
    st.sampled_from(["host/org/repo.git", "host:8080/org/repo", "host:org/repo.git", "[::1]/repo", "repo", ""]),
    st.sampled_from(["", "?", "#", "?token="]),
)
@example("https://", ("a/b:", ""), "host/repo", "")
@example("https://", ("a?b#", "@"), "host/repo", "")
@example("", ("a:", ""), "host/repo", "?")
def test_no_part_of_a_user_is_shown(scheme, around, place, option):
    before, after = around
    if scheme in ("", "file://"):
        before = before.lstrip("/")  # otherwise all of it is a path
    address = shown(f"{scheme}{before}{SECRET}{after}@{place}{option}")
    assert SECRET not in (address or "")


@settings(max_examples=1000)
@given(
    st.sampled_from(["https://host/org/repo", "https://me@host/repo.git", "me@host:org/repo", "ssh://host:22/repo"]),
    st.sampled_from("?#"),
    PIECES,
    PIECES,
)
def test_no_part_of_a_query_is_shown(address, mark, before, after):
    assert SECRET not in (shown(f"{address}{mark}{before}{SECRET}{after}") or "")
