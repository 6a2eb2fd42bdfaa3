"""The commands of Helm 4 that the tests use. Runs in the venv of requirements.txt.

    run.py install|upgrade RELEASE CHART OPTION...
    run.py rollback RELEASE REVISION OPTION...
    run.py uninstall RELEASE OPTION...          with --kubeconfig, --namespace and --values, like the command `helm`
    run.py render CHART RELEASE NAMESPACE       reads a list of values from standard input, and for each writes
                                                {"files": {path: text}, "lint": [finding…]} or {"error": text}
"""

import argparse
import json
import pathlib
import sys

import helm_python as helm

WARNING = 2


def render(path, release, namespace):
    with helm.Chart.load(path) as chart:
        for values in json.load(sys.stdin):
            try:
                files = chart.render(values, name=release, namespace=namespace)
            except helm.HelmError as error:
                yield {"error": str(error)}
                continue
            found = [each for each in helm.lint(path, values, strict=True)["messages"] if each["severity"] >= WARNING]
            yield {"files": files, "lint": found}


def change(verb, release, what, options):
    values = helm.values_from_yaml(pathlib.Path(options.values).read_text()) if options.values else {}
    with helm.Config(kubeconfig_path=options.kubeconfig, namespace=options.namespace) as config:
        if verb in ("install", "upgrade"):
            print(getattr(config, verb)(what, release, values, namespace=options.namespace)["notes"])
        elif verb == "rollback":
            config.rollback(release, version=int(what))
        else:
            config.uninstall(release)


def main():
    if sys.argv[1] == "render":
        print(json.dumps(list(render(*sys.argv[2:]))))
        return
    parser = argparse.ArgumentParser()
    parser.add_argument("verb", choices=["install", "upgrade", "rollback", "uninstall"])
    parser.add_argument("release")
    parser.add_argument("what", nargs="?")
    for option in ("kubeconfig", "namespace", "values"):
        parser.add_argument(f"--{option}")
    options = parser.parse_args()
    try:
        change(options.verb, options.release, options.what, options)
    except helm.HelmError as error:
        sys.exit(str(error))


main()
