"""A small hub: an HTTP server on a loopback port with the endpoints that the hub's client uses.

It serves a repository's facts (``/api/models/…``), the tree of a commit (``…/tree/…``) and its
files (``/…/resolve/…``). Large files answer with a redirect to their content address, as the real
hub does. Faults are set on
the server object, and every request is recorded.
"""

import hashlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit


@dataclass
class Repository:
    """Files by commit, and the branches and tags that point to commits."""

    commits: dict[str, dict[str, bytes]]
    references: dict[str, str]
    gated: bool = False

    def commit(self, revision: str) -> str | None:
        commit = self.references.get(revision, revision)
        return commit if commit in self.commits else None


@dataclass
class Hub:
    repositories: dict[str, Repository] = field(default_factory=dict)
    # Files that are listed but absent, truncated, or altered.
    absent: set[str] = field(default_factory=set)
    truncated: set[str] = field(default_factory=set)
    altered: set[str] = field(default_factory=set)
    # Status of every answer.
    status: int | None = None
    requests: list[tuple[str, str]] = field(default_factory=list)
    endpoint: str = ""
    content_endpoint: str = ""

    def fetched(self) -> set[str]:
        return {
            path.rsplit("/", 1)[-1]
            for method, path in self.requests
            if method == "GET" and ("/resolve/" in path or path.startswith("/content/"))
        }


def is_large(name: str) -> bool:
    return name.endswith((".safetensors", ".bin"))


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def git_digest(content: bytes) -> str:
    """Return the hash by which git, and so the hub, identifies a file."""
    return hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()


class Handler(BaseHTTPRequestHandler):
    hub: Hub

    def do_HEAD(self) -> None:
        self.respond()

    def do_GET(self) -> None:
        self.respond()

    def log_message(self, *arguments: object) -> None:
        """Keep the test's output clean."""

    def send(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if "Content_Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def respond(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append((self.command, path))
        if self.hub.status:
            self.send(self.hub.status)
        elif path.startswith("/api/models/"):
            name, tree, commit = path.removeprefix("/api/models/").partition("/tree/")
            if tree:
                self.tree(name, commit)
            else:
                self.listing(name)
        elif "/resolve/" in path:
            self.file(path.removeprefix("/"))
        elif path.startswith("/content/"):
            self.content(path.removeprefix("/content/"))
        else:
            self.send(404)

    def listing(self, path: str) -> None:
        name, _, revision = path.partition("/revision/")
        repository = self.hub.repositories.get(name)
        if repository is None:
            self.send(404, X_Error_Code="RepoNotFound")
            return
        commit = repository.commit(revision or "main")
        if commit is None:
            self.send(404, X_Error_Code="RevisionNotFound")
            return
        siblings = []
        for file, body in sorted(repository.commits[commit].items()):
            entry: dict[str, object] = {"rfilename": file, "size": len(body)}
            if is_large(file):
                entry["lfs"] = {"size": len(body), "sha256": sha256(body), "pointerSize": 130}
            siblings.append(entry)
        answer = {
            "id": name,
            "sha": commit,
            "siblings": siblings,
            "cardData": {"license": "mit"},
        }
        self.send(200, json.dumps(answer).encode(), Content_Type="application/json")

    def tree(self, name: str, commit: str) -> None:
        entries = []
        for file, body in sorted(self.hub.repositories[name].commits[commit].items()):
            entry: dict[str, object] = {"type": "file", "path": file, "size": len(body)}
            entry["oid"] = git_digest(body)
            if is_large(file):
                entry["lfs"] = {"oid": sha256(body), "size": len(body), "pointerSize": 130}
            entries.append(entry)
        self.send(200, json.dumps(entries).encode(), Content_Type="application/json")

    def file(self, path: str) -> None:
        name, _, rest = path.partition("/resolve/")
        revision, _, file = rest.partition("/")
        repository = self.hub.repositories[name]
        commit = repository.commit(revision)
        if repository.gated:
            self.send(403, X_Error_Code="GatedRepo")
            return
        if commit is None:
            self.send(404, X_Error_Code="RevisionNotFound")
            return
        if file in self.hub.absent or file not in repository.commits[commit]:
            self.send(404, X_Error_Code="EntryNotFound", X_Repo_Commit=commit)
            return
        body = repository.commits[commit][file]
        if is_large(file):
            self.send(
                302,
                Location=f"{self.hub.content_endpoint}/content/{name}/{commit}/{file}",
                X_Repo_Commit=commit,
                X_Linked_Etag=f'"{sha256(body)}"',
                X_Linked_Size=str(len(body)),
            )
            return
        etag = git_digest(body)
        if self.command == "HEAD":
            size = str(len(body))
            self.send(200, X_Repo_Commit=commit, ETag=f'"{etag}"', Content_Length=size)
        else:
            self.send(200, self.as_sent(file, body), X_Repo_Commit=commit, ETag=f'"{etag}"')

    def content(self, path: str) -> None:
        name, commit, file = path.rsplit("/", 2)
        self.send(200, self.as_sent(file, self.hub.repositories[name].commits[commit][file]))

    def as_sent(self, file: str, body: bytes) -> bytes:
        if file in self.hub.truncated:
            return body[: len(body) // 2]
        if file in self.hub.altered:
            return body[:-1] + bytes([body[-1] ^ 1])
        return body


def start() -> tuple[Hub, ThreadingHTTPServer]:
    """Start a server with no repositories; shut it down with its ``shutdown``."""
    hub = Hub()
    handler = type("HandlerOfHub", (Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    port = server.server_address[1]
    hub.endpoint = f"http://127.0.0.1:{port}"
    # A different host name, because the real hub keeps large files on another host.
    hub.content_endpoint = f"http://localhost:{port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return hub, server
