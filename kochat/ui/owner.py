"""Where the owner comes in: with the password or with Hugging Face; and the browsers in which they are, to be ended.

The session itself is made by the routes of login.py, which page.js calls.
"""

from __future__ import annotations

import html
import os
from datetime import datetime

import gradio as gr

from kochat.ui import auth
from kochat.ui.sessions import COOKIE, Session, sessions
from kochat.ui.text import language_of, say, shows_errors, t
from kochat.ui.widgets import PRIVATE

QUICK = {"queue": False, **PRIVATE}
BROWSERS = ("Edg", "OPR", "Whale", "Firefox", "Chrome", "Safari")  # each of the last ones is named by those before it


def title_of(language: str, session: Session, own: Session | None) -> str:
    """How a session is called: browser, address, since when; whether it is the one of whoever asks."""
    browser = next((name for name in BROWSERS if name in session.browser), "–")
    since = f"{datetime.fromtimestamp(session.begun):%Y-%m-%d %H:%M}"
    title = f"{browser} · {session.address} · {since}"
    return title + " · " + say(language, "k_this_browser") if own and own.id == session.id else title


def shown(request: gr.Request) -> list:
    """The part to come in, for others; the sessions and the button to go out, for the owner."""
    language, own = language_of(request), sessions.find(request.cookies.get(COOKIE))
    is_owner = auth.is_owner_themselves(request)
    all_of_them = sessions.all() if is_owner else []  # what is hidden on the page is sent to it all the same
    can_enter = not is_owner and (bool(auth.password()) or auth.has_hugging_face())
    choices = [(title_of(language, one, own), one.id) for one in all_of_them]
    return [
        gr.Column(visible=can_enter),
        gr.Column(visible=bool(all_of_them)),
        gr.CheckboxGroup(choices=choices, value=[]),
        gr.Button(visible=own is not None),
    ]


def not_theirs(request: gr.Request, profile: gr.OAuthProfile | None) -> gr.HTML:
    """What somebody is told who is signed in to Hugging Face, and to whom the Space does not belong."""
    if profile is None or auth.is_owner_themselves(request):
        return gr.HTML(visible=False)
    owner = os.environ.get("SPACE_AUTHOR_NAME", "")
    told = say(language_of(request), "k_not_the_owner", name=profile.username, owner=owner)
    return gr.HTML(f'<p class="quiet">{html.escape(told)}</p>', visible=True)


def own_address(request: gr.Request) -> str:
    """Where one can sign in whose browser keeps no cookies in the frame that a Space is shown in."""
    address = "https://" + os.environ.get("SPACE_HOST", "").split(",")[0]
    told = html.escape(say(language_of(request), "k_own_address"))
    return f'<p class="quiet">{told} <a href="{html.escape(address)}" target="_blank">{html.escape(address)}</a></p>'


@shows_errors
def end(ids: list[str], request: gr.Request) -> list:
    """End some sessions."""
    if not auth.is_owner_themselves(request):
        auth.require_owner(request)
        return [gr.skip()] * 4
    for one in ids or []:
        sessions.end(one)
    return shown(request)


def build(page: gr.Blocks) -> None:
    """The components and events."""
    with gr.Column(visible=False, elem_id="owner") as entrance:
        if auth.has_hugging_face():
            gr.LoginButton(elem_id="hugging-face")
            told, elsewhere = gr.HTML(visible=False), gr.HTML()
            page.load(not_theirs, None, told, **QUICK)
            page.load(own_address, None, elsewhere, **QUICK)
        with gr.Column(visible=bool(auth.password())):
            given = gr.Textbox(label=t("k_password"), info=t("k_password_info"), type="password", submit_btn=True)
            note = gr.HTML(elem_id="owner-note")
    with gr.Column(visible=False, elem_id="sessions") as inside:
        chosen = gr.CheckboxGroup([], label=t("k_sessions"), info=t("k_sessions_info"))
        with gr.Row():
            end_button = gr.Button(t("k_end_sessions"), size="sm", min_width=120, elem_id="end-sessions")
            leave = gr.Button(t("k_log_out"), size="sm", min_width=120, elem_id="log-out")
    parts = [entrance, inside, chosen, leave]
    page.load(shown, None, parts, **QUICK)
    given.submit(None, given, [given, note], js="kochat.logIn", **QUICK)
    end_button.click(end, chosen, parts, **PRIVATE)
    leave.click(None, None, None, js="kochat.logOut", **QUICK)
