"""The JDK's HttpClient with its defaults: it prefers HTTP/2 and so offers h2c, which the service ignores.

    python run.py JAVA SERVICE_BINARY SIM_BINARY

100 requests must use one connection. As a negative control, a client that keeps no connection must
use many. Exits with 0 if both hold. Uses only local addresses; takes a few seconds.
"""

import pathlib
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "python"))

import processes


def ports(address):
    """The source ports of connections to this address, including those closed less than a minute ago."""
    at, found = int(address.rsplit(":", 1)[1]), set()
    for table in ("tcp", "tcp6"):
        for line in pathlib.Path("/proc/net", table).read_text().splitlines()[1:]:
            here, there = (int(end.rsplit(":", 1)[1], 16) for end in line.split()[1:3])
            if at in (here, there) and 0 not in (here, there):
                found.add(there if here == at else here)
    return found


def connections(java, binaries, options):
    """How many connections 100 requests use."""
    service_binary, sim_binary = binaries
    with processes.Sim(sim_binary) as sim, processes.Service(service_binary, sim) as service:
        url = f"http://{service.callers}/qos/{sim.meeting(1)}"
        command = [java, *options, pathlib.Path(__file__).with_name("Ask.java"), url]
        client = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            said = client.stdout.readline()
            if said != "ok\n":
                raise AssertionError(f"the JDK's client fails: {said!r}")
            return len(ports(service.callers))
        finally:
            client.stdin.close()
            client.stdout.close()
            client.wait(processes.PATIENCE)


def main(java, *binaries):
    without_reuse = connections(java, binaries, ["-Djdk.httpclient.keepalive.timeout=0"])
    kept = connections(java, binaries, [])
    print(f"conformance (jdk): 100 requests of the JDK's client took {kept} connections, those of a client without keep-alive {without_reuse}")
    return 0 if kept == 1 and without_reuse > 10 else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
