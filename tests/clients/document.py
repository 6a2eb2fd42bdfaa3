"""Runs the blocks of docs/CALLERS.md for the clients of this suite, with the addresses of the service."""

import pathlib
import re
import subprocess
import tempfile

from scene import ENVIRONMENT, HERE, PATIENCE_SECONDS, key_of

DOCUMENT = HERE.parent.parent / "docs/CALLERS.md"
CALLER = "support-tools"
# What a block prints at the end: the number of participants of the documented example, or its page.
EXPECTED = {"python": r"^1$", "js": r"^1$", "sh": r'"access_token":[^\0]*"total_records":1,'}
BLOCKS = {"python": 3, "js": 1, "sh": 1}


def check(scene):
    blocks = re.findall(r"(?ms)^```(\w+)\n(.*?)^```$", DOCUMENT.read_text())
    for language, number in BLOCKS.items():
        texts = [text for name, text in blocks if name == language]
        if len(texts) != number:
            yield f"{DOCUMENT.name} has {len(texts)} blocks of {language} instead of {number}"
        for text in texts:
            done = run(scene, language, text.replace("https://qos.example", f"http://{scene.service.callers}"))
            if done.returncode != 0 or not re.search(EXPECTED[language], done.stdout):
                yield f"{DOCUMENT.name}, a block of {language}: {done.returncode}: {done.stdout[:500]}{done.stderr[-1000:]}\n{text}"


def run(scene, language, text):
    # JavaScript looks for packages beside the file.
    with tempfile.TemporaryDirectory(dir=scene.node_modules) as folder:
        path = pathlib.Path(folder, "block.mjs" if language == "js" else "block")
        path.write_text(text)
        program = {"python": scene.python, "js": "node", "sh": "sh"}[language]
        environment = {**ENVIRONMENT, "HOME": folder, "QOS_KEY": key_of(CALLER)}
        return subprocess.run(
            [program, str(path)], env=environment, cwd=folder, capture_output=True, text=True, timeout=PATIENCE_SECONDS
        )
