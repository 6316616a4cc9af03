"""Takes files that a training on another machine sends, into the spool of their run.

The parts of an entry come one after another, and its description comes last: `PUT <run id>/<entry>/<path>` for each
file, then `PUT <run id>/<entry>`. Until then there is no entry.
"""

from __future__ import annotations

import asyncio
import os
import re
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final

from tracelet_otel.protocol.files import CONTENT, ENTRY, UNFINISHED, RunFile, check_room, is_entry_name
from tracelet_otel.protocol.requests import MalformedError
from tracelet_otel.relay.journal import JournalError

_LONGEST_DESCRIPTION: Final = 2**20
"""In bytes."""
_BAD_PART: Final = re.compile(r"\.{0,2}|.*\0.*", re.DOTALL)


class Uploads:
    """Puts files into spools.

    Args:
        spool_of: returns the spool of a run, by its id.

    Raises from `spool_of` and `take`:
        TraceletError: there is no such run, now or ever.
    """

    def __init__(self, spool_of: Callable[[str], Path]) -> None:
        self._spool_of = spool_of
        self._taken: set[tuple[str, str]] = set()
        """Run and name of each entry that was taken, since one may be sent again after it was delivered."""

    async def take(self, path: str, parts: AsyncIterator[bytes]) -> None:
        """Take a file, or the description that completes an entry.

        Args:
            path: of the request, without what all of them begin with.
            parts: the request's body.

        Raises:
            MalformedError: the path or the description is wrong.
            JournalError: it cannot be written; it may be sent again later.
        """
        run_id, _, rest = path.partition("/")
        name, _, inside = rest.partition("/")
        if not is_entry_name(name) or (inside and any(_BAD_PART.fullmatch(part) for part in inside.split("/"))):
            raise MalformedError(f"{path!r} is no path of a file")
        spool = self._spool_of(run_id)
        try:
            if (run_id, name) in self._taken or (spool / name).exists():
                # Its sender has had no answer, or a relay before this one has taken it.
                async for _part in parts:
                    pass
            elif inside:
                await _write(spool / f"{UNFINISHED}{name}", inside, parts)
            else:
                await _complete(spool, name, await _description(parts))
                self._taken.add((run_id, name))
        except OSError as error:
            raise JournalError(f"a file of a run cannot be written: {error}") from error


async def _complete(spool: Path, name: str, description: bytes) -> None:
    """Make an entry of what was sent."""
    try:
        file = RunFile.from_json(description.decode())
    except ValueError as error:
        raise MalformedError(str(error)) from None
    unfinished = spool / f"{UNFINISHED}{name}"

    def complete() -> None:
        unfinished.mkdir(mode=0o700, parents=True, exist_ok=True)
        if file.content is not None and not (unfinished / CONTENT / file.content).exists():
            raise MalformedError(f"the content {file.content!r} of an entry was not sent")
        (unfinished / ENTRY).write_bytes(description)
        unfinished.rename(spool / name)

    await asyncio.to_thread(complete)


async def _write(unfinished: Path, inside: str, parts: AsyncIterator[bytes]) -> None:
    """Write a file of an entry, which is there once it is whole."""

    def begin() -> tuple[int, str]:
        unfinished.mkdir(mode=0o700, parents=True, exist_ok=True)
        check_room(unfinished, 0)
        # One that is sent again may come while the first attempt is still being read.
        return tempfile.mkstemp(dir=unfinished, prefix=UNFINISHED)

    def end() -> None:
        target = unfinished / CONTENT / inside
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        Path(made).replace(target)

    descriptor, made = await asyncio.to_thread(begin)
    try:
        with os.fdopen(descriptor, "wb") as file:
            async for part in parts:
                await asyncio.to_thread(file.write, part)
        await asyncio.to_thread(end)
    except BaseException:
        Path(made).unlink(missing_ok=True)
        raise


async def _description(parts: AsyncIterator[bytes]) -> bytes:
    found = b""
    async for part in parts:
        found += part
        if len(found) > _LONGEST_DESCRIPTION:
            raise MalformedError("the description of a file is too long")
    return found
