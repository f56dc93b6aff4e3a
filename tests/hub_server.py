"""A local stand-in for the Hugging Face Hub: it serves folders as model repositories to the real client.

    with HubServer({"skt/kogpt2-base-v2": folder}) as server:
        subprocess.run([sys.executable, ...], env=server.environment(tmp_path))

The client reads HF_ENDPOINT when it is imported, so the code under test runs in a process of its own. What is pushed
is kept apart from these folders, in `pushed`.
"""

import base64
import contextlib
import hashlib
import json
import os
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs, unquote, urlsplit

from huggingface_hub import RepoCard

DATE = "2021-05-01T00:00:00.000Z"
OWNER, TOKENS = "somebody", {"hf_write": "write", "hf_read": "read"}
LARGE = 8_000  # bytes from which a file goes up on its own before the commit
KIND = "(models|datasets|spaces)"
# What a push asks for, by names for `refused` and `dropped`.
STEPS = {
    "whoami": r"GET /api/whoami-v2",
    "create": r"POST /api/repos/create",
    "delete": r"DELETE /api/repos/delete",
    "validate": r"POST /api/validate-yaml",
    "list": r"GET /api/(models|datasets|spaces)",
    "offered": r"GET /api/spaces/hardware",
    "bucket": r"(GET|POST|DELETE) /api/buckets/([^/]+/[^/]+)",
    "info": rf"GET /api/{KIND}/([^/]+/[^/]+)(?:/revision/([^/]+))?",
    "commits": rf"GET /api/{KIND}/([^/]+/[^/]+)/commits/main",
    "tree": r"GET /api/(datasets)/([^/]+/[^/]+)/tree/([^/]+)",
    "squash": r"POST /api/(datasets)/([^/]+/[^/]+)/super-squash/main",
    "preupload": rf"POST /api/{KIND}/([^/]+/[^/]+)/preupload/main",
    "batch": r"POST /(?:(datasets|spaces)/)?([^/]+/[^/]+)\.git/info/lfs/objects/batch",
    "upload": r"PUT /lfs/(\w+)",
    "commit": rf"POST /api/{KIND}/([^/]+/[^/]+)/commit/main",
    "resolve": r"(?:GET|HEAD) /(datasets|spaces)/([^/]+/[^/]+)/resolve/([^/]+)/(.+)",
    "runtime": r"GET /api/(spaces)/([^/]+/[^/]+)/runtime",
    "hardware": r"POST /api/(spaces)/([^/]+/[^/]+)/hardware",
    "secrets": r"POST /api/(spaces)/([^/]+/[^/]+)/secrets",
    "variables": r"POST /api/(spaces)/([^/]+/[^/]+)/variables",
    "volumes": r"PUT /api/(spaces)/([^/]+/[^/]+)/volumes",
    "logs": r"GET /api/(spaces)/([^/]+/[^/]+)/logs/(build|run)",
    "job_hardware": r"GET /api/jobs/hardware",
    "job_start": r"POST /api/jobs/([^/]+)",
    "job_list": r"GET /api/jobs/([^/]+)",
    "job_logs": r"GET /api/jobs/([^/]+)/([^/]+)/logs",
    "job_cancel": r"POST /api/jobs/([^/]+)/([^/]+)/cancel",
    "job": r"GET /api/jobs/([^/]+)/([^/]+)",
}
FLAVORS = [
    {"name": "cpu-basic", "prettyName": "CPU Basic", "unitCostUSD": 0.0},
    {"name": "t4-small", "prettyName": "Nvidia T4 small", "unitCostUSD": 0.006667},
]


@dataclass
class Job:
    """A job that was started here; `asked` is what its start was asked with."""

    id: str
    asked: dict
    stage: str = "RUNNING"
    message: str | None = None
    lines: list[str] = field(default_factory=list)  # of its log

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self.stage in ("COMPLETED", "CANCELED", "ERROR", "DELETED")

    def to_dict(self) -> dict:
        """As the Hub tells of it."""
        owner = {"id": "1", "name": OWNER, "type": "user"}
        own = {name: self.asked[name] for name in ("flavor", "labels", "command", "environment")}
        status = {"stage": self.stage, "message": self.message}
        return {"id": self.id, "createdAt": DATE, "owner": owner, "status": status, **own}


@dataclass
class Pushed:
    """A repository that was made here; `commits` has the paths that each commit wrote or deleted, the first none."""

    private: bool = False
    sdk: str | None = None
    files: dict[str, bytes] = field(default_factory=dict)
    commits: list[list[str]] = field(default_factory=lambda: [[]])
    hardware: str | None = None  # of a Space, as the following ones
    sleeps_after: int | None = None
    secrets: dict[str, str] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)
    volumes: list[dict] = field(default_factory=list)

    @property
    def sha(self) -> str:
        """The hash of the newest commit."""
        return hashlib.sha1(repr(self.commits).encode()).hexdigest()


class HubServer:
    """Serve `repos` (repository id to folder) on a free port of 127.0.0.1 until the `with` block ends.

    Attributes to change at any time:
        broken: drop each connection without an answer.
        status: answer each request with this status (say 503).
        delay: wait so many seconds before each answer.
        cut_after: send only the first so many bytes of each file, then drop the connection.
        gated: repositories whose files are only for those who accepted their terms.
        short: with `cut_after`, claim that these bytes are all there is, as some proxies do.
        pushed: repositories by kind and id, ("models", "somebody/bot").
        refused: answer a step of STEPS with this status.
        dropped: end the connection at these steps, with no answer.
        renamed: the new name of a repository by its old one.
        stages: of a Space, one for each time that it is asked for; the last one stays.
        log: what building or running a Space has printed.
        buckets: the buckets that are there; public_buckets: which of them everybody can see.
        before_commit: called once, when the next commit has come and is not there yet.
        lost: take each commit and each job, and end the connection with no answer.
        jobs: those that were started, in that order.
        work: what a job does, in a thread of its own; in the end it is over.
        cuts: after how many lines a reading of a job's log breaks off, one for each; later ones do not.
    """

    def __init__(self, repos: dict[str, str | Path]):
        self.repos = {name: Path(folder) for name, folder in repos.items()}
        self.requests: list[str] = []  # "GET /path?query" in the order of arrival
        self.broken = False
        self.status: int | None = None
        self.delay = 0.0
        self.cut_after: int | None = None
        self.short = False
        self.gated: set[str] = set()
        self.pushed: dict[tuple[str, str], Pushed] = {}
        self.refused: dict[str, int] = {}
        self.dropped: set[str] = set()
        self.renamed: dict[str, str] = {}
        self.stages = ["RUNNING"]
        self.log = ""
        self.buckets: set[str] = set()
        self.public_buckets: set[str] = set()
        self.before_commit: Callable[[], object] | None = None
        self.lost = False
        self.jobs: list[Job] = []
        self.work: Callable[[Job], object] = lambda job: None
        self.cuts: list[int] = []
        self.large: dict[str, bytes] = {}  # uploaded before a commit, by their SHA-256
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        self._server.hub = self  # type: ignore[attr-defined]
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()

    def environment(self, home: str | Path, **more: str) -> dict[str, str]:
        """This process's environment, with the Hub at this server, an empty cache in `home`, and online."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "TRANSFORMERS_"))}
        here = {"HF_ENDPOINT": self.url, "HF_HOME": str(home), "HF_HUB_DISABLE_TELEMETRY": "1", "NO_PROXY": "127.0.0.1"}
        return kept | here | more

    def files(self, repo: str) -> dict[str, bytes]:
        """The files of a repository by path."""
        folder = self.repos[repo]
        found = sorted(path for path in folder.rglob("*") if path.is_file())
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}

    def commit(self, repo: str) -> str:
        """The commit hash of a repository: it changes when its files do."""
        digest = hashlib.sha1(repo.encode())
        for path, content in self.files(repo).items():
            digest.update(path.encode() + b"\0" + content)
        return digest.hexdigest()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each answer waits 40 ms for the one before it to be acknowledged

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing."""

    def do_GET(self) -> None:
        hub: HubServer = self.server.hub  # type: ignore[attr-defined]
        body = self._body()
        hub.requests.append(f"{self.command} {self.path}")
        time.sleep(hub.delay)
        if hub.broken:
            self.close_connection = True
        elif hub.status is not None:
            self._answer(hub.status, b"")
        elif not self._step(hub, body):
            self._route(hub, body)

    do_HEAD = do_POST = do_PUT = do_DELETE = do_GET

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        chunks = []
        while size := int(self.rfile.readline(), 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def _step(self, hub: HubServer, body: bytes) -> bool:
        """Answer a request of a push; whether it is one."""
        asked = f"{self.command} {urlsplit(self.path).path}"
        step, match = next(((name, m) for name, one in STEPS.items() if (m := re.fullmatch(one, asked))), (None, None))
        if step is None or (step in ("info", "commits") and match[2] in hub.repos):
            return False
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if step in hub.dropped:
            self.close_connection = True
        elif step in hub.refused:
            self._fail(hub.refused[step], "", "no")
        elif step == "whoami" and token not in TOKENS:
            self._fail(401, "", "Invalid username or password.")
        elif step == "whoami":
            self._json({"name": OWNER, "orgs": [{"name": "club"}], "auth": {"accessToken": {"role": TOKENS[token]}}})
        elif step in ("create", "delete"):
            self._create_or_delete(hub, step, json.loads(body))
        elif step == "validate":
            self._json({"warnings": [], "errors": []})
        elif step == "list":
            self._list(hub, match[1])
        elif step == "offered":
            also = {"cpu": "2 vCPU", "ram": "16 GB", "unitCostMicroUSD": 0, "unitLabel": "minute"}
            self._json([one | also for one in FLAVORS])
        elif step == "job_hardware":
            also = {"cpu": "4 vCPU", "ram": "15 GB", "unitCostMicroUSD": 0, "unitLabel": "minute"}
            self._json([one | also for one in FLAVORS])
        elif step.startswith("job"):
            self._job(hub, step, match, body)
        elif step == "bucket":
            self._bucket(hub, *match.groups())
        elif step == "info" and match[2] in hub.renamed:
            self._answer(307, b"", {"Location": self.path.replace(match[2], hub.renamed[match[2]])})
        elif step == "upload":
            assert hashlib.sha256(body).hexdigest() == match[1]
            hub.large[match[1]] = body
            self._answer(200, b"")
        elif (repo := hub.pushed.get((match[1] or "models", match[2]))) is None:
            self._fail(401, "RepoNotFound", "Invalid username or password.")
        else:
            getattr(self, f"_{step}")(hub, match, repo, body)
        return True

    def _create_or_delete(self, hub: HubServer, step: str, asked: dict) -> None:
        key = f"{asked.get('type') or 'model'}s", f"{asked['organization']}/{asked['name']}"
        if step == "delete":
            del hub.pushed[key]
            return self._answer(200, b"")
        if key in hub.pushed:
            return self._fail(409, "", "You already created this repo")
        space = {"hardware": asked.get("hardware"), "sleeps_after": asked.get("sleepTimeSeconds")}
        for name in ("secrets", "variables"):
            space[name] = {one["key"]: one["value"] for one in asked.get(name) or []}
        space["volumes"] = asked.get("volumes") or []
        hub.pushed[key] = Pushed(asked.get("visibility") == "private", asked.get("sdk"), **space)
        hub.pushed[key].files = {".gitattributes": b""} | ({"style.css": b""} if asked.get("sdk") == "static" else {})
        self._json({"url": f"{hub.url}/{key[1]}"})

    def _list(self, hub: HubServer, kind: str) -> None:
        asked = parse_qs(urlsplit(self.path).query)
        self._json(
            [
                {"id": name, "private": repo.private}
                for (own, name), repo in hub.pushed.items()
                if own == kind and [name.split("/")[0]] == asked["author"] and asked["filter"] == ["kochat"]
            ]
        )

    def _job(self, hub: HubServer, step: str, match: re.Match, body: bytes) -> None:
        if step == "job_start":
            job = Job(f"job-{len(hub.jobs) + 1}", json.loads(body))
            hub.jobs.append(job)
            threading.Thread(target=self._work, args=(hub, job), daemon=True).start()
            if hub.lost:
                self.close_connection = True
                return
            return self._json(job.to_dict())
        if step == "job_list":
            wanted = [one.split("=") for one in parse_qs(urlsplit(self.path).query).get("label", [])]
            found = (job for job in hub.jobs if all(job.asked["labels"][k] == v for k, v in wanted))
            return self._json([job.to_dict() for job in found])
        job = next((one for one in hub.jobs if one.id == match[2]), None)
        if job is None:
            return self._fail(404, "", "Job not found")
        if step == "job_logs":
            with contextlib.suppress(ConnectionError):  # whoever read it is gone
                self._job_log(hub, job)
            return None
        if step == "job_cancel":
            job.stage = "CANCELED"
        self._json(job.to_dict())

    def _work(self, hub: HubServer, job: Job) -> None:
        hub.work(job)
        if not job.is_over:
            job.stage = "COMPLETED"

    def _job_log(self, hub: HubServer, job: Job) -> None:
        """Its lines from the first one on, as they come, until it is over."""
        cut, sent = hub.cuts.pop(0) if hub.cuts else None, 0
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        while True:
            is_over = job.is_over
            for line in job.lines[sent:cut]:
                event = f"data: {json.dumps({'data': line, 'timestamp': DATE})}\n\n".encode()
                self.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))
                sent += 1
            if sent == cut or hub.broken:
                self.close_connection = True
                return
            if is_over:
                self.wfile.write(b"0\r\n\r\n")
                return
            time.sleep(0.005)

    def _bucket(self, hub: HubServer, verb: str, name: str) -> None:
        if verb == "POST":
            hub.buckets.add(name)
            return self._json({"url": f"{hub.url}/buckets/{name}"})
        if name not in hub.buckets:
            return self._fail(404, "RepoNotFound", "Not found")
        if verb == "DELETE":
            hub.buckets.remove(name)
        is_private = name not in hub.public_buckets
        self._json({"id": name, "private": is_private, "createdAt": DATE, "size": 0, "totalFiles": 0})

    def _resolve(self, hub: HubServer, match: re.Match, repo: Pushed, body: bytes) -> None:
        if match[2] in hub.gated:
            return self._fail(403, "GatedRepo", f"Access to dataset {match[2]} is restricted.", repo.sha)
        if match[3] not in ("main", repo.sha):
            return self._fail(404, "RevisionNotFound", f"Invalid rev id: {match[3]}")
        if unquote(match[4]) not in repo.files:
            return self._fail(404, "EntryNotFound", "Entry not found", repo.sha)
        self._file(hub, repo.files[unquote(match[4])], repo.sha)

    def _runtime(self, hub: HubServer, match: re.Match, repo: Pushed, body: bytes) -> None:
        stage = hub.stages.pop(0) if len(hub.stages) > 1 else hub.stages[0]
        hardware = {"current": repo.hardware, "requested": repo.hardware}
        self._json({"stage": stage, "hardware": hardware, "volumes": repo.volumes, "sha": repo.sha})

    def _hardware(self, hub: HubServer, match: re.Match, repo: Pushed, body: bytes) -> None:
        asked = json.loads(body)
        repo.hardware, repo.sleeps_after = asked["flavor"], asked.get("sleepTimeSeconds")
        self._runtime(hub, match, repo, body)

    def _secrets(self, hub: HubServer, match: re.Match, repo: Pushed, body: bytes) -> None:
        asked = json.loads(body)
        repo.secrets[asked["key"]] = asked["value"]
        self._json({})

    def _variables(self, hub: HubServer, match: re.Match, repo: Pushed, body: bytes) -> None:
        asked = json.loads(body)
        repo.variables[asked["key"]] = asked["value"]
        self._json({name: {"value": value} for name, value in repo.variables.items()})

    def _volumes(self, hub: HubServer, match: re.Match, repo: Pushed, body: bytes) -> None:
        repo.volumes = json.loads(body)["volumes"]
        self._json({})

    def _logs(self, hub: HubServer, match: re.Match, repo: Pushed, body: bytes) -> None:
        lines = [json.dumps({"data": line, "timestamp": DATE}) for line in hub.log.splitlines(keepends=True)]
        self._answer(200, "".join(f"data: {line}\n\n" for line in lines).encode())

    def _info(self, hub: HubServer, match: re.Match, repo: Pushed, body: bytes) -> None:
        if match[3] not in (None, "main", repo.sha):
            return self._fail(404, "RevisionNotFound", f"Invalid rev id: {match[3]}")
        card = RepoCard(repo.files["README.md"].decode()).data.to_dict() if "README.md" in repo.files else None
        siblings = [{"rfilename": name} for name in repo.files]
        own = {"private": repo.private, "sdk": repo.sdk, "sha": repo.sha, "cardData": card, "siblings": siblings}
        self._json({"id": match[2], "tags": [], "downloads": 0, "likes": 0, **own})

    def _commits(self, hub: HubServer, match: re.Match, repo: Pushed, body: bytes) -> None:
        one = {"id": repo.sha, "title": "", "message": "", "date": DATE, "authors": []}
        self._json([one] * len(repo.commits))

    def _tree(self, hub: HubServer, match: re.Match, repo: Pushed, body: bytes) -> None:
        self._json([_entry(name, content) for name, content in repo.files.items()])

    def _squash(self, hub: HubServer, match: re.Match, repo: Pushed, body: bytes) -> None:
        repo.commits = [sorted(repo.files)]
        self._json({})

    def _preupload(self, hub: HubServer, match: re.Match, repo: Pushed, body: bytes) -> None:
        files = []
        for one in json.loads(body)["files"]:
            is_large, before = one["size"] >= LARGE, repo.files.get(one["path"])
            oid = before if before is None else hashlib.sha256(before).hexdigest() if is_large else _blob(before)
            mode = "lfs" if is_large else "regular"
            files.append({"path": one["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        self._json({"files": files})

    def _batch(self, hub: HubServer, match: re.Match, repo: Pushed, body: bytes) -> None:
        objects = [
            one if one["oid"] in hub.large else one | {"actions": {"upload": {"href": f"{hub.url}/lfs/{one['oid']}"}}}
            for one in json.loads(body)["objects"]
        ]
        self._json({"transfer": "basic", "objects": objects})

    def _commit(self, hub: HubServer, match: re.Match, repo: Pushed, body: bytes) -> None:
        values = [(line["key"], line["value"]) for line in map(json.loads, body.splitlines())]
        if (before := hub.before_commit) is not None:
            hub.before_commit = None
            before()
        if values[0][1].get("parentCommit", repo.sha) != repo.sha:
            return self._fail(412, "", "A commit has happened since. Please refresh and try again.")
        for key, value in values:
            if key == "file":
                repo.files[value["path"]] = base64.b64decode(value["content"])
            elif key == "lfsFile":
                repo.files[value["path"]] = hub.large[value["oid"]]
            elif key == "deletedFile":
                del repo.files[value["path"]]
        repo.commits.append([value["path"] for key, value in values if key != "header"])
        if hub.lost:
            self.close_connection = True
            return
        self._json({"commitUrl": f"{hub.url}/{match[2]}/commit/{repo.sha}", "commitOid": repo.sha})

    def _route(self, hub: HubServer, body: bytes) -> None:
        path = urlsplit(self.path).path
        match = re.fullmatch(r"(?:/api/models)?/([^/]+/[^/]+)(?:/([a-z-]+)(?:/(.*))?)?", path)
        if match is None or match[1] not in hub.repos:  # the Hub tells strangers 401, private or not there alike
            return self._fail(401, "RepoNotFound", "Invalid username or password.")
        repo, verb, rest = match[1], match[2] or "revision", match[3] or "main"
        revision, _, inner = rest.partition("/")
        commit, revision = hub.commit(repo), unquote(revision)
        if verb in ("resolve", "revision", "tree", "paths-info", "commits") and revision not in ("main", commit):
            return self._fail(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        files = hub.files(repo)
        if not path.startswith("/api/"):
            if repo in hub.gated:
                return self._fail(403, "GatedRepo", f"Access to model {repo} is restricted.", commit)
            if verb != "resolve" or unquote(inner) not in files:
                return self._fail(404, "EntryNotFound", "Entry not found", commit)
            return self._file(hub, files[unquote(inner)], commit)
        listing = [_entry(name, content) for name, content in files.items()]
        if verb == "revision":
            siblings = [{"rfilename": entry["path"], "size": entry["size"]} for entry in listing]
            self._json(
                {
                    "_id": "1",
                    "id": repo,
                    "modelId": repo,
                    "sha": commit,
                    "private": False,
                    "gated": False,
                    "disabled": False,
                    "tags": ["pytorch", "gpt2"],
                    "downloads": 0,
                    "likes": 0,
                    "lastModified": DATE,
                    "createdAt": DATE,
                    "siblings": siblings,
                }
            )
        elif verb == "tree":
            folder = unquote(inner)
            inside = [entry for entry in listing if not folder or str(entry["path"]).startswith(folder + "/")]
            self._json(inside) if inside else self._fail(404, "EntryNotFound", "Entry not found", commit)
        elif verb == "paths-info":
            json_sent = self.headers.get("Content-Type", "").startswith("application/json")
            wanted = (json.loads(body) if json_sent else parse_qs(body.decode())).get("paths", [])
            self._json([entry for entry in listing if entry["path"] in wanted])
        elif verb == "commits":
            self._json([{"id": commit, "title": "first", "message": "", "date": DATE, "authors": []}])
        elif verb == "discussions":
            self._json({"discussions": [], "count": 0, "start": 0})
        elif verb == "refs":
            self._json(
                {
                    "branches": [{"name": "main", "ref": "refs/heads/main", "targetCommit": commit}],
                    "tags": [],
                    "converts": [],
                }
            )
        else:
            self._fail(404, "EntryNotFound", "Entry not found")

    def _file(self, hub: HubServer, content: bytes, commit: str) -> None:
        """Send a file, or the range of it that the client asks for, or what `cut_after` leaves of that."""
        start, status = 0, 200
        headers = {"ETag": f'"{_blob(content)}"', "X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        if asked := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            start, status = int(asked[1]), 206
            end = min(int(asked[2] or len(content)), len(content) - 1)
            headers["Content-Range"] = f"bytes {start}-{end}/{len(content)}"
            content = content[: end + 1]
        length = len(content) - start
        if hub.cut_after is not None and self.command == "GET" and hub.cut_after < len(content):
            content = content[: hub.cut_after]
            self.close_connection = True
            length = len(content[start:]) if hub.short else length
        self._answer(status, content[start:], headers, length)

    def _json(self, value: object) -> None:
        self._answer(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _fail(self, status: int, code: str, message: str, commit: str | None = None) -> None:
        headers = {"X-Error-Code": code, "X-Error-Message": message} | ({"X-Repo-Commit": commit} if commit else {})
        self._answer(status, json.dumps({"error": message}).encode(), headers)

    def _answer(
        self, status: int, body: bytes, headers: dict[str, str] | None = None, length: int | None = None
    ) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _blob(content: bytes) -> str:
    """The git object id of a file, which is the ETag of a small file on the Hub."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _entry(path: str, content: bytes) -> dict[str, object]:
    return {"type": "file", "path": path, "size": len(content), "oid": _blob(content)}
