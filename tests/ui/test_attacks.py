"""What strangers try on a server that is open to everybody, and what they get: the page as it is served, over HTTP."""

import asyncio
import contextlib
import hashlib
import hmac
import io
import json
import logging
import re
import socket
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fastapi
import gradio as gr
import pytest
from listening import listening
from starlette.requests import ClientDisconnect, Request
from starlette.testclient import TestClient
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from kochat.config import TrainingConfig
from kochat.data import review
from kochat.model import checkpoint
from kochat.model.cards import Card
from kochat.model.gpt2 import make_model
from kochat.runs import queue
from kochat.ui import auth, connections, lessons, limits, login, middleware, page, text, uploads
from kochat.ui.chat import learning, teach
from kochat.ui.data import reviewing
from kochat.ui.data import tab as data_tab
from kochat.ui.sessions import COOKIE, Sessions, cookie, sessions

PASSWORD = "열려라 참깨"
STRANGER, NEIGHBOUR, HERE = "203.0.113.7", "198.51.100.9", "127.0.0.1"
API = "/gradio_api"


@pytest.fixture(scope="module")
def site(tmp_path_factory, tokenizer):
    """The page, served, in a home with a tiny chatbot: its app, the page and that home."""
    folder = tmp_path_factory.mktemp("site")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KOCHAT_HOME", str(folder))
        patch.setenv("KOCHAT_PASSWORD", PASSWORD)
        patch.setenv("GRADIO_TEMP_DIR", str(folder / "cache"))
        patch.delenv("SPACE_ID", raising=False)
        model = make_model(tokenizer, layers=2, width=8, heads=2, positions=96, seed=0)
        checkpoint.save(folder / "checkpoints" / "tiny", model, tokenizer, Card(labels=["0", "1"], max_length=64))
        blocks = page.build()
        served = gr.mount_gradio_app(fastapi.FastAPI(), blocks, "/", **page.serving(blocks))
        with TestClient(served) as client:  # starts the queue, in whose loop all requests have to be
            yield served, blocks, folder, client.portal


@pytest.fixture(autouse=True)
def _on_a_server_with_a_password(site, monkeypatch):
    monkeypatch.setenv("KOCHAT_HOME", str(site[2]))
    monkeypatch.setenv("KOCHAT_PASSWORD", PASSWORD)
    for name in ("SPACE_ID", "KOCHAT_VISITORS", "KOCHAT_ORIGINS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(login, "attempts", limits.BackOff())
    monkeypatch.setattr(lessons, "_new_folders", limits.Budget(limits.FOLDERS_OF_ADDRESS, 3600))
    sessions.__init__()


@pytest.fixture
def visit(site):
    """Somebody's client, by address; cookies are theirs, and no error of the server is raised in the test."""

    def client(address=STRANGER, **options):
        options = {"base_url": "https://bot.example", "raise_server_exceptions": False, **options}
        made = TestClient(site[0], client=(address, 50000), **options)
        made.portal = site[3]
        return made

    return client


@pytest.fixture
def owner(visit):
    """The owner's client, signed in."""
    client = visit(NEIGHBOUR)
    assert client.post("/owner/login", json={"password": PASSWORD}).status_code == 200
    return client


def ask(client, name, *data, **more):
    """The status and the answer of a named endpoint: what it gives, or the error."""
    joined = client.post(f"{API}/call/{name}", json={"data": list(data), **more})
    if joined.status_code != 200:
        return joined.status_code, joined.json().get("detail")
    told = client.get(f"{API}/call/{name}/{joined.json()['event_id']}").text
    event, data = re.search(r"event: (complete|error)\ndata: (.*)", told).groups()
    found = json.loads(data)
    return event, found[0] if event == "complete" else (found or {}).get("error")


def upload(client, data, name="pairs.csv"):
    return client.post(f"{API}/upload", files={"files": (name, data)})


def check(client, data, name="pairs.csv"):
    """What /check says of a file that is uploaded for it."""
    [path] = upload(client, data, name).json()
    return ask(client, "check", {"path": path, "meta": {"_type": "gradio.FileData"}}, "tiny", "", "", "", "", "")


def press(client, blocks, handler, *data):
    """What the page's own handler gives, which has no name for other programs."""
    index = next(i for i, one in blocks.fns.items() if one.fn and _name_of(one.fn).endswith(handler))
    body = {"data": list(data), "fn_index": index, "session_hash": f"s{id(client)}"}
    if not blocks.fns[index].queue:
        return client.post(f"{API}/run/predict", json=body).json()
    assert client.post(f"{API}/queue/join", json=body).status_code == 200
    told = client.get(f"{API}/queue/data", params={"session_hash": body["session_hash"]}).text
    last = [json.loads(line[6:]) for line in told.splitlines() if line.startswith("data: ")]
    return next(one for one in last if one["msg"] == "process_completed")["output"]


def _name_of(handler):
    return f"{handler.__module__}.{handler.__qualname__}"


# a, b, c: the owner's session.


def test_a_key_made_of_a_guessed_password_opens_nothing_and_wrong_tokens_have_to_wait(visit):
    stranger = visit()
    codes = []
    for guess in ["password", PASSWORD, *map(str, range(30))]:
        key = hmac.new(guess.encode(), b"kochat owner", hashlib.sha256).hexdigest()
        answer = stranger.get("/owner", headers={"cookie": f"{COOKIE}={key}"})
        codes.append(answer.status_code)
        if answer.status_code == 200:
            assert answer.json() == {"owner": False}
        assert "Max-Age=0" in answer.headers["set-cookie"]  # a browser with an old one stops sending it
    assert codes == [200] * limits.WRONG_TOKENS + [429] * (32 - limits.WRONG_TOKENS)
    assert visit(NEIGHBOUR).get("/owner", headers={"cookie": f"{COOKIE}=x"}).status_code == 200


def test_wrong_passwords_wait_longer_each_time_and_hold_nobody_up(visit):
    stranger, begin = visit(), time.monotonic()
    codes = [stranger.post("/owner/login", json={"password": str(n)}).status_code for n in range(80)]
    assert codes[:4] == [401] * 3 + [429]
    assert codes.count(429) > 70  # after a second it may have tried once more
    assert "too many wrong attempts" in stranger.post("/owner/login", json={"password": "x"}).json()["detail"]
    # Not even the right one, while this address has to wait; from another one it opens at once.
    assert stranger.post("/owner/login", json={"password": PASSWORD}).status_code == 429
    assert visit(NEIGHBOUR).post("/owner/login", json={"password": PASSWORD}).status_code == 200
    assert time.monotonic() - begin < 5


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"password": 5}', b'{"password": null}', b"[" * 9999, b"\xff"])
def test_what_is_no_password_is_a_wrong_one(visit, body):
    answer = visit().post("/owner/login", content=body)
    assert answer.status_code == 401
    assert answer.json() == {"text": "The password is not right."}


def test_the_wait_doubles_has_an_end_and_is_forgotten():
    now = [0.0]
    waits = limits.BackOff(lambda: now[0])
    seen = []
    for _ in range(15):
        waits.failed("a")
        seen.append(waits.wait("a"))
    assert seen == [0, 0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900]
    assert waits.wait("b") == 0
    now[0] = 901.0
    assert waits.wait("a") == 0
    now[0] = 9000.0
    waits.failed("a")
    assert waits.wait("a") == 0


def test_the_cookie_is_the_servers_hidden_from_scripts_and_ends(visit, monkeypatch):
    answer = visit().post("/owner/login", json={"password": PASSWORD})
    token = answer.cookies[COOKIE]
    assert answer.headers["set-cookie"] == (
        f"{COOKIE}={token}; Path=/; Max-Age=604800; HttpOnly; Secure; SameSite=Strict"
    )
    assert len(token) == 43
    plain = visit(base_url="http://bot.example").post("/owner/login", json={"password": PASSWORD})
    assert "Secure" not in plain.headers["set-cookie"]
    proxied = {"x-forwarded-proto": "https"}
    behind = visit(base_url="http://bot.example").post("/owner/login", json={"password": PASSWORD}, headers=proxied)
    assert "Secure" in behind.headers["set-cookie"]
    assert cookie("t", True, True).endswith("HttpOnly; Secure; SameSite=None; Partitioned")  # in the frame of a Space


def test_sessions_are_listed_ended_by_their_owner_and_by_time(visit, owner, site):
    other = visit("192.0.2.1", headers={"user-agent": "Firefox/140"})
    other.post("/owner/login", json={"password": PASSWORD})
    assert [one.address for one in sessions.all()] == ["192.0.2.1", NEIGHBOUR]
    session = sessions.all()[0]
    assert "Only the owner" in press(visit(), site[1], "owner.end", [])["error"]
    assert "192.0.2.1" not in json.dumps(press(visit(), site[1], "owner.shown"))
    assert "Firefox · 192.0.2.1" in json.dumps(press(owner, site[1], "owner.shown"), ensure_ascii=False)
    output = press(owner, site[1], "owner.end", [session.id])
    assert "this browser" in json.dumps(output["data"])
    assert other.get("/owner").json() == {"owner": False}
    assert owner.get("/owner").json() == {"owner": True}
    owner.post("/owner/logout")
    assert owner.get("/owner").json() == {"owner": False}
    assert sessions.all() == []


def test_a_session_ends_after_a_week_and_only_so_many_are_on():
    now = [0.0]
    some = Sessions(lambda: now[0])
    tokens = []
    for now[0] in map(float, range(25)):
        tokens.append(some.begin("Chrome", "1.2.3.4"))
    assert [some.find(token) is not None for token in tokens] == [False] * 5 + [True] * 20
    assert not any(token in repr(vars(some)) for token in tokens)  # only hashes are kept
    now[0] = 7 * 86400.0 + 20
    assert [some.find(token) is not None for token in tokens] == [False] * 21 + [True] * 4
    assert some.find(None) is some.find("") is some.find("x") is None


@pytest.fixture
def on_a_space(monkeypatch):
    monkeypatch.setenv("SPACE_ID", "club/bot")
    monkeypatch.setenv("SPACE_AUTHOR_NAME", "club")
    monkeypatch.setattr(auth, "has_hugging_face", lambda: True)
    monkeypatch.delenv("KOCHAT_PASSWORD")


def signed_in(site, user):
    """The app for somebody who has just signed in to Hugging Face: gradio keeps who it is in its signed session."""
    session = {"oauth_info": {"userinfo": user, "expires_at": time.time() + 3600}}

    async def app(scope, receive, send):
        await site[0]({**scope, "session": session}, receive, send)

    client = TestClient(app, client=(STRANGER, 50000), base_url="https://club-bot.hf.space")
    client.portal = site[3]
    return client, session


@pytest.mark.parametrize(
    ("user", "is_owner"),
    [
        ({"preferred_username": "club"}, True),
        ({"preferred_username": "me", "orgs": [{"preferred_username": "club", "roleInOrg": "admin"}]}, True),
        ({"preferred_username": "me", "orgs": [{"preferred_username": "club", "roleInOrg": "write"}]}, True),
        ({"preferred_username": "me", "orgs": [{"preferred_username": "club", "roleInOrg": "read"}]}, False),
        ({"preferred_username": "me", "orgs": [{"preferred_username": "club"}]}, False),
        ({"preferred_username": "me", "orgs": None}, False),
        ({"preferred_username": "Club"}, False),
        ({"name": "club"}, False),
        ({}, False),
    ],
)
def test_a_space_belongs_to_its_author_and_to_who_may_change_it(site, on_a_space, user, is_owner):
    client, session = signed_in(site, user)
    client.get("/owner")
    assert client.get("/owner").json() == {"owner": is_owner}
    assert ("oauth_info" in session) != is_owner  # from then on it is our session that counts
    if is_owner:
        client.post("/owner/logout")
        assert client.get("/owner").json() == {"owner": False}


def test_elsewhere_nobody_is_the_owner_by_hugging_face_nor_by_an_old_session_of_it(site, on_a_space, monkeypatch):
    client, session = signed_in(site, {"preferred_username": "club"})
    session["oauth_info"]["expires_at"] = 1
    assert client.get("/owner").json() == {"owner": False}
    monkeypatch.setattr(auth, "has_hugging_face", lambda: False)
    client, _ = signed_in(site, {"preferred_username": "club"})
    client.get("/owner")
    assert client.get("/owner").json() == {"owner": False}


# d, e: files.


def test_a_large_file_of_a_visitor_is_refused_before_it_is_read(visit, owner, site):
    data = b"Q,A\n" + b"x" * (limits.MAX_UPLOAD_MB * 2**20)
    answer = upload(visit(), data)
    assert (answer.status_code, answer.text) == (
        413,
        "That is larger than the 5 MB that can be sent here. Send something smaller.",
    )
    assert upload(owner, data).status_code == 200
    korean = visit().post(f"{API}/queue/join", content=b" " * 2**21, headers={"accept-language": "ko"})
    assert (korean.status_code, korean.json()["detail"]) == (
        413,
        "여기에는 1 MB까지만 보낼 수 있어요. 더 작게 줄여 주세요.",
    )


def test_a_body_that_does_not_say_how_large_it_is_ends_at_the_limit(visit):
    def pieces():
        for _ in range(40):
            yield b" " * 2**16

    headers = {"content-type": "application/json"}
    assert visit().post(f"{API}/queue/join", content=pieces(), headers=headers).status_code == 413
    headers = {"content-type": "multipart/form-data; boundary=x"}
    assert visit().post(f"{API}/upload", content=pieces(), headers=headers).status_code == 411


def test_an_address_uploads_only_so_much_in_an_hour(visit, monkeypatch):
    monkeypatch.setattr(limits, "UPLOADED_AN_HOUR_MB", 1)
    guarded = middleware.Bodies(plain_app)
    stranger, other = (TestClient(guarded, client=(one, 1)) for one in (STRANGER, NEIGHBOUR))
    codes = [one.post(f"{API}/upload", content=b"x" * 400_000).status_code for one in (stranger,) * 4 + (other,)]
    assert codes == [200, 200, 429, 429, 200]
    assert "room again in" in stranger.post(f"{API}/upload", content=b"x" * 400_000).text


def test_a_huge_cell_is_not_tokenized_and_an_upload_goes_after_use(visit, site, monkeypatch):
    seen = []
    tokenize = "kochat.model.prompt.Prompt._is_cut"
    monkeypatch.setattr(tokenize, lambda self, *row: seen.append(max(map(len, row))) or True)
    cells = b"x" * 2**22 + b",answer\nhello there,hi\n" + b"yz" * 400 + b",b\n"
    state, told = check(visit(), b"Q,A\n" + cells, "cell.csv")
    assert (state, [one["reason"] for one in told["problems"]]) == ("complete", ["too_long", "too_long"])
    assert max(seen, default=0) == 800
    assert not list((site[2] / "cache").rglob("cell.csv"))


def test_a_check_ends_when_its_time_is_over(visit, site, monkeypatch):
    monkeypatch.setattr(limits, "CHECK_SECONDS", 0.2)
    rows = "".join(f"question {n},answer\n" for n in range(200_000)).encode()
    begin = time.monotonic()
    state, told = check(visit(), b"Q,A\n" + rows[: 4 * 2**20], "rows.csv")
    assert (state, told) == (
        "error",
        "Reading the file took more than 0.2 seconds, so it was ended. Try again with fewer rows.",
    )
    assert time.monotonic() - begin < 10
    assert not list((site[2] / "cache").rglob("rows.csv"))


def bomb(sheet: bytes) -> bytes:
    """A workbook, by its parts, whose sheet is this."""
    from odd_files import xlsx

    whole = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(xlsx([["Q", "A"], ["가", "나"]]))) as old,
        zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for one in old.infolist():
            new.writestr(one.filename, sheet if one.filename == "xl/worksheets/sheet1.xml" else old.read(one))
    return whole.getvalue()


def test_a_workbook_that_unpacks_to_much_more_is_refused(visit, monkeypatch):
    monkeypatch.setattr(limits, "MAX_UNPACKED_MB", 5)
    state, told = check(visit(), bomb(b" " * 6 * 2**20), "book.xlsx")
    assert (state, told) == ("error", "book.xlsx is larger than 5 MB. Upload a smaller file.")


def test_a_workbook_that_takes_long_is_ended(tmp_path):
    from kochat.data.deadline import time_limit
    from kochat.data.tables import open_table
    from kochat.errors import DataError

    path = tmp_path / "book.xlsx"
    rows = "".join(f'<row r="{n}"><c r="A{n}"><v>1</v></c><c r="B{n}"><v>2</v></c></row>' for n in range(1, 100_000))
    begin = b'<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><dimension ref="A1:B9"/>'
    path.write_bytes(bomb(begin + f"<sheetData>{rows}</sheetData></worksheet>".encode()))
    begin = time.monotonic()
    with time_limit(0.1), pytest.raises(DataError, match=r"took more than 0\.1 seconds"):
        list(open_table(path).chunks())
    assert time.monotonic() - begin < 3


def test_an_upload_that_breaks_off_leaves_nothing(site):
    def ask_for(path):
        sent = []

        async def receive():
            if sent:
                return {"type": "http.disconnect"}
            sent.append(1)
            head = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.csv"\r\n\r\n'
            return {"type": "http.request", "body": head + b"y" * 70_000, "more_body": True}

        async def send(message):
            pass

        headers = [(b"content-type", b"multipart/form-data; boundary=x"), (b"content-length", b"90000")]
        headers += [(b"host", b"bot.example")]
        scope = {"type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "query_string": b""}
        scope |= {"headers": headers, "client": (STRANGER, 1), "server": ("bot.example", 443), "scheme": "https"}
        return site[0]({**scope, "http_version": "1.1", "root_path": "", "asgi": {"version": "3.0"}}, receive, send)

    before = {one for one in (site[2] / "cache").rglob("*") if one.is_file()}
    try:
        asyncio.run(ask_for(f"{API}/upload"))
    except ClientDisconnect:
        pytest.fail("gradio leaves the part that it has written after this one")
    assert {one for one in (site[2] / "cache").rglob("*") if one.is_file()} == before


# f, g: the queue.


@pytest.fixture
def busy(site, monkeypatch):
    """The tiny chatbot takes its time, until it may answer."""
    go_on = threading.Event()
    chatbot = page.bot("tiny")
    reply, generate = chatbot.reply, chatbot.generate

    def slow(answer):
        def slowly(*args, **options):
            go_on.wait(20)
            return answer(*args, **options)

        return slowly

    monkeypatch.setattr(chatbot, "reply", slow(reply))
    monkeypatch.setattr(chatbot, "generate", slow(generate))
    yield go_on
    go_on.set()
    until_idle(site[1])


def join(client, number=0, cookie=None):
    headers = {"cookie": f"{auth.VISITOR}={cookie}"} if cookie else {}
    body = {"data": [f"안녕 {number}", "0", "tiny", None, 0, 1, None, False]}
    return client.post(f"{API}/call/reply", json=body, headers=headers)


def until_idle(blocks):
    """Return when the queue is empty."""
    queue, end = blocks._queue, time.monotonic() + 60
    while len(queue) or any(queue.active_jobs):
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_visitor_has_a_few_places_in_the_queue_and_others_find_room(visit, owner, site, busy):
    stranger = visit()
    joined = [join(stranger, number) for number in range(78)]
    assert [one.status_code for one in joined] == [200] * limits.PLACES + [429] * (78 - limits.PLACES)
    told = "6 of your requests are on their way already. Wait for an answer, then try again."
    assert joined[-1].json()["detail"] == told
    others = [join(one) for one in (visit(NEIGHBOUR), visit(STRANGER.replace("7", "8")), owner)]
    assert [one.status_code for one in others] == [200] * 3
    busy.set()
    until_idle(site[1])
    assert join(stranger).status_code == 200  # its places are free again


def test_a_new_cookie_for_each_request_gives_no_more_places_than_an_address_has(visit, busy, monkeypatch):
    monkeypatch.setattr(limits, "PLACES_OF_ADDRESS", 10)
    stranger = visit()
    joined = [join(stranger, number, cookie=f"c{number}") for number in range(14)]
    assert [one.status_code for one in joined] == [200] * 10 + [429] * 4
    assert join(visit(NEIGHBOUR)).status_code == 200


def test_many_at_once_keep_a_stranger_waiting_for_a_moment_only(visit, site, monkeypatch):
    flood, stranger, chatbot, go_on = visit(), visit(NEIGHBOUR), page.bot("tiny"), threading.Event()
    reply = chatbot.reply

    def held(question, *args, **options):
        if question != "안녕":  # those of the flood are on their way for as long as the stranger asks
            go_on.wait(20)
        return reply(question, *args, **options)

    monkeypatch.setattr(chatbot, "reply", held)
    with ThreadPoolExecutor(8) as pool:
        joined = list(pool.map(lambda number: join(flood, number), range(50)))
    begin = time.monotonic()
    state, _ = ask(stranger, "reply", "안녕", "0", "tiny", None, 0, 1, None, False)
    waited = time.monotonic() - begin
    go_on.set()
    assert state == "complete"
    assert waited < 5
    assert [one.status_code for one in joined].count(429) == 50 - limits.PLACES
    until_idle(site[1])


def test_a_question_has_a_length_that_a_visitor_may_not_exceed(visit, owner):
    asked = ["가" * 10_000, "0", "tiny", None, 0, 1, None, False]
    assert ask(visit(), "reply", *asked) == (
        "error",
        "The question is longer than 2000 characters. Shorten it and ask again.",
    )
    assert ask(owner, "reply", *asked)[0] == "complete"


def complete(client, question="안녕", **more):
    """The answer of the OpenAI protocol."""
    body = {"model": "tiny", "messages": [{"role": "user", "content": question}], "label": "0", **more}
    return client.post("/v1/chat/completions", json=body)


def test_the_openai_protocol_gives_the_reply_and_lists_the_chatbots(visit):
    answer = complete(visit())
    assert answer.json()["choices"][0]["message"]["content"] == page.bot("tiny").reply("안녕", "0")
    assert [one["id"] for one in visit().get("/v1/models").json()["data"]] == ["kochat-mini", "tiny"]
    last = complete(visit(), stream=True).text.split("\n\n")[-2]
    assert last == "data: [DONE]"


def test_the_openai_protocol_has_a_visitors_limits(visit, owner, busy):
    stranger = visit()
    too_long = complete(stranger, "가" * 2_001)
    assert (too_long.status_code, too_long.json()["error"]["code"]) == (413, "context_length_exceeded")
    too_large = complete(stranger, "가" * 2**20)
    assert (too_large.status_code, too_large.json()["error"]["code"]) == (413, "request_too_large")
    joined = [join(stranger, number) for number in range(limits.PLACES - 1)]
    assert [one.status_code for one in joined] == [200] * len(joined)
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(complete, stranger) for _ in range(4)]
        others = [pool.submit(complete, one) for one in (visit(NEIGHBOUR), owner)]
        end = time.monotonic() + 20
        while sum(one.done() for one in asked) < 3:  # one has the last place, and waits
            assert time.monotonic() < end
            time.sleep(0.01)
        busy.set()
    answers = [one.result() for one in asked]
    assert sorted(one.status_code for one in answers) == [200, 429, 429, 429]
    refused = next(one for one in answers if one.status_code == 429)
    assert (refused.json()["error"]["type"], refused.headers["retry-after"]) == ("rate_limit_error", "1")
    assert [one.result().status_code for one in others] == [200, 200]
    assert complete(stranger).status_code == 200


def test_a_page_of_another_site_gets_nothing_by_the_openai_protocol(visit):
    answer = visit().post("/v1/chat/completions", json={}, headers={"origin": "https://elsewhere.example"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "foreign_origin")


def test_what_only_the_queue_gives_cannot_be_had_past_it(visit):
    answer = visit().post(f"{API}/run/reply", json={"data": ["안녕", "0", "tiny", None, 0, 1, None, False]})
    assert answer.status_code == 404


def test_a_box_takes_no_longer_text_than_it_holds(visit, site):
    output = press(visit(), site[1], "looked_at", "x" * 30_000, "y", "0", "tiny")
    assert re.fullmatch(r"A text is longer than \d+ characters\. Shorten it and try again\.", output["error"])


# h: connections that stall.


BEGUN = []  # the requests that have come to it


async def plain_app(scope, receive, send):
    """Reads the body, then answers."""
    if scope["type"] == "http":
        BEGUN.append(scope)
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture
def server(monkeypatch):
    """Its address; with our protocol and our limits, in a thread of its own."""
    monkeypatch.setattr(connections, "HEADER_SECONDS", 0.4)
    connections.limit_headers()
    BEGUN.clear()
    app = middleware.OpenRequests(middleware.Bodies(plain_app))
    with listening(app, log_level="error", timeout_keep_alive=1) as url:
        yield "127.0.0.1", int(url.rpartition(":")[2])


def until_closed(connection) -> bytes:
    connection.settimeout(5)
    told = b""
    while piece := connection.recv(4096):
        told += piece
    return told


HALF = b"POST /gradio_api/upload HTTP/1.1\r\nHost: x\r\n"


def begun(server, sent: bytes) -> socket.socket:
    connection = socket.create_connection(server)
    connection.sendall(sent)
    return connection


def test_half_sent_headers_and_stalled_uploads_are_ended(server, monkeypatch):
    half = [begun(server, HALF) for _ in range(300)]
    begin, upload = time.monotonic(), HALF + b"Content-Length: 1000\r\n\r\nabc"
    stalled = [begun(server, upload) for _ in range(limits.REQUESTS_OF_ADDRESS)]
    while len(BEGUN) < len(stalled):
        time.sleep(0.01)
        assert time.monotonic() - begin < 20
    more = [begun(server, upload) for _ in range(20)]
    assert {until_closed(one) for one in half} == {b""}
    assert [until_closed(one).split()[1] for one in more] == [b"429"] * 20
    monkeypatch.setattr(limits, "BODY_PAUSE", 0.4)  # from the next byte on
    for one in stalled:
        one.sendall(b"d")
    assert [until_closed(one).split()[1] for one in stalled] == [b"408"] * len(stalled)
    assert time.monotonic() - begin < 20
    for one in (*half, *stalled, *more):
        one.close()


def test_headers_without_end_are_ended_and_whole_requests_are_answered(server):
    with socket.create_connection(server) as endless, socket.create_connection(server) as whole:
        with contextlib.suppress(OSError):  # reset, or a broken pipe
            endless.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX-A: " + b"y" * 100 * 1024)
            assert until_closed(endless) == b""
        for _ in range(3):
            time.sleep(0.15)  # longer than the limit in all, on one connection
            whole.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            told = b""
            while not told.endswith(b"\r\n\r\nok"):
                told += whole.recv(4096)
            assert told.startswith(b"HTTP/1.1 200")


# k, l: other websites.


@pytest.mark.parametrize(
    ("host", "origin", "is_owner"),
    [
        ("127.0.0.1:7860", None, True),
        ("localhost:7860", "http://localhost:7860", True),
        ("[::1]:7860", "http://[::1]:7860", True),
        ("localhost", "http://localhost", True),
        ("evil.example", None, False),
        ("evil.example:7860", "http://evil.example:7860", False),
        ("127.0.0.1.evil.example", None, False),
        ("localhost.evil.example", None, False),
        ("localhost@evil.example", None, False),
        ("localhost:7860", "http://evil.example", False),
        ("localhost:7860", "http://localhost:3000", False),
        ("localhost:7860", "null", False),
    ],
)
def test_only_this_machines_own_page_is_the_owners(host, origin, is_owner, monkeypatch):
    monkeypatch.delenv("KOCHAT_PASSWORD")
    headers = {"host": host} | ({"origin": origin} if origin else {})
    asked = gr.Request(client={"host": HERE}, cookies={}, headers=headers)
    assert auth.is_owner(asked) == is_owner


@pytest.mark.parametrize(
    "header", ["Cf-Connecting-Ip", "X-Forwarded-Host", "True-Client-IP", "Fly-Client-IP", "Cdn-Loop"]
)
def test_behind_any_proxy_nobody_is_at_this_machine(visit, monkeypatch, header):
    monkeypatch.delenv("KOCHAT_PASSWORD")
    asked = ["jobs", "../x", "tiny", *[None] * 9]
    local = visit(HERE, base_url="http://127.0.0.1:7860")
    assert "cannot be a name" in ask(local, "train", *asked)[1]  # the owner, who gives a wrong name
    assert (
        "Only the owner"
        in ask(visit(HERE, base_url="http://127.0.0.1", headers={header: "1.2.3.4"}), "train", *asked)[1]
    )
    assert "Only the owner" in ask(visit(HERE, base_url="http://evil.example"), "train", *asked)[1]


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "https://bot.example.evil.example", "http://["])
def test_no_page_of_another_site_is_obeyed(visit, owner, site, origin):
    foreign = {"origin": origin}
    for path in ("queue/join", "call/reply", "run/predict", "upload", "cancel", "component_server"):
        assert owner.post(f"{API}/{path}", json={}, headers=foreign).status_code == 403
    answer = owner.post(f"{API}/upload", files={"files": ("theirs.csv", b"Q,A\n1,2\n")}, headers=foreign)
    assert answer.status_code == 403
    assert not list((site[2] / "cache").rglob("theirs.csv"))
    assert owner.post("/owner/login", json={"password": PASSWORD}, headers=foreign).status_code == 403
    ours = {"origin": "https://bot.example"}
    assert owner.post(f"{API}/upload", files={"files": ("a.csv", b"x")}, headers=ours).status_code == 200


def test_a_page_of_another_site_may_ask_where_its_owner_says_so(visit, monkeypatch):
    monkeypatch.setenv("KOCHAT_ORIGINS", "https://shop.example https://club.example")
    for origin, code in (("https://club.example", 200), ("https://evil.example", 403)):
        answer = visit().post(f"{API}/upload", files={"files": ("a.csv", b"x")}, headers={"origin": origin})
        assert answer.status_code == code


def test_a_local_owners_page_cannot_be_framed(visit, monkeypatch):
    monkeypatch.delenv("KOCHAT_PASSWORD")
    assert visit(HERE, base_url="http://127.0.0.1:7860").get("/owner").headers["x-frame-options"] == "SAMEORIGIN"
    assert "x-frame-options" not in visit().get("/owner").headers  # a visitor's may stand in any website


# m: what is said of the server.


def test_an_error_that_nobody_foresaw_is_a_number_that_the_log_has_too(visit, site, monkeypatch, caplog):
    def broken(*_, **__):
        raise RuntimeError(f"cannot read {site[2]}/secret")

    monkeypatch.setattr(page.bot("tiny"), "reply", broken)
    with caplog.at_level(logging.ERROR, "kochat"):
        state, told = ask(visit(), "reply", "안녕", "0", "tiny", None, 0, 1, None, False)
    assert state == "error"
    number = re.fullmatch(r"Something went wrong that nobody foresaw.* the number ([0-9a-f]{8})\.", told)[1]
    assert f"error {number}" in caplog.text
    assert "secret" in caplog.text


def test_no_sentence_names_a_folder_of_the_server_to_a_visitor(site, monkeypatch):
    from kochat.errors import RunError
    from kochat.ui import progress

    told = text.without_places(f"{site[2]}/checkpoints/x is gone, {site[2]} is full, /elsewhere is not ours")
    assert told == "checkpoints/x is gone, … is full, /elsewhere is not ours"
    run = queue.create(TrainingConfig(data="jobs", base="kochat-mini/x", output=str(site[2] / "checkpoints" / "lost")))
    run.write("failed", key="no_checkpoint", values={"path": str(site[2] / "checkpoints" / "x")})
    shown = progress.progress_html("en", run)
    assert "no checkpoint checkpoints/x" in shown
    assert str(site[2]) not in shown
    assert isinstance(run.failure(), RunError)
    queue.delete(run)


def test_only_the_owner_sees_the_log_of_a_run(visit, owner, site):
    run = queue.create(TrainingConfig(data="jobs", output=str(site[2] / "checkpoints" / "logged")))
    run.write("failed", key="disk_full", values={})
    (run.path / "log.txt").write_text(f"Traceback: {site[2]}/secret.py")
    for client, is_shown in ((visit(), False), (owner, True)):
        press(client, site[1], "runs.tab.refresh", [])
        shown = json.dumps(press(client, site[1], "runs.tab.show", ["logged"]))
        assert "The disk is full" in shown
        assert ("secret.py" in shown) == is_shown
    queue.delete(run)


# n: a full disk.


def test_a_training_that_finds_no_room_is_refused_with_the_sentence(owner, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(queue, "write_atomically", full)
    monkeypatch.setattr(queue, "dispatch", lambda: None)
    state, told = ask(owner, "train", "jobs", "no-room", "tiny", *[None] * 9)
    assert (state, told) == (
        "error",
        "The disk is full. Free some space and go on: what was saved before is still there.",
    )


# o: damaged runs.


def test_damaged_runs_hide_no_other(visit, owner, site):
    good, damaged, listed = (
        queue.create(TrainingConfig(data="jobs", output=str(site[2] / "checkpoints" / name)))
        for name in ("good", "damaged", "listed")
    )
    for run in (good, damaged, listed):
        run.write("cancelled")
    with damaged.journal.open("a") as file:
        file.write('5\n"x"\n[1]\n{"a": 1}\n{"type": "step"}\n')
    (listed.path / "config.json").write_text("[]")
    state, told = ask(visit(), "runs")
    assert (state, {one["run"]: one["state"] for one in told}) == (
        "complete",
        {"good": "cancelled", "damaged": "cancelled"},
    )
    for run in (good, damaged):
        queue.delete(run)


# Held before, and still.


PRIVATE = [
    ("checkpoints.tab.rename", ["tiny", "theirs", "tiny"]),
    ("checkpoints.tab.delete", ["tiny", "tiny"]),
    ("checkpoints.tab.pack", ["tiny"]),
    ("as_web_page", ["tiny"]),
    ("save_profile", ["tiny", "x", "x", "", "x", []]),
    ("make_empty", ["theirs"]),
    ("learn", ["tiny"]),
]


@pytest.mark.parametrize(("handler", "data"), PRIVATE, ids=[name for name, _ in PRIVATE])
def test_a_visitor_cannot_press_the_owners_buttons(visit, site, handler, data):
    before = sorted(path for path in site[2].rglob("*") if "cache" not in path.parts and ".lock" not in path.name)
    stranger = visit()
    press(stranger, site[1], "checkpoints.tab.choose", None)  # the names are in the dropdown then
    assert "Only the owner" in press(stranger, site[1], handler, *data)["error"]
    after = sorted(path for path in site[2].rglob("*") if "cache" not in path.parts and ".lock" not in path.name)
    assert after == before


def test_where_visitors_may_only_chat_they_cannot_teach(visit, owner, site, monkeypatch):
    monkeypatch.setenv("KOCHAT_VISITORS", "chat")
    reply = ["안녕", "응", "0", "tiny"]
    for handler, data in (("correct", [reply, "안녕하세요", "0"]), ("take_back", []), ("remove", [1])):
        output = press(visit(), site[1], handler, *data)
        assert output["error"] == "Visitors can only chat here. Teaching is for the owner of this server."
    assert not (site[2] / "visitors").exists()
    assert ask(visit(), "reply", "안녕", "0", "tiny", None, 0, 1, None, False)[0] == "complete"


def test_where_visitors_may_do_all_they_train_but_do_not_see_inside(visit, site, monkeypatch):
    monkeypatch.setenv("KOCHAT_VISITORS", "all")
    assert "cannot be a name" in ask(visit(), "train", "jobs", "../x", "tiny", *[None] * 9)[1]
    assert "cannot be a name" in press(visit(), site[1], "make_empty", "../x")["error"]
    assert press(visit(), site[1], "owner.end", [])["data"] == [{"__type__": "update"}] * 4
    assert not auth.is_owner_themselves(gr.Request(client={"host": STRANGER}, cookies={}, headers={}))


@pytest.mark.parametrize(("value", "on_space", "may"), [("", False, "teach"), ("", True, "chat"), ("all", True, "all")])
def test_what_visitors_may_do_by_itself(monkeypatch, value, on_space, may):
    monkeypatch.setenv("KOCHAT_VISITORS", value)
    if on_space:
        monkeypatch.setenv("SPACE_ID", "club/bot")
    assert auth.visitors_may() == may
    monkeypatch.setenv("KOCHAT_VISITORS", "everything")
    with pytest.raises(Exception, match="KOCHAT_VISITORS is everything, but must be chat, teach or all"):
        auth.visitors_may()


@pytest.mark.parametrize(
    "path",
    [
        "file=/etc/passwd",
        "file=../../../../etc/passwd",
        "file=%2e%2e/%2e%2e/etc/passwd",
        "file={home}/checkpoints/tiny/model.safetensors",
        "file={home}/runs",
        "file=https://example.com/",
        "file/https://example.com/",
        "file=HTTP://169.254.169.254/latest",
        "proxy=https://x.hf.space/",
        "deep_link?session_hash=x",
        "stream/x/y/1/playlist.m3u8",
    ],
)
def test_no_file_of_the_server_and_none_of_elsewhere_is_served(visit, site, path):
    answer = visit().get(f"{API}/{path.format(home=site[2])}")
    assert answer.status_code in (403, 404)
    assert "root:" not in answer.text


@pytest.mark.parametrize("path", ["/etc/passwd", "{home}/checkpoints/tiny/kochat.json", "https://example.com/a.csv"])
def test_a_check_reads_nothing_but_what_was_uploaded(visit, site, path):
    data = {"path": path.format(home=site[2]), "meta": {"_type": "gradio.FileData"}}
    state, told = ask(visit(), "check", data, "tiny", "", "", "", "", "")
    assert state == "error"
    assert str(site[2]) not in str(told)


@pytest.mark.parametrize("name", ["../tiny", "/etc", "tiny/../tiny", "{home}/checkpoints/tiny", "", "CON"])
def test_a_chatbot_is_a_name_in_the_list_and_never_a_path(visit, site, name):
    state, told = ask(visit(), "reply", "안녕", "0", name.format(home=site[2]), None, 0, 1, None, False)
    assert state == "error"
    assert str(site[2]) not in told


def by(cookie_value, address=STRANGER):
    """A request of a visitor, as a handler gets it."""
    return gr.Request(client={"host": address}, cookies={auth.VISITOR: cookie_value}, headers={})


def test_a_visitors_rows_are_seen_by_nobody_but_them_and_the_owner(visit, owner, site):
    names = {}
    for own in ("one", "two"):
        asked = by(own)
        teach.correct(["비밀 " + own, "응", "0", "tiny"], "안녕하세요", "0", asked)
        names[own] = auth.name_of(asked)
    for own, other in (("one", "two"), ("two", "one")):
        asked = by(own)
        assert list(auth.datasets_of(asked)) == ["가르친-답"]
        for key in (f"{names[other]}/가르친-답", f"../{names[other]}/가르친-답", str(site[2] / "visitors")):
            with pytest.raises(Exception, match="no dataset"):
                auth.path_of(key, asked)
    asked = as_owner(owner)
    assert auth.datasets_of(asked).keys().isdisjoint(auth.datasets_of(by("one")))  # to train on unseen
    assert {lesson.visitor for lesson in reviewing.found(asked)} >= set(names.values())
    assert reviewing.found(by("one")) == []


def test_nothing_that_a_visitor_teaches_is_learned_before_the_owner_accepts_it(visit, owner, site):
    asked, visitor, spam = as_owner(owner), by("friend"), by("spammer")
    teach.correct(["주소가 뭐예요?", "응", "0", "tiny"], "은행나무길 1", "0", asked)
    teach.correct(["주소가 뭐예요?", "응", "0", "tiny"], "사기꾼길 9", "0", spam)
    teach.correct(["언제 열어요?", "응", "0", "tiny"], "아홉 시에 열어요.", "0", visitor)
    with pytest.raises(Exception, match="only under the labels that the bot knows: 0, 1"):
        teach.correct(["안녕", "응", "0", "tiny"], "새 라벨", "내 라벨", spam)
    own = [["주소가 뭐예요?", "은행나무길 1", "0"]]
    assert learning.lesson("tiny", asked).values.tolist() == own

    for handler in ("accept", "refuse"):  # by those who decide on nothing
        sent = {"headers": list(reviewing.HEADS), "data": [["1", True, *[""] * 5]]}
        shown = press(visit(), site[1], f"reviewing.{handler}", sent, None)
        assert "Only the owner" in shown["error"]
    _, table, waiting = reviewing.view("tiny", asked)
    mine = [lesson for lesson in waiting if lesson.row.Q in ("주소가 뭐예요?", "언제 열어요?")]
    rows = [row for row in table["data"] if row[2] in ("주소가 뭐예요?", "언제 열어요?")]
    assert len(mine) == len(rows) == 2
    for row in rows:
        row[1] = True
    assert "은행나무길 1 (taught by you)" in {row[3] for row in rows}
    rows[[row[2] for row in rows].index("언제 열어요?")][4] = "아침 아홉 시에 열어요."
    reviewing.accept(rows, waiting, asked)
    learned = learning.lesson("tiny", asked).values.tolist()
    assert learned == [*own, ["언제 열어요?", "아침 아홉 시에 열어요.", "0"]]
    reviewing.refuse([row for row in rows if row[2] == "주소가 뭐예요?"], waiting, asked)
    assert not [lesson for lesson in reviewing.found(asked) if lesson in mine]
    listed = {row[0]: row[5] for row in teach.overview("tiny", [], None, spam)[3]["data"]}
    assert listed == {"주소가 뭐예요?": "corrected · refused"}


def test_the_rows_of_a_visitor_have_an_end_in_number_and_in_bytes(visit, site, monkeypatch):
    asked, key = by("busy"), "가르친-답"
    monkeypatch.setattr(review, "MAX_ROWS", 2)
    for question in ("하나", "둘"):
        teach.correct([question, "응", "0", "tiny"], "네", "0", asked)
    with pytest.raises(Exception, match="One person can teach 2 answers"):
        teach.correct(["셋", "응", "0", "tiny"], "네", "0", asked)
    with pytest.raises(Exception, match="One person can teach 2 answers"):
        data_tab.save((key, None), "tiny", "셋", "네", "0", asked)
    with pytest.raises(Exception, match="labels that the bot knows"):
        data_tab.save((key, 2), "tiny", "하나", "네", "내 라벨", asked)
    data_tab.save((key, 2), "tiny", "하나", "넵", "0", asked)
    monkeypatch.setattr(review, "MAX_BYTES", 1000)
    for change in (lambda: data_tab.save((key, 2), "tiny", "하나", "응", "0", asked), lambda: teach_once(asked)):
        with pytest.raises(Exception, match="no room for more"):
            change()


def test_a_new_cookie_each_time_does_not_fill_the_disk(site, monkeypatch):
    monkeypatch.setattr(lessons, "_new_folders", limits.Budget(3, 3600))
    for number in range(3):
        teach_once(by(f"cookie {number}"))
    with pytest.raises(Exception, match="in 20 minutes"):
        teach_once(by("one more"))
    teach_once(by("cookie 1"), "두 번째")  # who has a folder goes on
    teach_once(by("a neighbour", NEIGHBOUR))
    monkeypatch.setattr(review, "MAX_FOLDERS", sum(1 for _ in auth.visitors().iterdir()))
    with pytest.raises(Exception, match="Too many people are teaching here"):
        teach_once(by("from anywhere", "192.0.2.5"))


def teach_once(asked, question="안녕"):
    teach.correct([question, "응", "0", "tiny"], "안녕하세요", "0", asked)


def as_owner(client):
    """A request of the owner's, as a handler gets it."""
    return gr.Request(client={"host": NEIGHBOUR}, cookies={COOKIE: client.cookies[COOKIE]}, headers={})


def test_what_a_visitor_writes_is_text_in_the_table_of_the_owner(visit, site):
    typed = "<script>1</script>"
    asked = by("script")
    teach.correct([typed, "응", "0", "tiny"], typed, "0", asked)
    shown = json.dumps(data_tab.view("가르친-답", 1, "", "", "all", asked), default=str)
    assert "&lt;script&gt;" in shown
    assert "<script>" not in shown


def test_limits_come_back_evenly():
    now = [0.0]
    budget = limits.Budget(10, 100, lambda: now[0])
    assert [budget.take("a") for _ in range(10)] == [0] * 10
    assert budget.take("a") == 10  # seconds until there is one
    assert budget.take("b") == 0
    now[0] = 10.0
    assert (budget.take("a"), budget.take("a")) == (0, 10)
    assert budget.take("a", 5) == 50


@pytest.mark.parametrize(
    ("host", "counted"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("testclient", "testclient"),
    ],
)
def test_an_address_is_counted_as_a_home_has_it(host, counted):
    assert auth.address_of(gr.Request(client={"host": host}, headers={}, cookies={})) == counted


@pytest.mark.parametrize(
    ("peer", "forwarded", "counted"),
    [
        ("10.1.2.3", "203.0.113.7", "203.0.113.7"),
        ("10.1.2.3", "1.1.1.1, 203.0.113.7, 172.18.0.2", "203.0.113.7"),  # what stands before it anybody can write
        ("198.51.100.9", "203.0.113.7", "198.51.100.9"),
    ],
)
def test_behind_the_proxies_of_a_space_a_visitor_has_their_own_address(peer, forwarded, counted):
    seen = []

    async def app(scope, receive, send):
        seen.append(auth.address_of(Request(scope)))
        await plain_app(scope, receive, send)

    client = TestClient(ProxyHeadersMiddleware(app, page.PRIVATE_NETWORKS), client=(peer, 1))
    client.get("/", headers={"x-forwarded-for": forwarded})
    assert seen == [counted]


def test_an_upload_is_read_once(tmp_path):
    asked = gr.Request(client={"host": STRANGER}, headers={}, cookies={})
    for _ in range(2):
        path = tmp_path / "a.csv"
        path.write_text("Q,A\n")
        with uploads.read_once(str(path), asked):
            assert Path(path).is_file()
        assert not path.exists()
