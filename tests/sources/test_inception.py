"""The Inception weights from a server on this machine, and from a folder."""

import errno
import hashlib
import http.server
import threading

import pytest

from specdm.errors import UserError
from specdm.sources import inception
from specdm.sources.inception import fetch_inception

CONTENT = bytes(range(256)) * 4000
NAME = f"weights-{hashlib.sha256(CONTENT).hexdigest()[:8]}.pth"


@pytest.fixture
def server(monkeypatch):
    """A server: .content, .status, .breaks (bytes it sends before it stops, one a request), .gets (how often asked)."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            state.gets += 1
            if state.status != 200:
                self.send_error(state.status)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(state.content)))
            self.end_headers()
            self.wfile.write(state.content[: state.breaks.pop() if state.breaks else None])

        def log_message(self, *_):
            pass

    state = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.content, state.status, state.breaks, state.gets = CONTENT, 200, [], 0
    thread = threading.Thread(target=state.serve_forever, args=(0.01,))
    thread.start()
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(inception.time, "sleep", lambda _: None)
    monkeypatch.setattr(inception, "address", lambda: f"http://127.0.0.1:{state.server_port}/{NAME}")
    yield state
    state.shutdown()
    thread.join()
    state.server_close()


def refused(caught, *words: str) -> None:
    message = str(caught.value)
    assert message.endswith(".") and "\n" not in message and all(word in message for word in words), message


def test_the_address_is_torch_fidelitys_and_its_name_carries_a_checksum():
    assert inception.address() == (
        "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth"
    )


def test_weights_come_once_under_their_name(server, tmp_path):
    said = []
    path = fetch_inception(tmp_path / "new" / "folder", say=said.append)
    assert path == tmp_path / "new" / "folder" / NAME and path.read_bytes() == CONTENT
    assert len(said) == 1 and "Apache-2.0" in said[0] and inception.address() in said[0]
    assert fetch_inception(path.parent) == path
    assert server.gets == 1 and [p.name for p in path.parent.iterdir()] == [NAME]


def test_a_broken_connection_is_tried_again(server, tmp_path):
    server.breaks = [0, 1000]
    said = []
    assert fetch_inception(tmp_path, say=said.append).read_bytes() == CONTENT
    assert server.gets == 3 and len(said) == 3


@pytest.mark.parametrize(("status", "gets"), [(404, 1), (503, 3)])
def test_what_the_server_refuses_can_be_fetched_by_hand(server, tmp_path, status, gets):
    server.status = status
    with pytest.raises(UserError) as caught:
        fetch_inception(tmp_path / "out", say=lambda _: None)
    refused(caught, NAME, inception.address(), f"HTTP {status}", "--from-dir")
    assert server.gets == gets and not list((tmp_path / "out").iterdir())


def test_a_web_page_is_not_taken_for_weights(server, tmp_path):
    server.content = b"<html>please log in</html>"
    with pytest.raises(UserError) as caught:
        fetch_inception(tmp_path, say=lambda _: None)
    refused(caught, NAME, "cut short or another file", "--from-dir")
    assert not list(tmp_path.iterdir())


def test_a_file_by_hand_is_checked_taken_and_kept(server, tmp_path):
    by_hand, out = tmp_path / "mine", tmp_path / "out"
    by_hand.mkdir()
    with pytest.raises(UserError) as caught:
        fetch_inception(out, by_hand)
    refused(caught, str(by_hand / NAME), "does not exist", inception.address())
    (by_hand / NAME).write_bytes(CONTENT[:-1])
    with pytest.raises(UserError) as caught:
        fetch_inception(out, by_hand)
    refused(caught, str(by_hand / NAME), "damaged", "fetch it again")
    assert not list(out.iterdir())
    (by_hand / NAME).write_bytes(CONTENT)
    assert fetch_inception(out, by_hand).read_bytes() == CONTENT
    assert (by_hand / NAME).exists() and server.gets == 0


def test_a_damaged_file_in_place_is_named(server, tmp_path):
    (tmp_path / NAME).write_bytes(CONTENT[1:])
    with pytest.raises(UserError) as caught:
        fetch_inception(tmp_path)
    refused(caught, str(tmp_path / NAME), "delete it")
    assert server.gets == 0


def test_a_full_disk_is_no_failure_of_the_network(server, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(inception, "check", full)
    with pytest.raises(UserError, match="disk is full"):
        fetch_inception(tmp_path, say=lambda _: None)
    assert not list(tmp_path.iterdir())
