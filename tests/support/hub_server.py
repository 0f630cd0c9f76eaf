"""A small hub: an HTTP server on a loopback port with the endpoints that the hub's client uses.

It serves a repository's facts and the tree of a commit (``/api/models/…``) and its files
(``/…/resolve/…``). Large files answer with a redirect to their content, as the real hub does.
Faults are set on the hub object, and every request is recorded.
"""

import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit


@dataclass
class Repository:
    """Files by commit, and the branches and tags that point to commits."""

    commits: dict[str, dict[str, bytes]]
    references: dict[str, str]
    gated: bool = False


@dataclass
class Hub:
    repositories: dict[str, Repository] = field(default_factory=dict)
    # What is sent in place of the content of a file; nothing: it is listed, but absent.
    faults: dict[str, Callable[[bytes], bytes]] = field(default_factory=dict)
    # Status of every answer.
    status: int | None = None
    requests: list[tuple[str, str]] = field(default_factory=list)
    endpoint: str = ""

    def fetched(self) -> set[str]:
        return {
            path.rsplit("/", 1)[-1]
            for method, path in self.requests
            if method == "GET" and "/resolve/" in path
        }


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def entry(file: str, body: bytes) -> dict[str, object]:
    """Return how a file is listed, in the facts of a repository and in the tree of a commit."""
    # The hash by which git, and so the hub, identifies a file.
    oid = hashlib.sha1(f"blob {len(body)}\0".encode() + body).hexdigest()
    listed = {"type": "file", "path": file, "rfilename": file, "size": len(body), "oid": oid}
    if not file.endswith((".safetensors", ".bin")):
        return listed
    digest = sha256(body)
    lfs = {"oid": digest, "sha256": digest, "size": len(body), "pointerSize": 130}
    return {**listed, "lfs": lfs}


class Handler(BaseHTTPRequestHandler):
    hub: Hub

    def log_message(self, *arguments: object) -> None:
        """Keep the test's output clean."""

    def send(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content_Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append((self.command, path))
        if self.hub.status:
            self.send(self.hub.status)
        elif asked := re.fullmatch(r"/api/models/(.+?)(?:/(tree|revision)/(.+))?", path):
            self.describe(*asked.groups())
        elif asked := re.fullmatch(r"/(content/)?(.+)/resolve/([^/]+)/(.+)", path):
            self.file(*asked.groups())
        else:
            self.send(404)

    do_HEAD = do_GET

    def describe(self, name: str, kind: str | None, revision: str | None) -> None:
        repository = self.hub.repositories.get(name)
        if repository is None:
            self.send(404, X_Error_Code="RepoNotFound")
            return
        commit = repository.references.get(revision or "main", revision)
        if commit not in repository.commits:
            self.send(404, X_Error_Code="RevisionNotFound")
            return
        listed = [entry(*file) for file in sorted(repository.commits[commit].items())]
        facts = {"id": name, "sha": commit, "siblings": listed, "cardData": {"license": "mit"}}
        body = json.dumps(listed if kind == "tree" else facts).encode()
        self.send(200, body, Content_Type="application/json")

    def file(self, content: str | None, name: str, revision: str, file: str) -> None:
        repository = self.hub.repositories[name]
        commit = repository.references.get(revision, revision)
        files = repository.commits.get(commit, {})
        body = files.get(file, b"")
        sent = self.hub.faults.get(file, bytes)(body)
        if repository.gated:
            self.send(403, X_Error_Code="GatedRepo")
        elif not files:
            self.send(404, X_Error_Code="RevisionNotFound")
        elif not sent:
            self.send(404, X_Error_Code="EntryNotFound", X_Repo_Commit=commit)
        elif content:
            self.send(200, sent)
        elif "lfs" not in (listed := entry(file, body)):
            self.send(200, sent, X_Repo_Commit=commit, ETag=f'"{listed["oid"]}"')
        else:
            # The real hub keeps large files on another host.
            elsewhere = self.hub.endpoint.replace("127.0.0.1", "localhost")
            self.send(
                302,
                Location=f"{elsewhere}/content/{name}/resolve/{commit}/{file}",
                X_Repo_Commit=commit,
                X_Linked_Etag=f'"{sha256(body)}"',
                X_Linked_Size=str(len(body)),
            )


@contextmanager
def serving() -> Iterator[Hub]:
    """Serve a hub, at first without repositories."""
    hub = Hub()
    handler = type("HandlerOfHub", (Handler,), {"hub": hub})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        hub.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield hub
        server.shutdown()
