"""Downloads from a real server that is good, broken, slow or not there."""

import http.server
import socket
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
import torchvision.datasets as tv

from archives import tiny_cifar10
from refusals import refusal
from zeroshot_al.sources import archives as our_archives
from zeroshot_al.sources.cifar import read_cifar
from zeroshot_al.sources.load import load_source
from zeroshot_al.sources.params import DataParams
from zeroshot_al.sources.published import PUBLISHED


@pytest.fixture
def tiny():
    return tiny_cifar10()


class Server(http.server.ThreadingHTTPServer):
    """Serves one archive; `mode` says how well."""

    archive, mode = b"", "whole"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(404 if self.server.mode == "404" else 200)
        self.send_header("Content-Length", str(len(self.server.archive)))
        self.end_headers()
        if self.server.mode == "whole":
            self.wfile.write(self.server.archive)
        elif self.server.mode == "half":
            self.wfile.write(self.server.archive[: len(self.server.archive) // 2])
        elif self.server.mode == "stalled":
            self.wfile.flush()
            time.sleep(1.5)

    def log_message(self, *args):
        pass


@pytest.fixture
def server(tiny):
    with Server(("127.0.0.1", 0), Handler) as server:
        server.archive = tiny[0]
        server.tiny = replace(tiny[1], url=f"http://127.0.0.1:{server.server_port}/tiny.tar.gz")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def test_a_download_is_used_and_not_repeated(server, tmp_path, capsys):
    first = read_cifar(server.tiny, tmp_path)
    server.mode = "404"
    assert np.array_equal(read_cifar(server.tiny, tmp_path).images, first.images)
    assert capsys.readouterr() == ("", "")  # torchvision's bar too is silent off a terminal


@pytest.mark.parametrize(
    ("mode", "told"), [("404", "404"), ("half", "corrupted"), ("stalled", "timed out")]
)
def test_a_bad_download_is_told_and_never_kept(server, tmp_path, monkeypatch, mode, told):
    monkeypatch.setattr(our_archives, "TIMEOUT_S", 0.3)
    server.mode = mode
    assert told in refusal(read_cifar, server.tiny, tmp_path)
    assert socket.getdefaulttimeout() is None
    server.mode = "whole"
    assert len(read_cifar(server.tiny, tmp_path).images) == 42


@pytest.mark.parametrize("source", sorted(PUBLISHED))
def test_no_network_and_no_copy_says_what_to_do(source, tmp_path, monkeypatch):
    for name in ("http_proxy", "https_proxy"):  # a real way to have no network
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    told = refusal(load_source, DataParams(source, None), tmp_path / "raw", "unused")
    assert told.startswith(f"{source} is neither in {tmp_path}/raw/{source} nor could it be")
    assert "set ZEROSHOT_AL_DATA to a folder with" in told
    assert PUBLISHED[source].archives in told


def test_the_told_archives_are_those_that_are_looked_for():
    for source in ("cifar10", "cifar100"):
        assert PUBLISHED[source].dataset.url.endswith(f"/{PUBLISHED[source].archives}")
    for split in ("train", "test"):
        assert tv.SVHN.split_list[split][1] in PUBLISHED["svhn"].archives
