"""A network namespace for the measurements, with the congestion control that Linux uses by default.

A machine may be set to bbr, which paces sending even on the loopback interface. This makes nginx's sendfile several times more
expensive than on other machines.
"""

import ctypes
import fcntl
import os
import socket
import struct

# A namespace may always use reno. It may use cubic if that is the machine's default or listed in
# tcp_allowed_congestion_control.
CONTROLS = ["cubic", "reno"]
SETTING = "/proc/sys/net/ipv4/tcp_congestion_control"
CLONE_NEWUSER, CLONE_NEWNET = 0x1000_0000, 0x4000_0000
SIOCSIFFLAGS, IFF_UP = 0x8914, 1


def enter():
    """Moves this process and its later children into a network namespace; returns the congestion control there, in words."""
    try:
        unshare()
        raise_loopback()
    except OSError as error:
        return f"{control()}, as the machine has it: no network namespace of its own ({error.strerror})"
    for name in CONTROLS:
        try:
            with open(SETTING, "w") as file:
                file.write(name)
        except OSError:
            continue
        return f"{control()}, in a network namespace of its own"
    return f"{control()}, as the machine has it: its network namespaces may use neither {' nor '.join(CONTROLS)}"


def control():
    with open(SETTING) as file:
        return file.read().strip()


def unshare():
    user, group = os.getuid(), os.getgid()
    # Without root, a network namespace needs a user namespace around it.
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET if user == 0 else CLONE_NEWNET | CLONE_NEWUSER):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    if user:
        for name, line in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(line)


def raise_loopback():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        fcntl.ioctl(one, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", IFF_UP))
