"""Visitors: who the owner is as the server is configured, and that nobody else gets into another's folder."""

import time

import gradio as gr
import pytest

from kochat.errors import SettingsError
from kochat.ui import auth


def request(host="127.0.0.1", cookies=None, headers=None, session="s"):
    """A request as gradio hands it to a handler."""
    return gr.Request(
        client={"host": host}, cookies=cookies or {}, headers=headers or {"accept-language": "en"}, session_hash=session
    )


@pytest.fixture(autouse=True)
def _plain_server(monkeypatch):
    for name in ("KOCHAT_PASSWORD", "SPACE_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(auth, "WRONG_PASSWORD_WAIT", 0.2)


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


def test_with_a_password_only_who_gave_it_is_the_owner(monkeypatch):
    monkeypatch.setenv("KOCHAT_PASSWORD", "열려라 참깨")
    assert not auth.is_owner(request())
    with pytest.raises(SettingsError, match="not right"):
        auth.log_in("열려라")
    key = auth.log_in("열려라 참깨")
    assert "참깨" not in key
    assert auth.is_owner(request("8.8.8.8", {auth.OWNER: key}))
    assert not auth.is_owner(request("8.8.8.8", {auth.OWNER: "x"}))
    monkeypatch.setenv("KOCHAT_PASSWORD", "another")
    assert not auth.is_owner(request("8.8.8.8", {auth.OWNER: key}))


def test_a_wrong_password_takes_a_while(monkeypatch):
    monkeypatch.setenv("KOCHAT_PASSWORD", "열려라 참깨")
    started = time.monotonic()
    with pytest.raises(SettingsError):
        auth.log_in("열려라")
    assert time.monotonic() - started >= 0.2
    auth.log_in("열려라 참깨")


def test_who_is_refused_is_told_where_the_password_is_given_or_that_there_is_none(monkeypatch):
    with pytest.raises(SettingsError, match="set KOCHAT_PASSWORD, restart"):
        auth.require_owner(request("8.8.8.8"))
    monkeypatch.setenv("KOCHAT_PASSWORD", "열려라 참깨")
    with pytest.raises(SettingsError, match="If you are the owner, give your password"):
        auth.require_owner(request("8.8.8.8"))


def test_no_password_lets_nobody_in():
    with pytest.raises(SettingsError):
        auth.log_in("")


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
