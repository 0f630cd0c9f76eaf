"""A small hub on this machine, which answers as the Hugging Face hub does."""

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

from projects import environment_of_a_user

LATEST, EARLIER = "b" * 40, "a" * 40
# The branch and the tag of all repositories.
REFERENCES = {"main": LATEST, "v1": EARLIER, "refs/convert/parquet": LATEST}


def sha256(content):
    return hashlib.sha256(content).hexdigest()


class Hub(ThreadingHTTPServer):
    """A small hub on a loopback port, with the endpoints that the hub's client uses.

    It serves a repository's facts and the tree of a commit (``/api/models/…``, ``/api/datasets/…``)
    and its files (``/…/resolve/…``); a data set is called ``datasets/…``. Large
    files answer with a redirect to their content. Without a token, a repository that is missing and
    one whose terms must be accepted are both unauthorized (401), told apart by a code alone. All
    this is as the real hub does.
    """

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self.server_port}"
        # Files by repository and commit, the repository whose terms must be accepted, and the
        # files of which content was asked.
        self.repositories, self.gated, self.fetched = {}, "small/gated", set()
        # What is sent in place of the content of a file; nothing: it is listed, but absent.
        self.faults = {}
        # Status of every answer.
        self.status = None


def entry(file, body):
    """Return how a file is listed, in the facts of a repository and in the tree of a commit."""
    # The hash by which git, and so the hub, identifies a file.
    oid = hashlib.sha1(f"blob {len(body)}\0".encode() + body).hexdigest()
    listed = {"type": "file", "path": file, "rfilename": file, "size": len(body), "oid": oid}
    if not file.endswith((".safetensors", ".bin", ".parquet")):
        return listed
    digest = sha256(body)
    lfs = {"oid": digest, "sha256": digest, "size": len(body), "pointerSize": 130}
    return {**listed, "lfs": lfs}


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        """Keep the test's output clean."""

    def send(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in {"Content_Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def has_token(self):
        return "Authorization" in self.headers

    def do_GET(self):
        path = unquote(urlsplit(self.path).path)
        if self.server.status:
            self.send(self.server.status)
        elif asked := re.fullmatch(r"/api/(?:models/)?(.+?)(?:/(tree|revision)/(.+))?", path):
            self.describe(*asked.groups())
        elif asked := re.fullmatch(r"/(content/)?(.+)/resolve/([^/]+)/(.+)", path):
            self.file(*asked.groups())
        else:
            self.send(404)

    do_HEAD = do_GET

    def describe(self, name, kind, revision):
        commits = self.server.repositories.get(name)
        commit = REFERENCES.get(revision or "main", revision)
        if commits is None:
            self.send(404 if self.has_token() else 401, X_Error_Code="RepoNotFound")
        elif commit not in commits:
            self.send(404, X_Error_Code="RevisionNotFound")
        else:
            listed = [entry(*file) for file in sorted(commits[commit].items())]
            facts = {"id": name, "sha": commit, "siblings": listed, "cardData": {"license": "mit"}}
            body = json.dumps(listed if kind == "tree" else facts).encode()
            self.send(200, body, Content_Type="application/json")

    def file(self, content, name, revision, file):
        if self.command == "GET":
            self.server.fetched.add(file)
        commit = REFERENCES.get(revision, revision)
        files = self.server.repositories[name].get(commit, {})
        body = files.get(file, b"")
        sent = self.server.faults.get(file, bytes)(body)
        if name.removeprefix("datasets/") == self.server.gated:
            self.send(403 if self.has_token() else 401, X_Error_Code="GatedRepo")
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
            elsewhere = self.server.endpoint.replace("127.0.0.1", "localhost")
            location = f"{elsewhere}/content/{name}/resolve/{commit}/{file}"
            told = {"X_Linked_Etag": f'"{sha256(body)}"', "X_Linked_Size": str(len(body))}
            self.send(302, Location=location, X_Repo_Commit=commit, **told)


@contextmanager
def serving() -> Iterator[Hub]:
    """Serve a hub without repositories."""
    with Hub() as hub:
        # It looks for its end that often, in seconds; by default a test would wait half a second.
        threading.Thread(target=hub.serve_forever, args=(0.02,), daemon=True).start()
        yield hub
        hub.shutdown()


def environment_for(hub: Hub, folder: Path) -> dict[str, str]:
    """Return the environment of a program whose hub this is, and its cache below a folder."""
    return environment_of_a_user() | {
        "HF_ENDPOINT": hub.endpoint,
        "HF_HOME": str(folder / "cache"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "NO_PROXY": "127.0.0.1,localhost",
    }
