"""Stand-ins for what a test machine lacks: a container engine, a cluster, and the time for a release build.

    stand_ins.py docker|kubectl|helm|cargo ARGUMENT...

Each does what the line asks for, with the project's own program in place of the container or the pod, and refuses a line that it
does not know. `make image-test` uses podman and a release build, helm/e2e.sh uses a cluster.
"""

import json
import os
import pathlib
import re
import subprocess
import sys

CHECKOUT = pathlib.Path(os.environ["README_CHECKOUT"])
STATE = pathlib.Path(os.environ["README_STATE"])
HELM = CHECKOUT / "target/chart/python/bin/helm"
# Options of `docker run` that take a value, and those that do not.
VALUED = {"--name", "--stop-timeout", "--publish", "--cap-drop", "--security-opt", "--volume", "--env"}
BARE = {"--detach", "--read-only", "--rm"}


def docker(command, *arguments):
    if command in ("version", "--version"):
        print("stand-in for docker")
    elif command == "build":
        options = [argument for argument in arguments if argument.startswith("--")]
        known = {"--target", "--tag", "--build-arg"}
        if set(options) - known or arguments[-1] != "." or not pathlib.Path("Dockerfile").is_file():
            sys.exit(f"docker build: not known here: {arguments}")
        tag = arguments[arguments.index("--tag") + 1]
        (STATE / "image").write_text(tag)
    elif command == "run":
        run(list(arguments))
    else:
        sys.exit(f"docker {command}: not known here")


def run(arguments):
    """The service itself, with the container's environment, its folders, and its published ports."""
    options = []
    while arguments and arguments[0].startswith("--"):
        name = arguments.pop(0)
        if name not in VALUED | BARE:
            sys.exit(f"docker run: no option {name}")
        options.append((name, arguments.pop(0) if name in VALUED else None))
    image, *command = arguments
    if image != (STATE / "image").read_text():
        sys.exit(f"docker run: no image {image}; there is {(STATE / 'image').read_text()}")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("QOS_PROXY__ZOOM__")
                   or name.endswith("_URL")}
    folders = {}
    for name, value in options:
        if name == "--volume":
            source, target, *_ = value.split(":")
            if not source.startswith("/"):
                source = STATE / "volumes" / source
                source.mkdir(parents=True, exist_ok=True)
            folders[target] = str(source)
        if name == "--publish":
            host, port, inner = (["127.0.0.1", *value.split(":")])[-3:]
            key = {"8080": "LISTEN", "9090": "OPS_LISTEN"}[inner]
            environment[f"QOS_PROXY__SERVER__{key}"] = f"{host}:{port}"
    for name, value in options:
        if name == "--env":
            key, value = value.split("=", 1)
            for target, source in folders.items():
                value = re.sub(rf"^{re.escape(target)}(?=/|$)", source, value)
            environment[key] = value
    program = CHECKOUT / "target/debug/zoom-qos-proxy"
    os.execve(program, [str(program), *command], environment)


def kubectl(*arguments):
    if arguments[:3] != ("create", "secret", "generic"):
        sys.exit(f"kubectl: not known here: {arguments}")
    keys = [argument.partition("=")[2].split("=")[0] for argument in arguments[4:] if argument.startswith("--from-file=")]
    missing = [key for key in keys if not pathlib.Path(key).is_file()]
    if missing or len(keys) != len(arguments) - 4:
        sys.exit(f"kubectl: no files {missing} in {os.getcwd()}")
    (STATE / f"secret-{arguments[3]}.json").write_text(json.dumps(keys))
    print(f"secret/{arguments[3]} created")


def helm(command, release, *arguments):
    if command == "install":
        rendered = template(release, arguments)
        # The pod mounts an existing Secret, and reads its keys.
        secret = re.search(r"secretName: \"?([\w-]+)", rendered)[1]
        for key in json.loads((STATE / f"secret-{secret}.json").read_text()):
            if key not in rendered:
                sys.exit(f"helm: the key {key} of the Secret {secret} is not used")
        (STATE / f"release-{release}.json").write_text(json.dumps(arguments))
    elif command == "test":
        arguments = json.loads((STATE / f"release-{release}.json").read_text())
        if "helm.sh/hook: test" not in template(release, arguments).replace('"', ""):
            sys.exit("helm: the release has no test")
    else:
        sys.exit(f"helm {command}: not known here")


def template(release, arguments):
    done = subprocess.run([HELM, "template", release, *arguments], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(done.returncode)
    return done.stdout


def cargo(*arguments):
    if arguments == ("build", "--release", "--locked"):
        # A release build takes minutes; make image-test makes one. Here, the debug program takes its place.
        release = pathlib.Path("target/release")
        release.mkdir(parents=True)
        (release / "zoom-qos-proxy").symlink_to(CHECKOUT / "target/debug/zoom-qos-proxy")
    elif arguments == ("build", "--locked", "--workspace", "--example", "demo"):
        if not (CHECKOUT / "target/debug/examples/demo").is_file():
            sys.exit("cargo: the demo is not built")
    elif arguments not in (("fmt", "--version"), ("clippy", "--version")):
        sys.exit(f"cargo: not known here: {arguments}")


if __name__ == "__main__":
    {"docker": docker, "kubectl": kubectl, "helm": helm, "cargo": cargo}[sys.argv[1]](*sys.argv[2:])
