"""The filter of system calls, as the kernel runs it and as its instructions read; keyrings of one's own."""

import ctypes
import ctypes.util
import errno
import multiprocessing
import os
import platform
import socket
import struct
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from leaplm.grading.sandbox import keyring, syscalls
from leaplm.grading.sandbox.syscalls import ARCHITECTURES, FORBIDDEN, NoFilter, program
from leaplm.grading.sandbox.walls import PR_SET_NO_NEW_PRIVS, libc

made_here = sys.platform == "linux" and platform.machine() in ARCHITECTURES
here = pytest.mark.skipif(not made_here, reason="no filter is made for this machine")
ALLOWED = 0


def decide(filter_, architecture, number, argument=0):
    """What a filter says of a call, by the rules of seccomp(2): ALLOWED, or the error number."""
    data = struct.pack("=iIQQ5Q", number if number < 2**31 else number - 2**32, architecture, 0, argument, *[0] * 5)
    held, place = None, 0
    while True:
        code, true, false, value = struct.unpack_from("=HBBI", filter_, 8 * place)
        if code == 0x06:
            assert value == 0x7FFF0000 or value >> 16 == 5
            return value & 0xFFFF if value >> 16 == 5 else ALLOWED
        if code == 0x20:
            (held,) = struct.unpack_from("=I", data, value)
            place += 1
            continue
        came = {0x15: held == value, 0x25: held > value, 0x45: bool(held & value)}[code]
        place += 1 + (true if came else false)


@pytest.mark.parametrize("machine", ARCHITECTURES)
@given(number=st.one_of(st.integers(0, 500), st.integers(0, 2**32 - 1)), argument=st.integers(0, 2**64 - 1))
def test_the_filter_forbids_what_its_table_says_and_nothing_else(machine, number, argument):
    column = list(ARCHITECTURES).index(machine)
    forbidden = {numbers[column] for numbers in FORBIDDEN.values()}
    special = {syscalls.CLONE[column], syscalls.SOCKET[column], syscalls.PERSONALITY[column]}
    told = decide(program(machine), ARCHITECTURES[machine], number, argument)
    if number in forbidden:
        assert told == errno.EPERM
    elif number > syscalls.NEWEST or number == syscalls.CLONE_3[column]:
        assert told == errno.ENOSYS
    elif number not in special:
        assert told == ALLOWED


@pytest.mark.parametrize("machine", ARCHITECTURES)
def test_arguments_of_clone_socket_and_personality_are_looked_at(machine):
    column, filter_, ours = list(ARCHITECTURES).index(machine), program(machine), ARCHITECTURES[machine]
    clone, sock, personality = (call[column] for call in (syscalls.CLONE, syscalls.SOCKET, syscalls.PERSONALITY))
    threads, fork = 0x3D0F00, 0x1200011
    for flags in (threads, fork, 17):
        assert decide(filter_, ours, clone, flags) == ALLOWED
    for new in (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000):
        assert decide(filter_, ours, clone, new | fork) == errno.EPERM
    for family in range(50):
        assert decide(filter_, ours, sock, family) == (ALLOWED if family in (1, 2, 10, 16) else errno.EAFNOSUPPORT)
    assert [decide(filter_, ours, personality, one) for one in (0, 0xFFFFFFFF, 0x40000)] == [ALLOWED, ALLOWED, errno.EPERM]


@pytest.mark.parametrize("machine", ARCHITECTURES)
@given(architecture=st.integers(0, 2**32 - 1), number=st.integers(0, 2**32 - 1))
def test_calls_of_another_architecture_are_forbidden(machine, architecture, number):
    if architecture != ARCHITECTURES[machine]:
        assert decide(program(machine), architecture, number) == errno.EPERM


def test_the_numbers_are_those_of_libseccomp():
    """The library that other sandboxes write their filters with, where it is on this machine; it may be older."""
    path = ctypes.util.find_library("seccomp")
    if not path:
        pytest.skip("libseccomp is not on this machine")
    resolve = ctypes.CDLL(path).seccomp_syscall_resolve_name_arch
    known = {**FORBIDDEN, "clone": syscalls.CLONE, "clone3": syscalls.CLONE_3, "socket": syscalls.SOCKET,
             "personality": syscalls.PERSONALITY}  # fmt: skip
    for name, numbers in known.items():
        told = [resolve(ctypes.c_uint32(architecture), name.encode()) for architecture in ARCHITECTURES.values()]
        assert [number if number >= 0 else None for number in told] == list(numbers), name


def test_another_processor_is_named():
    with pytest.raises(NoFilter, match="x86_64 and aarch64 processors, not on riscv64"):
        program("riscv64")


def in_a_child(function):
    """What a function gives in a forked process."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()

    def run():
        theirs.send(function())

    process = context.Process(target=run)
    process.start()
    told = ours.recv() if ours.poll(60) else None
    process.join(10)
    return told


def behind_the_filter(function):
    def run():
        libc().prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        syscalls.install(program())
        return function()

    return in_a_child(run)


def errors():
    """The error of each forbidden call, made with arguments that none takes."""
    told = {}
    for name, numbers in FORBIDDEN.items():
        if (number := syscalls.here(numbers)) is not None:
            libc().syscall(ctypes.c_long(number), *[ctypes.c_long(-1)] * 6)
            told[name] = ctypes.get_errno()
    return told


@here
def test_the_kernel_takes_the_filter_and_fails_each_forbidden_call():
    told = behind_the_filter(errors)
    assert len(told) >= 40 and set(told.values()) == {errno.EPERM}


def ordinary_work():
    """What Python's libraries ask of the kernel: threads, programs, processes, sockets."""
    import asyncio
    import concurrent.futures as futures

    with futures.ThreadPoolExecutor(3) as pool:
        assert list(pool.map(abs, [-1, 2])) == [1, 2]
    assert subprocess.run([sys.executable, "-c", "print(7)"], capture_output=True, check=True).stdout == b"7\n"
    with futures.ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        assert pool.submit(abs, -3).result(60) == 3
    one, other = socket.socketpair()
    one.send(b"x")
    assert other.recv(1) == b"x"
    return asyncio.run(asyncio.sleep(0, "done"))


@here
def test_what_python_needs_goes_on_working_behind_the_filter():
    """In a fresh program: a fork of pytest has threads' locks that nobody lets go."""
    program = "from test_syscalls import *; libc().prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); syscalls.install(program()); "
    run = subprocess.run([sys.executable, "-c", f"{program}print(ordinary_work())"], capture_output=True, text=True,
                         cwd=os.path.dirname(__file__))  # fmt: skip
    assert run.stdout == "done\n", run.stderr


def sees(name):
    with open("/proc/keys") as keys:
        return name in keys.read()


@here
@pytest.mark.skipif(not os.path.exists("/proc/keys"), reason="this kernel has no keys")
def test_a_session_of_its_own_has_none_of_the_keys_of_the_one_before():
    def look():
        keyring.leave_session()  # as a login does; this test leaves nothing in the session around it
        with keyring.planted("leaplm-test", b"secret") as there:
            if not there:
                return "no keys"
            return sees("leaplm-test"), in_a_child(lambda: (keyring.leave_session(), sees("leaplm-test"))[1])

    assert in_a_child(look) in ("no keys", (True, False))
