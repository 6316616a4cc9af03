"""Forbids system calls to a thread.

Linux, x86-64 and AArch64: a filter of this thread kills the process at any call but those of memory, of the
interpreter's own lock, and of the end. Sources: seccomp(2), and the kernel's tables of system calls.
"""

import ctypes
import platform
import struct

ALLOWED = {
    "x86_64": [9, 10, 11, 12, 25, 28, 202, 231],
    "aarch64": [214, 215, 216, 222, 226, 233, 98, 94],
}[platform.machine()]


def forbid_calls():
    libc = ctypes.CDLL(None, use_errno=True)
    load, jump_equal, answer = 0x20, 0x15, 0x06
    steps = [(load, 0, 0, 0)]
    for position, number in enumerate(ALLOWED):
        steps.append((jump_equal, len(ALLOWED) - position, 0, number))
    steps += [(answer, 0, 0, 0x80000000), (answer, 0, 0, 0x7FFF0000)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(steps), ctypes.addressof(code)))
    assert libc.prctl(38, 1, 0, 0, 0) == 0
    assert libc.prctl(22, 2, ctypes.byref(program), 0, 0) == 0, ctypes.get_errno()
