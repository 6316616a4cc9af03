"""Checks whether what is wrapped of Lightning is there.

Importing Lightning takes seconds. So it is imported only where it is newer than what the wrapped names were seen in,
and then by another process, which can be ended.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Final

from tracelet_otel._support.child_environment import child_environment
from tracelet_otel._support.environment import environment
from tracelet_otel._support.findings import Finding, fine, problem
from tracelet_otel._support.private_names import LIGHTNING, check_package, tampered
from tracelet_otel.doctor.findings import Chapter
from tracelet_otel.doctor.versions import installed, is_met
from tracelet_otel.errors import IncompatibleVersionError

_IMPORT_S: Final = 60.0
"""Longest time for the import of Lightning, in seconds."""
_NOTHING: Final = "no training is recorded without it"


def check_lightning() -> Chapter:
    """Look for Lightning, its version, and the functions that are wrapped."""
    found = {
        package: there
        for package, distribution in LIGHTNING.packages.items()
        if (there := installed(distribution)) is not None
    }
    if not found:
        return Chapter(
            "Lightning",
            [problem(f"Lightning is not installed: {_NOTHING}", f"pip install '{_wanted('lightning')}'")],
            facts={"versions": {}},
        )
    findings = [finding for package, there in found.items() for finding in _of(package, there)]
    return Chapter("Lightning", findings, facts={"versions": {LIGHTNING.packages[one]: found[one] for one in found}})


def _of(package: str, release: str) -> Iterator[Finding]:
    distribution = LIGHTNING.packages[package]
    what = f"{distribution} {release}"
    if not is_met(f"{distribution}>={LIGHTNING.oldest}"):
        yield problem(f"{what} is too old: {_NOTHING}", f"pip install --upgrade '{_wanted(distribution)}'")
    elif (distribution, release) in LIGHTNING.tampered:
        # It must not be imported.
        for warning in tampered(LIGHTNING):
            text, _, mend = warning.rpartition(". ")
            yield problem(text, mend)
    elif package in sys.modules:
        yield _fits(what, _misfit(package))
    elif is_met(f"{distribution}<={LIGHTNING.newest}"):
        yield fine(
            f"{what} has what is wrapped: {LIGHTNING.oldest} to {LIGHTNING.newest} are known to, so it is not imported"
        )
    else:
        yield _fits(f"{what}, which is newer than {LIGHTNING.newest} and was imported to look,", _imported(package))


def _fits(what: str, misfit: str) -> Finding:
    if not misfit:
        return fine(f"{what} has what is wrapped")
    text, mark, mend = misfit.rpartition(": ")
    install = re.search(r"pip install .*", misfit)
    if install is None:
        return problem(f"{what} cannot be used: {misfit}", f"pip install '{_wanted('lightning')}'")
    return problem(text if mark and mend == install[0] else misfit, install[0])


def _misfit(package: str) -> str:
    try:
        check_package(LIGHTNING, package)
    except IncompatibleVersionError as error:
        return str(error)
    return ""


def _imported(package: str) -> str:
    """What is wrong with a package, told by another process that imports it; empty where all is well."""
    command = [sys.executable, "-m", "tracelet_otel.doctor.lightning_process", package]
    variables = child_environment(environment(), sys.path, {}, ())
    try:
        done = subprocess.run(  # noqa: S603  # our own module, by this interpreter
            command, env=variables, capture_output=True, text=True, timeout=_IMPORT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return f"its import takes longer than {_IMPORT_S:.0f} s"
    if done.returncode != 0:
        return (done.stderr.strip().splitlines() or [f"its import ends with exit code {done.returncode}"])[-1]
    return done.stdout.strip()


def _wanted(distribution: str) -> str:
    bad = sorted(release for name, release in LIGHTNING.tampered if name == distribution)
    return ",".join([f"{distribution}>={LIGHTNING.oldest}", *(f"!={release}" for release in bad)])
