"""Who the owner is as the server is configured, and that nobody else gets into another's folder.

Attacks on that, over HTTP, are in test_attacks.py.
"""

import gradio as gr
import pytest

from kochat.errors import SettingsError
from kochat.ui import auth
from kochat.ui.sessions import COOKIE, sessions


def request(host="127.0.0.1", cookies=None, headers=None, session="s"):
    """A request as gradio hands it to a handler."""
    return gr.Request(
        client={"host": host}, cookies=cookies or {}, headers=headers or {"accept-language": "en"}, session_hash=session
    )


@pytest.fixture(autouse=True)
def _plain_server(monkeypatch):
    for name in ("KOCHAT_PASSWORD", "SPACE_ID", "KOCHAT_VISITORS"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_whoever_sits_at_the_machine_owns_it(host):
    assert auth.is_owner(request(host))


@pytest.mark.parametrize("host", ["192.168.0.7", "8.8.8.8", "2001:db8::1", "testclient", ""])
def test_others_do_not(host):
    assert not auth.is_owner(request(host))


@pytest.mark.parametrize("header", ["x-forwarded-for", "forwarded", "x-real-ip", "via"])
def test_behind_a_proxy_nobody_is_local(header):
    assert not auth.is_owner(request(headers={header: "8.8.8.8"}))


def test_on_a_space_nobody_is_local(monkeypatch):
    monkeypatch.setenv("SPACE_ID", "me/kochat")
    assert not auth.is_owner(request())


def test_with_a_password_only_who_has_a_session_is_the_owner(monkeypatch):
    monkeypatch.setenv("KOCHAT_PASSWORD", "열려라 참깨")
    assert not auth.is_owner(request())
    assert [auth.is_password(given) for given in ("열려라", "열려라 참깨", "")] == [False, True, False]
    token = sessions.begin("Chrome", "8.8.8.8")
    assert auth.is_owner(request("8.8.8.8", {COOKIE: token}))
    assert not auth.is_owner(request("8.8.8.8", {COOKIE: token[:-1]}))
    sessions.end(sessions.find(token).id)
    assert not auth.is_owner(request("8.8.8.8", {COOKIE: token}))


def test_without_a_password_none_is_right():
    assert not auth.is_password("")


def test_who_is_refused_is_told_how_the_owner_comes_in(monkeypatch):
    with pytest.raises(SettingsError, match="set KOCHAT_PASSWORD, restart"):
        auth.require_owner(request("8.8.8.8"))
    monkeypatch.setenv("KOCHAT_PASSWORD", "열려라 참깨")
    with pytest.raises(SettingsError, match="If you are the owner, give your password"):
        auth.require_owner(request("8.8.8.8"))
    monkeypatch.setenv("SPACE_ID", "me/kochat")
    assert not auth.has_hugging_face()
    for name, value in (("SYSTEM", "spaces"), ("OAUTH_CLIENT_ID", "id")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    with pytest.raises(SettingsError, match="sign in with Hugging Face"):
        auth.require_owner(request("8.8.8.8"))


def test_what_is_the_owners_is_refused_to_others():
    @auth.owner_only
    def train(name, asked_by: gr.Request):
        return name

    assert train("mine", request()) == "mine"
    with pytest.raises(SettingsError, match="Only the owner"):
        train("mine", request("8.8.8.8"))


def test_each_visitor_has_a_folder_whose_name_does_not_tell_the_cookie(home):
    one = auth.folder_of(request("8.8.8.8", {auth.VISITOR: "a"}))
    other = auth.folder_of(request("8.8.8.8", {auth.VISITOR: "../../b"}))
    assert one != other
    assert one == auth.folder_of(request("9.9.9.9", {auth.VISITOR: "a"}))
    assert {one.parent, other.parent} == {home / "visitors"}
    assert auth.folder_of(request()) == home / "datasets"
    without = [auth.folder_of(request("8.8.8.8", session=session)) for session in ("x", "y")]
    assert without[0] != without[1]
