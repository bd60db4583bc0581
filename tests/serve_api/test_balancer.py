"""The balancer that the demo starts: it passes requests on, or says why it does not start."""

import json
from urllib.request import Request, urlopen

import pytest
from http_stub import stub
from planned import saved_plan

from capacity.errors import DependencyError, InputError
from capacity.render.deploy.registry import render
from serve_api.balancer import NAMES, balanced, installed, placed, program


@pytest.fixture(params=NAMES)
def name(request):
    if program(request.param) is None:
        pytest.skip(f"{request.param} is not installed; `apt-get install {request.param}` does it on Debian")
    return request.param


def test_it_asks_its_servers_in_turn_and_is_gone_afterwards(name, tmp_path):
    with stub() as one, stub() as two:
        urls = [f"http://127.0.0.1:{server.server_port}" for server in (one, two)]
        with balanced(name, render(saved_plan(replicas=2), name), urls, tmp_path) as url:
            for _ in range(6):
                with urlopen(Request(f"{url}/predict", b'{"instances": [[0]]}')) as answer:
                    assert json.load(answer) == {"predictions": [0]}
        asked = [[path for path, _ in server.asked].count("/predict") for server in (one, two)]
        assert asked == [3, 3]
        with pytest.raises(OSError, match="refused"):
            urlopen(f"{url}/predict")


def test_one_that_does_not_start_says_why(name, tmp_path):
    text = render(saved_plan(replicas=1), name).replace("8080", "8080 no_such_word")
    with (
        pytest.raises(DependencyError, match="did not start: (.|\n)*no_such_word"),
        balanced(name, text.replace("timeout connect", "no_such_word"), ["http://127.0.0.1:1"], tmp_path),
    ):
        pass


def test_a_file_for_other_servers_is_refused(tmp_path):
    with pytest.raises(InputError, match="has 2 servers, and 1 were started"):
        placed(render(saved_plan(replicas=2), "haproxy"), 1, ["http://127.0.0.1:2"], tmp_path)


def test_the_first_that_is_installed_is_taken(monkeypatch):
    monkeypatch.setattr("serve_api.balancer.program", lambda name: "/bin/nginx" if name == "nginx" else None)
    assert installed() == "nginx"
    monkeypatch.setattr("serve_api.balancer.program", lambda name: None)
    assert installed() is None
