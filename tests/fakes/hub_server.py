"""A hub on this machine: as much of it as huggingface_hub needs to make a repository, commit to it and read it."""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

TOKEN = "hf_may_write"
Files = dict[str, bytes]


class Hub(ThreadingHTTPServer):
    """Repositories in memory.

    Attributes:
        commits: By name of the repository, its files at each commit, the newest last.
        given: Paths of files that were downloaded.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.commits, self.given = dict[str, dict[str, Files]](), list[str]()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def commit(self, name: str, files: Files) -> str:
        """Put files beside those of the last commit; returns the commit."""
        there = self.commits.setdefault(name, {})
        merged = {**(list(there.values())[-1] if there else {}), **files}
        said = hashlib.sha1(f"{len(there)}".encode(), usedforsecurity=False).hexdigest()
        there[said] = merged
        return said


@contextmanager
def serving() -> Iterator[Hub]:
    with Hub() as hub:
        thread = threading.Thread(target=hub.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield hub
        finally:
            hub.shutdown()
            thread.join()


class _Answer(BaseHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None: ...

    @property
    def _hub(self) -> Hub:
        assert isinstance(self.server, Hub)
        return self.server

    def _say(self, status: int, body: bytes | Any, **headers: str) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def do_GET(self) -> None:
        path = self.path.partition("?")[0].strip("/").split("/")
        path = path[2:] if path[0] == "api" else path[path[0] == "datasets" :]
        path, name = [*path, "revision", "main"] if len(path) == 2 else path, "/".join(path[:2])
        word, commits = path[2], self._hub.commits.get(name, {})
        commit = list(commits)[-1] if path[3] == "main" and commits else path[3]
        if commit not in commits:
            self._say(404, {}, X_Error_Code="RevisionNotFound" if commits else "RepoNotFound")
        elif word == "revision":
            self._say(200, {"id": name, "sha": commit, "siblings": []})
        elif word == "tree":
            files = commits[commit].items()
            self._say(
                200, [{"type": "file", "path": each, "size": len(text), "oid": _oid(text)} for each, text in files]
            )
        else:
            file = "/".join(path[4:])
            if self.command == "GET":
                self._hub.given.append(file)
            content = commits[commit][file]
            self._say(200, content, X_Repo_Commit=commit, ETag=f'"{_oid(content)}"')

    do_HEAD = do_GET  # noqa: N815

    def do_POST(self) -> None:
        text, path = self.rfile.read(int(self.headers["Content-Length"])), self.path.partition("?")[0].split("/")
        if self.path == "/api/validate-yaml":
            self._say(200, {"warnings": [], "errors": []})
        elif self.headers["Authorization"] != f"Bearer {TOKEN}":
            self._say(401, {"error": "Invalid credentials"})
        elif self.path == "/api/repos/create":
            asked = json.loads(text)
            name = f"{asked['organization']}/{asked['name']}"
            self._say(409 if name in self._hub.commits else 200, {"url": f"{self._hub.url}/{name}"})
            self._hub.commits.setdefault(name, {})
        elif "preupload" in path:
            files = json.loads(text)["files"]
            said = [{"path": each["path"], "uploadMode": "regular", "shouldIgnore": False} for each in files]
            self._say(200, {"files": said})
        else:
            lines = [json.loads(line) for line in text.splitlines()]
            files = {each["value"]["path"]: base64.b64decode(each["value"]["content"]) for each in lines[1:]}
            name = "/".join(path[3:5])
            oid = self._hub.commit(name, files)
            self._say(200, {"commitUrl": f"{self._hub.url}/{name}/commit/{oid}", "commitOid": oid, "success": True})


def _oid(content: bytes) -> str:
    return hashlib.sha1(content, usedforsecurity=False).hexdigest()


def run_of(folder: Path) -> Path:
    """A run as it looks from outside: a stage that is shared, and a policy with two checkpoints."""
    for stage in ("first-stage", "plain"):
        for update in ("000500", "001000"):
            there = folder / stage / update
            there.mkdir(parents=True)
            info = {
                "task": "door | hand",
                "seed": 3,
                "update": int(update),
                "recipe": {"updates": 2000, "network": "mlp"},
            }
            (there / "config.json").write_text(json.dumps({**info, "policy": {"spec": {"dt": 0.1, "horizon": 8}}}))
            (there / "policy.safetensors").write_bytes(update.encode())
            (there / "resume.safetensors").write_bytes(b"moments")
        (folder / stage / "last").symlink_to("001000")
    (folder / "plain" / "curve.csv").write_text("update\n")
    return folder
